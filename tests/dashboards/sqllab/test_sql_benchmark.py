"""The benchmark of typed SQL measures what it says. A finding here makes its figures worthless."""

import duckdb
import pytest

from benchmarks import bench_sql
from dashboards.sqllab import broker


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict:
    file = tmp_path_factory.mktemp("bench") / "demo_bench.duckdb"
    with duckdb.connect(str(file)) as con:
        con.execute(bench_sql.TABLE.format(rows=2_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_sql, "RUNAWAYS", {"huge_text": bench_sql.RUNAWAYS["huge_text"]})
        patch.setattr(bench_sql, "QUERIES", {"group": bench_sql.QUERIES["group"]})
        patch.setattr(bench_sql, "RUNAWAY_LIMITS", broker.Limits(seconds=0.5, memory_mb=128))
        return bench_sql.measure(file, 2_000, rounds=1)


def test_overhead_is_the_broker_less_the_same_query_without_it(measured):
    """Failing means that the aim is held against another figure."""
    (row,) = measured["tables"]["milliseconds, medians"]
    assert row["overhead"] == row["broker"] - row["in_process"]
    assert row["overhead_first"] == row["first"] - row["in_process"]
    assert measured["ratios"]["sql_overhead_ms"] == row["overhead"]
    assert measured["ratios"]["sql_overhead_first_ms"] == row["overhead_first"]


def test_a_runaway_query_of_the_benchmark_is_stopped(measured):
    """Failing means that how late a query ends is told of queries that just ended."""
    (row,) = measured["tables"]["runaway queries, limit 1 s"]
    assert "needed more than" in row["ended"]
