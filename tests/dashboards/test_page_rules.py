"""Pages choose and show. A finding here means a number is made where nobody can check it."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

DASHBOARDS = ROOT / "dashboards"
VIEWS = sorted(path for path in (DASHBOARDS / "views").glob("*.py") if path.stem != "__init__")
MODULES = sorted(DASHBOARDS.rglob("*.py"))
COMPONENTS = sorted((DASHBOARDS / "components").glob("*.py"))
STATEMENT = re.compile(r"\bselect\b.+\bfrom\b", re.IGNORECASE | re.DOTALL)
LENGTH = re.compile(r"\b(\d+|one|two|three|five|ten|fifteen) (seconds?|minutes?|hours?)\b", re.I)
ARITHMETIC = (ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
MAKERS = {"sum", "mean", "median", "quantile", "group_by", "agg", "pivot", "with_columns"}
MAKERS |= {"execute", "sql", "join", "filter"}
OPENS_DUCKDB = {"data/published.py", "sqllab/child.py", "sqllab/gate.py"}
DUCKDB_COMMON = {"connect", "DuckDBPyConnection", "DuckDBPyRelation", "tokenize", "token_type"}
DUCKDB_COMMON |= {"Error", "CatalogException", "InterruptException", "IOException"}
DUCKDB_COMMON |= {"OutOfMemoryException"}


def name(path: Path) -> str:
    return path.relative_to(DASHBOARDS).as_posix()


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("view", VIEWS, ids=name)
def test_a_view_is_short_and_says_its_grain_first(view):
    """A long view hides a calculation; a view without a grain hides what a number stands for."""
    text = view.read_text()
    assert len(text.splitlines()) <= 60
    assert (ast.get_docstring(ast.parse(text)) or "").startswith("One row per ")


@pytest.mark.parametrize("view", VIEWS, ids=name)
def test_a_view_computes_nothing_and_holds_no_sql(view):
    """The rate in a page and the rate in the mart will differ one day."""
    for node in ast.walk(ast.parse(view.read_text())):
        line = f"{name(view)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ARITHMETIC), f"{line} calculates"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in MAKERS, f"{line} calls {node.func.attr}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not STATEMENT.search(node.value), f"{line} holds SQL"


@pytest.mark.parametrize("module", COMPONENTS, ids=name)
def test_components_draw_what_they_are_given(module):
    """A component that fetches its own rows can show another build than its page."""
    for imported in imports(module):
        assert not imported.startswith(("duckdb", "dashboards.data", "dashboards.views"))
        assert not imported.startswith("dashboards.page")


@pytest.mark.parametrize("module", COMPONENTS, ids=name)
def test_components_do_not_aggregate(module):
    """A sum made while drawing is a number that no table holds."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in {"sum", "mean", "median", "quantile", "group_by", "agg"}


@pytest.mark.parametrize("module", [*COMPONENTS, *VIEWS], ids=name)
def test_no_rule_of_counting_is_written_into_a_page(module):
    """A page that says fifteen minutes goes on saying so when the warehouse counts twenty."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not LENGTH.search(node.value), f"{name(module)}:{node.lineno} {node.value}"


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_only_data_and_typed_sql_open_the_database_and_nobody_knows_the_pipelines(module):
    """The dashboards and the pipelines meet at the published file, and at one declared door."""
    found = imports(module)
    known = {imported for imported in found if imported.split(".")[0] == "pipelines"}
    if name(module) == "data/whatif.py":
        known = {imported for imported in known if not imported.startswith("pipelines.statistics")}
    assert not known
    if any(imported.split(".")[0] == "duckdb" for imported in found):
        assert name(module) in OPENS_DUCKDB


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_only_settings_reads_the_environment(module):
    """A switch read elsewhere is one no operator finds."""
    if name(module) == "settings.py":
        return
    for node in ast.walk(ast.parse(module.read_text())):
        attribute = getattr(node, "attr", getattr(node, "id", ""))
        assert attribute not in {"environ", "getenv"}, f"{name(module)} reads the environment"


def test_only_the_part_of_duckdb_that_both_versions_have_is_used():
    """A call that only one version knows breaks the other half of the installations."""
    used = {
        node.attr
        for path in sorted(OPENS_DUCKDB)
        for node in ast.walk(ast.parse((DASHBOARDS / path).read_text()))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "duckdb"
    }
    assert used <= DUCKDB_COMMON
