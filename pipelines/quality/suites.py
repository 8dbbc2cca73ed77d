"""Contract to Great Expectations suite, and a batch of records through it."""

import logging
from typing import Any

import polars as pl

from pipelines.contracts import Contract, Rule

# Validated in pieces of at most this many rows, which bounds the memory of the pandas copy.
CHUNK_ROWS = 1_000_000
# Columns so named hold the answer to one rule; a reject names the column that the rule is about.
JUDGED = ("dids_", "waits_")
VIOLATION_SCHEMA = {
    "source_sha": pl.String,
    "row_no": pl.Int64,
    "rule": pl.String,
    "reason": pl.String,
    "column_name": pl.String,
}


def type_rules(contract: Contract) -> list[Rule]:
    """One rule per column that is not text: a given value must be of the contract's type.

    None where the contract names them itself (property typeRules).
    """
    return [
        Rule(
            name=f"{column.name}_is_{_article(column.logical_type)}_{column.logical_type}",
            description=f"{column.name} must be readable as a {column.logical_type}.",
            expectation="expect_column_values_to_be_in_set",
            arguments={"column": f"{column.name}__unparsed", "value_set": [False]},
            tolerance_percent=float(contract.settings.get("typeTolerancePercent", 1.0)),
            tolerance_rows=int(contract.settings.get("typeToleranceRows", 5)),
        )
        for column in contract.columns
        if column.logical_type != "string"
        and contract.settings.get("format") == "csv"
        and contract.settings.get("typeRules", True)
    ]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def batch_rules(contract: Contract) -> list[Rule]:
    """Every rule the records of a batch are held to: types first, then the contract's own."""
    return type_rules(contract) + [rule for rule in contract.rules if rule.level != "file"]


def violations(records: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """One row per broken rule and record (VIOLATION_SCHEMA), found by Great Expectations.

    `records` has `source_sha` and `row_no` beside the contract's columns. The first broken rule
    of a record comes first.
    """
    rules = batch_rules(contract)
    if records.is_empty() or not rules:
        return pl.DataFrame(schema=VIOLATION_SCHEMA)
    pieces = [
        _broken(records.slice(start, CHUNK_ROWS), contract.name, rules)
        for start in range(0, len(records), CHUNK_ROWS)
    ]
    return pl.concat(pieces)


def _broken(records: pl.DataFrame, name: str, rules: list[Rule]) -> pl.DataFrame:
    # The columns of every rule: a condition may name one whose own rule is left out.
    frame = records.select(_columns(rules)).to_pandas()
    rules = [rule for rule in rules if not is_kept_by_all(rule, records)]
    keys = records.select("source_sha", "row_no")
    found = []
    for rule, result in zip(rules, _validate(frame, name, rules), strict=True):
        if result.success:
            continue
        if "unexpected_index_list" not in result.result:
            message = result.exception_info or result.result
            raise RuntimeError(f"contract {name}, rule {rule.name} could not be checked: {message}")
        rows = keys[[int(index) for index in result.result["unexpected_index_list"]]]
        column = str(rule.arguments.get("column", rule.arguments.get("column_A", "")))
        if column.startswith(JUDGED):
            column = rule.subject
        found.append(
            rows.with_columns(
                rule=pl.lit(rule.name),
                reason=pl.lit(rule.description),
                column_name=pl.lit(column.removesuffix("__unparsed")),
            )
        )
    return pl.concat(found) if found else pl.DataFrame(schema=VIOLATION_SCHEMA)


def is_kept_by_all(rule: Rule, records: pl.DataFrame) -> bool:
    """Whether a rule of the two plainest kinds is seen to hold for every record.

    Great Expectations takes some 20 ms for a rule however few the records are, and most deliveries
    are small and good: it is asked about what some record may break.
    """
    name = rule.arguments.get("column", "")
    # A number that is none (NaN) is missing to Great Expectations and a value to polars.
    if name not in records.columns or records.schema[name].is_float():
        return False
    if rule.expectation == "expect_column_values_to_not_be_null":
        return records[name].null_count() == 0
    if rule.expectation == "expect_column_values_to_be_in_set":
        return set(records[name].drop_nulls().unique()) <= set(rule.arguments["value_set"])
    return False


def _columns(rules: list[Rule]) -> list[str]:
    names: dict[str, None] = {}
    for rule in rules:
        for key in ("column", "column_A", "column_B"):
            if key in rule.arguments:
                names[rule.arguments[key]] = None
        for name in rule.arguments.get("column_list", []):
            names[name] = None
    return list(names)


def _validate(frame: Any, name: str, rules: list[Rule]) -> list[Any]:
    """Results of Great Expectations in the order of the rules."""
    if not rules:
        return []
    # Great Expectations takes seconds to import; only a batch that is validated pays for it.
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    # It reports every temporary folder at INFO, whatever the level of its parent says.
    logging.getLogger("great_expectations").propagate = False
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("batches").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all")
    expectations = [
        ExpectationConfiguration(
            type=rule.expectation,
            kwargs=rule.arguments,
            meta={"rule": rule.name, "number": number},
        ).to_domain_obj()
        for number, rule in enumerate(rules)
    ]
    # The suite is asked of the batch itself: a stored definition would also store its results.
    outcome = batch.get_batch(batch_parameters={"dataframe": frame}).validate(
        gx.ExpectationSuite(name=name, expectations=expectations),
        result_format={"result_format": "COMPLETE"},
    )
    # Grouped rules come back in another order; the number puts them right.
    return sorted(outcome.results, key=lambda r: r.expectation_config.meta["number"])
