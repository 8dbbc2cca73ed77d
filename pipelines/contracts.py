"""Data contracts (ODCS v3.1): the columns and rules of what arrives and of what readers see."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.problems import Problem

LOGICAL_TYPES = {"string", "integer", "number", "boolean", "date", "timestamp"}
LEVELS = {"reject", "warn", "file"}
# Written in C where libyaml is there, and then several times as fast.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ContractBroken(Problem):
    """Data or a contract file break a stated rule; the message carries the next step."""


@dataclass(frozen=True)
class Column:
    """One column of a contract; `pseudonym` is the domain of an identity that is never landed."""

    name: str
    logical_type: str
    physical_type: str
    required: bool
    description: str
    may_be_absent: bool = False
    business_name: str = ""
    also_called: tuple[str, ...] = ()
    pseudonym: str | None = None


@dataclass(frozen=True)
class Rule:
    """One checkable rule: an expectation of Great Expectations with its tolerance.

    `tolerance_percent` and `tolerance_rows`: how many records of one file may break the rule
    before the whole file is refused (the larger of the two counts). `level` is `reject`, `warn`
    (the record lands, the receipt counts it) or `file` (the reader checks it and refuses the
    file). `subject` is the column that the rule stands under, empty for a rule of the table.
    """

    name: str
    description: str
    expectation: str
    arguments: dict[str, Any]
    tolerance_percent: float
    tolerance_rows: int
    level: str = "reject"
    subject: str = ""


@dataclass(frozen=True)
class Contract:
    """A contract for one table: its columns in order and its rules."""

    name: str
    version: str
    path: Path
    table: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    settings: dict[str, Any]

    def column_names(self) -> list[str]:
        """Names of the columns in contract order."""
        return [column.name for column in self.columns]

    def identities(self) -> dict[str, str]:
        """Columns that hold an identity, with the domain in which it is hashed."""
        return {column.name: column.pseudonym for column in self.columns if column.pseudonym}

    def needed_columns(self) -> list[str]:
        """Names of the columns without which a delivery is refused."""
        return [column.name for column in self.columns if not column.may_be_absent]

    def rules_of_level(self, level: str) -> list[Rule]:
        """Rules of one level: `reject`, `warn` or `file`."""
        return [rule for rule in self.rules if rule.level == level]


def read_contract(path: Path) -> Contract:
    """Read one ODCS file; raises ContractBroken that names file and key when it is malformed."""
    try:
        document = yaml.load(path.read_text(), Loader=SAFE_LOADER)
    except yaml.YAMLError as error:
        raise ContractBroken(f"{path} is not YAML: {error}") from error
    try:
        schema = document["schema"][0]
        columns = tuple(_column(path, item) for item in schema["properties"])
        rules = tuple(_rules(schema, columns))
        return Contract(
            name=document["name"],
            version=document["version"],
            path=path,
            table=schema["name"],
            columns=columns,
            rules=rules,
            settings=_custom(document.get("customProperties", [])),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ContractBroken(
            f"{path}: key {error} is missing or misplaced; compare data_contracts/README.md"
        ) from error


def read_contracts(folder: Path) -> dict[str, Contract]:
    """Read every contract of a folder, keyed by contract name; raises ContractBroken on a twin."""
    contracts: dict[str, Contract] = {}
    for path in sorted(folder.glob("*.odcs.yaml")):
        contract = read_contract(path)
        if contract.name in contracts:
            raise ContractBroken(
                f"{path}: {contracts[contract.name].path.name} has the name {contract.name} too; "
                "rename one of them"
            )
        contracts[contract.name] = contract
    return contracts


def _column(path: Path, item: dict[str, Any]) -> Column:
    if item["logicalType"] not in LOGICAL_TYPES:
        raise ContractBroken(f"{path}: {item['name']}: unknown logicalType {item['logicalType']}")
    custom = _custom(item.get("customProperties", []))
    return Column(
        name=item["name"],
        logical_type=item["logicalType"],
        physical_type=item.get("physicalType", ""),
        required=bool(item.get("required", False)),
        description=item["description"],
        may_be_absent=bool(custom.get("mayBeAbsent", False)),
        business_name=str(item.get("businessName", "")),
        also_called=tuple(custom.get("alsoCalled", [])),
        pseudonym=custom.get("pseudonym"),
    )


def _rules(schema: dict[str, Any], columns: tuple[Column, ...]) -> list[Rule]:
    """Rules of the columns first (required, then their own), the table's after them."""
    found = []
    for column, item in zip(columns, schema["properties"], strict=True):
        if column.required:
            found.append(_required(column, item))
        found += [_rule(quality, column.name) for quality in item.get("quality", [])]
    return found + [_rule(quality, None) for quality in schema.get("quality", [])]


def _required(column: Column, item: dict[str, Any]) -> Rule:
    limits = _custom(item.get("customProperties", []))
    return Rule(
        name=f"{column.name}_is_given",
        description=str(limits.get("requiredReason", f"{column.name} is required.")),
        expectation="expect_column_values_to_not_be_null",
        arguments={"column": column.name},
        tolerance_percent=float(limits.get("tolerancePercent", 1.0)),
        tolerance_rows=int(limits.get("toleranceRows", 5)),
    )


def _rule(quality: dict[str, Any], column: str | None) -> Rule:
    limits = _custom(quality.get("customProperties", []))
    implementation = quality["implementation"]
    arguments = dict(implementation["kwargs"])
    if column is not None and "column_A" not in arguments:
        arguments.setdefault("column", column)
    return Rule(
        name=quality["name"],
        description=quality["description"],
        expectation=implementation["type"],
        arguments=arguments,
        tolerance_percent=float(limits.get("tolerancePercent", 1.0)),
        tolerance_rows=int(limits.get("toleranceRows", 5)),
        level=_level(quality["name"], limits),
        subject=column or "",
    )


def _level(rule: str, limits: dict[str, Any]) -> str:
    level = str(limits.get("level", "reject"))
    if level not in LEVELS:
        raise ContractBroken(f"rule {rule}: level {level} is none of {', '.join(sorted(LEVELS))}")
    return level


def _custom(properties: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["property"]: item["value"] for item in properties}
