"""Landing files: whole or not there, and the same however often they are written."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipelines import durable
from pipelines.contracts import Contract
from pipelines.landing import writer
from pipelines.landing.schema import landing_schema, shaped
from pipelines.landing.writer import PARSER_VERSION, LandingStore


@pytest.fixture
def store(tmp_path: Path, landing_contracts: dict[str, Contract]) -> LandingStore:
    return LandingStore(tmp_path / "landing", landing_contracts)


def costs(store: LandingStore, count: int = 1) -> pl.DataFrame:
    schema = landing_schema(store.tables["unit_costs"])
    rows = [dict.fromkeys(schema) | {"assumption_id": f"UC{n:02d}"} for n in range(count)]
    return pl.DataFrame(rows, schema=schema)


def test_every_table_can_be_read_before_anything_has_landed(store: LandingStore):
    """Failing means that a new network cannot build its warehouse."""
    store.prepare()
    for table, contract in store.tables.items():
        empty = pl.read_parquet(store.root / table / writer.EMPTY_FILE)
        assert empty.is_empty() and empty.schema == pl.Schema(landing_schema(contract))
    assert store.receipts().is_empty()


def test_a_column_that_a_table_gains_can_be_read_before_a_row_has_it(store: LandingStore):
    """Failing means that no build succeeds between an upgrade and the next delivery."""
    schema = landing_schema(store.tables["unit_costs"])
    marker = store.root / "unit_costs" / writer.EMPTY_FILE
    store.prepare()
    pl.DataFrame(schema=dict(list(schema.items())[:-1])).write_parquet(marker)
    store.prepare()
    assert pl.read_parquet_schema(marker) == pl.Schema(schema)
    told = marker.stat().st_mtime_ns
    store.prepare()
    assert marker.stat().st_mtime_ns == told


def test_a_file_is_named_by_its_source_and_the_version_of_the_reader(store: LandingStore):
    """Failing means that nobody can say which source a landing file came from."""
    path = store.write("unit_costs", "a" * 64, costs(store))
    assert path.name == f"{'a' * 64}.p{writer.PARSER_VERSION}.parquet"
    assert path.parent.name == "unit_costs"


def test_writing_a_file_again_leaves_the_same_bytes_and_no_second_file(store: LandingStore):
    """Failing means that a run which is repeated makes another warehouse."""
    first = store.write("unit_costs", "a", costs(store, 3)).read_bytes()
    path = store.write("unit_costs", "a", costs(store, 3))
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_new_version_of_the_reader_replaces_what_the_old_one_wrote(
    store: LandingStore, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that every row counts twice after an upgrade."""
    store.write("unit_costs", "a", costs(store, 2))
    store.write("unit_costs", "b", costs(store, 1))
    monkeypatch.setattr(writer, "PARSER_VERSION", "later")
    store.write("unit_costs", "a", costs(store, 2))
    assert sorted(p.name for p in (store.root / "unit_costs").iterdir()) == [
        "a.plater.parquet",
        f"b.p{PARSER_VERSION}.parquet",
    ]


def test_a_process_killed_before_the_rename_leaves_the_old_file(
    store: LandingStore, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that the warehouse can meet half a file after a power cut."""
    path = store.write("unit_costs", "a", costs(store, 1))
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    gone = subprocess.Popen(["true"])
    gone.wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: gone.pid)
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write("unit_costs", "a", costs(store, 9))
        with pytest.raises(KeyboardInterrupt):
            store.write("unit_costs", "new", costs(store, 9))
    assert path.read_bytes() == before
    assert len(store.read("unit_costs")) == 1
    assert store.file_names() == [f"unit_costs/a.p{PARSER_VERSION}.parquet"]
    durable.remove_abandoned(store.root)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_is_synced_before_it_gets_its_name(
    store: LandingStore, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a power cut can leave a named file without contents."""
    order: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (order.append("name"), replace(self, target))[1]
    )
    store.write("unit_costs", "a", costs(store))
    assert order == ["sync", "name", "sync"]


def receipt(store: LandingStore, sha: str, rows_written: int) -> None:
    schema = landing_schema(store.tables["receipts"])
    row = dict.fromkeys(schema) | {"source_sha": sha, "rows_written": rows_written}
    store.write("receipts", f"batch-{sha}-{rows_written}", pl.DataFrame([row], schema=schema))


# Writes a file without a receipt, says so, and waits to be killed.
AT_WORK = """
import sys, polars as pl
from pathlib import Path
from pipelines.contracts import read_contracts
from pipelines.landing.schema import landing_schema
from pipelines.landing.writer import PARSER_VERSION, LandingStore
store = LandingStore(Path(sys.argv[1]), read_contracts(Path(sys.argv[2])))
with store.unfinished("unit_costs", ["a"]):
    schema = landing_schema(store.tables["unit_costs"])
    store.write("unit_costs", "a", pl.DataFrame(schema=schema))
    print("written", flush=True)
    sys.stdin.read()
"""


def test_what_another_harvest_is_writing_is_left_alone_until_it_is_dead(store: LandingStore):
    """Failing means that two harvests at once lose what one of them has landed."""
    store.prepare()
    contracts = Path(__file__).parents[3] / "data_contracts" / "landing"
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(store.root), str(contracts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "written\n"
        with store.unfinished("unit_costs", ["mine"]):
            store.undo_unfinished("unit_costs")
        assert f"unit_costs/a.p{PARSER_VERSION}.parquet" in store.file_names()
        other.kill()
    store.undo_unfinished("unit_costs")
    assert f"unit_costs/a.p{PARSER_VERSION}.parquet" not in store.file_names()
    assert not list(store.root.glob(".*.unfinished.json"))


def test_the_receipt_of_a_refusal_does_not_keep_what_its_replay_left(store: LandingStore):
    """Failing means that a replay that was broken off lands rows no receipt tells of."""
    store.prepare()
    receipt(store, "refused", 0)
    receipt(store, "landed", 1)
    for name in ("refused", "landed"):
        store.write("unit_costs", name, costs(store))
    with (
        pytest.raises(OSError, match="full"),
        store.unfinished("unit_costs", ["refused", "landed"]),
    ):
        raise OSError("the disk is full")
    assert store.read("unit_costs").height == 1
    assert f"unit_costs/landed.p{PARSER_VERSION}.parquet" in store.file_names()
    assert store.receipts().height == 2


def test_a_frame_without_a_column_of_the_contract_is_an_error(store: LandingStore):
    """Failing means that a forgotten column lands as nothing."""
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        shaped(costs(store).drop("low_gbp"), store.tables["unit_costs"])
    more = costs(store).with_columns(patient_name=pl.lit("x"))
    assert "patient_name" not in shaped(more, store.tables["unit_costs"]).columns
