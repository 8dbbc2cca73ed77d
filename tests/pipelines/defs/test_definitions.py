"""The Dagster graph: a failure here means that a run would not start, or that it changed unseen."""

import ast
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.defs.automation import range_tags
from pipelines.defs.harvest.feeds import judged_with
from pipelines.defs.partitions import MOST_DAYS, is_of_run
from pipelines.feeds import FEEDS
from pipelines.settings import PROJECT_ROOT, Settings
from pipelines.sources.inbox import Delivery
from pipelines.warehouse import ensure_manifest

DEFS = sorted((PROJECT_ROOT / "pipelines" / "defs").rglob("*.py"))
GRAPH = Path(__file__).with_name("graph.txt")
# In the order of the feeds.
SHEETS = [name for name in FEEDS if name in FEEDS["monthly_workbook"].lands_beside]
STAGE_WORDS = {
    "sources",
    "harvest",
    "landing",
    "staging",
    "intermediate",
    "marts",
    "statistics",
    "gate",
    "publish",
}


@pytest.fixture(scope="module")
def definitions(dbt_environment):
    ensure_manifest(Settings().dbt_project)
    from pipelines.definitions import defs

    return defs()


@pytest.fixture(scope="module")
def graph(definitions):
    return definitions.resolve_asset_graph()


def test_definitions_load(definitions):
    """A broken definition stops every run."""
    dg.Definitions.validate_loadable(definitions)


def test_every_group_is_a_stage_word(graph):
    """An operator finds a stage by the same word everywhere."""
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups <= STAGE_WORDS


def test_every_asset_has_a_description_an_owner_and_a_kind(graph):
    """An asset without them leaves its reader alone."""
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, f"{key.to_user_string()} has no description"
        assert node.owners, f"{key.to_user_string()} has no owner"
        assert node.kinds, f"{key.to_user_string()} has no kind"


def test_harvest_is_partitioned_by_delivery_day(graph):
    """Without day partitions a late file could not be harvested by its day."""
    harvest = [key for key in graph.get_all_asset_keys() if key.path[0] == "harvest"]
    assert len(harvest) == len(FEEDS)
    assert all(graph.get(key).partitions_def is not None for key in harvest)


def test_a_run_over_years_of_deliveries_has_few_days_and_takes_all_of_them():
    """Failing means that an old file in the inbox costs minutes, or is never read."""
    newest = date(2026, 3, 31)
    found = [date(2018, 5, 1), date(2026, 1, 7), newest]
    tags = range_tags([Delivery("rota", Path("rota.csv"), day) for day in found])
    first, last = (date.fromisoformat(tag) for tag in tags.values())
    days = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    assert len(days) == MOST_DAYS and last == newest
    assert all(is_of_run(day, days) for day in found)
    assert not is_of_run(date(2018, 5, 1), {newest}), "a day by itself is that day"
    assert set(range_tags([], today=newest).values()) == {str(newest)}


def test_a_refused_delivery_holds_up_the_harvest_of_no_other_feed(graph):
    """Failing means that one broken workbook keeps the files of other feeds and parties out."""
    for key in graph.get_all_asset_keys():
        if key.path[0] == "harvest":
            assert not [up for up in graph.get(key).parent_keys if up.path[0] == "harvest"], key


def test_feeds_are_judged_with_the_workbooks_that_bring_rows_of_them():
    """Without it, a refused sheet would not close the gate of its own run."""
    assert judged_with(FEEDS["monthly_workbook"]) == ["monthly_workbook", *SHEETS]
    assert judged_with(FEEDS["dicom"]) == ["dicom"], "doses are no feed"


def test_the_graph_changes_only_in_review(definitions, graph):
    """The committed list shows what a change does to assets, checks, jobs and schedules.

    After an intended change: IMAGING_WRITE_GRAPH is not needed, copy the printed text to graph.txt.
    """
    lines = sorted(f"asset {key.to_user_string()}" for key in graph.materializable_asset_keys)
    checks = [
        key for key in graph.asset_check_keys if key.asset_key.path[0] in ("harvest", "landing")
    ]
    lines += sorted(f"check {k.asset_key.to_user_string()} {k.name}" for k in checks)
    lines += [f"job {job.name}" for job in definitions.jobs]
    lines += [f"schedule {schedule.name}" for schedule in definitions.schedules]
    lines += [f"sensor {sensor.name}" for sensor in definitions.sensors]
    assert GRAPH.read_text() == "\n".join(lines) + "\n", "\n".join(lines)


def test_every_harvest_is_followed_by_a_blocking_contract_check(graph):
    """A check that does not block would let a refused delivery reach the marts."""
    for key in graph.asset_check_keys:
        if key.name in ("contract_holds", "received_is_landed_plus_rejected"):
            assert graph.get(key).blocking, key


@pytest.mark.parametrize("module", DEFS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_asset_bodies_are_thin(module):
    """A long body is logic that no test can reach without Dagster."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 25, f"{module}:{node.lineno}: {node.name} has {length} lines"
