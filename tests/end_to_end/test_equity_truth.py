"""Who waits longer, against the truth: polars over what was made, nothing of pipelines or dbt.

The groups are made here a second time on purpose; where a figure differs, one of the two is wrong.
The warehouse is asked, because readers of so small a network get hardly a group.
"""

from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests import truth, truth_reporting
from tests.end_to_end import test_waiting_truth as waits

SECTORS = Path(__file__).parents[2] / "dbt_project/seeds/network/postcode_deprivation.csv"
MONTHS = waits.MONTHS
published, requests = waits.published, waits.requests
ETHNIC = {
    "White": "ABC",
    "Mixed": "DEFG",
    "Asian or Asian British": "HJKL",
    "Black or Black British": "MNP",
    "Other ethnic groups": "RS",
    "Not stated or not known": "Z",
}
QUINTILES = {1: "1 most deprived", 2: "2", 3: "3", 4: "4", 5: "5 least deprived"}
KINDS = ("deprivation_quintile", "ethnic_group")


@pytest.fixture(scope="module")
def warehouse(demo):
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def patients(demo):
    """One row per patient with the two groups; every patient of the demo has a postcode."""
    sectors = pl.read_csv(SECTORS)
    quintile = dict(sectors.select("postcode_sector", "deprivation_quintile").iter_rows())
    group = {code: name for name, codes in ETHNIC.items() for code in codes}
    return pl.read_parquet(demo.path / "truth" / "patients.parquet").select(
        "patient_no",
        deprivation_quintile=pl.col("postcode")
        .str.head(-2)
        .replace_strict(quintile)
        .replace_strict(QUINTILES),
        ethnic_group=pl.col("ethnic_category").replace_strict(group),
    )


def found(warehouse, metric_id: str, kind: str, month: date) -> dict[str, tuple]:
    """Numerator, denominator and value by group: the network, all modalities."""
    rows = warehouse.execute(
        "select patient_group, numerator, denominator, value from marts.rpt_equity_monthly "
        "where metric_id = ? and patient_group_kind = ? and period_start_on = ? "
        "and org_level = 'network' and modality_group = 'All'",
        [metric_id, kind, month],
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_six_weeks_and_more_agree_for_every_group(demo, patients, warehouse, month, kind):
    """One group that waits longer must not come from patients put into the wrong one."""
    listed = truth.waiting_list(demo.path / "truth", waits.last_day(month))
    rows = listed.join(patients, on="patient_no", validate="m:1").group_by(kind)
    late = (pl.col("waited") >= 42).sum()
    expected = {
        group: (late, count, pytest.approx(late / count))
        for group, late, count in rows.agg(late.alias("late"), pl.len()).iter_rows()
    }
    assert len(expected) > 1
    assert found(warehouse, "W02", kind, month) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_days_from_request_to_test_agree_for_every_group(
    requests, patients, warehouse, month, kind
):
    """The median of a group is taken over its tests; of fewer than five there is none."""
    done = requests.filter(
        pl.col("is_returned")
        & (pl.col("stream") == "listed")
        & pl.col("completed_on").is_not_null()
        & waits.of_month("started_on", month)
    ).join(patients, on="patient_no", validate="m:1")
    days = done.select(kind, days=(pl.col("started_on") - pl.col("clock_on")).dt.total_days())
    groups = days.filter(pl.col("days") >= 0).partition_by(kind, as_dict=True)
    for metric_id, share in (("W05", 0.5), ("W05P90", 0.9)):
        expected = {
            group: (None, len(part), None)
            if len(part) < waits.LEAST
            else (None, len(part), pytest.approx(part["days"].quantile(share, "linear")))
            for (group,), part in groups.items()
        }
        assert found(warehouse, metric_id, kind, month) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("month", [date(2022, 6, 1), date(2026, 2, 1)], ids=str)
def test_time_to_the_report_agrees_for_every_group(demo, patients, warehouse, month, kind):
    """Open reports of a group must stay in its percentile."""
    rows = warehouse.execute(
        "select patient_group, value, p90_hours from statistics.turnaround_by_patient_group "
        "where patient_group_kind = ? and period_start_on = ? and org_level = 'network' "
        "and modality_group = 'All'",
        [kind, month],
    ).fetchall()
    assert len(rows) > 3
    for group, *percentiles in rows:
        members = patients.filter(pl.col(kind) == group)
        expected = [
            truth_reporting.turnaround_percentile(demo.path / "truth", month, share, members)
            for share in (0.5, 0.9)
        ]
        # times are delivered to the minute
        assert percentiles == [x and pytest.approx(x, abs=1 / 30) for x in expected], group


def test_no_reader_is_told_of_a_group_of_one_to_four(published, warehouse):
    """Whoever may not see a small group must find none in the file, nor the row that tells it."""
    for table, size in (
        ("marts.rpt_equity_monthly", "denominator"),
        ("statistics.turnaround_by_patient_group", "denominator"),
    ):
        small = f"select count(*) from {table} where {size} between 1 and 4"
        assert warehouse.execute(small).fetchone()[0] > 0
        assert published.execute(small).fetchone() == (0,)
        rows = f"select count(*) from {table}"
        assert warehouse.execute(rows).fetchone() == published.execute(rows).fetchone()
        told = f"select count(*) from {table} where not is_withheld and {size} is null"
        assert published.execute(told).fetchone() == (0,)
    assert published.execute(
        "select count(*) from marts.rpt_equity_monthly where not is_withheld"
    ).fetchone()[0]
