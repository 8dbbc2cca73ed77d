"""The gate reads what DuckDB reads, refuses what is on no list, and says what to write instead."""

import re

import duckdb
import pytest

from dashboards.sqllab import gate
from pipelines.publishing import analyst
from tests.dashboards.sqllab.conftest import HERE

GUIDE = HERE.parents[2] / "docs" / "guides" / "analyst.md"
PUBLIC = ("marts", "statistics", "catalogue")

ALLOWED = """
select * from mart.exam as a join mart.v_exam as b using (modality) limit 1
select a.modality from mart.exam a asof join mart.exam b on a.i >= b.i limit 1
select * from (values (1, 'a')) as t(x, y), lateral (select x + 1)
table mart.exam
with a as (select 1 as x), b as (select x from a) select * from b
with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select * from r
with exam as (select * from mart.exam) select count(*) from exam
select (with y as (select 1 as z) select z from y)
select 1 union all by name select 2 intersect select 3
select sum(i) over (partition by modality order by i rows 2 preceding) from mart.exam
select row_number() over (order by i) as n from mart.exam qualify n = 1
select columns('m.*') from mart.exam
select * exclude (i) replace (upper(modality) as modality) from mart.exam
pivot mart.exam on modality in ('CT', 'MR') using count(*)
select * from (pivot mart.exam on modality using count(*) group by exam_date) limit 1
with e as (select * from mart.exam) pivot e on modality, trust_code using max(i) order by 1
pivot (select modality, i from mart.exam) on modality || '(' using sum(i) -- , on )
unpivot (select 1 as a, 2 as b) on a, b into name n value v
from mart.exam pivot (count(*) for modality in ('CT'))
explain pivot mart.exam on modality in ('CT') using count(*)
explain /* why */ analyze -- slow
select * from mart.exam
explain (select 1)
describe select * from mart.exam
select * from mart.exam using sample 10 rows
select regexp_matches('a', 'b'), json_extract('{"a":1}', '$.a'), '{"a":1}'->>'a'
select [x + 1 for x in [1, 2] if x > 1], {'a': 1}.a, map {'k': 2}['k'], [1, 2][1:2]
select date_trunc('month', now()), current_date, extract(year from today())
select 'x'::varchar, try_cast('1' as decimal(5, 2)), 1::struct_pack
select try(1 / 0), coalesce(null, 1), case when true then 1 end
select * from range(5) t(i), generate_series(1, 2), unnest([1, 2])
select warehouse.mart.exam.i from mart.exam limit 1
select * from metric('W02', grain := 'quarter')
select * from main.metric_detail('W02')
from metrics
from main.metric_months
show tables
describe
"""
# Statement, and what the reason must name.
REFUSED = {
    "with sqlite_master as (select * from sqlite_master) select * from sqlite_master": "sqlite_mas",
    "select * from (with x as (select 1) select * from x), x": "table x",
    "with recursive duckdb_tables as (select * from duckdb_tables union all select * from "
    "duckdb_tables) select * from duckdb_tables": "duckdb_tables",
    "select * from information_schema.tables": "information_schema.tables",
    "select * from main.duckdb_tables": "main.duckdb_tables",
    "select * from other.mart.exam": "other.mart.exam",
    "select * from exam": "exam",
    "select * from MART.exam, PRIVATE.staff": "PRIVATE.staff",
    "select (select max(name) from private.staff)": "private.staff",
    "select * from mart.exam order by (select name from private.staff limit 1)": "private.staff",
    "select * from mart.exam limit (select count(*) from private.staff)": "private.staff",
    "select list_transform([1], lambda x: (select name from private.staff))": "private.staff",
    "select count(*) filter (where exists (from private.staff)) from mart.exam": "private.staff",
    "pivot private.staff on name using count(*)": "private.staff",
    "pivot mart.exam on (select name from private.staff) using count(*)": "private.staff",
    "pivot mart.exam on modality in (select name from private.staff) using count(*)": "list its values",
    "unpivot private.staff on name": "private.staff",
    "describe private.staff": "private.staff",
    "summarize private.staff": "private.staff",
    "explain analyze select * from private.staff": "private.staff",
    "explain (analyze, format json) select 1": "EXPLAIN",
    "explain explain select 1": "EXPLAIN",
    "explain analyze delete from mart.exam": "DELETE",
    "select * from mart.exam; drop table mart.exam": "2 statements",
    "pivot mart.exam on modality using count(*); select 1": "2 statements",
    "create temp table t as pivot mart.exam on modality using count(*)": "is not allowed",
    "select 1::private.kind": "private",
    "select private.leak('x')": "leak",
    "select getvariable('x')": "getvariable",
    "select current_setting('home_directory')": "current_setting",
    "select getenv('HOME')": "getenv",
    "select nextval('s')": "nextval",
    "select sleep_ms(1000)": "sleep_ms",
    "select write_log('x')": "write_log",
    "select json_serialize_sql('select 1')": "json_serialize_sql",
    "select error('LEAK')": "error",
    "select * from glob('*')": "glob",
    "select * from histogram('private.staff', name)": "histogram",
    "select * from system.main.read_text('x')": "read_text",
    "select * from duckdb_secrets()": "duckdb_secrets",
    "select $1": "write $name",
    "select $name": "$name has no value",
    "select * from mart.exam where i = ?": "write $name",
    "from metric": "metric('W02')",
    "show databases": "databases",
    "from (show all tables)": "SHOW ALL TABLES",
    "call pragma_version()": "CALL",
    "prepare q as select 1": "PREPARE",
    "checkpoint": "CALL",
    "begin": "TRANSACTION",
    "export database 'x'": "EXPORT",
    "install spatial": "LOAD",
    "": "no statement",
    " -- only a comment": "no statement",
    "selec 1": "selec",
    "select 'a\0b'": "no character",
    "select '\ud800'": "no character",
    "select " + "(" * 300 + "1" + ")" * 300: "brackets",
    "select '" + "x" * 200_000 + "'": "characters",
}


@pytest.mark.parametrize("sql", [line for line in ALLOWED.strip().splitlines() if line])
def test_questions_pass(sql):
    """Failing means that a form of SQL which analysts use is turned away."""
    if sql.startswith(("explain /*", "select * from mart.exam -- ")):
        sql += "\nselect 1"
    verdict = gate.judge(duckdb.connect(":memory:"), sql, schemas=("mart",), catalog="warehouse")
    assert verdict.allowed, verdict.reason


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:40].encode("ascii", "replace"))
def test_what_is_on_no_list_is_refused_and_named(sql):
    """Failing means that a reader reaches more than the tables, or does not learn what is wrong."""
    verdict = gate.check(sql, schemas=("mart",))
    assert not verdict.allowed
    assert REFUSED[sql].lower() in verdict.reason.lower(), verdict.reason


def test_what_runs_is_what_was_judged():
    """A text that is put together anew after the judgement could be another statement."""
    assert gate.check("select 1; -- x").statement == "select 1; -- x"
    assert gate.check("/* a */ EXPLAIN ANALYZE select 1").statement == "explain analyze  select 1"
    pivot = "pivot marts.x on a using sum(b)"
    assert gate.check(pivot).statement == pivot


def test_a_list_of_tables_shows_the_allowed_schemas_only(metrics_file):
    """Failing means that names of hidden tables are told, or that nobody can find a table."""
    verdict = gate.check("show all tables", schemas=("marts",))
    with duckdb.connect(str(metrics_file), read_only=True) as con:
        found = con.execute(verdict.statement).fetchall()
    assert [row[:2] for row in found] == [
        ("main", "metric_months"),
        ("main", "metrics"),
        ("marts", "dim_organisation"),
        ("marts", "dim_target"),
        ("marts", "rpt_metrics_monthly"),
    ]


def test_the_names_analysts_ask_by_are_those_of_the_publisher():
    """A macro the gate does not know is one that no page can offer."""
    by_kind = {"view": gate.ANALYST_VIEWS, "table macro": gate.ANALYST_MACROS}
    for kind, names in by_kind.items():
        assert names == {one["name"] for one in analyst.QUERIES if one["kind"] == kind}


def test_examples_of_the_guide_pass_but_for_the_one_about_comments():
    """A guide whose queries are refused teaches distrust."""
    examples = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    refused = [sql for sql in examples if not gate.check(sql, schemas=PUBLIC).allowed]
    assert len(examples) >= 6
    assert [sql for sql in refused if "duckdb_columns()" not in sql] == []


@pytest.mark.parametrize("name", ["marts'; --", "", "a b"])
def test_a_schema_is_a_plain_name(name):
    """A schema that is no name would be written into our own query."""
    with pytest.raises(ValueError, match="plain names"):
        gate.check("show tables", schemas=(name,))


def test_the_list_of_functions_holds_none_that_reaches_out():
    """One wrong line in a list of six hundred is easily overlooked."""
    reaches = re.compile(
        r"^(read_|query|duckdb_|pragma_|pg_(?!typeof|size_pretty)|parquet_|sniff_|icu_|__internal)"
        r"|setting|variable|secret|getenv|_sql$|_plan$|nextval|currval|sleep|write_log"
        r"|^(error|glob|stats|which_secret|checkpoint|invoke|summary)$"
    )
    assert len(gate.FUNCTIONS) > 500
    assert sorted(name for name in gate.FUNCTIONS if reaches.search(name)) == []


@pytest.mark.parametrize(
    "sql",
    [
        "select 1" + " union all select 1" * 4_000,
        "select " + "not " * 20_000 + "true",
        "select " + "- " * 40_000 + "1",
        "select " + "1+" * 40_000 + "1",
        "select " + "case when true then " * 3_000 + "1" + " end" * 3_000,
        "with " + ", ".join(f"c{n} as (select 1)" for n in range(3_000)) + " select 1",
        "select * from range(1)" + " cross join range(1)" * 3_000,
        "explain " * 10_000 + "select 1",
        "explain " + "/**/" * 4_000 + " select 1",
        "pivot " * 5_000 + "x on a using sum(b)",
    ],
    ids=lambda sql: sql[:24],
)
def test_a_text_made_to_exhaust_the_parser_ends_in_a_verdict(sql):
    """Failing means that one text ends the server that judges it."""
    assert isinstance(gate.check(sql, schemas=("mart",)).allowed, bool)
