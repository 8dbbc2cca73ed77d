"""The dbt project as a thing to run: its manifest, and the fingerprint of what is built."""

import hashlib
import json
from datetime import datetime
from pathlib import Path

from pipelines.durable import write_bytes
from pipelines.problems import Problem

SOURCE_SUFFIXES = {".sql", ".yml", ".csv"}


class WarehouseProblem(Problem):
    """The dbt project cannot be read."""


def manifest_path(project: Path) -> Path:
    """Where dbt leaves its manifest."""
    return project / "target" / "manifest.json"


def ensure_manifest(project: Path) -> Path:
    """Parse the dbt project when the manifest is missing or older than a source file.

    Raises WarehouseProblem when there is no project, and with dbt's own message when it does not
    parse.
    """
    if not (project / "dbt_project.yml").exists():
        raise WarehouseProblem(
            f"{project}: no dbt project is there; point IMAGING_DBT_PROJECT at dbt_project of the "
            "release, or at a copy of it"
        )
    path = manifest_path(project)
    newest = max(file.stat().st_mtime for file in project_files(project))
    if path.exists() and path.stat().st_mtime >= newest:
        return path
    from dbt.cli.main import dbtRunner  # takes seconds to import; only a stale manifest pays

    folder = str(project)
    outcome = dbtRunner().invoke(
        ["parse", "--project-dir", folder, "--profiles-dir", folder, "--quiet"]
    )
    if not outcome.success:
        raise WarehouseProblem(f"{project}: dbt parse failed: {outcome.exception}")
    return path


def project_files(project: Path) -> list[Path]:
    """Source files of the dbt project (SQL, YAML, seeds), sorted."""
    skipped = {"target", "logs", "dbt_packages"}
    return sorted(
        path
        for path in project.rglob("*")
        if path.suffix in SOURCE_SUFFIXES and not skipped & set(path.relative_to(project).parts)
    )


def fingerprint(landing_files: list[str], project: Path, code: list[Path]) -> str:
    """Identity of the inputs of a build: landing files, dbt project, statistics code."""
    digest = hashlib.sha256("\n".join(landing_files).encode())
    for path in [*project_files(project), *code]:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def write_stamp(path: Path, inputs: str, now: datetime, known_until: str | None = None) -> None:
    """Say that the warehouse is complete for these inputs; written last in a build.

    `known_until` is the instant by which these inputs had landed; `now` unless told.
    """
    known = known_until or now.isoformat()
    stamp = {
        "inputs_fingerprint": inputs,
        "completed_at": now.isoformat(),
        "known_until": known,
    }
    write_bytes(json.dumps(stamp).encode(), path)


def read_stamp(path: Path) -> dict[str, str] | None:
    """The stamp of the last complete build; None while one is under way or none was made."""
    return json.loads(path.read_text()) if path.exists() else None
