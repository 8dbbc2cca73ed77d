"""The published reporting figures against the truth the synthetic network knows."""

import shutil
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from tests import truth_reporting as truth
from tests.compared import apart, published_cells
from tests.warehouse.conftest import Project
from tests.warehouse.tiny_landing import write_landing_file

Connection = duckdb.DuckDBPyConnection
OUTPUT_METRICS = (("R09", "minutes", "hours"), ("R12", "home", "placed"))
MONTHS = [date(2023, 8, 1), date(2024, 11, 1), date(2026, 2, 1)]


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


def metric(published: Connection, metric_id: str, level: str) -> pl.DataFrame:
    """One row per organisation of a level and month, all modalities."""
    return published.sql(
        "select org_code as party_code, period_start_on as month_on, numerator, denominator "
        "from marts.rpt_metrics_monthly where metric_id = ? and org_level = ? "
        "and modality_group = 'All' order by all",
        params=[metric_id, level],
    ).pl()


def complete(frame: pl.DataFrame, published: Connection) -> pl.DataFrame:
    """Rows of the months that the data reach the end of."""
    last = published.sql(
        "select max(period_start_on) from marts.rpt_metrics_monthly where metric_id = 'T01'"
    ).fetchall()[0][0]
    return frame.filter(pl.col("month_on") <= last)


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_reported_within_the_maximum_agrees_for_every_category(demo, published, month):
    """Failing means that a category has other exams or another maximum, or that open ones fell out."""
    expected = truth.within_maximum(demo.path / "truth", month)
    found = published.sql(
        "select category, acquired_count as exams, within_maximum_count as within "
        "from marts.rpt_report_categories_monthly where org_level = 'network' "
        "and modality_group = 'All' and acquired_month_on = ? order by category",
        params=[month],
    ).pl()
    assert expected.rows() == found.rows()
    assert len(expected) > 2
    total = metric(published, "R03", "network").filter(pl.col("month_on") == month)
    assert total.select("numerator", "denominator").rows() == [
        (expected["within"].sum(), expected["exams"].sum())
    ]


def test_reported_within_the_maximum_agrees_for_every_party_and_month(demo, published):
    """Failing means that a trust is told off, or praised, for exams that are not its own."""
    found = published_cells(published, "R03", "party")
    expected = pl.concat(
        truth.within_maximum(demo.path / "truth", month, by="party_code").select(
            "party_code", month=pl.lit(month), numerator="within", denominator="exams"
        )
        for month in found["month"].unique().sort()
    )
    wrong = apart("R03", expected, found, ["party_code", "month"])
    assert wrong.is_empty(), wrong


def test_the_median_from_exam_to_report_agrees_in_every_month(demo, published):
    """Failing means that open exams are left out, and slow reporting looks fast."""
    found = published.sql(
        "select acquired_month_on as month, p50_hours as value from statistics.turnaround_survival "
        "where org_level = 'network' and modality_group = 'All' order by all"
    ).pl()
    rows = [
        (month, truth.turnaround_percentile(demo.path / "truth", month, 0.5))
        for month in found["month"]
    ]
    expected = pl.DataFrame(rows, schema={"month": pl.Date, "value": pl.Float64}, orient="row")
    # times are delivered to the minute
    wrong = apart("R01", expected, found, ["month"], 1 / 30)
    assert wrong.is_empty(), wrong


@pytest.mark.parametrize("month", [date(2019, 10, 1), date(2022, 6, 1), *MONTHS[1:]], ids=str)
def test_median_and_ninth_decile_of_turnaround_agree(demo, published, month):
    """Failing means that open exams are left out, and slow reporting looks fast."""
    folder = demo.path / "truth"
    found = published.execute(
        "select p50_hours, p90_hours from statistics.turnaround_survival "
        "where org_level = 'network' and modality_group = 'All' and acquired_month_on = ?",
        [month],
    ).fetchall()
    expected = tuple(truth.turnaround_percentile(folder, month, share) for share in (0.5, 0.9))
    # times are delivered to the minute
    assert found == [pytest.approx(expected, abs=1 / 30)]


def assert_rota_figures_agree(folder: Path, rota: pl.DataFrame, published: Connection) -> None:
    """R07, R09, R12 and R13 of parties and network are those of the truth, and no others."""
    network, parties = (complete(rows, published) for rows in truth.months_shown(folder, rota))
    counted = complete(truth.against_rota(folder, rota), published)
    expected = counted.join(parties, on=["party_code", "month_on"], how="semi")
    keys = ["party_code", "month"]
    outside = cells_of(expected, "outside", "reports")
    wrong = apart("R13", outside, published_cells(published, "R13", "party"), keys)
    assert wrong.is_empty(), wrong
    paid = cells_of(expected.filter(pl.col("inside") > 0), "extra", "inside")
    wrong = apart("R07", paid, published_cells(published, "R07", "party"), keys, 1e-6)
    assert wrong.is_empty(), wrong

    whole = counted.group_by("month_on").agg(pl.col("outside", "reports").sum()).sort("month_on")
    whole = whole.join(network, on="month_on", how="semi")
    found = metric(published, "R13", "network").drop("party_code")
    assert found.rows() == whole.select("month_on", "outside", "reports").rows()

    for metric_id, numerator, denominator in OUTPUT_METRICS:
        of_network = cells_of(network, numerator, denominator)
        found = published_cells(published, metric_id)
        wrong = apart(metric_id, of_network, found, ["month"], 1e-6)
        assert wrong.is_empty(), (metric_id, wrong)
        of_parties = cells_of(parties, numerator, denominator)
        found = published_cells(published, metric_id, "party")
        wrong = apart(metric_id, of_parties, found, keys, 1e-6)
        assert wrong.is_empty(), (metric_id, wrong)


def cells_of(rows: pl.DataFrame, numerator: str, denominator: str) -> pl.DataFrame:
    """Rows by month as cells of a metric."""
    return rows.rename({"month_on": "month", numerator: "numerator", denominator: "denominator"})


def test_figures_of_the_rota_agree_and_too_few_readers_are_not_shown(demo, published):
    """Failing means that a person's output can be read, or that a report is in a wrong session."""
    folder = demo.path / "truth"
    rota = truth.sessions(folder)
    assert truth.against_rota(folder, rota)["inside"].sum() > 0
    assert_rota_figures_agree(folder, rota, published)
    assert not any(len(rows) for rows in truth.months_shown(folder, rota))


# Start and end on the clock, pay, place, staff group and team; the last goes over midnight.
SHIFTS = [
    (8, 12, "plain", "hospital", "consultant_radiologist", "cross_sectional"),
    (10, 14, "WLI", "home", "consultant_radiologist", "cross_sectional"),
    (9, 17, "plain", None, "reporting_radiographer", "plain_film"),
    (12, 20, "insourced", "home", "consultant_radiologist", "plain_film"),
    (18, 30, "on_call", "home", "consultant_radiologist", "cross_sectional"),
]
QUARTER = [date(2025, 1, 1) + timedelta(days=n) for n in range(120)]


def dense_rota(parties: list[str]) -> list[dict[str, Any]]:
    """Sessions on each day of four months, one to four alike; of two small parties one has no March.

    The largest sends no rota of plain film in April.
    """
    rows = []
    for party, day in product(parties, QUARTER):
        if (party, day.month) == (parties[1], 3):
            continue
        for first, last, pay, place, staff_group, team in SHIFTS:
            if (party, day.month, team) == (parties[-1], 4, "plain_film"):
                continue
            start, end = (datetime.combine(day, time()) + timedelta(hours=h) for h in (first, last))
            utc = [t.replace(tzinfo=truth.LONDON).astimezone(UTC) for t in (start, end)]
            session = {
                "party_code": party,
                "month_on": day.replace(day=1),
                "team": team,
                "staff_group": staff_group,
                "pay_type": pay,
                "place": place,
                "session_start_local": start,
                "session_end_local": end,
                "session_start_utc": utc[0],
                "session_end_utc": utc[1],
                "received_at": datetime(2026, 1, 1, tzinfo=UTC),
                "source_sha": "dense",
                "feed_id": f"reporting_rota_{party}",
            }
            rows += [session] * (1 + parties.index(party) // 2)
    return [row | {"row_no": number} for number, row in enumerate(rows)]


@pytest.fixture(scope="module")
def dense(demo, tmp_path_factory):
    """The demo's warehouse with reporting counted against a rota as dense as a real one."""
    folder = tmp_path_factory.mktemp("dense")
    warehouse = folder / "warehouse.duckdb"
    shutil.copy(demo.path / "warehouse.duckdb", warehouse)
    shutil.copytree(demo.path / "landing", folder / "landing")
    for file in (folder / "landing" / "reporting_rota").glob("*.parquet"):
        file.unlink()
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.sql("select party_code from marts.dim_party order by all").fetchall()
    rows = dense_rota([party for (party,) in found])
    write_landing_file(folder / "landing", "reporting_rota", "dense", rows)
    project = Project(folder / "target")
    built = project.run(folder / "landing", warehouse, "run", "--select", *AFTER_THE_ROTA)
    assert built.success, built.exception
    names = {f"session_{edge}_{zone}": f"session_{edge}_at{suffix}" for edge, zone, suffix in EDGES}
    rota = truth.measured(pl.DataFrame(rows, infer_schema_length=None).rename(names))
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        yield rota, connection


EDGES = [
    (edge, zone, suffix)
    for edge in ("start", "end")
    for zone, suffix in (("utc", ""), ("local", "_local"))
]
AFTER_THE_ROTA = [
    "stg_workforce__reporting_sessions",
    "int_reporting_session_days",
    "int_reporting_sessions",
    "int_reporting_readers_weekly",
    "int_reporting_months_shown",
    "int_network_reports",
    "int_reports_against_rota",
    "int_reporting_parts_monthly",
    "rpt_reporting_output_weekly",
    "rpt_metrics_monthly",
]


def test_figures_of_a_dense_rota_agree(demo, dense):
    """Failing means that a report is in a wrong session, or output is of wrong hours or minutes."""
    rota, warehouse = dense
    folder = demo.path / "truth"
    counted = truth.against_rota(folder, rota)
    assert counted["extra"].sum() > 5
    assert counted["outside"].sum() > 5
    network, parties = truth.months_shown(folder, rota)
    assert len(network) == 4
    # in March the one small party left could be had from the network less the others
    assert parties["month_on"].dt.month().unique().sort().to_list() == [1, 2, 4]
    assert_rota_figures_agree(folder, rota, warehouse)


def test_reports_of_a_modality_group_are_shown_where_every_team_has_readers_enough(dense):
    """Failing means that the work of a team of one or two people can be read from its modality."""
    rota, warehouse = dense
    alike = rota.group_by("party_code", "month_on", "session_start_at", "team", "staff_group")
    most = alike.len().group_by("party_code").agg(pl.col("len").max())
    found = warehouse.sql(
        "select distinct org_code as party_code, period_start_on as month_on "
        "from marts.rpt_metrics_monthly where metric_id = 'R13' and org_level = 'party' "
        "and modality_group = 'CT'"
    ).pl()
    # in each team one consultant and one more are at work at once for each that is alike
    large = most.filter(2 * pl.col("len") >= truth.FEWEST_READERS)["party_code"]
    assert set(found["party_code"]) == set(large)
    assert set(found["month_on"].dt.month()) == {1, 2, 4}


def test_output_by_week_agrees_with_the_dense_rota(demo, dense):
    """Failing means that the output of a team is of other hours, or of too few readers."""
    rota, warehouse = dense
    network, parties = truth.shown(truth.rostered(demo.path / "truth", rota, "week_on"), "week_on")
    for level, wanted in (("network", network), ("party", parties)):
        found = warehouse.sql(
            "select week_start_on, weighted_minutes, rostered_hours "
            "from marts.rpt_reporting_output_weekly where org_level = ? and team = 'All' "
            "and is_shown order by org_code, week_start_on",
            params=[level],
        ).pl()
        assert found["week_start_on"].to_list() == wanted["week_on"].to_list()
        assert found["rostered_hours"].to_list() == pytest.approx(wanted["hours"].to_list())
        assert found["weighted_minutes"].to_list() == pytest.approx(wanted["minutes"].to_list())
