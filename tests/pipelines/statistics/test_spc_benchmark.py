"""The benchmark of the control charts: what it measures is what the warehouse stores."""

from benchmarks.bench_spc import QUICK_MONTHS, ROUNDS, measure


def test_the_stored_charts_are_those_of_each_series_alone():
    """Failing means that the told seconds are of other charts, or of tables that no longer exist."""
    told = measure(QUICK_MONTHS, 2 * ROUNDS)
    results = {line["name"]: line["value"] for line in told["results"]}
    assert results["series"] > 0 and results["differing_series"] == 0
