"""Pages of an audience that may not see small counts: never a hidden figure as nought."""

import json
import shutil
from pathlib import Path

import duckdb
import polars as pl
import published_build
import pytest
from conftest import PENNINE
from test_views import text_of

from dashboards.data.filters import Filters
from dashboards.data.published import PublishedFilesBroken, current_build
from dashboards.data.queries import metrics, waiting_times
from pipelines.publishing.disclosure import WITHHELD, Disclosure, follow, tell_counts, told_values
from pipelines.publishing.suppression import Limits

LIMITS = Limits(1, 4, 5, needs_secondary=True)
# Tables of which the invented build has every column that the rule needs.
COUNTED = (
    "marts.rpt_metrics_monthly",
    "marts.rpt_waiting_times_monthly",
    "marts.rpt_throughput_daily",
    "statistics.turnaround_survival",
    "statistics.metric_estimates",
)


def masked(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables of the file of the network, each masked one with its marker."""
    disclosure = Disclosure.load()
    told = {name: tell_counts(tables[name], disclosure.counts[name], LIMITS) for name in COUNTED}
    values = told_values(told[COUNTED[0]], told[COUNTED[-1]])
    points, rule = tables["statistics.spc_points"], disclosure.follows["statistics.spc_points"][0]
    rule = rule | {"empties": [name for name in rule["empties"] if name in points.columns]}
    rule = {key: part for key, part in rule.items() if key != "series"}
    told["statistics.spc_points"] = follow(points, rule, values)
    for name in tables:
        if name in disclosure.empty:
            told[name] = tables[name].clear()
        elif disclosure.is_masked(name) and name not in told:
            told[name] = tables[name].with_columns(pl.lit(None, pl.String).alias(WITHHELD))
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, published: Path, tables: dict) -> Path:
    """A published folder with files for demo, the network and analysts."""
    folder = tmp_path_factory.mktemp("audiences")
    shutil.copytree(published, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    demo = folder / manifest["audiences"]["demo"]["file"]
    for name in ("network", "analyst"):
        shutil.copy(demo, folder / f"warehouse_x_{name}.duckdb")
        manifest["audiences"][name] = {
            "file": f"warehouse_x_{name}.duckdb",
            "suppressed": name == "network",
            "kind": name,
            "rule": "counts of 1 to 4 are hidden",
        }
    with duckdb.connect(str(folder / "warehouse_x_network.duckdb")) as connection:
        for name, frame in masked(tables).items():
            connection.register("incoming", frame)
            connection.execute(f"create or replace table {name} as from incoming")
    published_build.write_json(folder / "manifest.json", manifest)
    return folder


def of(level: str, code: str, build) -> Filters:
    first, last = pl.date(2024, 4, 1), pl.date(2026, 3, 1)
    dates = pl.select(first=first, last=last).row(0)
    return Filters(level, code, code, "All", *dates)


@pytest.mark.parametrize("view", ["benefits_summary", "throughput", "data_quality"])
def test_a_page_opens_on_the_file_of_the_network(open_view, monkeypatch, folder, view):
    """Failing means that the board sees an error instead of a page."""
    monkeypatch.setenv("IMAGING_AUDIENCE", "network")
    app = open_view(view, folder, organisation=PENNINE)
    assert not app.exception and not app.error
    assert "counts of 1 to 4 are hidden" in text_of(app)


def test_a_hidden_figure_is_a_star_with_its_rule_and_never_nought(
    open_view, monkeypatch, folder
):  # fmt: skip
    """Failing means that a hidden count reads as none."""
    monkeypatch.setenv("IMAGING_AUDIENCE", "network")
    app = open_view("waiting_times", folder, organisation=PENNINE, months="All months")
    assert "It is not 0." in text_of(app)
    starred = [t.value for t in app.dataframe if (t.value == "*").any().any()]
    assert starred
    assert not any(WITHHELD in table.value.columns for table in app.dataframe)


def test_the_queries_name_what_is_hidden_of_a_row(folder: Path):
    """Failing means that a page cannot tell a hidden figure from one that is not stored."""
    build, demo = current_build(folder, "network"), current_build(folder, "demo")
    filters = of("trust", "RBV", build)
    bands = waiting_times.bands_latest(build, filters, "All")
    hidden = bands.filter(pl.col("waiting_count").is_null())
    assert bands.height == 14 and hidden[WITHHELD].to_list() == ["waiting_count"] * hidden.height
    months = metrics.by_month(build, filters, "W03")
    lost = months.filter(pl.col("value").is_null())
    assert lost.height and lost[WITHHELD].str.contains("value").all()
    assert WITHHELD not in metrics.by_month(demo, filters, "W03").columns


def test_analysts_read_pages_of_the_network_and_type_sql_on_their_own_file(folder: Path):
    """Failing means that rows are shown on a page, or that analysts cannot reach them at all."""
    build = current_build(folder, "analyst")
    assert build.path.name == "warehouse_x_network.duckdb"
    assert build.sql_path.name == "warehouse_x_analyst.duckdb"
    demo = current_build(folder, "demo")
    assert demo.path == demo.sql_path and not demo.rule
    manifest = json.loads((folder / "manifest.json").read_text())
    alone = folder / "alone"
    alone.mkdir()
    shutil.copy(folder / "warehouse_x_analyst.duckdb", alone)
    manifest["audiences"] = {"analyst": manifest["audiences"]["analyst"]}
    published_build.write_json(alone / "manifest.json", manifest)
    with pytest.raises(PublishedFilesBroken, match="no file of the network"):
        current_build(alone, "analyst")
