"""Published files: readers see a whole build or the one before it, never half of one."""

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import jsonschema
import polars as pl
import pytest

from pipelines.publishing import snapshot
from pipelines.publishing.catalogue import column_rows, public_models, table_rows
from pipelines.publishing.pointer import (
    Manifest,
    NothingToRollBack,
    prune,
    read_manifest,
    roll_back,
    switch,
)
from pipelines.publishing.snapshot import (
    AuditFailed,
    Build,
    as_at,
    checksum,
    table_counts,
    write_snapshot,
)
from tests.pipelines.conftest import CONTRACTS

TABLES = ["marts.dim_party", "marts.rpt_throughput_daily"]
CREATED = datetime(2026, 4, 2, 6, tzinfo=UTC)
CATALOGUE = {"tables": pl.DataFrame({"table_name": ["dim_party"], "row_count": [2]})}
BUILD = Build("20260402T060000Z-0000abcd", CREATED, "demo", True, "Example network", "none")


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    folder = tmp_path / "it's here"
    folder.mkdir()
    path = folder / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.source as select 'RMC' as party_code, 2 as n")
        connection.execute("insert into marts.source values ('RBV', 1)")
        connection.execute("create view marts.dim_party as select * from marts.source")
        connection.execute(
            "create table marts.rpt_throughput_daily as select party_code, "
            "timestamptz '2026-04-01 10:00:00+00' as at from marts.source order by n desc"
        )
        connection.execute(
            "create table marts.rpt_feed_freshness as select 'RMC' as party_code, "
            "'hl7_RMC' as feed_id, 'hl7' as feed_kind, "
            "timestamptz '2026-03-31 22:59:00+00' as as_at"
        )
    return path


def rows(path: Path, query: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_snapshot_holds_every_row_in_the_order_of_its_columns(warehouse: Path, tmp_path: Path):
    """Failing means that readers see other rows than the warehouse has."""
    target = tmp_path / "published" / "demo_x.duckdb"
    summary = write_snapshot(warehouse, target, TABLES, CATALOGUE, BUILD)
    assert summary.rows() == [(table, 2, 2) for table in TABLES]
    assert table_counts(target, TABLES) == table_counts(warehouse, TABLES)
    assert rows(target, "select * from marts.dim_party") == [("RBV", 1), ("RMC", 2)]
    assert rows(target, "select build_id, audience, is_synthetic from catalogue.build") == [
        (BUILD.build_id, "demo", True)
    ]
    kinds = rows(target, "select distinct table_type from information_schema.tables")
    assert kinds == [("BASE TABLE",)], "a view would look into the warehouse"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_two_readers_can_have_a_build_open_while_the_next_is_written(
    warehouse: Path, tmp_path: Path
):
    """Failing means that publishing needs the dashboards to stop."""
    first, second = tmp_path / "demo_1.duckdb", tmp_path / "demo_2.duckdb"
    write_snapshot(warehouse, first, TABLES, CATALOGUE, BUILD)
    query = "select count(*) from marts.dim_party"
    with (
        duckdb.connect(str(first), read_only=True) as one,
        duckdb.connect(str(first), read_only=True) as two,
    ):
        write_snapshot(warehouse, second, TABLES, CATALOGUE, BUILD)
        assert one.execute(query).fetchall() == two.execute(query).fetchall() == [(2,)]
        with pytest.raises(duckdb.Error):
            one.execute("delete from marts.dim_party")
        first.unlink()
        assert one.execute(query).fetchall() == [(2,)]


def test_a_snapshot_that_fails_its_audit_leaves_nothing(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that half a build can be served or fills the disk."""
    target = tmp_path / "published" / "demo_x.duckdb"

    def failing(*_: object) -> pl.DataFrame:
        raise AuditFailed("marts.dim_party: 1 rows copied, the warehouse has 2")

    monkeypatch.setattr(snapshot, "_audit", failing)
    with pytest.raises(AuditFailed):
        write_snapshot(warehouse, target, TABLES, CATALOGUE, BUILD)
    assert list(target.parent.iterdir()) == []
    with pytest.raises(duckdb.Error):
        write_snapshot(warehouse, target, ["marts.no_such_table"], CATALOGUE, BUILD)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("copied", "message"),
    [
        ("select party_code, n from warehouse.marts.dim_party limit 1", "1 rows copied"),
        ("select party_code from warehouse.marts.dim_party", "other columns"),
        ("select party_code, n::varchar as n from warehouse.marts.dim_party", "other columns"),
    ],
)
def test_the_audit_sees_missing_rows_and_changed_columns(
    warehouse: Path, copied: str, message: str
):
    """Failing means that a copy with less than the warehouse passes."""
    with duckdb.connect() as connection:
        source = str(warehouse).replace("'", "''")
        connection.execute(f"attach '{source}' as warehouse (read_only)")
        connection.execute("create schema marts")
        connection.execute(f"create table marts.dim_party as {copied}")
        with pytest.raises(AuditFailed, match=message):
            snapshot._audit(connection, ["marts.dim_party"])


def test_as_at_is_told_in_utc(warehouse: Path):
    """Failing means that pages show data an hour newer or older than they are."""
    assert as_at(warehouse) == [
        {
            "party_code": "RMC",
            "feed_id": "hl7_RMC",
            "feed_kind": "hl7",
            "as_at": "2026-03-31T22:59:00Z",
        }
    ]


def build_id(number: int) -> str:
    return f"20260402T06000{number}Z-0000abc{number}"


def publish(folder: Path, number: int) -> Manifest:
    """A small build, made current as the pipeline does it."""
    folder.mkdir(exist_ok=True)
    file = folder / f"demo_{build_id(number)}.duckdb"
    file.write_bytes(f"build {number}".encode())
    current = read_manifest(folder)
    manifest = Manifest(
        build_id=build_id(number),
        created_at=CREATED.isoformat(),
        inputs_fingerprint="f" * 64,
        audiences={
            "demo": {
                "file": file.name,
                "sha256": checksum(file),
                "bytes": file.stat().st_size,
                "suppressed": False,
            }
        },
        as_at=[
            {
                "party_code": "RMC",
                "feed_id": "hl7_RMC",
                "feed_kind": "hl7",
                "as_at": "2026-03-31T22:59:00Z",
            }
        ],
        gate={"passed": True, "checked_at": CREATED.isoformat(), "checks": 9},
        tables={"marts.dim_party": 2},
        previous_builds=[current.build_id, *current.previous_builds] if current else [],
    )
    switch(folder, manifest)
    return manifest


def builds(folder: Path) -> list[int]:
    return sorted(int(path.stem[-1]) for path in folder.glob("demo_*.duckdb"))


def test_the_manifest_is_what_its_schema_says(tmp_path: Path):
    """Failing means that a reader of the manifest meets a document nobody described."""
    schema = json.loads((CONTRACTS / "published" / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    document = json.loads((tmp_path / "manifest.json").read_text())
    validator.validate(document)
    assert set(schema["properties"]) == {*schema["required"], "known_until"} == set(document)
    assert document == json.loads((tmp_path / f"manifest_{build_id(2)}.json").read_text())
    for wrong in (
        document | {"extra": 1},
        document | {"build_id": "x"},
        document | {"gate": document["gate"] | {"passed": False}},
        document | {"created_at": "2026-04-02 06:00"},
        document | {"known_until": "yesterday"},
        {key: value for key, value in document.items() if key != "as_at"},
    ):
        assert not validator.is_valid(wrong)
    validator.validate(document | {"known_until": "2026-04-02T05:30:00.250000+00:00"})
    validator.validate({key: value for key, value in document.items() if key != "known_until"})


def test_switching_makes_a_build_current_and_rolling_back_the_one_before(tmp_path: Path):
    """Failing means that a bad build cannot be taken back."""
    for number in (1, 2, 3):
        publish(tmp_path, number)
    assert read_manifest(tmp_path).build_id == build_id(3)
    assert roll_back(tmp_path).build_id == build_id(2)
    assert read_manifest(tmp_path).build_id == build_id(2)
    assert roll_back(tmp_path).build_id == build_id(1)
    with pytest.raises(NothingToRollBack, match="no earlier build"):
        roll_back(tmp_path)
    assert read_manifest(tmp_path).build_id == build_id(1)
    assert publish(tmp_path, 4).previous_builds == [build_id(1)]


def test_rolling_back_to_a_build_that_is_gone_is_refused(tmp_path: Path):
    """Failing means that the site points at a file that does not exist."""
    with pytest.raises(NothingToRollBack):
        roll_back(tmp_path)
    for number in (1, 2):
        publish(tmp_path, number)
    (tmp_path / f"demo_{build_id(1)}.duckdb").unlink()
    with pytest.raises(NothingToRollBack, match="has lost"):
        roll_back(tmp_path)
    (tmp_path / f"manifest_{build_id(1)}.json").unlink()
    with pytest.raises(NothingToRollBack, match="no longer kept"):
        roll_back(tmp_path)
    assert read_manifest(tmp_path).build_id == build_id(2)


def test_a_switch_that_is_cut_off_leaves_the_build_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that readers can meet half a manifest."""
    publish(tmp_path, 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(tmp_path, 2)
    assert read_manifest(tmp_path).build_id == build_id(1)


def test_old_builds_go_and_the_current_one_never(tmp_path: Path):
    """Failing means that the disk fills up, or that the build readers follow is deleted."""
    assert prune(tmp_path, 2) == []
    for number in range(1, 6):
        publish(tmp_path, number)
    assert prune(tmp_path, 3) == [build_id(1), build_id(2)]
    assert builds(tmp_path) == [3, 4, 5]
    roll_back(tmp_path)
    assert prune(tmp_path, 2) == []
    assert builds(tmp_path) == [3, 4, 5], "a build that was rolled back can still be looked at"
    publish(tmp_path, 6)
    assert prune(tmp_path, 2) == [build_id(3), build_id(5)]
    assert builds(tmp_path) == [4, 6]


def test_files_of_a_killed_publication_are_removed_with_the_next(tmp_path: Path):
    """Failing means that every crash leaves a file for good, or that a build in the making goes."""
    publish(tmp_path, 1)
    orphan = tmp_path / f"demo_{build_id(2)}.duckdb"
    orphan.write_bytes(b"no manifest")
    assert prune(tmp_path, 5) == [] and orphan.exists()
    publish(tmp_path, 3)
    assert prune(tmp_path, 5) == [build_id(2)]
    assert builds(tmp_path) == [1, 3]


NODE = {
    "resource_type": "model",
    "access": "public",
    "schema": "marts",
    "name": "dim_party",
    "description": "One row per party.",
    "config": {"meta": {"grain": "party_code"}},
    "columns": {
        "party_code": {"name": "party_code", "data_type": "varchar", "description": "Code."},
        "sort_order": {"name": "sort_order", "data_type": None, "description": "Order."},
    },
}
STATISTIC = {
    "name": "turnaround_survival",
    "description": "One row per group.",
    "grain": "org_code",
    "columns": [("org_code", "VARCHAR", "Code.")],
}


def test_the_catalogue_describes_every_table_and_column_that_readers_see(tmp_path: Path):
    """Failing means that a reader meets a number without a meaning."""
    manifest = tmp_path / "manifest.json"
    private = NODE | {"name": "int_x", "access": "protected"}
    seed = NODE | {"name": "sites", "resource_type": "seed"}
    manifest.write_text(json.dumps({"nodes": {"a": NODE, "b": private, "c": seed}}))
    models = public_models(manifest)
    assert [model["name"] for model in models] == ["dim_party"]
    counts = {"marts.dim_party": 8, "statistics.turnaround_survival": 3}
    tables = table_rows(models, [STATISTIC], counts)
    assert tables.select("table_schema", "table_name", "grain", "row_count").rows() == [
        ("marts", "dim_party", "party_code", 8),
        ("statistics", "turnaround_survival", "org_code", 3),
    ]
    columns = column_rows(models, [STATISTIC])
    assert columns.select("table_name", "column_name", "data_type", "position").rows() == [
        ("dim_party", "party_code", "varchar", 1),
        ("dim_party", "sort_order", "", 2),
        ("turnaround_survival", "org_code", "VARCHAR", 1),
    ]
