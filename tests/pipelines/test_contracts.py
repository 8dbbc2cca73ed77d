"""Reading contracts: a malformed agreement must stop at the start and name its fault."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.contracts import ContractBroken, read_contract, read_contracts

DOCUMENT: dict[str, Any] = {
    "name": "example",
    "version": "1.2.0",
    "schema": [
        {
            "name": "example",
            "properties": [
                {
                    "name": "code",
                    "logicalType": "string",
                    "required": True,
                    "description": "Code.",
                    "quality": [
                        {
                            "name": "code_is_short",
                            "description": "code must be short.",
                            "implementation": {
                                "type": "expect_column_value_lengths_to_be_between",
                                "kwargs": {"max_value": 3},
                            },
                            "customProperties": [
                                {"property": "tolerancePercent", "value": 2},
                                {"property": "toleranceRows", "value": 0},
                            ],
                        }
                    ],
                    "customProperties": [{"property": "toleranceRows", "value": 7}],
                },
                {"name": "begun", "logicalType": "timestamp", "description": "Begin."},
            ],
            "quality": [
                {
                    "name": "pair",
                    "description": "a pair.",
                    "implementation": {
                        "type": "expect_column_pair_values_a_to_be_greater_than_b",
                        "kwargs": {"column_A": "begun", "column_B": "begun"},
                    },
                }
            ],
        }
    ],
    "customProperties": [{"property": "format", "value": "csv"}],
}


def written(folder: Path, document: Any, name: str = "example.odcs.yaml") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def without(*keys: str | int) -> dict[str, Any]:
    """The document with one key left out."""
    copied = yaml.safe_load(yaml.safe_dump(DOCUMENT))
    place = copied
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return copied


def test_a_contract_is_read_in_its_own_order(tmp_path: Path):
    """Failing means that columns or rules of a contract are lost or turned around."""
    contract = read_contract(written(tmp_path, DOCUMENT))
    assert (contract.name, contract.version, contract.table) == ("example", "1.2.0", "example")
    assert contract.column_names() == ["code", "begun"]
    assert [rule.name for rule in contract.rules] == ["code_is_given", "code_is_short", "pair"]
    assert contract.settings == {"format": "csv"}


def test_tolerances_are_those_of_the_rule_and_else_one_in_a_hundred_or_five(tmp_path: Path):
    """Failing means that a file is refused, or let in, against the agreement."""
    given, short, pair = read_contract(written(tmp_path, DOCUMENT)).rules
    assert (given.tolerance_percent, given.tolerance_rows) == (1.0, 7)
    assert (short.tolerance_percent, short.tolerance_rows) == (2.0, 0)
    assert (pair.tolerance_percent, pair.tolerance_rows) == (1.0, 5)


def test_a_rule_of_a_column_knows_its_column_and_one_of_a_pair_keeps_its_two(tmp_path: Path):
    """Failing means that a rule is checked on another column."""
    given, short, pair = read_contract(written(tmp_path, DOCUMENT)).rules
    assert given.arguments == {"column": "code"}
    assert short.arguments == {"max_value": 3, "column": "code"}
    assert pair.arguments == {"column_A": "begun", "column_B": "begun"}


@pytest.mark.parametrize(
    "document",
    [
        "",
        "- a list",
        "name: [unclosed",
        without("schema"),
        without("version"),
        without("schema", 0),
        without("schema", 0, "properties", 0, "description"),
        without("schema", 0, "properties", 0, "logicalType"),
        without("schema", 0, "properties", 0, "quality", 0, "implementation"),
    ],
    ids=range(9),
)
def test_a_malformed_contract_is_refused_and_names_its_file(tmp_path: Path, document: Any):
    """Failing means that a typing error in a contract ends in a traceback or in silence."""
    path = written(tmp_path, document)
    with pytest.raises(ContractBroken, match=r"example\.odcs\.yaml"):
        read_contract(path)


def test_an_unknown_type_is_refused_by_column(tmp_path: Path):
    """Failing means that a column is never checked for its type."""
    document = yaml.safe_load(yaml.safe_dump(DOCUMENT))
    document["schema"][0]["properties"][1]["logicalType"] = "datetime"
    with pytest.raises(ContractBroken, match="begun: unknown logicalType datetime"):
        read_contract(written(tmp_path, document))


def test_two_contracts_of_one_name_are_refused(tmp_path: Path):
    """Failing means that one of two contracts silently wins."""
    written(tmp_path, DOCUMENT)
    written(tmp_path, DOCUMENT, "copy.odcs.yaml")
    with pytest.raises(ContractBroken, match="example"):
        read_contracts(tmp_path)
