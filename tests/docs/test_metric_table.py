"""The page of every metric against the truth: none missing, none without its proof or a reason."""

import ast

import pytest

from tests import metric_table


@pytest.fixture(scope="module")
def table() -> dict[str, list[str]]:
    """The cells of each line of the page's table, by metric."""
    lines = metric_table.PAGE.read_text("utf-8").split(metric_table.HEAD)[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines.splitlines()[2:]]
    return {row[0].split(" ")[0]: row for row in cells}


def test_every_metric_of_the_registry_is_on_the_page_with_its_model(table):
    """Failure: a metric is published that nobody held against what happened."""
    models = metric_table.models()
    assert {metric: row[1].strip("`") for metric, row in table.items()} == {
        metric: models[metric] for metric in metric_table.registry()
    }


def test_a_metric_with_few_cells_has_its_reason_and_no_other_has_one(table):
    """Failure: two equal cells pass for a proof, or a reason is given that no longer holds."""
    few = {metric for metric, row in table.items() if int(row[4]) < metric_table.ENOUGH}
    assert few == set(metric_table.FEWER)
    for metric in few:
        assert metric_table.FEWER[metric] in table[metric][8]
    assert not [row for row in table.values() if "NO REASON GIVEN" in row[8]]
    apart = {metric for metric, row in table.items() if row[7] not in ("0", "-")}
    assert apart <= set(metric_table.DIFFERS)


def test_the_tests_that_the_page_names_are_there_and_name_the_metric(table):
    """Failure: the proof of a metric was renamed or removed, and its line says otherwise."""
    names, words = set(), set()
    counting = sorted((metric_table.ROOT / "tests").glob("truth*.py"))
    for file in [*metric_table.TESTS, *counting]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names.add(f"{file.name}::{node.name}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
    named = {metric: row[2].strip("`").split("[")[0] for metric, row in table.items()}
    untested = {metric for metric, test in named.items() if test == "none"}
    assert untested == {"U10"}
    assert set(named.values()) - {"none"} <= names
    assert set(table) - untested <= words
