"""Which typed statements may run, judged on the syntax tree of DuckDB's own parser.

A second parser might read a text differently, so there is none. What is not on a list is refused:
kinds of statement, nodes of the tree, functions, schemas. The gate is not the boundary (a process
is, see broker.py); it closes what a locked engine leaves open, and says what to write instead.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

Node = dict[str, Any]

# Reviewed by hand from duckdb_functions() of 1.5.6 and 2.0.0. Left out: what runs SQL from text,
# reads files, settings, variables, catalogue, statistics or secrets, moves sequences, logs, sleeps
# or raises an error of its own wording.
FUNCTIONS = frozenset(
    line
    for line in Path(__file__).with_name("allowed_functions.txt").read_text().splitlines()
    if line and not line.startswith("# ")
)
TABLE_FUNCTIONS = frozenset(
    {"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"}
)
# What the publisher adds to every file under these names (catalogue.queries of the file).
ANALYST_MACROS = frozenset({"metric", "metric_detail"})
ANALYST_VIEWS = frozenset({"metric_months", "metrics"})

LONGEST = 100_000
MOST_BRACKETS = 200

_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_NODES = {
    "BASE_TABLE",
    "EMPTY",
    "EXPRESSION_LIST",
    "JOIN",
    "PIVOT",
    "SHOW_REF",
    "SUBQUERY",
    "TABLE_FUNCTION",
}
_MODIFIERS = {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
_ORDERS = {"ASCENDING", "DESCENDING", "INVALID", "ORDER_DEFAULT"}
_CLASSES = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "FUNCTION",
    "LAMBDA",
    "LAMBDA_REF",
    "OPERATOR",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "TYPE",
    "WINDOW",
}
_LISTED = "SHOW ALL TABLES lists what there is"
_ONE_SELECT = "write one SELECT (also WITH, FROM, VALUES, PIVOT, DESCRIBE, SUMMARIZE, EXPLAIN)"
_ONE_EXPLAIN = "write EXPLAIN or EXPLAIN ANALYZE before one SELECT"
# A comment ends at its first end and a gap gives nothing back: many comments take linear time.
_GAP = r"(?:\s|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*+\*/)*+"
_EXPLAIN = re.compile(rf"{_GAP}explain\b(?:{_GAP}(analyze)\b)?", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIVOT_ENDS = {"using", "group", "order", "limit", "offset", "union", "intersect", "except"}


@dataclass(frozen=True)
class Verdict:
    """Whether a statement may run; `reason` names what is in the way and what to write instead.

    `statement` is the text to run where allowed: what was judged, or for SHOW TABLES a query of
    ours that lists the allowed schemas only.
    """

    allowed: bool
    reason: str = ""
    statement: str = ""


class _Refused(Exception):
    """Something in the statement is on no list; the message is the reason."""


@dataclass(frozen=True)
class _Scope:
    """What names mean at a place of the tree."""

    schemas: frozenset[str]
    catalogs: frozenset[str]
    parameters: frozenset[str]
    ctes: frozenset[str] = frozenset()

    def seeing(self, *names: str) -> "_Scope":
        return replace(self, ctes=self.ctes | {name.lower() for name in names})


def check(
    sql: str, *, schemas: Sequence[str] = ("marts",), parameters: Collection[str] = ()
) -> Verdict:
    """Judge one typed statement against the tables of some schemas; runs nothing of it.

    Allowed besides the tables of `schemas`: the views and table macros by which analysts ask a
    metric. `parameters`: the names that get a value, each to be used as $name. Raises ValueError
    for a schema that is no plain name.
    """
    with duckdb.connect(":memory:", config={"threads": "1"}) as parser:
        return judge(parser, sql, schemas=schemas, parameters=parameters)


def judge(
    parser: duckdb.DuckDBPyConnection,
    sql: str,
    *,
    schemas: Sequence[str] = ("marts",),
    catalog: str | None = None,
    parameters: Collection[str] = (),
) -> Verdict:
    """As `check`, by the parser of an open connection; `catalog` is the name its file may go by.

    Raises duckdb.InterruptException where the connection is interrupted.
    """
    if odd := [name for name in schemas if not _NAME.fullmatch(name)]:
        raise ValueError(f"schemas {', '.join(odd)}: give plain names of schemas, such as marts")
    scope = _Scope(
        frozenset(name.lower() for name in schemas),
        frozenset({catalog.lower()} if catalog else ()),
        frozenset(name.lower() for name in parameters),
    )
    try:
        return Verdict(True, statement=_statement(parser, sql, scope))
    except _Refused as refused:
        return Verdict(False, str(refused))
    except duckdb.InterruptException:
        # The query's time was over meanwhile, which says nothing of the text.
        raise
    except duckdb.Error as error:
        return Verdict(False, str(error))
    except RecursionError:
        return Verdict(False, "the statement is nested too deeply; take it apart with WITH")


# ---------------------------------------------------------------- the statement as a whole


def _statement(parser: duckdb.DuckDBPyConnection, sql: str, scope: _Scope) -> str:
    """The text to run. Raises _Refused, or duckdb.Error for what does not parse."""
    _check_text(sql)
    kinds = _kinds(parser, sql)
    if kinds != ["EXPLAIN"]:
        return _select(parser, sql, kinds, scope)
    explain = _EXPLAIN.match(sql)
    if explain is None:
        raise _Refused(f"this form of EXPLAIN is not allowed; {_ONE_SELECT}")
    inner = sql[explain.end() :]
    try:
        kinds = _kinds(parser, inner)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise _Refused(f"EXPLAIN has no options here; {_ONE_EXPLAIN}") from error
    if "EXPLAIN" in kinds:
        raise _Refused(f"EXPLAIN of an EXPLAIN is not allowed; {_ONE_EXPLAIN}")
    # What runs is put together from what was judged, so that both are the same text.
    words = "explain analyze" if explain[1] else "explain"
    return f"{words} {_select(parser, inner, kinds, scope)}"


def _check_text(sql: str) -> None:
    if len(sql) > LONGEST:
        raise _Refused(f"the text has {len(sql):,} characters; {LONGEST:,} is the most")
    if "\0" in sql or any("\ud800" <= sign <= "\udfff" for sign in sql):
        raise _Refused("the text holds what is no character (NUL, or half of one); delete it")
    deepest = depth = 0
    for sign in sql:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    # Each level costs the parser stack, of which a thread of a server has little.
    if deepest > MOST_BRACKETS:
        raise _Refused(f"{deepest} brackets are open at once; {MOST_BRACKETS} is the most")


def _kinds(parser: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    return [statement.type.name for statement in parser.extract_statements(sql)]


def _select(parser: duckdb.DuckDBPyConnection, sql: str, kinds: list[str], scope: _Scope) -> str:
    """Judge a text that should be one SELECT and return what to run for it."""
    judged = sql
    if not kinds:
        raise _Refused(f"there is no statement; {_ONE_SELECT}")
    if kinds != ["SELECT"] and (filled := _with_pivot_values(sql)) != sql:
        # A PIVOT whose values are not listed is several statements to DuckDB (one of kind MULTI in
        # 2.0); with a list it is the same query as one SELECT, which has a tree.
        judged, kinds = filled, _kinds(parser, filled)
    # DuckDB before 2.0 tells what it makes of a PIVOT one by one.
    if kinds == ["MULTI"] or (kinds == ["CREATE", "SELECT"] and "pivot" in sql.lower()):
        raise _Refused("this PIVOT cannot be judged; list its values: on column in ('a', 'b')")
    if len(kinds) > 1:
        raise _Refused(f"there are {len(kinds)} statements; send one at a time")
    if kinds != ["SELECT"]:
        raise _Refused(f"{kinds[0]} is not allowed; {_ONE_SELECT}")
    # All rows at once: an answer that is not read to its end keeps the connection busy.
    ((text,),) = parser.execute("select json_serialize_sql($1)", [judged]).fetchall()
    tree = json.loads(text)
    if tree["error"] or len(tree["statements"]) != 1:
        why = tree.get("error_message", "it has no tree")
        raise _Refused(f"the statement cannot be judged ({why}); {_ONE_SELECT}")
    node = tree["statements"][0]["node"]
    used = {name.lower() for name in _parameters_in(node)}
    if judged != sql and used:
        raise _Refused("a PIVOT with parameters needs its values: on column in ('a', 'b')")
    if not _is_list_of_tables(node):
        _walk(tree["statements"], scope)
    if unused := sorted(scope.parameters - used):
        raise _Refused(
            f"parameter {_dollar(unused)} has a value and is not used; write it or leave it out"
        )
    return _tables_of(scope) if _is_list_of_tables(node) else sql


def _parameters_in(found: Any) -> Iterator[str]:
    """The name of every parameter in a part of the tree; a number for ? and $1."""
    left = [found]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if part.get("class") == "PARAMETER":
                yield str(part.get("identifier", ""))
            left += part.values()
        elif isinstance(part, list):
            left += part


def _dollar(names: Sequence[str]) -> str:
    return ", ".join(f"${name}" for name in names)


def _with_pivot_values(sql: str) -> str:
    """The text with a list of values behind each expression of PIVOT ... ON that has none."""
    data = sql.encode()
    inserted: list[tuple[int, str]] = []
    depth = 0
    pivots: list[_Pivot] = []
    for start, kind, text in [*_tokens(sql, data), (len(data), None, ";")]:
        word = text.lower() if kind in _WORDS else ""
        sign = text[:1] if kind in _SIGNS else ""
        ends = kind is None or sign in _CLOSING or word in _PIVOT_ENDS or text == ";"
        while pivots and pivots[-1].depth == depth and (ends or sign == ","):
            if pivots[-1].needs_values:
                # In brackets, or IN would bind to the last part of an expression only.
                inserted += [(pivots[-1].begin, "("), (start, ")\n in ('')\n")]
            if ends:
                pivots.pop()
                continue
            pivots[-1] = _Pivot(depth, begin=start + 1)
            break
        if word in ("pivot", "pivot_wider"):
            pivots.append(_Pivot(depth))
        elif pivots and pivots[-1].depth == depth:
            if word == "on":
                pivots[-1].begin = start + len(word)
            pivots[-1].has_in |= word == "in"
        depth += (sign in _OPENING) - (sign in _CLOSING)
    for place, text in sorted(inserted, key=lambda one: one[0], reverse=True):
        data = data[:place] + text.encode() + data[place:]
    return data.decode()


@dataclass
class _Pivot:
    """A PIVOT while its text is read: where its expression begins, once ON was read."""

    depth: int
    begin: int = 0
    has_in: bool = False

    @property
    def needs_values(self) -> bool:
        return self.begin > 0 and not self.has_in


_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_WORDS = {duckdb.token_type.keyword, duckdb.token_type.identifier}
_SIGNS = {duckdb.token_type.operator}


def _tokens(sql: str, data: bytes) -> Iterator[tuple[int, Any, str]]:
    """Start in bytes, kind and text of each token, by DuckDB's own lexer."""
    tokens = duckdb.tokenize(sql)
    ends = [start for start, _ in tokens[1:]] + [len(data)]
    for (start, kind), end in zip(tokens, ends, strict=True):
        words = data[start:end].split(maxsplit=1)
        yield start, kind, words[0].decode() if words else ""


def _is_list_of_tables(node: Node) -> bool:
    """SHOW TABLES, SHOW ALL TABLES or a bare DESCRIBE, and nothing around it."""
    table = node.get("from_table") or {}
    return (
        table.get("type") == "SHOW_REF"
        and table.get("query") is None
        and table.get("table_name", "").strip('"') in ("tables", "__show_tables_expanded")
        and not node.get("modifiers")
        and not node.get("where_clause")
        and [one.get("class") for one in node.get("select_list", [])] == ["STAR"]
    )


def _tables_of(scope: _Scope) -> str:
    """One row per table of the allowed schemas, or view for analysts, with its columns."""
    schemas = ", ".join(f"'{name}'" for name in sorted(scope.schemas))
    views = ", ".join(f"'{name}'" for name in sorted(ANALYST_VIEWS))
    return (
        "select table_schema, table_name, "
        "string_agg(column_name, ', ' order by ordinal_position) as columns "
        "from information_schema.columns where table_catalog = current_database() "
        f"and (table_schema in ({schemas}) or table_schema = 'main' and table_name in ({views})) "
        "group by table_schema, table_name order by table_schema, table_name"
    )


# ---------------------------------------------------------------- the tree


def _walk(found: Any, scope: _Scope) -> None:
    """Judge a part of the tree and all below it. Raises _Refused at the first that is on no list."""
    if isinstance(found, list):
        for part in found:
            _walk(part, scope)
    elif isinstance(found, dict):
        _judge_node(found, scope)
        for key, part, seen in _parts(found, scope):
            if key != "cte_map":
                _walk(part, seen)


def _parts(node: Node, scope: _Scope) -> Iterator[tuple[str, Any, _Scope]]:
    """Children of a node, each with the names it sees; the bodies of WITH are walked on the way."""
    kind = node.get("type")
    for entry in (node.get("cte_map") or {}).get("map", []):
        # A CTE sees those before it, and itself only in the recursive part (below).
        _walk(entry["value"], scope)
        scope = scope.seeing(entry["key"])
    for key, part in node.items():
        seen = scope
        if (kind == "RECURSIVE_CTE_NODE" and key == "right") or (
            kind == "CTE_NODE" and key == "child"
        ):
            seen = scope.seeing(node["cte_name"])
        yield key, part, seen


def _judge_node(node: Node, scope: _Scope) -> None:
    kind, expression = node.get("type"), node.get("class")
    if expression is not None:
        _judge_expression(node, str(expression), scope)
    elif isinstance(kind, str):
        if kind == "BASE_TABLE":
            _judge_table(node, scope)
        elif kind == "TABLE_FUNCTION":
            _judge_table_function(node, scope)
        elif kind == "SHOW_REF":
            _judge_show(node)
        elif kind.endswith("_NODE") and kind not in _QUERY_NODES:
            what = kind.removesuffix("_NODE").removesuffix("_QUERY")
            raise _Refused(f"{what} inside a query is not allowed: files are only read")
        elif not (
            kind in _QUERY_NODES | _TABLE_NODES | _MODIFIERS | _ORDERS
            or kind.endswith("_TYPE_INFO")
        ):
            raise _Refused(f"{kind} is on no list of this gate; write it another way")
    if kind != "BASE_TABLE" and "column" not in node:
        _judge_place(node, scope)


def _judge_expression(node: Node, expression: str, scope: _Scope) -> None:
    if expression == "PARAMETER":
        name = str(node.get("identifier", ""))
        if not _NAME.fullmatch(name):
            raise _Refused("parameters without a name ($1, ?) are not allowed; write $name")
        if name.lower() not in scope.parameters:
            raise _Refused(f"parameter ${name} has no value; give it one, or write the value")
        return
    if expression not in _CLASSES:
        raise _Refused(f"{expression} is on no list of this gate; write it another way")
    if expression in ("FUNCTION", "WINDOW"):
        name = str(node.get("function_name", "")).lower()
        # The function of a table is judged with its table.
        if name not in FUNCTIONS and not node.get("is_of_table"):
            raise _Refused(f"function {name} is not allowed; docs/sql_safety.md says which are not")


def _judge_place(node: Node, scope: _Scope) -> None:
    """A function or a type comes from the engine itself, never from a schema of the file."""
    schema = str(node.get("schema") or node.get("schema_name") or "").lower()
    catalog = str(node.get("catalog") or node.get("catalog_name") or "").lower()
    if schema not in ("", "main", "pg_catalog") or catalog not in {"", "system"} | scope.catalogs:
        name = node.get("function_name") or node.get("type_name") or "what is written there"
        raise _Refused(f"{name}: leave out {'.'.join(filter(None, (catalog, schema)))} before it")


def _judge_table(node: Node, scope: _Scope) -> None:
    catalog, schema, name = (
        str(node.get(key) or "") for key in ("catalog_name", "schema_name", "table_name")
    )
    low = schema.lower()
    full = ".".join(filter(None, (catalog, schema, name)))
    allowed = ", ".join(sorted(scope.schemas))
    if catalog and catalog.lower() not in scope.catalogs:
        raise _Refused(f"table {full} names a database; write schema.table, of {allowed}")
    if not catalog and low in ("", "recurring") and name.lower() in scope.ctes:
        return
    if low in ("", "main") and name.lower() in ANALYST_VIEWS:
        return
    if not schema:
        if name.lower() in ANALYST_MACROS:
            raise _Refused(f"{name} is asked with brackets: from {name}('W02')")
        raise _Refused(
            f"table {name} is not known: write its schema too ({allowed}), and no files; {_LISTED}"
        )
    if low not in scope.schemas:
        raise _Refused(f"table {full} is not in a schema you may ask ({allowed}); {_LISTED}")


def _judge_table_function(node: Node, scope: _Scope) -> None:
    function = node.get("function") or {}
    name = str(function.get("function_name", "")).lower()
    if name not in TABLE_FUNCTIONS | ANALYST_MACROS:
        known = ", ".join(sorted(ANALYST_MACROS | TABLE_FUNCTIONS))
        raise _Refused(f"table function {name} is not allowed; allowed are {known}")
    function["is_of_table"] = True


def _judge_show(node: Node) -> None:
    """DESCRIBE and SUMMARIZE hold a query, which is walked; all else is about the engine."""
    if node.get("query") is None:
        name = str(node.get("table_name", "")).strip('"') or "this"
        raise _Refused(f"SHOW of {name} is not allowed; {_LISTED} and stands alone")
