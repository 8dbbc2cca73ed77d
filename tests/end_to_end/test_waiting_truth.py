"""The waiting metrics against the truth: polars over what was made, nothing of pipelines or dbt.

The rules are written here a second time on purpose; where a figure differs, one of the two is wrong.
"""

import json
from collections.abc import Callable
from datetime import date, timedelta

import duckdb
import polars as pl
import pytest

from tests import truth
from tests.compared import apart, published_cells

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
    rows = published.execute(
        "select numerator, denominator, value from marts.rpt_metrics_monthly where metric_id = ? "
        "and org_level = 'network' and modality_group = 'All' and period_start_on = ?",
        [metric_id, month],
    ).fetchall()
    return rows[0] if rows else None


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


DAYS_FROM = {
    "W05": ("listed", "clock_on", 0.5),
    "W05P90": ("listed", "clock_on", 0.9),
    "W05U": ("listed", "requested_on", 0.5),
    "W05UP90": ("listed", "requested_on", 0.9),
    "W05E": ("unscheduled", "requested_on", 0.5),
    "W05EP90": ("unscheduled", "requested_on", 0.9),
}


@pytest.mark.parametrize("metric_id", DAYS_FROM)
def test_the_days_from_request_to_test_agree_with_and_without_resets(
    requests, published, metric_id
):
    """The median wait that patients hear of, and how much of it resets take away."""
    stream, start, share = DAYS_FROM[metric_id]
    done = requests.filter(
        pl.col("is_returned")
        & pl.col("completed_on").is_not_null()
        & (pl.col("stream") == stream)
        & (pl.col("started_on") >= pl.col(start))
    )
    expected = (
        done.group_by(month=pl.col("started_on").dt.month_start())
        .agg(
            denominator=pl.len(),
            value=(pl.col("started_on") - pl.col(start)).dt.total_days().quantile(share, "linear"),
        )
        .filter((pl.col("denominator") >= LEAST) & (pl.col("month") <= MONTHS[-1]))
    )
    found = published_cells(published, metric_id)
    wrong = apart(metric_id, expected, found, ["month"])
    assert wrong.is_empty(), wrong
    assert found["numerator"].null_count() == len(found)


def months_of(published) -> list[date]:
    """The complete months of the data."""
    return published_cells(published, "T01")["month"].to_list()


def by_month(published, counts: Callable[[date], tuple[float, float | None]]) -> pl.DataFrame:
    """One row per complete month with something to count: numerator and denominator."""
    rows = [(month, *counts(month)) for month in months_of(published)]
    schema = {"month": pl.Date, "numerator": pl.Float64, "denominator": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").filter(
        pl.col("denominator").ne_missing(0)
    )


def test_planned_tests_past_their_due_date_agree(requests, published):
    """Surveillance that nobody booked shows in no waiting list."""

    def counts(month: date) -> tuple[int, int]:
        census = last_day(month)
        planned = waiting(requests.filter(pl.col("stream") == "planned"), census)
        planned = planned.filter(pl.col("due_on").is_not_null())
        return len(planned.filter(pl.col("due_on") <= census)), len(planned)

    found = published_cells(published, "W06")
    wrong = apart("W06", by_month(published, counts), found, ["month"])
    assert wrong.is_empty(), wrong


def test_the_weeks_to_clear_the_list_agree(requests, published):
    """A list is long or short only against the tests that shorten it."""

    def counts(month: date) -> tuple[int, float]:
        census = last_day(month)
        listed = waiting(on_the_list(requests), census, "joined_on")
        first = census - timedelta(days=7 * WEEKS - 1)
        done = on_the_list(requests).filter(
            pl.col("completed_on").is_not_null() & pl.col("started_on").is_between(first, census)
        )
        return len(listed), len(done) / WEEKS

    found = published_cells(published, "W07")
    expected = by_month(published, counts).filter(pl.col("month") >= found["month"].min())
    wrong = apart("W07", expected, found, ["month"])
    assert wrong.is_empty(), wrong


def test_net_demand_agrees_in_every_month(requests, published):
    """A month with more requests than tests must not look like one that shortened the list."""
    listed = moving(requests)
    expected = by_month(
        published,
        lambda month: (
            len(listed.filter(of_month("joined_on", month)))
            - len(listed.filter(of_month("removed_on", month))),
            None,
        ),
    )
    wrong = apart("W08", expected, published_cells(published, "W08"), ["month"])
    assert wrong.is_empty(), wrong


def moving(requests: pl.DataFrame) -> pl.DataFrame:
    """Requests of the list; one dated after its own end never waited."""
    return on_the_list(requests).filter(
        (pl.col("removed_on") >= pl.col("joined_on")).fill_null(True)
    )


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_net_demand_is_requests_less_removals_and_tests_and_the_change_of_the_list(
    requests, published, month
):
    """A list that grows without more requests than tests has lost count of somebody."""
    listed = moving(requests)
    asked = len(listed.filter(of_month("joined_on", month)))
    left = listed.filter(of_month("removed_on", month))
    tested = left.filter(pl.any_horizontal(pl.col("started_on", "verified_on").is_not_null()))
    found = published.execute(
        "select opening_count, request_count, removal_count, test_count, closing_count "
        "from marts.rpt_waiting_list_moves_monthly where org_level = 'network' "
        "and modality_group = 'All' and census_on = ?",
        [last_day(month)],
    ).fetchall()[0]
    assert found[1:4] == (asked, len(left) - len(tested), len(tested))
    balance = metric(published, "W08", month)[2]
    assert balance == asked - len(left) == found[4] - found[0]


def test_clock_resets_and_hospital_cancellations_agree(requests, published):
    """A department that is told to reset clocks can hide any wait: so each is counted."""
    listed = on_the_list(requests)
    lost = ("dna_on", "given_up_on", "taken_away_on")
    slots = pl.concat(
        listed.select(
            "exam_no",
            "party_code",
            "stream",
            "joined_on",
            slot_on=pl.col(name).dt.date(),
            kind=pl.lit(name),
        )
        for name in (
            *lost,
            "appointment_at_local",
            "first_appointment_at_local",
            "moved_appointment_at_local",
        )
    ).with_columns(month=pl.col("slot_on").dt.month_start())
    slots = slots.filter(
        pl.col("month").is_in(TOLD_MONTHS)
        & ((pl.col("stream") == "listed") | (pl.col("slot_on") >= pl.col("joined_on")))
    )
    for metric_id, kinds in (("W09", lost[:2]), ("W09H", lost[2:])):
        is_lost = pl.col("kind").is_in(kinds)
        appointments = slots.group_by("party_code", "month", "exam_no", "slot_on").agg(
            is_lost.any()
        )
        by_party = appointments.group_by("party_code", "month").agg(
            numerator=pl.col("kind").sum(), denominator=pl.len()
        )
        found = published_cells(published, metric_id, "party")
        wrong = apart(metric_id, by_party, found, ["party_code", "month"])
        assert wrong.is_empty(), wrong
        whole = by_party.group_by("month").agg(pl.col("numerator", "denominator").sum())
        for month, numerator, denominator in whole.iter_rows():
            assert metric(published, metric_id, month)[:2] == (numerator, denominator)


def test_suspected_cancer_reported_in_time_agrees(requests, published):
    """Patients who still wait for a report must not fall out of the share."""
    suspected = requests.filter(
        pl.col("priority_delivered").eq_missing("T")
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
    expected = (
        judged.group_by(month=pl.col("requested_on").dt.month_start())
        .agg(numerator=(reported <= limit).fill_null(False).sum(), denominator=pl.len())
        # of March the last patients have not had their days
        .filter(pl.col("month").is_between(months_of(published)[0], date(2026, 2, 1)))
    )
    wrong = apart("W10", expected, published_cells(published, "W10"), ["month"])
    assert wrong.is_empty(), wrong


def test_suspected_cancer_is_not_judged_before_its_days_are_over(published):
    """March would show as worse than it is: its last patients have had no time."""
    assert metric(published, "W10", date(2026, 3, 1)) is None


def test_every_reset_of_every_clock_is_told_with_its_cause(requests, published):
    """Who restarted which clock, when and why: without it a reset is a way to hide a wait."""
    is_planned = pl.col("stream") == "planned"
    clocks = requests.join(
        on_the_list(requests).select("exam_no", "joined_on"), on="exam_no", how="left"
    ).with_columns(
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
