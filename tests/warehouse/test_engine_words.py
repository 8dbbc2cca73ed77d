"""What only one engine reads stands in dispatched macros; no engine needed."""

import re
from collections.abc import Iterator

import pytest

from tests.warehouse.conftest import PROJECT
from tests.warehouse.test_project_rules import code

# A pattern of what DuckDB or Spark alone reads, or reads in its own way: what to write instead.
WORDS = {
    r"\b(date_?diff|timestampdiff|date_sub)\(": "seconds_between, days_between",
    r"\b(date_add|dateadd|timestampadd|to_microseconds|epoch\w*)\(": "add_seconds, add_days",
    r"\b(timezone|from_utc_timestamp|to_utc_timestamp)\(": "local_from_utc, utc_from_local",
    r"\b(isodow|dayofweek\w*|weekday)\(": "iso_weekday",
    r"\b(generate_series|unnest|explode|sequence)\(": "date_spine, each_of",
    r"\b(lateral|stack\()": "each_of",
    r"\b(string_agg|listagg|group_concat|list|array_agg)\(": "listed",
    r"\bignore nulls\b": "first_known",
    r"\b(string_split|list_\w+|array_\w+)\(": "holds_all_of",
    r"\b(json_(?!text)\w+|get_json_object)\(|->>?'": "json_text",
    r"\b(read_parquet|read_csv)\(|\bparquet\.`": "source",
    r"\bas varchar\)": "cast(... as string): Spark's varchar has a length",
    r"\b(arg_max|arg_min)\(": "max_by, min_by",
    r"\b(quantile\w*|percentile|approx_quantile)\(": "percentile_cont within group",
    r"\b(strptime|strftime|date_format|to_char)\(": "cast",
    r"\btimestamptz\b": "cast(... as timestamp)",
    r"\basof\b": "a window",
    r"\*\s*(exclude|except|replace)\b": "the names of the columns",
    r" / \d+\.\d": "a whole number: Spark divides by decimals as decimals",
    r" // ": "floor",
    r"::": "cast",
    r"\bhaving grouping\(": "a where on the rolled-up rows: Spark has no grouping in having",
    r"\bunion by name\b": "the names of the columns",
    r"\bsplit_part\((?!coalesce\()": "split_part(coalesce(..., '')): DuckDB 2.0.0 fails on nulls only",
}


def found_in(sql: str) -> list[str]:
    """What of WORDS stands in a piece of SQL, each with what to write instead."""
    hits = [(re.search(pattern, sql, re.IGNORECASE), use) for pattern, use in WORDS.items()]
    return [f"{hit.group().strip()}: use {use}" for hit, use in hits if hit]


def without_rules(sql: str) -> str:
    """A model without its rules of what a change touches: DuckDB alone keeps tables."""
    return re.sub(r"^\s*{{ config\(meta={'kept'.*?}}\) }}", "", sql, flags=re.DOTALL)


def portable_macros() -> Iterator[tuple[str, str]]:
    """Name and text of every macro that is not one engine's own."""
    for file in (PROJECT / "macros").glob("*.sql"):
        for text in re.split(r"(?={%-? macro )", file.read_text())[1:]:
            name = text.split("macro ", 1)[1].split("(", 1)[0]
            if not name.startswith(("default__", "spark__")):
                yield name, re.sub(r"{#.*?#}", "", text, flags=re.DOTALL)


def test_no_model_holds_words_of_one_engine(models):
    """Failure: the model builds on DuckDB and not on Spark, or holds other rows there."""
    found = {model["name"]: found_in(without_rules(code(model))) for model in models}
    assert {name: words for name, words in found.items() if words} == {}


def test_words_of_one_engine_stand_only_in_its_own_macro():
    """Failure: a macro is called on both engines and is read by one."""
    found = {name: found_in(text) for name, text in portable_macros()}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "sql",
    [
        "date_diff('day', a, b)",
        "string_agg(a, ',')",
        "cast(a as varchar)",
        "sum(a) / 3600.0",
        "having grouping(a) = 1",
        "select * exclude (a)",
    ],
)
def test_words_of_one_engine_are_seen(sql):
    """Failure: the rule passes whatever a model holds."""
    assert found_in(sql)
