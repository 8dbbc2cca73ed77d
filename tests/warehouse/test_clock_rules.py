"""Every rule of the waiting times clock is held by a unit test that fails when the rule is taken away.

`clock_rules.yml` names the rules. For each way to take one away there is a copy of its model, changed, with a copy of its
unit test, so that dbt tries all of them in one run and none touches another.
"""

import copy
import csv
import io
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.warehouse.conftest import PROJECT, Project, Warehouse

RULES = yaml.safe_load((Path(__file__).parent / "clock_rules.yml").read_text("utf-8"))
PAGE = PROJECT.parent / "docs" / "clock_rules.md"
HEAD = "| Rule | Unit test | When it is taken away |"
REMOVALS = [(rule, removal) for rule in RULES for removal in rule["removals"]]
# What dbt needs to know a model by: no data tests, and of the YAML only where landing lies.
NEEDED = [
    "dbt_project.yml",
    "profiles.yml",
    "macros/*.sql",
    "materializations/*.sql",
    "seeds/**/*.csv",
    "tests/generic/*.sql",
]
NEEDED += ["models/staging/**/*.sql", "models/intermediate/**/*.sql"]
NEEDED += ["models/staging/landing/_landing__sources.yml"]


@dataclass(frozen=True)
class Changed:
    """A rule's unit test under a changed model or seed; `sql` is the model's, empty for a seed."""

    unit_test: dict[str, Any]
    folder: Path
    sql: str


@cache
def unit_tests() -> dict[str, dict[str, Any]]:
    """Every unit test of the project by its name."""
    files = PROJECT.glob("models/**/*.yml")
    read = (yaml.safe_load(file.read_text("utf-8")) for file in files)
    return {test["name"]: test for one in read for test in one.get("unit_tests", [])}


def changed(number: int, rule: dict[str, Any], removal: dict[str, str]) -> Changed:
    """The unit test of a rule, and what it tests, with the rule taken away."""
    file = PROJECT / removal["file"]
    before = file.read_text("utf-8")
    found = before.count(removal["text"])
    assert found == 1, f"{removal['file']} holds {found} times: {removal['text']}"
    after = before.replace(removal["text"], removal["becomes"])
    test = copy.deepcopy(unit_tests()[rule["unit_test"]])
    test["name"] = f"removal_{number}"
    if file.suffix == ".csv":
        (given,) = (one for one in test["given"] if one["input"] == f"ref('{file.stem}')")
        assert "rows" not in given, f"{rule['unit_test']} does not read the seed as it is shipped"
        given["rows"] = list(csv.DictReader(io.StringIO(after)))
        return Changed(test, file.parent.relative_to(PROJECT), "")
    assert test["model"] == file.stem, f"{rule['unit_test']} is a test of {test['model']}"
    test["model"] = f"{file.stem}__removal_{number}"
    return Changed(test, file.parent.relative_to(PROJECT), after)


@pytest.fixture(scope="module")
def outcome(tiny: Warehouse, tiny_landing: Path, tmp_path_factory) -> dict[str, str]:
    """Status of each rule's unit test, and of its copy under each removal."""
    folder = tmp_path_factory.mktemp("clock_rules")
    for file in (file for pattern in NEEDED for file in PROJECT.glob(pattern)):
        target = folder / file.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    tests = [unit_tests()[rule["unit_test"]] for rule in RULES]
    for number, (rule, removal) in enumerate(REMOVALS):
        one = changed(number, rule, removal)
        tests.append(one.unit_test)
        if one.sql:
            (folder / one.folder / f"{one.unit_test['model']}.sql").write_text(one.sql, "utf-8")
    written = yaml.safe_dump({"version": 2, "unit_tests": tests}, sort_keys=False)
    (folder / "models" / "clock_rules.yml").write_text(written, "utf-8")
    # types of columns are those of the warehouse; unit tests leave nothing there
    warehouse = folder / "warehouse.duckdb"
    shutil.copy(tiny.file, warehouse)
    project = Project(folder / "target", folder)
    result = project.run(tiny_landing, warehouse, "test", "--select", "test_type:unit")
    assert result.exception is None, result.exception
    return {str(one.node.name): str(one.status) for one in result.result.results}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["unit_test"])
def test_a_clock_rule_holds(outcome, rule):
    """Failure: the clock does not run as the page of its rules says."""
    assert outcome[rule["unit_test"]] == "pass"


@pytest.mark.parametrize(
    "number", range(len(REMOVALS)), ids=lambda n: f"{n}_{REMOVALS[n][0]['unit_test']}"
)
def test_taking_a_clock_rule_away_fails_its_unit_test(outcome, number):
    """Failure: somebody could remove the rule, and no test would say so."""
    assert outcome[f"removal_{number}"] == "fail", REMOVALS[number][1]["removed"]


def test_the_page_of_clock_rules_lists_every_rule_its_test_and_its_removals():
    """Failure: the page names a rule that is not there, or a proof that nobody runs."""
    table = PAGE.read_text("utf-8").split(HEAD)[1].split("\n\n")[0].splitlines()[2:]
    assert table == [
        f"| {rule['rule']} | `{rule['unit_test']}` "
        f"| {'<br>'.join(removal['removed'] for removal in rule['removals'])} |"
        for rule in RULES
    ]
