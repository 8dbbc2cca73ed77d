"""Whatever text arrives, the broker gives one of its three answers and tells nothing hidden."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboards.sqllab import broker, gate
from tests.dashboards.sqllab.conftest import LEAK, cases, told

ANSWERS = (broker.QueryResult, broker.QueryRefused, broker.QueryStopped)
LIMITS = broker.Limits(seconds=0.5, memory_mb=128, rows=50, bytes=100_000)
QUIET = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HARMLESS = [case["sql"] for case in cases() if not case["must_be_blocked"]]
SEEDS = [
    *HARMLESS,
    *(case["sql"] for case in cases() if case["category"] not in ("allow", "dos")),
    "pivot mart.exam on modality using count(*)",
]
NAMES = ["mart.exam", "mart.v_exam", "private.staff", "sqlite_master", "e", "'x.csv'", "metrics"]
NAMES += ["duckdb_tables()", "range(9)", "query_table('private.staff')", "read_text('/etc/passwd')"]
WORDS = ["select", "from", "where", "union all", "pivot", "on", "using", "in", "explain", "with"]
WORDS += ["recursive", "as", "(", ")", "[", "{", ";", ",", "--", "/*", "*/", "'", '"', "$$", "$1"]
WORDS += ["e", "*", "1", "null", "lambda", ":", "describe", "show tables", "attach", "set", "copy"]

names = st.sampled_from(NAMES)
values = st.one_of(
    st.integers().map(str),
    st.floats().map(lambda number: f"'{number}'::double"),
    st.text(max_size=5).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.sampled_from(["name", "i", "modality", "now()", "getvariable('x')", "interval 1 day"]),
)
expressions = st.recursive(
    values,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "||", "=", "and", "->"]), inner).map(" ".join),
        inner.map(lambda one: f"[{one}]"),
        inner.map(lambda one: f"{{'k': {one}}}"),
        st.tuples(st.sampled_from(["count", "length", "upper", "max", "stats"]), inner).map(
            lambda call: f"{call[0]}({call[1]})"
        ),
        st.tuples(inner, names).map(lambda both: f"(select {both[0]} from {both[1]} limit 1)"),
    ),
    max_leaves=5,
)
queries = st.builds(
    lambda head, expression, table, tail: f"{head}select {expression} from {table}{tail}",
    st.sampled_from(["", "explain ", "with e as (select 1 as i) ", "summarize ", "-- x\n"]),
    expressions,
    names,
    st.sampled_from(["", " limit 3", " group by all", " order by 1 desc", ";", "; select 1"]),
)


@st.composite
def mutants(draw) -> str:
    """A known statement with some of its text deleted, doubled, moved or replaced."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        piece = draw(
            st.one_of(
                st.just(""),
                st.just(text[start:end] * 2),
                st.sampled_from([f" {one} " for one in (*WORDS, *NAMES)]),
                st.text(max_size=3),
            )
        )
        text = text[:start] + piece + text[end:]
    return text


soups = st.lists(st.sampled_from([*WORDS, *NAMES]), max_size=12).map(" ".join)


@settings(QUIET, max_examples=40)
@given(sql=st.one_of(queries, mutants(), soups, st.text(max_size=30)))
def test_any_text_gets_one_of_the_three_answers(sql, warehouse):
    """Failing means that a reader's typing error becomes an error page, or a leak."""
    answer = broker.run(sql, published_file=warehouse, schemas=("mart",), limits=LIMITS)
    assert isinstance(answer, ANSWERS)
    if isinstance(answer, broker.QueryResult):
        assert LEAK not in told(answer).replace(sql, "") or LEAK in sql


@settings(QUIET, max_examples=400)
@given(sql=st.one_of(queries, mutants(), soups, st.text(max_size=30)))
def test_the_gate_gives_a_verdict_and_a_reason(sql, parser):
    """Failing means that some text stops the gate, or is turned away without a word."""
    verdict = gate.judge(parser, sql, schemas=("mart",))
    assert verdict.allowed is not bool(verdict.reason)
    assert verdict.allowed is bool(verdict.statement)


@settings(QUIET, max_examples=200)
@given(
    sql=st.sampled_from([sql for sql in HARMLESS if "mart." in sql]),
    hidden=st.sampled_from(["private.staff", "other.mart.exam", "'a.csv'", "duckdb_views()"]),
    place=st.integers(0, 3),
)
def test_no_table_of_an_allowed_query_can_be_swapped_for_a_hidden_one(sql, hidden, place, parser):
    """Failing means that some place of a query is not looked at."""
    parts = sql.replace("mart.v_exam", "mart.exam").split("mart.exam")
    at = 1 + place % (len(parts) - 1)
    swapped = "mart.exam".join(parts[:at]) + hidden + "mart.exam".join(parts[at:])
    assert not gate.judge(parser, swapped, schemas=("mart",)).allowed
