"""Shared images, money and benefit lines of the demo against the truth the network knows."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests import truth_sharing as truth
from tests.compared import apart, published_cells

EXPECTED: dict[str, Callable[[Path], pl.DataFrame]] = {
    "C01": truth.priors_seen,
    "C03": truth.transfers,
    "C05": truth.meeting_cases,
    "F03": truth.outsourcing,
    "F04": truth.storage_held,
    "F05": truth.system_cost,
    "F06": truth.media_cost,
    "F07": truth.contract_price,
    "H01": truth.stays,
    "P01": truth.vacancies,
    "P02": truth.work_life,
} | {metric: partial(truth.repeats, days=days) for metric, days in truth.REPEAT_DAYS.items()}
# These find a patient at other hospitals, and a number may be merged before anything is known of it.
BY_PATIENT = {"C01", *truth.REPEAT_DAYS}
# Faults were put into the invoices of these months on purpose.
FAULTY = {"F03": date(2026, 1, 1)}


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("metric", sorted(EXPECTED))
def test_a_figure_of_sharing_or_money_is_that_of_the_truth_in_every_month(demo, published, metric):
    """A benefit is claimed on a figure that is not what happened."""
    expected = EXPECTED[metric](demo.path / "truth")
    found = published_cells(published, metric)
    until = FAULTY.get(metric, date(2026, 4, 1))
    expected, found = (rows.filter(pl.col("month") < until) for rows in (expected, found))
    assert len(expected) > 0
    merged = truth.merged_exams(demo.path / "truth") if metric in BY_PATIENT else {}
    allowed = pl.col("month").replace_strict(merged, default=0, return_dtype=pl.Float64) + 1e-6
    wrong = apart(metric, expected, found, ["month"], allowed)
    assert wrong.is_empty(), wrong


@pytest.mark.parametrize(
    ("metric", "measure"), [("C06", "failed_launches"), ("C07", "first_image_seconds")]
)
def test_a_metric_of_image_access_has_the_numbers_of_its_report(published, metric, measure):
    """Two definitions of one figure drift apart."""
    rows = published.execute(
        "select metrics.org_code, metrics.period_start_on, metrics.value, access.value, "
        "metrics.denominator = access.denominator from marts.rpt_metrics_monthly as metrics "
        "left join marts.rpt_image_access_monthly as access on metrics.org_code = access.org_code "
        "and metrics.org_level = access.org_level and metrics.period_start_on = access.month_on "
        "and access.measure = ? and access.access_context = 'All' "
        "where metrics.metric_id = ? and metrics.org_level <> 'trust'",
        [measure, metric],
    ).fetchall()
    assert len(rows) > 2
    for org, month, value, told, has_same_denominator in rows:
        assert value == pytest.approx(told), (org, month)
        assert has_same_denominator, (org, month)


def test_each_of_the_sixteen_benefit_lines_is_measured_or_names_the_feed_it_lacks(published):
    """A promise without a figure and without a reason is one that nobody follows."""
    rows = published.sql(
        "select benefit_id, evidence_status, evidence, needed_feeds, metric_latest_value, movement "
        "from marts.rpt_benefits_summary order by benefit_id"
    ).fetchall()
    feeds = published.sql("select distinct feed_kind from marts.rpt_feed_freshness").fetchall()
    assert [row[0] for row in rows] == [f"B{number:02d}" for number in range(1, 17)]
    for line, status, evidence, needed, value, _ in rows:
        assert any(kind in needed for (kind,) in feeds), (line, needed)
        if status == "no evidence":
            assert any(kind in evidence for (kind,) in feeds), (line, evidence)
        elif status == "measured":
            assert value is not None, line
    assert not [row[0] for row in rows if row[1] == "no metric yet"]
    moved = {row[0]: row[5] for row in rows if row[1] == "measured"}
    # their feeds reach back to before the programme
    assert "no baseline" not in {moved["B04"], moved["B09"]}
    # audit messages of images begin years after the baseline
    assert moved["B08"] == moved["B13"] == "no baseline"
