"""The published numbers against the truth the synthetic network knows."""

from collections import Counter
from datetime import date

import duckdb
import polars as pl
import pytest

from pipelines.landing.keys import load_keys
from pipelines.landing.pseudonymise import pseudonyms
from tests import truth


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


CENSUSES = [date(2019, 3, 31), date(2020, 7, 31), date(2023, 11, 30), date(2026, 1, 31)]
CENSUSES += [date(2026, 2, 28), date(2026, 3, 31)]


def test_exams_performed_agree_for_every_party_and_month(demo, published):
    """Throughput is the first number everybody checks."""
    expected = truth.performed_by_party_and_month(demo.path / "truth")
    found = published.sql(
        "select org_code as party_code, period_start_on as month, cast(numerator as bigint) as exams "
        "from marts.rpt_metrics_monthly where metric_id = 'T01' and org_level = 'party' "
        "and modality_group = 'All' and numerator > 0 order by all"
    ).pl()
    both = expected.join(found, on=["party_code", "month"], how="full", suffix="_found")
    wrong = both.filter(pl.col("exams").fill_null(0) != pl.col("exams_found").fill_null(0))
    assert wrong.is_empty(), wrong


@pytest.mark.parametrize("census", CENSUSES, ids=str)
def test_the_waiting_list_and_its_six_weeks_agree(demo, published, census):
    """A wrong clock start, reset or band shows here."""
    rows = truth.waiting_list(demo.path / "truth", census)
    found = published.execute(
        "select waiting_list_count, waiting_6_plus_count, waiting_13_plus_count "
        "from marts.rpt_waiting_times_monthly "
        "where org_level = 'network' and dm01_test = 'All' and census_on = ?",
        [census],
    ).fetchall()[0]
    waited = rows["waited"]
    assert found == (len(rows), int((waited >= 42).sum()), int((waited >= 91).sum()))


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
    # by the wall clock: of the hour that occurs twice an extract tells no instant
    found = published.sql(
        f"select {clock}_at_local as moment from marts.fct_exam_pathway "
        f"where {clock}_at_local is not null"
    ).pl()["moment"]
    told = Counter(found.to_list())
    assert len(found) >= 20
    invented, missing = told - expected, expected - told
    assert not invented
    assert not (is_told_by_all and missing)


@pytest.mark.parametrize("month", [date(2019, 10, 1), date(2022, 6, 1), date(2026, 2, 1)], ids=str)
def test_reported_within_28_days_agrees(demo, published, month):
    """Open reports must stay in the denominator."""
    within, acquired = truth.reported_within_28_days(demo.path / "truth", month)
    found = published.execute(
        "select reported_within_28_days_count, acquired_count "
        "from marts.rpt_report_turnaround_monthly where org_level = 'network' "
        "and modality_group = 'All' and priority_group = 'All' and acquired_month_on = ?",
        [month],
    ).fetchall()[0]
    assert found == (within, acquired)


@pytest.mark.parametrize("month", [date(2019, 5, 1), date(2024, 9, 1), date(2026, 3, 1)], ids=str)
def test_cross_site_reporting_agrees(demo, published, month):
    """The promise of October 2020 in one number."""
    crossed, reports = truth.cross_site_share(demo.path / "truth", month)
    found = published.execute(
        "select cross_site_count, network_report_count "
        "from marts.rpt_cross_site_reporting_monthly where acquired_org_level = 'network' "
        "and reported_org_code = 'All' and modality_group = 'All' and month_on = ?",
        [month],
    ).fetchall()[0]
    assert found == (crossed, reports)


@pytest.mark.parametrize("month", [date(2022, 6, 1), date(2026, 2, 1)], ids=str)
def test_reports_amended_agree(demo, published, month):
    """An addendum told twice, or a report sent again, must not count as an amendment."""
    found = published.execute(
        "select cast(numerator as bigint), cast(denominator as bigint) "
        "from marts.rpt_metrics_monthly where metric_id = 'R10' and org_level = 'network' "
        "and modality_group = 'All' and period_start_on = ?",
        [month],
    ).fetchall()[0]
    amended, verified = truth.amended_reports(demo.path / "truth", month)
    assert found == (amended, verified)
    assert amended > 0


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
