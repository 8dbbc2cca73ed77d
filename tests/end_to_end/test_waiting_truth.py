"""The waiting metrics against the truth: polars over what was made, nothing of pipelines or dbt.

The rules are written here a second time on purpose; where a figure differs, one of the two is wrong.
"""

import json
from datetime import date, timedelta

import duckdb
import polars as pl
import pytest

from tests import truth

MONTHS = [date(2019, 10, 1), date(2022, 6, 1), date(2026, 2, 1), date(2026, 3, 1)]
# Messages, which alone tell of an appointment given up, begin in January.
TOLD_MONTHS = [date(2026, 2, 1), date(2026, 3, 1)]
LIMIT_DAYS, WEEKS = 10, 13
# Exams below which a percentile is one patient's wait.
LEAST = 5


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def requests(demo):
    """One row per request with its local days, the stream the feeds tell, and both waits."""
    day = {
        name: pl.col(f"{name}_at_local").dt.date()
        for name in ("requested", "started", "completed", "cancelled", "verified", "dna")
    }
    settings = json.loads((demo.path / "truth" / "parameters.json").read_text("utf-8"))
    told_from = date.fromisoformat(settings["history_extract_on"])
    moved = pl.col("moved_appointment_at_local").dt.date()
    # of an appointment that was cancelled only messages tell
    is_told = pl.col("moved_at_local").dt.date() >= told_from
    is_moved_by = {who: is_told & (pl.col("moved_by") == who) for who in ("patient", "hospital")}
    known = pl.col("exam_code_delivered") == pl.col("exam_code")
    is_inside = pl.col("source_setting_delivered").is_in(["01", "05"]).fill_null(False)
    return (
        truth.exams(demo.path / "truth")
        .with_columns(**{f"{name}_on": value for name, value in day.items()})
        .with_columns(
            stream=pl.when(pl.col("priority_delivered").eq_missing("P"))
            .then(pl.lit("planned"))
            .when(is_inside)
            .then(pl.lit("unscheduled"))
            .otherwise(pl.lit("listed")),
            is_returned=known.fill_null(False) & pl.col("dm01_test").is_not_null(),
            given_up_on=pl.when(is_moved_by["patient"]).then(moved),
            taken_away_on=pl.when(
                is_moved_by["hospital"] & pl.col("moved_at").ne_missing(pl.col("booked_at"))
            ).then(moved),
        )
        .with_columns(
            clock_on=pl.max_horizontal("requested_on", "dna_on", "given_up_on"),
            removed_on=pl.coalesce("started_on", "completed_on", "verified_on", "cancelled_on"),
        )
    )


def of_month(column: str, month: date) -> pl.Expr:
    return pl.col(column).dt.month_start() == month


def last_day(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def metric(published, metric_id: str, month: date) -> tuple | None:
    """Numerator, denominator and value of the network, all modalities."""
    return published.execute(
        "select numerator, denominator, value from marts.rpt_metrics_monthly where metric_id = ? "
        "and org_level = 'network' and modality_group = 'All' and period_start_on = ?",
        [metric_id, month],
    ).fetchone()


def waiting(requests: pl.DataFrame, census: date, since: str = "requested_on") -> pl.DataFrame:
    is_open = (pl.col(since) <= census) & (
        pl.col("removed_on").is_null() | (pl.col("removed_on") > census)
    )
    return requests.filter(is_open)


def on_the_list(requests: pl.DataFrame) -> pl.DataFrame:
    """Requests of the waiting list, and planned ones that were not over by their due date."""
    due = pl.max_horizontal("requested_on", "due_on")
    is_planned = pl.col("stream") == "planned"
    is_overdue = pl.col("due_on").is_not_null() & (pl.col("removed_on") > due).fill_null(True)
    return requests.filter(
        pl.col("is_returned") & ((pl.col("stream") == "listed") | (is_planned & is_overdue))
    ).with_columns(joined_on=pl.when(is_planned).then(due).otherwise(pl.col("requested_on")))


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_the_days_from_request_to_test_agree_with_and_without_resets(requests, published, month):
    """The median wait that patients hear of, and how much of it resets take away."""
    done = requests.filter(
        pl.col("is_returned") & pl.col("completed_on").is_not_null() & of_month("started_on", month)
    )
    for ids, stream, start in (
        (("W05", "W05P90"), "listed", "clock_on"),
        (("W05U", "W05UP90"), "listed", "requested_on"),
        (("W05E", "W05EP90"), "unscheduled", "requested_on"),
    ):
        days = (pl.col("started_on") - pl.col(start)).dt.total_days()
        waits = done.filter(pl.col("stream") == stream).select(days=days)["days"]
        waits = waits.filter(waits >= 0)
        for metric_id, share in zip(ids, (0.5, 0.9), strict=True):
            expected = (None, len(waits), waits.quantile(share, "linear"))
            found = metric(published, metric_id, month)
            is_told = len(waits) >= LEAST
            assert found == pytest.approx(expected) if is_told else found is None, metric_id


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_planned_tests_past_their_due_date_agree(requests, published, month):
    """Surveillance that nobody booked shows in no waiting list."""
    census = last_day(month)
    planned = waiting(
        requests.filter((pl.col("stream") == "planned") & pl.col("due_on").is_not_null()), census
    )
    overdue = planned.filter(pl.col("due_on") <= census)
    assert len(planned)
    assert metric(published, "W06", month)[:2] == (len(overdue), len(planned))


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_the_weeks_to_clear_the_list_agree(requests, published, month):
    """A list is long or short only against the tests that shorten it."""
    census = last_day(month)
    listed = waiting(on_the_list(requests), census, "joined_on")
    first = census - timedelta(days=7 * WEEKS - 1)
    done = on_the_list(requests).filter(
        pl.col("completed_on").is_not_null() & pl.col("started_on").is_between(first, census)
    )
    expected = (len(listed), len(done) / WEEKS, len(listed) / len(done) * WEEKS)
    assert metric(published, "W07", month) == pytest.approx(expected)


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_net_demand_is_requests_less_removals_and_tests_and_the_change_of_the_list(
    requests, published, month
):
    """A list that grows without more requests than tests has lost count of somebody."""
    listed = on_the_list(requests).filter(
        (pl.col("removed_on") >= pl.col("joined_on")).fill_null(True)
    )
    asked = len(listed.filter(of_month("joined_on", month)))
    left = listed.filter(of_month("removed_on", month))
    tested = left.filter(pl.any_horizontal(pl.col("started_on", "verified_on").is_not_null()))
    found = published.execute(
        "select opening_count, request_count, removal_count, test_count, closing_count "
        "from marts.rpt_waiting_list_moves_monthly where org_level = 'network' "
        "and modality_group = 'All' and census_on = ?",
        [last_day(month)],
    ).fetchone()
    assert found[1:4] == (asked, len(left) - len(tested), len(tested))
    balance = metric(published, "W08", month)[2]
    assert balance == asked - len(left) == found[4] - found[0]


@pytest.mark.parametrize("month", TOLD_MONTHS, ids=str)
def test_clock_resets_and_hospital_cancellations_agree(requests, published, month):
    """A department that is told to reset clocks can hide any wait: so each is counted."""
    listed = on_the_list(requests)
    lost = ("dna_on", "given_up_on", "taken_away_on")
    slots = pl.concat(
        listed.select(
            "exam_no", "stream", "joined_on", slot_on=pl.col(name).dt.date(), kind=pl.lit(name)
        )
        for name in (
            *lost,
            "appointment_at_local",
            "first_appointment_at_local",
            "moved_appointment_at_local",
        )
    ).filter(
        of_month("slot_on", month)
        & ((pl.col("stream") == "listed") | (pl.col("slot_on") >= pl.col("joined_on")))
    )
    offered = slots.n_unique(["exam_no", "slot_on"])
    patient = slots.filter(pl.col("kind").is_in(lost[:2])).n_unique(["exam_no", "slot_on"])
    hospital = slots.filter(pl.col("kind") == lost[2]).n_unique(["exam_no", "slot_on"])
    assert metric(published, "W09", month)[:2] == (patient, offered)
    assert metric(published, "W09H", month)[:2] == (hospital, offered)


@pytest.mark.parametrize("month", [date(2019, 10, 1), date(2022, 6, 1), date(2026, 2, 1)], ids=str)
def test_suspected_cancer_reported_in_time_agrees(requests, published, month):
    """Patients who still wait for a report must not fall out of the share."""
    suspected = requests.filter(
        pl.col("priority_delivered").eq_missing("T")
        & of_month("requested_on", month)
        & ~(pl.col("verified_at") < pl.col("completed_at")).fill_null(False)
    )
    limit = timedelta(days=LIMIT_DAYS)
    reported = pl.col("verified_on") - pl.col("requested_on")
    withdrawn = (
        pl.col("started_on").is_null()
        & pl.col("verified_on").is_null()
        & (pl.col("cancelled_on") - pl.col("requested_on") <= limit).fill_null(False)
    )
    judged = suspected.filter(~withdrawn & (reported >= timedelta()).fill_null(True))
    within = judged.filter((reported <= limit).fill_null(False))
    found = metric(published, "W10", month)
    assert found is None if not len(judged) else found[:2] == (len(within), len(judged))


def test_suspected_cancer_is_not_judged_before_its_days_are_over(published):
    """March would show as worse than it is: its last patients have had no time."""
    assert metric(published, "W10", date(2026, 3, 1)) is None


def test_every_reset_of_every_clock_is_told_with_its_cause(requests, published):
    """Who restarted which clock, when and why: without it a reset is a way to hide a wait."""
    is_planned = pl.col("stream") == "planned"
    clocks = requests.join(on_the_list(requests), on="exam_no", how="left").with_columns(
        began_on=pl.when(is_planned).then(pl.col("joined_on")).otherwise(pl.col("requested_on"))
    )
    expected = pl.concat(
        clocks.filter(pl.col(name).is_not_null()).select(
            "began_on", "started_on", "exam_no", slot_on=name, rule=pl.lit(rule)
        )
        for name, rule in (
            ("dna_on", "did_not_attend"),
            ("given_up_on", "cancelled_by_patient"),
            ("taken_away_on", "cancelled_by_hospital"),
        )
    )
    found = published.sql(
        "select exam_key, activity_category, slot_on, rule, cause, resets_clock, reset_days "
        "from marts.fct_clock_reset"
    ).pl()
    # two systems may tell of one appointment, whose days count once
    told = found.unique(["exam_key", "slot_on", "rule"]).select("slot_on", "rule")
    assert sorted(told.iter_rows()) == sorted(expected.select("slot_on", "rule").iter_rows())
    last = (
        expected.filter(
            (pl.col("rule") != "cancelled_by_hospital")
            & (pl.col("slot_on") >= pl.col("began_on"))
            & (pl.col("slot_on") <= pl.col("started_on")).fill_null(True)
        )
        .group_by("exam_no", "began_on")
        .agg(pl.col("slot_on").max())
    )
    days = (last["slot_on"] - last["began_on"]).dt.total_days().sum()
    assert found["reset_days"].sum() == days
    by_patient = found["cause"] == "patient"
    assert 0 < by_patient.sum() < len(found)
    assert not found.filter(~by_patient)["resets_clock"].any()
    restarted = found.filter(by_patient & (pl.col("activity_category") != "planned"))
    assert restarted["resets_clock"].all()
