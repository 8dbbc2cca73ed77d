"""The benchmark asks every stored question. A finding here means that a slow page goes unnoticed."""

import ast

import pytest
from conftest import ROOT

from benchmarks.dashboard_queries import every_query, time_queries

QUERIES = sorted((ROOT / "dashboards" / "data" / "queries").glob("*.py"))


@pytest.fixture(scope="module")
def timed(published) -> list[dict]:
    return time_queries(published, "demo", repeats=1)


def test_every_question_of_the_dashboards_is_asked(timed):
    """Failing means that a new query is never measured."""
    written = {
        f"{path.stem}.{node.name}"
        for path in QUERIES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert {row["query"] for row in timed} == set(every_query()) == written


def test_questions_are_asked_so_that_rows_come_back(timed):
    """Failing means that the time of a query is that of finding nothing."""
    assert [row["query"] for row in timed if not row["rows"]] == []


def test_the_slowest_question_comes_first(timed):
    """Failing means that the aim is held against another query."""
    found = [row["median_milliseconds"] for row in timed]
    assert found == sorted(found, reverse=True)
