"""Each sentence of the seed staff_protections: failing means that a page promises what is not so."""

import csv
import re

import pytest
import yaml

from pipelines.contracts import read_contracts
from pipelines.publishing.editions import STAFF
from pipelines.settings import PROJECT_ROOT

SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"
# What a report says of its reader beside the employer: first reader or verifier, no person.
ROLES = {"reporter_role"}
# What a column of a person is called; reader_time_low_gbp and staffed_minutes are of nobody.
WORDS = (*STAFF, "reader", "actor", "author", "radiologist", "consultant", "employee")
PEOPLE = re.compile(rf"({'|'.join(WORDS)})(_(id|key|name|code|number|hash|role|group))?$")


def rows(path: str) -> list[dict[str, str]]:
    with (SEEDS / path).open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


PROTECTIONS = {row["protection"]: row for row in rows("national/staff_protections.csv")}


@pytest.fixture(scope="module")
def published() -> dict[str, set[str]]:
    contracts = read_contracts(PROJECT_ROOT / "data_contracts" / "published")
    return {name: set(one.column_names()) for name, one in contracts.items()}


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_every_sentence_names_tests_that_are_there(protection: str):
    """A sentence without a test is a hope."""
    for test in PROTECTIONS[protection]["tested_by"].split("; "):
        path, _, name = test.partition("::")
        text = (PROJECT_ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text or f"- name: {name}\n" in text, test


def test_no_published_table_has_a_row_per_member_of_staff(published):
    """Failing means that somebody's own figures could be read, under whatever name."""
    for table, columns in published.items():
        assert not [name for name in columns - ROLES if PEOPLE.match(name)], table
    assert {"org_level", "org_code", "team"} <= published["rpt_reporting_output_weekly"]


def test_the_smallest_group_of_the_page_is_the_one_that_is_applied():
    """Failing means that the page tells another size than the one below which figures are empty."""
    project = yaml.safe_load((PROJECT_ROOT / "dbt_project/dbt_project.yml").read_text())
    told = (PROJECT_ROOT / "dbt_project/models/marts/core/dim_staff_protection.sql").read_text()
    assert "var('min_people_count')" in told and "min(smallest_group_count)" in told
    assert project["vars"]["min_people_count"] >= 5
    models = PROJECT_ROOT / "dbt_project/models/intermediate"
    for name in ("int_reporting_months_shown", "int_reporting_readers_weekly"):
        assert ">= {{ var('min_people_count') }}" in (models / f"reporting/{name}.sql").read_text()
    parts = (models / "benefits/int_benefit_parts_monthly.sql").read_text()
    assert "scores.respondents_count >= questions.smallest_group_count" in parts


def test_hours_at_home_are_judged_by_nothing():
    """Failing means that where somebody works is held against them."""
    text = (PROJECT_ROOT / "dbt_project/models/marts/metrics/rpt_metrics_monthly.yml").read_text()
    registry = yaml.safe_load(text)["models"][0]["config"]["meta"]["metrics"]
    (home,) = (one for one in registry if one.get("metric_id") == "R12")
    assert home["improvement"] == "neutral"
    assert "R12" not in {row["metric_id"] for row in rows("national/metric_targets.csv")}
    others = [one for one in registry if one.get("metric_id") != "R12"]
    assert not [one["metric_id"] for one in others if "at home" in str(one.get("numerator"))]


def test_typed_sql_has_no_table_of_staff():
    """Failing means that a query reaches what no page may show."""
    from dashboards.sqllab.gate import check

    for sql in (
        "select * from landing.reporting_rota",
        "select * from intermediate.int_reporting_readers_weekly",
        "select * from read_parquet('landing/staff_survey/*.parquet')",
    ):
        assert not check(sql, schemas=("marts", "statistics", "catalogue")).allowed, sql
