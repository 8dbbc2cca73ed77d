"""The published numbers against the truth the synthetic network knows."""

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.landing.keys import load_keys
from pipelines.landing.pseudonymise import pseudonyms
from tests import truth
from tests.compared import apart, published_cells


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


Counts = Callable[[Path, date], tuple[int, int | None]]


def last_day(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def waiting(weeks: int) -> Counts:
    """Who waits so many weeks or more at the end of a month, and who waits."""

    def counted(folder: Path, month: date) -> tuple[int, int]:
        waited = truth.waiting_list(folder, last_day(month))["waited"]
        return int((waited >= 7 * weeks).sum()), len(waited)

    return counted


def without_denominator(counts: Counts) -> Counts:
    return lambda folder, month: (counts(folder, month)[0], None)


def backlog(folder: Path, month: date) -> tuple[int, int]:
    return truth.unreported(folder, last_day(month))


# One line per metric: what the truth counts in a month, and what a failure means.
BY_MONTH: dict[str, tuple[Counts, str]] = {
    "W01": (without_denominator(waiting(0)), "a clock that starts or ends on a wrong day"),
    "W02": (waiting(6), "a wrong clock start, reset or band"),
    "W03": (without_denominator(waiting(13)), "a wrong clock start, reset or band"),
    "W04": (truth.activity, "tests of the return that are missing or counted twice"),
    "R02": (truth.reported_within_28_days, "open reports that left the denominator"),
    "R04": (
        lambda folder, month: (backlog(folder, month)[1], None),
        "exams that nobody reported and nobody sees",
    ),
    "R05": (backlog, "old exams that hide among young ones"),
    "R06": (truth.outsourced_share, "money spent on suppliers that shows nowhere"),
    "R08": (truth.cross_site_share, "the promise of October 2020 in one number"),
    "R10": (truth.amended_reports, "an addendum told twice, or a report sent again, that amends"),
    "R11": (truth.out_of_hours_share, "hours read from another clock than the one on the wall"),
}


def test_exams_performed_agree_for_every_party_and_month(demo, published):
    """Throughput is the first number everybody checks."""
    expected = truth.performed_by_party_and_month(demo.path / "truth").select(
        "party_code", "month", numerator="exams", denominator=pl.lit(None, pl.Float64)
    )
    found = published_cells(published, "T01", "party").filter(pl.col("numerator") > 0)
    wrong = apart("T01", expected, found, ["party_code", "month"])
    assert wrong.is_empty(), wrong


# Clock of the pathway, its times in the truth, and whether every feed tells it.
CLOCKS = [
    ("requested", ("requested_at_local",), True),
    ("vetted", ("vetted_at_local",), False),
    ("booked", ("booked_at_local", "first_booked_at_local", "moved_booked_at_local"), False),
    (
        "offered",
        ("appointment_at_local", "first_appointment_at_local", "moved_appointment_at_local"),
        False,
    ),
    ("cancelled", ("cancelled_at_local",), True),
    ("dna", ("dna_at_local",), True),
    ("started", ("started_at_local",), True),
    ("completed", ("completed_at_local",), True),
    ("preliminary", ("preliminary_at_local",), False),
    ("first_verified", ("verified_at_local",), True),
]


@pytest.mark.parametrize(("clock", "columns", "is_told_by_all"), CLOCKS, ids=lambda v: str(v))
def test_every_clock_of_the_pathway_agrees(demo, published, clock, columns, is_told_by_all):
    """A step of the pathway that is told at another time moves every wait that begins or ends there."""
    rows = truth.exams(demo.path / "truth")
    expected = Counter(
        moment for column in columns for moment in rows[column].drop_nulls().to_list()
    )
    # by the wall clock; of the hours of the clock changes a source tells no certain time
    found = published.sql(
        f"select {clock}_at_local as moment from marts.fct_exam_pathway "
        f"where {clock}_at_local is not null and {clock}_precision <> 'doubtful'"
    ).pl()["moment"]
    ((doubtful,),) = published.sql(
        f"select count(*) from marts.fct_exam_pathway where {clock}_precision = 'doubtful'"
    ).fetchall()
    told = Counter(found.to_list())
    assert len(found) >= 20
    assert not told - expected
    assert not is_told_by_all or (expected - told).total() == doubtful


@pytest.mark.parametrize("metric_id", BY_MONTH)
def test_a_figure_of_the_network_agrees_in_every_month(demo, published, metric_id):
    """The pages show a number that is not what happened: `BY_MONTH` says which mistake it would be."""
    counts, meaning = BY_MONTH[metric_id]
    found = published_cells(published, metric_id)
    # in a month of a ratio nobody may have been there to count
    rows = [(month, *counts(demo.path / "truth", month)) for month in found["month"]]
    schema = {"month": pl.Date, "numerator": pl.Float64, "denominator": pl.Float64}
    wrong = apart(metric_id, pl.DataFrame(rows, schema=schema, orient="row"), found, ["month"])
    assert wrong.is_empty(), (meaning, wrong)
    months = published_cells(published, "T01")["month"].to_list()
    assert found["month"].to_list() == months[: len(found)]
    assert len(found) >= len(months) - 1


@pytest.mark.parametrize("month", [date(2019, 5, 1), date(2024, 9, 1), date(2026, 3, 1)], ids=str)
def test_cross_site_reporting_agrees(demo, published, month):
    """The page and the metric must tell the same of who read for whom."""
    crossed, reports = truth.cross_site_share(demo.path / "truth", month)
    found = published.execute(
        "select cross_site_count, network_report_count "
        "from marts.rpt_cross_site_reporting_monthly where acquired_org_level = 'network' "
        "and reported_org_code = 'All' and modality_group = 'All' and month_on = ?",
        [month],
    ).fetchall()[0]
    assert found == (crossed, reports)


def test_rejects_are_the_dirt_that_was_planted(demo, published):
    """Every planted fault is rejected under its own rule, and nothing else is."""
    planted = pl.read_parquet(demo.path / "truth" / "dirt.parquet")
    counts = dict(planted.group_by("kind").len().iter_rows())
    rejected = dict(
        published.execute(
            "select feed_kind || '.' || rule, sum(reject_count)::bigint from marts.rpt_rejects "
            "group by all"
        ).fetchall()
    )
    assert rejected.get("ris_extract.accession_number_is_given", 0) == counts["missing_accession"]
    assert rejected.get("ris_extract.started_at_is_a_timestamp", 0) == counts["unparseable_date"]
    assert (
        rejected.get("ris_extract.started_at_is_not_in_the_future", 0)
        == counts["started_in_future"]
    )
    damaged = sum(count for kind, count in counts.items() if kind.startswith("damaged"))
    assert rejected.get("dicom.header_is_readable", 0) == damaged
    assert rejected.get("hl7.message_is_for_production", 0) == counts.get("test_message", 0)


def test_the_dose_of_every_exam_is_that_of_its_events_each_counted_once(demo, published):
    """Summed over reports a dose is too high, with a part unread too low."""
    expected = truth.exam_doses(demo.path / "truth").sort(pl.all())
    key = load_keys(demo.key_file).pseudonym
    hashed = pseudonyms(expected["accession_number"], "accession", key)
    expected = expected.with_columns(exam_key=pl.format("{}|A|{}", "party_code", hashed)).drop(
        "accession_number"
    )
    found = published.sql(
        "select exam_key, party_code, event_count, beam_on_started_at_local as started_at_local, "
        "beam_on_ended_at_local as ended_at_local, coalesce(total_dlp_mgy_cm, 0) as dlp_mgy_cm, "
        "max_ctdi_vol_mgy as ctdi_vol_mgy, coalesce(total_dap_gy_m2, 0) as dap_gy_m2, "
        "max_agd_mgy as agd_mgy, exposure_seconds from marts.fct_exam_dose"
    ).pl()
    both = expected.join(found, on="exam_key", how="full", suffix="_found")
    assert len(both) == len(expected) == len(found) > 0
    for name in expected.columns:
        if name != "exam_key":
            wrong = both.filter(pl.col(name).ne_missing(pl.col(f"{name}_found")))
            assert wrong.is_empty(), (name, wrong.select("exam_key", name, f"{name}_found"))
    told = published.sql("select count(*) from marts.fct_exam_dose where not is_total_as_told")
    assert told.fetchall() == [(0,)]


@pytest.mark.parametrize("month", [date(2026, 2, 1), date(2026, 3, 1)], ids=str)
def test_image_views_agree_by_context_outcome_and_owner(demo, published, month):
    """Half of the promises are about who can open whose images: this is how often they do."""
    audited = dict(
        published.execute(
            "select org_code, true from marts.rpt_image_access_monthly "
            "where org_level = 'party' and month_on = ?",
            [month],
        ).fetchall()
    )
    rows = truth.image_views(demo.path / "truth", month)
    rows = rows.filter(pl.col("viewer_party").is_in(list(audited)))
    assert rows["is_certain"].all() and rows.height > 20
    seen = rows.filter(~pl.col("launch_failed"))
    timed = seen["seconds_to_first_image"].drop_nulls()
    expected = {
        ("views", route): (float(number), None)
        for route, number in seen.group_by("route").len().iter_rows()
    }
    people = seen["staff_code"].n_unique()
    expected |= {
        ("views", "All"): (float(len(seen)), None),
        ("failed_launches", "All"): (float(len(rows) - len(seen)), float(len(rows))),
        ("other_party_views", "All"): (float(seen["is_cross_trust"].sum()), float(len(seen))),
        ("first_image_seconds", "All"): (round(float(timed.sum()), 3), float(len(timed))),
        ("viewing_people", "All"): (float(people) if people >= 5 else None, None),
    }
    found = {
        (measure, context): (numerator, denominator)
        for measure, context, numerator, denominator in published.execute(
            "select measure, access_context, numerator, denominator "
            "from marts.rpt_image_access_monthly where org_level = 'network' and month_on = ?",
            [month],
        ).fetchall()
    }
    assert {key: found[key] for key in expected} == expected


def test_nobody_who_opened_images_can_be_found_in_the_published_file(demo, published):
    """A key of staff in a reader's file is a list of who looked at what."""
    key = load_keys(demo.key_file).pseudonym
    staff = pl.read_parquet(demo.path / "truth" / "image_views.parquet")["staff_code"].unique()
    hidden = {*staff, *pseudonyms(staff, "staff", key)}
    columns = published.sql(
        "select table_schema, table_name, column_name from information_schema.columns "
        "where data_type = 'VARCHAR'"
    ).fetchall()
    for schema, table, column in columns:
        values = published.sql(f'select distinct "{column}" from {schema}.{table}').fetchall()
        assert not hidden & {value for (value,) in values}, (table, column)
