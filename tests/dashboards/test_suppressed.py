"""Pages of an audience that may not see small counts: never a hidden figure as nought."""

import json
import shutil
from pathlib import Path

import polars as pl
import published_build
import pytest
from conftest import PENNINE
from test_views import text_of

from benchmarks import hidden_cells
from dashboards.data.filters import Filters
from dashboards.data.published import PublishedFilesBroken, current_build
from dashboards.data.queries import metrics, waiting_times
from pipelines.publishing.disclosure import WITHHELD


def of(level: str, code: str, build) -> Filters:
    first, last = pl.date(2024, 4, 1), pl.date(2026, 3, 1)
    dates = pl.select(first=first, last=last).row(0)
    return Filters(level, code, code, "All", *dates)


@pytest.mark.parametrize(
    "view",
    ["benefits_summary", "throughput", "data_quality", "image_access", "scanner_utilisation"],
)
def test_a_page_opens_on_the_file_of_the_network(open_view, monkeypatch, audiences, view):
    """Failing means that the board sees an error instead of a page."""
    monkeypatch.setenv("IMAGING_AUDIENCE", "network")
    app = open_view(view, audiences, organisation=PENNINE)
    assert not app.exception and not app.error
    assert "counts of 1 to 4 are hidden" in text_of(app)


def test_a_hidden_figure_is_a_star_with_its_rule_and_never_nought(
    open_view, monkeypatch, audiences
):  # fmt: skip
    """Failing means that a hidden count reads as none."""
    monkeypatch.setenv("IMAGING_AUDIENCE", "network")
    app = open_view("waiting_times", audiences, organisation=PENNINE, months="All months")
    assert "It is not 0." in text_of(app)
    starred = [t.value for t in app.dataframe if (t.value == "*").any().any()]
    assert starred
    assert not any(WITHHELD in table.value.columns for table in app.dataframe)


def test_the_queries_name_what_is_hidden_of_a_row(audiences: Path):
    """Failing means that a page cannot tell a hidden figure from one that is not stored."""
    build, demo = current_build(audiences, "network"), current_build(audiences, "demo")
    filters = of("trust", "RBV", build)
    bands = waiting_times.bands_latest(build, filters, "All")
    hidden = bands.filter(pl.col("waiting_count").is_null())
    assert bands.height == 14 and hidden[WITHHELD].to_list() == ["waiting_count"] * hidden.height
    months = metrics.by_month(build, filters, "W03")
    lost = months.filter(pl.col("value").is_null())
    assert lost.height and lost[WITHHELD].str.contains("value").all()
    assert WITHHELD not in metrics.by_month(demo, filters, "W03").columns


def test_analysts_read_pages_of_the_network_and_type_sql_on_their_own_file(audiences: Path):
    """Failing means that rows are shown on a page, or that analysts cannot reach them at all."""
    build = current_build(audiences, "analyst")
    assert build.path.name == "warehouse_x_network.duckdb"
    assert build.sql_path.name == "warehouse_x_analyst.duckdb"
    demo = current_build(audiences, "demo")
    assert demo.path == demo.sql_path and not demo.rule
    manifest = json.loads((audiences / "manifest.json").read_text())
    alone = audiences / "alone"
    alone.mkdir()
    shutil.copy(audiences / "warehouse_x_analyst.duckdb", alone)
    manifest["audiences"] = {"analyst": manifest["audiences"]["analyst"]}
    published_build.write_json(alone / "manifest.json", manifest)
    with pytest.raises(PublishedFilesBroken, match="no file of the network"):
        current_build(alone, "analyst")


def test_at_most_a_fifth_of_what_the_boards_pages_ask_for_is_hidden(audiences: Path):
    """Failing means that the rule of small counts leaves a board with holes instead of a picture."""
    told = hidden_cells.measure(audiences)
    shared = told.filter(query="benefits.cross_site_by_year").row(0, named=True)
    # not a measure of nothing: the pages show counts, some of them are hidden
    assert shared["cells"] > 300 and shared["hidden"] > 0
    assert hidden_cells.share(told) <= hidden_cells.AIM
