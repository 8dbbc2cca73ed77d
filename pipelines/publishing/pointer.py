"""The manifest: which build readers see now, which they can go back to."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.durable import write_bytes
from pipelines.problems import Problem

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class NothingToRollBack(Problem):
    """There is no earlier published build; the message says what exists."""


@dataclass(frozen=True)
class Manifest:
    """Contents of published/manifest.json (data_contracts/published/manifest.schema.json)."""

    build_id: str
    created_at: str
    inputs_fingerprint: str
    audiences: dict[str, dict[str, Any]]
    as_at: list[dict[str, Any]]
    gate: dict[str, Any]
    tables: dict[str, int]
    previous_builds: list[str] = field(default_factory=list)
    # What had landed by then is in the build; manifests of older releases do not say.
    known_until: str | None = None
    schema_version: int = SCHEMA_VERSION


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest readers see now, or None before the first publication."""
    path = folder / MANIFEST
    return Manifest(**json.loads(path.read_text())) if path.exists() else None


def read_manifest_of(folder: Path, build_id: str) -> Manifest | None:
    """The manifest of one kept build, or None where it is no longer (or not yet) there."""
    path = folder / f"manifest_{build_id}.json"
    return Manifest(**json.loads(path.read_text())) if path.exists() else None


def switch(folder: Path, manifest: Manifest) -> None:
    """Make a build current: its own copy of the manifest first, then the one readers follow."""
    document = json.dumps(asdict(manifest), indent=1).encode()
    write_bytes(document, folder / f"manifest_{manifest.build_id}.json")
    write_bytes(document, folder / MANIFEST)


def roll_back(folder: Path) -> Manifest:
    """Make the build before the current one current again; raises NothingToRollBack."""
    current = read_manifest(folder)
    if current is None or not current.previous_builds:
        raise NothingToRollBack(f"{folder} holds no earlier build to go back to")
    earlier = current.previous_builds[0]
    path = folder / f"manifest_{earlier}.json"
    if not path.exists():
        raise NothingToRollBack(f"build {earlier} is no longer kept; raise IMAGING_KEEP_BUILDS")
    document = path.read_bytes()
    manifest = Manifest(**json.loads(document))
    gone = [a["file"] for a in manifest.audiences.values() if not (folder / a["file"]).exists()]
    if gone:
        raise NothingToRollBack(f"build {earlier} has lost {', '.join(gone)}; publish again")
    write_bytes(document, folder / MANIFEST)
    return manifest


def prune(folder: Path, keep: int) -> list[str]:
    """Delete builds beyond the newest `keep`; never the current one. Returns the deleted ids."""
    current = read_manifest(folder)
    if current is None:
        return []
    kept = {current.build_id, *current.previous_builds[: keep - 1]}
    gone = []
    for path in sorted(folder.glob("manifest_*.json")):
        build_id = path.stem.removeprefix("manifest_")
        if build_id in kept or build_id > current.build_id:
            continue
        for audience in json.loads(path.read_text())["audiences"].values():
            (folder / audience["file"]).unlink(missing_ok=True)
        path.unlink()
        gone.append(build_id)
    return gone + _orphans(folder, current.build_id)


def _orphans(folder: Path, current: str) -> list[str]:
    """Delete files of builds that were killed before their manifest was written."""
    named = {path.stem.removeprefix("manifest_") for path in folder.glob("manifest_*.json")}
    gone = []
    for path in sorted(folder.glob("*_*.duckdb")):
        # <audience>_<build> or warehouse_<build>_<audience>
        build_id = path.stem.split("_", 2)[1]
        if build_id not in named and build_id < current:
            path.unlink()
            gone.append(build_id)
    return gone
