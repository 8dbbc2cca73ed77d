"""Contract files: what a supplier reads must be what the pipelines hold it to."""

import json
from pathlib import Path

import jsonschema
import polars as pl
import pytest
import yaml
from open_data_contract_standard.model import OpenDataContractStandard

from pipelines.contracts import Contract, read_contract
from pipelines.feeds import FEEDS
from pipelines.landing.schema import PHYSICAL, landing_schema
from pipelines.quality.suites import JUDGED, batch_rules
from pipelines.sources.dicom_headers.tags import TagList
from pipelines.sources.inbox import FEED_KINDS
from pipelines.synthetic.ris_extract import COLUMNS

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "data_contracts").glob("*/*.odcs.yaml"))
INBOUND = [path for path in FILES if path.parent.name == "inbound"]
LANDING = [path for path in FILES if path.parent.name == "landing"]
SOURCES = ROOT / "dbt_project" / "models" / "staging" / "landing" / "_landing__sources.yml"
# What the harvest puts beside the columns of a contract before its rules are checked.
ADDED = {"latest_allowed"}
LOGICAL = {
    "VARCHAR": {"string"},
    "BLOB": {"string"},
    "BOOLEAN": {"boolean"},
    "SMALLINT": {"integer"},
    "INTEGER": {"integer"},
    "BIGINT": {"integer"},
    "DOUBLE": {"number"},
    "DATE": {"date"},
    "TIMESTAMP": {"timestamp"},
    "TIMESTAMPTZ": {"timestamp"},
}


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.name.removesuffix('.odcs.yaml')}"


def contract(folder: str, name: str) -> Contract:
    return read_contract(ROOT / "data_contracts" / folder / f"{name}.odcs.yaml")


def test_the_harvest_and_the_warehouse_allow_a_time_the_same_hours_after_its_arrival():
    """Failing means that a time which the harvest lets pass is thrown away later, or the reverse."""
    project = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text())
    settings = {path.name: read_contract(path).settings for path in INBOUND}
    days = {
        name: found["futureToleranceDays"]
        for name, found in settings.items()
        if "futureToleranceDays" in found
    }
    assert len(days) > 1
    assert {24 * float(told) for told in days.values()} == {
        project["vars"]["future_tolerance_hours"]
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_contract_follows_the_open_standard_and_our_reader_agrees(path: Path):
    """Failing means that a supplier's tools read another contract than we do."""
    standard = OpenDataContractStandard.from_file(str(path))
    ours = read_contract(path)
    assert (standard.apiVersion, standard.kind) == ("v3.1.0", "DataContract")
    assert (standard.name, standard.version) == (ours.name, ours.version)
    assert path.name == f"{ours.name}.odcs.yaml" and ours.table == ours.name
    assert standard.id == f"imaging-network-warehouse.{path.parent.name}.{ours.name}"
    (schema,) = standard.schema_
    assert [p.name for p in schema.properties] == ours.column_names()
    for column, stated in zip(ours.columns, schema.properties, strict=True):
        assert column.logical_type == stated.logicalType
        assert column.required == bool(stated.required)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_column_is_described_and_named_once(path: Path):
    """Failing means that nobody outside the team can say what a column means."""
    columns = read_contract(path).columns
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert len(column.description) > 3, column.name
        assert column.description.endswith(".") or "\n" in column.description, column.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_rule_has_a_name_of_its_own_a_next_step_and_columns_that_exist(path: Path):
    """Failing means that a rule is checked on nothing, or cannot be told from another."""
    found = read_contract(path)
    rules = batch_rules(found)
    assert len({rule.name for rule in rules}) == len(rules)
    known = set(found.column_names()) | ADDED
    known |= {f"{name}__unparsed" for name in found.column_names()}
    for rule in rules:
        # The answers that quality/dids_rules.py gives; tests/pipelines/quality/test_dids_rules.py.
        known |= {v for v in rule.arguments.values() if str(v).startswith(JUDGED)}
    for rule in rules:
        assert len(rule.description) > 10 and rule.description.endswith(".")
        for key, value in rule.arguments.items():
            assert not key.startswith("column") or value in known, (rule.name, value)
        assert 0 <= rule.tolerance_percent <= 100 and rule.tolerance_rows >= 0


def test_every_feed_has_a_contract_and_every_contract_a_feed():
    """Failing means that a feed is taken in without an agreement."""
    names = {path.name.removesuffix(".odcs.yaml") for path in INBOUND}
    assert names == {kind.contract for kind in FEEDS.values()}
    assert set(FEEDS) == set(FEED_KINDS)


def test_identities_are_marked_where_they_come_in():
    """Failing means that nobody can tell which columns must never be written."""
    for name, expected in {
        "ris_extract": {"nhs_number", "patient_id", "birth_date", "postcode", "accession_number"},
        "hl7_messages": {"patient_id", "filler_id", "accession"},
        "dicom_files": {"sop_instance_uid", "study_instance_uid", "series_instance_uid"},
        "meeting_lists": {"nhs_number", "accession_number", "study_instance_uid"},
        "image_transfers": {"nhs_number", "accession_number", "study_instance_uid"},
        "admissions": {"patient_id", "admission_id"},
    }.items():
        document = yaml.safe_load((ROOT / f"data_contracts/inbound/{name}.odcs.yaml").read_text())
        marked = {
            column["name"]
            for column in document["schema"][0]["properties"]
            if column.get("classification") == "identifier"
        }
        assert expected <= marked, name


@pytest.mark.parametrize("path", LANDING, ids=name_of)
def test_a_landing_contract_gives_the_shape_of_its_files(path: Path):
    """Failing means that a landing file has another shape than its contract."""
    found = read_contract(path)
    schema = landing_schema(found)
    assert list(schema) == found.column_names()
    assert all(isinstance(dtype, pl.DataType) for dtype in schema.values())
    assert set(LOGICAL) == set(PHYSICAL)
    for column in found.columns:
        assert column.logical_type in LOGICAL[column.physical_type], column.name
        if column.logical_type == "timestamp":
            is_wall_clock = column.name.endswith("_local")
            assert (column.physical_type == "TIMESTAMP") == is_wall_clock, column.name


def test_landing_contracts_are_the_tables_that_the_warehouse_reads():
    """Failing means that dbt reads a table nobody writes, or that one is never read."""
    tables = {path.name.removesuffix(".odcs.yaml") for path in LANDING}
    written = {table for kind in FEEDS.values() for table in kind.tables()}
    assert tables == written | {"receipts", "rejects"}
    (source,) = yaml.safe_load(SOURCES.read_text())["sources"]
    assert {table["name"] for table in source["tables"]} == tables
    for table in source["tables"]:
        listed = [column["name"] for column in table.get("columns", [])]
        assert set(listed) <= set(contract("landing", table["name"]).column_names())
        assert table["description"].startswith("One row per ")


def test_every_column_of_a_table_feed_lands_under_its_name_or_as_two_times():
    """Failing means that something a supplier sends is dropped without a word."""
    # These land in another shape.
    others = {kind for kind, feed in FEEDS.items() if feed.landing_table == "imaging_events"}
    others |= {"dicom", "dicom_series"}
    for kind in set(FEEDS) - others:
        landed = set(contract("landing", FEEDS[kind].landing_table).column_names())
        for column in contract("inbound", kind).columns:
            wanted = {column.name}
            if column.logical_type == "timestamp":
                wanted = {f"{column.name}_utc", f"{column.name}_local"}
            assert wanted <= landed, (kind, column.name)


def test_every_header_column_is_read_from_the_header_or_made_from_it():
    """Failing means that a landing column can never hold a value."""
    made = {
        "age_band",
        "reader",
        "content_sha",
        "feed_id",
        "received_at",
        "landed_at",
        "source_sha",
    }
    made |= {"start_raw", "start_local", "start_utc", "start_rung"}
    made |= {"ts_precision", "tz_source", "ts_flag", "end_utc", "end_local", "end_method"}
    assert set(contract("landing", "dicom_headers").column_names()) <= made | set(
        TagList.load().columns()
    )


def test_the_synthetic_extract_has_the_columns_of_the_contract():
    """Failing means that the demo shows another feed than the one agreed."""
    assert set(COLUMNS) == set(contract("inbound", "ris_extract").column_names())


def test_the_schema_of_the_manifest_is_a_schema():
    """Failing means that nothing checks what the dashboards follow."""
    schema = json.loads((ROOT / "data_contracts/published/manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
