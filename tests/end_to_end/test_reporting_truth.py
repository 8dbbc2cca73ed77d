"""The published reporting figures against the truth the synthetic network knows."""

from datetime import date

import duckdb
import polars as pl
import pytest

from tests import truth_reporting as truth

MONTHS = [date(2023, 8, 1), date(2024, 11, 1), date(2026, 2, 1)]


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


def metric(published: duckdb.DuckDBPyConnection, metric_id: str, level: str) -> pl.DataFrame:
    """One row per organisation of a level and month, all modalities."""
    return published.sql(
        "select org_code as party_code, period_start_on as month_on, numerator, denominator "
        "from marts.rpt_metrics_monthly where metric_id = ? and org_level = ? "
        "and modality_group = 'All' order by all",
        params=[metric_id, level],
    ).pl()


def complete(frame: pl.DataFrame, published: duckdb.DuckDBPyConnection) -> pl.DataFrame:
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


def test_reports_in_and_outside_rostered_sessions_agree(demo, published):
    """Failing means that extra pay, or reading that no rota shows, is counted wrongly."""
    expected = complete(truth.against_rota(demo.path / "truth"), published)
    assert expected["inside"].sum() > 0
    outside = metric(published, "R13", "party")
    assert outside.rows() == [
        (party, month, float(out), float(reports))
        for party, month, reports, out in expected.select(
            "party_code", "month_on", "reports", "outside"
        ).rows()
    ]
    inside = expected.filter(pl.col("inside") > 0)
    paid = metric(published, "R07", "party")
    assert paid["party_code"].to_list() == inside["party_code"].to_list()
    assert paid["denominator"].to_list() == inside["inside"].to_list()
    assert paid["numerator"].to_list() == pytest.approx(inside["extra"].to_list())


def test_output_and_home_hours_agree_and_too_few_readers_are_not_shown(demo, published):
    """Failing means that a person's output can be read, or that a team's is wrong."""
    parties = complete(truth.rostered(demo.path / "truth"), published)
    figures = ("minutes", "hours", "home", "placed")
    network = (
        parties.group_by("month_on")
        .agg(pl.col(*figures).sum(), pl.col("readers").sum())
        .filter(pl.col("readers") >= truth.FEWEST_READERS)
        .sort("month_on")
    )
    too_few = parties.filter(pl.col("readers") < truth.FEWEST_READERS)
    left_out = too_few.group_by("month_on").agg(rest=pl.col("readers").sum())
    shown = parties.join(left_out, on="month_on", how="left").filter(
        (pl.col("readers") >= truth.FEWEST_READERS)
        & (pl.col("rest").is_null() | (pl.col("rest") >= truth.FEWEST_READERS))
    )
    for metric_id, numerator, denominator in (
        ("R09", "minutes", "hours"),
        ("R12", "home", "placed"),
    ):
        for level, expected in (("network", network), ("party", shown)):
            found = metric(published, metric_id, level)
            assert found["month_on"].to_list() == expected["month_on"].to_list(), metric_id
            for name, parts in (("numerator", numerator), ("denominator", denominator)):
                told, true = found[name].to_list(), expected[parts].to_list()
                assert told == pytest.approx(true), (metric_id, level)
