"""The history of publications: what was published must be told long after its file is gone."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from pipelines.publishing.history import (
    HistoryBroken,
    as_published,
    publications,
    read_changes,
    remember,
)
from pipelines.publishing.pointer import Manifest, read_manifest, roll_back, switch


def publish(folder: Path, number: int, exams: int, known_until: str | None = None) -> str:
    """One build of one figure, made current."""
    build_id, current = f"20260402T06000{number}Z-0000abcd", read_manifest(folder)
    file = folder / f"demo_{build_id}.duckdb"
    folder.mkdir(exist_ok=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema marts")
        connection.execute(
            "create table marts.rpt_metrics_monthly as select 'T01' as metric_id, "
            "'party' as org_level, 'RMC' as org_code, 'All' as modality_group, "
            f"date '2026-01-01' as period_start_on, {exams} as numerator, "
            f"null::bigint as denominator, {exams}::double as value"
        )
    manifest = Manifest(
        build_id=build_id,
        created_at=f"2026-04-02T06:00:0{number}+00:00",
        inputs_fingerprint="f" * 64,
        audiences={"demo": {"file": file.name}},
        as_at=[],
        gate={},
        tables={},
        previous_builds=[current.build_id, *current.previous_builds] if current else [],
        known_until=known_until,
    )
    switch(folder, manifest)
    return build_id


def values(history: Path) -> list[list[float]]:
    """The published figure after each publication."""
    kept = publications(history)
    return [
        as_published(read_changes(kept[:n]))["value"].to_list() for n in range(1, len(kept) + 1)
    ]


def test_a_build_is_kept_once_and_only_what_it_changed(tmp_path: Path):
    """Failing means that the history grows by everything each day, or tells a build twice."""
    folder, history = tmp_path / "published", tmp_path / "history"
    assert remember(folder, history, "demo") == []
    one = publish(folder, 1, 10, "2026-04-02T05:30:00.250000+00:00")
    assert remember(folder, history, "demo") == [one]
    before = (history / f"{one}.parquet").read_bytes()
    assert remember(folder, history, "demo") == []
    assert (history / f"{one}.parquet").read_bytes() == before
    two, three = publish(folder, 2, 10), publish(folder, 3, 12)
    assert remember(folder, history, "demo") == [two, three], "a crash kept it from the first"
    assert [read_changes([one]).height for one in publications(history)] == [1, 0, 1]
    assert values(history) == [[10], [10], [12]]
    (first, second, _) = publications(history)
    assert first.known_until == datetime(2026, 4, 2, 5, 30, 0, 250000, tzinfo=UTC)
    assert second.known_until == second.published_at == datetime(2026, 4, 2, 6, 0, 2, tzinfo=UTC)


def test_a_build_that_was_taken_back_stays_in_the_history(tmp_path: Path):
    """Failing means that figures which readers have quoted were never published."""
    folder, history = tmp_path / "published", tmp_path / "history"
    for number, exams in ((1, 10), (2, 99)):
        publish(folder, number, exams)
        remember(folder, history, "demo")
    roll_back(folder)
    assert remember(folder, history, "demo") == []
    publish(folder, 3, 10)
    remember(folder, history, "demo")
    assert values(history) == [[10], [99], [10]]


def test_a_manifest_of_an_older_release_is_read(tmp_path: Path):
    """Failing means that the first run after an upgrade cannot publish."""
    publish(tmp_path, 1, 10)
    path = tmp_path / "manifest.json"
    old = {k: v for k, v in json.loads(path.read_text()).items() if k != "known_until"}
    path.write_text(json.dumps(old))
    found = read_manifest(tmp_path)
    assert found is not None and found.known_until is None
    assert set(dataclasses.asdict(found)) == {*old, "known_until"}


def test_a_damaged_file_of_the_history_is_named(tmp_path: Path):
    """Failing means that a publication dies without saying which file to restore."""
    (tmp_path / "20260402T060001Z-0000abcd.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(HistoryBroken, match=r"20260402T060001Z.*restore it"):
        publications(tmp_path)
