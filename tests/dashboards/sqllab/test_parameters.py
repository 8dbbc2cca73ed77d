"""Values for $name travel beside the text: what a reader fills in can never become SQL."""

from datetime import date, datetime

import pytest

from dashboards.sqllab import broker, gate, wire
from tests.dashboards.sqllab.conftest import LEAK, told

HOSTILE = "x'); drop table mart.exam; select * from private.staff where ('a' = $$a$$ -- \U0001f600"


@pytest.fixture
def bound(warehouse):
    """Run a statement with values for its parameters."""

    def asked(sql: str, **parameters: wire.Value) -> broker.Answer:
        return broker.run(sql, published_file=warehouse, schemas=("mart",), parameters=parameters)

    return asked


@pytest.mark.parametrize(
    "value",
    [HOSTILE, "", "\U0001f600" * 90_000, -5, 2**100, 0.1, float("inf"), date(2024, 2, 29), None],
    ids=lambda value: f"{type(value).__name__}_{str(value)[:6].encode('ascii', 'ignore').decode()}",
)
def test_a_value_comes_back_as_it_was_given(bound, value):
    """Failing means that a value is read as SQL, or becomes another one on its way."""
    answer = bound("select $value as it, typeof($value) as kind", value=value)
    assert isinstance(answer, broker.QueryResult), answer
    kind = {str: "VARCHAR", float: "DOUBLE", date: "DATE", type(None): '"NULL"'}.get(type(value))
    kind = kind or ("INTEGER" if value == -5 else "HUGEINT")
    assert answer.frame.rows() == [(value, kind)]


def test_a_text_that_names_a_hidden_table_stays_a_text(bound):
    """Failing means that a filter's value reads what the statement around it may not."""
    answer = bound("select count(*) as n from mart.exam where modality = $m", m=HOSTILE)
    assert answer.frame.rows() == [(0,)]
    for sql in ("from query_table($t)", "select * from $t", "from identifier($t)"):
        answer = bound(sql, t="private.staff")
        assert isinstance(answer, broker.QueryRefused), answer
        assert LEAK not in told(answer)


def test_parameters_stand_where_values_stand(bound, metrics_file):
    """Failing means that a form of statement cannot be asked with a filter."""
    explained = bound("explain select * from mart.exam where i > $least", least=199_990)
    assert "199990" in str(explained.frame.rows())
    analysed = bound("EXPLAIN ANALYZE select count(*) from mart.exam where i > $least", least=1)
    assert isinstance(analysed, broker.QueryResult), analysed
    pivot = "pivot mart.exam on modality in ($a, 'MR') using sum(i * $factor) group by trust_code"
    assert bound(pivot, a="CT", factor=0).frame.row(0) == ("RXA", 0, 0)
    # Capitals make no difference, an odd type is shown as text, and the rest of a name is no name.
    mixed = "select $A + $a as n, to_days($a) as t, '$b' as b limit $most; -- $c"
    assert bound(mixed, a=2, most=1).frame.rows() == [(4, "2 days", "$b")]
    answer = broker.run("from metric($m)", published_file=metrics_file, parameters={"m": "W02"})
    assert answer.frame["value"].to_list() == [0.25]


def test_a_query_with_parameters_is_not_computed_to_its_end(bound):
    """Failing means that a cut at the limit of rows comes only after the whole has run."""
    answer = bound("select range as i from range(100000000000) where range > $least", least=3)
    assert isinstance(answer, broker.QueryResult) and answer.truncated


@pytest.mark.parametrize(
    "value",
    [True, b"x", datetime(2024, 1, 1), [1], {"a": 1}, 2**127, "a\0b", "\ud800", "x" * 100_001],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_another_kind_is_refused(bound, value):
    """Failing means that a value is bound as something its giver did not mean."""
    answer = bound("select $value", value=value)
    assert isinstance(answer, broker.QueryRefused) and "parameter" in answer.reason


@pytest.mark.parametrize(
    ("sql", "parameters", "told"),
    [
        ("select $a + $b", {"a": 1}, "$b has no value"),
        ("select $a", {"a": 1, "b": 2, "c": 3}, "$b, $c has a value and is not used"),
        ("show tables", {"a": 1}, "$a has a value and is not used"),
        ("select '$a' -- $a", {"a": 1}, "$a has a value and is not used"),
        ("explain select $a", {}, "$a has no value"),
        ("select $1", {"a": 1}, "write $name"),
        ("select ?", {"a": 1}, "write $name"),
        ("select $a + ?", {"a": 1}, "parameters"),
        ("select $1", {"1": 1}, "a name is letters"),
        ("select $a", {"a": 1, "A": 2}, "two values"),
        ("select 1", {"a b": 1}, "a name is letters"),
        ("select 1", {f"a{n}": n for n in range(51)}, "50 is the most"),
        ("pivot mart.exam on modality using sum(i + $a)", {"a": 1}, "needs its values"),
        ("pivot (from mart.exam where i > $a) on modality using sum(i)", {"a": 1}, "IN ("),
    ],
)
def test_what_does_not_fit_the_statement_is_refused_and_named(bound, sql, parameters, told):
    """Failing means that a filter is left out of a figure without a word."""
    answer = bound(sql, **parameters)
    assert isinstance(answer, broker.QueryRefused) and told in answer.reason, answer


def test_the_engine_too_refuses_what_does_not_fit(ask_ungated):
    """Failing means that only the gate keeps a statement from running with half its values."""
    assert isinstance(ask_ungated("select $a"), broker.QueryRefused)
    assert not gate.check("select $a").allowed and gate.check("select $a", parameters=["A"]).allowed
