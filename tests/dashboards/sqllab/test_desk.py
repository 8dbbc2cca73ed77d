"""The desk of a session: queries that run beside the page, their answers and the history."""

import time
from pathlib import Path

import pytest

from dashboards.sqllab import broker
from dashboards.sqllab.broker import QueryRefused, QueryResult, QueryStopped
from dashboards.sqllab.desk import MOST_REMEMBERED, Desk
from dashboards.sqllab.saved import starters

ENDLESS = "select count(*) from range(10000000000) as a, range(10000000000) as b"


@pytest.fixture
def file(lab: Path) -> Path:
    return lab / "pub" / "warehouse.duckdb"


def asked(desk: Desk, sql: str, file: Path) -> object:
    desk.send(sql, file=file, provenance=["Build: b1"])
    desk.take()
    assert desk.last is not None
    return desk.last.answer


def test_an_answer_is_kept_with_its_build_and_a_line_of_the_history(file):
    """Failing means that a reader cannot say which file a number came from."""
    desk = Desk()
    assert isinstance(asked(desk, "select 1 as one", file), QueryResult)
    assert (desk.last.sql, desk.last.provenance) == ("select 1 as one", ("Build: b1",))
    assert desk.last.outcome.startswith("1 rows in ")
    assert [(line.sql, line.outcome) for line in desk.history] == [
        ("select 1 as one", desk.last.outcome)
    ]
    assert isinstance(asked(desk, "drop table mart.exam", file), QueryRefused)
    assert desk.history[0].outcome.startswith("refused: ")


def test_a_query_runs_beside_the_page_and_can_be_cancelled(file):
    """Failing means that the page hangs, or that nobody can stop what was typed."""
    desk = Desk()
    desk.send(ENDLESS, file=file, provenance=["Build: b1"])
    assert desk.is_running
    assert not desk.has_answer
    desk.cancel()
    end = time.monotonic() + 20
    while not desk.has_answer and time.monotonic() < end:
        time.sleep(0.05)
    desk.take()
    assert isinstance(desk.last.answer, QueryStopped)
    assert not desk.is_running


def test_a_second_query_ends_the_first(file):
    """Failing means that a reader who types again waits for what nobody wants any more."""
    desk = Desk()
    desk.send(ENDLESS, file=file, provenance=["Build: b1"])
    assert isinstance(asked(desk, "select 2 as two", file), QueryResult)
    assert [line.sql for line in desk.history] == ["select 2 as two", ENDLESS]


def test_an_error_of_ours_is_told_and_no_answer_of_before(file, monkeypatch):
    """Failing means that the answer of another query stands under the one that was sent."""
    desk = Desk()
    asked(desk, "select 1 as one", file)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(broker, "run", broken)
    assert isinstance(asked(desk, "select 2 as two", file), QueryStopped)
    assert "no more threads" in desk.last.outcome


def test_the_history_is_short_and_names_a_statement_once(file):
    """Failing means that a session grows without end."""
    desk = Desk()
    for number in [*range(MOST_REMEMBERED + 2), MOST_REMEMBERED + 1]:
        asked(desk, f"select {number} as n", file)
    assert len(desk.history) == MOST_REMEMBERED
    assert len({line.sql for line in desk.history}) == MOST_REMEMBERED


def test_queries_to_begin_with_have_names_of_their_own():
    """Failing means that one query hides another in the list."""
    titles = [query.name for query in starters()]
    assert len(set(titles)) == len(titles) > 5
