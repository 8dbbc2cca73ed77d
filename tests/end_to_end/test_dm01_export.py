"""The monthly return out of the demo network: the rules that the published file keeps."""

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.settings import PROJECT_ROOT
from tests.demo_home import Home

MONTH, CENSUS = "2026-01", "2026-01-31"
HEADINGS = PROJECT_ROOT / "tests" / "end_to_end" / "dm01_published_heading.csv"
BANDS = slice(8, 22)


@pytest.fixture(scope="module")
def returned(demo: Home, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The return of the month as a reader of the file sees it, all text."""
    folder = tmp_path_factory.mktemp("dm01")
    done = demo.imaging("export", "dm01", "--month", MONTH, "--to", str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = Path(folder).glob("*.csv")
    return pl.read_csv(path, infer_schema=False)


def numbers(table: pl.DataFrame, columns: slice) -> pl.DataFrame:
    """The counts of the columns, as integers; a cell that is none fails."""
    return table.select(pl.col(table.columns[columns]).cast(pl.Int64, strict=True))


def test_the_return_has_the_columns_of_the_published_file(returned):
    """Failure: whoever collects the return cannot load it."""
    assert ",".join(returned.columns) == HEADINGS.read_text().strip()


def test_each_trust_and_test_has_one_row_of_the_month(returned):
    """Failure: a trust reports a test twice, or another month."""
    assert returned.select("Provider Code", "Diagnostic ID").is_unique().all()
    assert returned["Reporting Period"].unique().to_list() == [CENSUS]
    assert returned["Regional Team Code"].unique().to_list() == ["Y62"]
    assert returned["Diagnostic Category"].unique().to_list() == ["Imaging"]


def test_bands_add_up_to_the_list_and_to_its_late_parts(returned):
    """Failure: the bands of a row and its totals contradict each other."""
    bands = numbers(returned, BANDS)
    total = returned["Total Waiting List"].cast(pl.Int64)
    late = returned["Number waiting 6+ Weeks"].cast(pl.Int64)
    latest = returned["Number waiting 13+ Weeks"].cast(pl.Int64)
    assert (bands.sum_horizontal() == total).all()
    assert (bands[:, 6:].sum_horizontal() == late).all()
    assert (bands[:, 13] == latest).all()
    assert (late >= latest).all()


def test_the_percentage_is_a_fraction_rounded_half_up(returned):
    """Failure: a share differs from the published one in its third decimal."""
    columns = ("Number waiting 6+ Weeks", "Total Waiting List", "Percentage waiting 6+ weeks")
    for late, total, share in returned.select(columns).iter_rows():
        exact = Decimal(late) / Decimal(total) if int(total) else Decimal(0)
        assert Decimal(share) == exact.quantize(Decimal("0.001"), ROUND_HALF_UP)


def test_no_row_is_all_zero_and_no_count_negative(returned):
    """Failure: "nothing to report" is reported as a list of 0."""
    counts = numbers(returned, slice(4, 7)).hstack(numbers(returned, slice(8, 25)))
    assert (counts.sum_horizontal() > 0).all()
    assert (counts.min_horizontal() >= 0).all()


def test_the_return_counts_what_the_pages_show(returned, demo):
    """Failure: the return and the waiting-times page tell two numbers."""
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        (shown,) = connection.sql(
            "select sum(waiting_list_count) as list, sum(waiting_6_plus_count) as late, "
            "sum(activity_waiting_list_count + activity_planned_count "
            "+ activity_unscheduled_count) as tests from marts.rpt_waiting_times_monthly "
            f"where org_level = 'trust' and org_code <> 'Unknown' and dm01_test <> 'All' "
            f"and census_on = '{CENSUS}'"
        ).fetchall()
    sums = numbers(returned, slice(4, 6)).sum().row(0)
    assert (*sums, numbers(returned, slice(22, 25)).sum_horizontal().sum()) == shown


def test_a_month_that_is_not_complete_is_refused_by_name(demo, tmp_path):
    """Failure: half a month goes out as a return."""
    done = demo.imaging("export", "dm01", "--month", "2031-01", "--to", str(tmp_path))
    assert done.returncode != 0
    assert "no complete month 2031-01" in done.stderr
    assert not list(tmp_path.iterdir())
