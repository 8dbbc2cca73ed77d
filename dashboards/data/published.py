"""The published build: which file is current, and how a stored query reads it.

The manifest is read on every rerun (one small file). Its file name holds the build id, so one
read-only connection per path is safe and a new build is a new path, never a replaced file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import streamlit as st

from dashboards.auth.principal import DEMO, Principal, audience_of

SCHEMA_VERSION = 1
WITHHELD = "withheld"
MAX_CACHED_FRAMES = 300


class PublishedFilesBroken(RuntimeError):
    """The published folder holds something that cannot be read; the text says what to do next."""


@dataclass(frozen=True)
class GateFailure:
    """One refused contract rule: what broke, how often, and where the rejected rows are."""

    contract: str
    rule: str
    file_name: str
    count: int
    rejects_path: str
    message: str


@dataclass(frozen=True)
class GateResult:
    """The last gate result, passed or not; checked_at is a UTC instant."""

    passed: bool
    checked_at: datetime
    failures: tuple[GateFailure, ...] = ()


@dataclass(frozen=True)
class Build:
    """One published build as the manifest names it; created_at is a UTC instant."""

    build_id: str
    created_at: datetime
    path: Path
    checks: int
    gate: GateResult
    # The file that typed SQL is asked of; another one where pages show aggregates only.
    sql_path: Path
    # What small counts are hidden by, in words; no text where none are.
    rule: str = ""
    # The audience that the files were chosen for.
    audience: str = ""
    # The same of the file of typed SQL, where it hides groups only too.
    sql_rule: str = ""

    @property
    def signature(self) -> tuple[str, datetime]:
        """Changes when a new build is published or the gate has spoken again."""
        return self.build_id, self.gate.checked_at

    @property
    def typed(self) -> Build:
        """The same build, read from the file that typed SQL is asked of."""
        return replace(self, path=self.sql_path, rule=self.sql_rule)


def build_for(published: Path, principal: Principal, demo_audience: str) -> Build | None:
    """The build as this reader may see it; None while nothing has been published.

    The reader alone decides which files are read; demo_audience counts for a demo user only.
    Raises NoFile, and PublishedFilesBroken as current_build does.
    """
    if principal.role == DEMO:
        return current_build(published, demo_audience)
    manifest = _read_json(published / "manifest.json")
    if manifest is None:
        return None
    return current_build(published, audience_of(principal, manifest.get("audiences", {})))


def current_build(published: Path, audience: str) -> Build | None:
    """Read the manifest and the last gate result; None while nothing has been published.

    Pages of an audience of analysts show what the network may see; its own file, with rows, is for
    typed SQL only. Raises PublishedFilesBroken when the manifest cannot be used.
    """
    manifest = _read_json(published / "manifest.json")
    if manifest is None:
        return None
    return _of(published, manifest, audience, _read_json(published / "gate.json"))


def stored_build(published: Path, audience: str, build_id: str = "") -> Build:
    """A build by its id, or the current one, with the gate result of its own day.

    What it holds depends on the published files alone, never on what the gate said later. Raises
    PublishedFilesBroken when there is no such build or no file of it for the audience.
    """
    manifest = _read_json(published / "manifest.json")
    if build_id and (manifest is None or manifest["build_id"] != build_id):
        kept = {
            path.stem.removeprefix("manifest_"): path for path in published.glob("manifest_*.json")
        }
        if build_id not in kept:
            there = ", ".join(sorted(kept)) or "none"
            raise PublishedFilesBroken(
                f"There is no published build {build_id}. Builds that are kept: {there}"
            )
        manifest = _read_json(kept[build_id])
    if manifest is None:
        raise PublishedFilesBroken("Nothing has been published yet. Run `imaging run`.")
    return _of(published, manifest, audience, None)


def _of(
    published: Path, manifest: dict[str, Any], audience: str, gate: dict[str, Any] | None
) -> Build:
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise PublishedFilesBroken(
            f"{published / 'manifest.json'} has schema version {manifest.get('schema_version')}, "
            f"these dashboards read version {SCHEMA_VERSION}. Install the matching release."
        )
    if audience not in manifest["audiences"]:
        raise PublishedFilesBroken(
            f"Build {manifest['build_id']} has no file for the audience '{audience}'. "
            "Set IMAGING_AUDIENCE to one of: " + ", ".join(sorted(manifest["audiences"]))
        )
    shown = _shown_to(manifest, audience)
    path, sql_path = _file(published, shown), _file(published, manifest["audiences"][audience])
    manifest_gate = manifest.get("gate", {"passed": True, "checked_at": manifest["created_at"]})
    gate = gate or manifest_gate
    return Build(
        build_id=manifest["build_id"],
        created_at=datetime.fromisoformat(manifest["created_at"]),
        path=path,
        sql_path=sql_path,
        rule=shown.get("rule", "") if shown.get("suppressed") else "",
        audience=audience,
        sql_rule=manifest["audiences"][audience].get("rule", ""),
        checks=manifest_gate.get("checks", 0),
        gate=_gate_result(gate),
    )


def _shown_to(manifest: dict[str, Any], audience: str) -> dict[str, Any]:
    """What the manifest says of the file that the pages of an audience read."""
    own = manifest["audiences"][audience]
    if own.get("kind") != "analyst":
        return own
    networks = [one for one in manifest["audiences"].values() if one.get("kind") == "network"]
    if not networks:
        raise PublishedFilesBroken(
            f"Build {manifest['build_id']} has no file of the network, which is what the pages of "
            f"'{audience}' show. Add one to seeds/network/audiences.csv and run `imaging run`."
        )
    return networks[0]


def _file(published: Path, told: dict[str, Any]) -> Path:
    path = published / told["file"]
    if not path.is_file():
        raise PublishedFilesBroken(
            f"The manifest names {path}, which is missing. Run `imaging run` to publish again."
        )
    return path.resolve()


def marker(build: Build, alias: str = "") -> str:
    """The column that names what is hidden of a row, for a select list; nothing where none is."""
    name = f"{alias}.{WITHHELD}" if alias else WITHHELD
    return f"{name}," if build.rule else ""


def read(build: Build, sql: str, **parameters: Any) -> pl.DataFrame:
    """Run one stored query on the build's file; the frame's grain is the query's.

    Parameters are named as `$name` in the text. Instants come back in UTC.
    """
    return _cached_read(str(build.path), build.build_id, sql, tuple(sorted(parameters.items())))


# The files of a build and of the one before: a release closes what another reader may be reading.
@st.cache_resource(max_entries=32, show_spinner=False, on_release=lambda con: con.close())
def _connection(path: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(path, read_only=True)


@st.cache_data(max_entries=MAX_CACHED_FRAMES, show_spinner=False)
def _cached_read(
    path: str, build_id: str, sql: str, parameters: tuple[tuple[str, Any], ...]
) -> pl.DataFrame:
    # A cursor per query: one DuckDB connection must not be used by two threads at once.
    with _connection(path).cursor() as cursor:
        return cursor.sql(sql, params=dict(parameters)).pl()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise PublishedFilesBroken(
            f"{path} is not valid JSON ({error}). Run `imaging run` to publish again."
        ) from error


def _gate_result(content: dict[str, Any]) -> GateResult:
    failures = tuple(
        GateFailure(
            contract=failure["contract"],
            rule=failure["rule"],
            file_name=failure.get("file_name") or "",
            count=failure.get("count") or 0,
            rejects_path=failure.get("rejects_path") or "",
            message=failure.get("message") or "",
        )
        for failure in content.get("failures", [])
    )
    return GateResult(content["passed"], datetime.fromisoformat(content["checked_at"]), failures)
