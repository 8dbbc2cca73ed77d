"""The benchmark of the pages measures what it says. A finding here makes its figures worthless."""

import json

import published_build
import pytest

from benchmarks import bench_dashboards
from benchmarks.report import write_report
from dashboards.contents import ENTRIES

LITTLE = bench_dashboards.Amount(
    warm=1, changes=2, sessions=2, session_changes=1, arrive=0.5, think=0.5, query_repeats=1
)
KINDS = ("load_cold", "load_warm", "change_uncached", "change_cached")


@pytest.fixture(scope="module")
def document(tmp_path_factory, tables) -> dict:
    published = tmp_path_factory.mktemp("published")
    published_build.write_build(published, found=tables)
    return bench_dashboards.measure(published, LITTLE, ["throughput"])


def test_a_page_and_the_bare_page_are_loaded_and_changed_in_the_same_run(document):
    """Failing means that a ratio compares with nothing, or that a kind is never measured."""
    rows = {row["what"]: row for row in document["tables"]["milliseconds by page"]}
    assert [rows[kind]["samples"] for kind in KINDS] == [1, 1, 2, 2]
    assert all(rows[kind]["bare_p50"] > 0 for kind in KINDS)
    assert rows["change_cached"]["charts"] == 5
    assert {f"{kind}_over_bare_page" for kind in KINDS} <= set(document["ratios"])
    assert document["missing"] == []


def test_readers_at_once_are_measured_with_the_memory_of_their_server(document):
    """Failing means that the server was not under load, or was not looked at."""
    results = {row["name"]: row for row in document["results"]}
    assert (
        results["change_together_whole_ms"]["p95"] >= results["change_together_whole_ms"]["value"]
    )
    assert document["ratios"]["server_memory_mb"] > 50
    assert set(bench_dashboards.AIMS) <= set(document["ratios"])
    assert results["exams"]["value"] > 0


def test_json_is_all_that_is_printed(document, capsys):
    """Failing means that a script cannot read the figures."""
    write_report(document, as_json=True)
    assert json.loads(capsys.readouterr().out)["aims"] == bench_dashboards.AIMS


def test_every_page_with_a_filter_has_options_to_change_to(tmp_path, tables):
    """Failing means that the filter of a page is not measured, in silence."""
    published_build.write_build(tmp_path, found=tables)
    build = bench_dashboards.current_build(tmp_path, "demo")
    assert build
    for entry in ENTRIES:
        _, options = bench_dashboards.steps(entry, build)
        assert bool(options) == (entry.pick_organisation or entry.pick_effect), entry.view
