"""The dbt project parsed once, and the tiny network built once, for the whole room."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.settings import Settings
from tests.made_once import made_once
from tests.warehouse.tiny_landing import write_tiny_landing

PROJECT = Path(__file__).parents[2] / "dbt_project"


@dataclass
class Project:
    """The dbt project with a target folder of its own, run in this process."""

    target: Path
    folder: Path = PROJECT
    warnings: list[str] = field(default_factory=list)

    def run(self, landing: Path, warehouse: Path, *arguments: str) -> Any:
        """Result of one dbt command over a landing folder; the environment is put back after."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        def note(event: Any) -> None:
            if event.info.level == "warn":
                self.warnings.append(event.info.msg)

        folders = {
            "--project-dir": self.folder,
            "--profiles-dir": self.folder,
            "--target-path": self.target,
            "--log-path": self.target,
        }
        options = [str(word) for pair in folders.items() for word in pair]
        with pytest.MonkeyPatch.context() as patch:
            places = Settings().dbt_environment(warehouse) | {"IMAGING_LANDING": str(landing)}
            for name, place in places.items():
                patch.setenv(name, place)
            try:
                return dbtRunner(callbacks=[note]).invoke([*arguments, "--quiet", *options])
            finally:
                # dbt keeps the file open in this process; nobody else could read it
                DuckDBConnectionManager.close_all_connections()


@dataclass(frozen=True)
class Warehouse:
    """A built warehouse file, read only."""

    file: Path
    results: dict[str, str]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query, instants as text."""
        with duckdb.connect(str(self.file), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.sql(query).pl().to_dicts()

    def frame(self, query: str) -> pl.DataFrame:
        """A query as a frame."""
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.sql(query).pl()


def build(project: Project, landing: Path, warehouse: Path, *arguments: str) -> Warehouse:
    """Run `dbt build` and hand over the file with the status of every node."""
    outcome = project.run(landing, warehouse, "build", *arguments)
    assert outcome.exception is None, outcome.exception
    results = {r.node.name: str(r.status) for r in outcome.result.results}
    return Warehouse(warehouse, results)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("dbt_target"))


@pytest.fixture(scope="session")
def tiny_landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network, landed; copy it before changing anything."""
    return made_once(tmp_path_factory, "tiny_landing", write_tiny_landing)


@pytest.fixture(scope="session")
def tiny(project: Project, tiny_landing: Path, tmp_path_factory: pytest.TempPathFactory):
    """The tiny network, built once with every test of the project."""

    def make(folder: Path) -> None:
        built = build(project, tiny_landing, folder / "warehouse.duckdb")
        (folder / "results.json").write_text(json.dumps(built.results))

    folder = made_once(tmp_path_factory, "tiny", make)
    return Warehouse(folder / "warehouse.duckdb", json.loads((folder / "results.json").read_text()))


@pytest.fixture(scope="session")
def manifest(project: Project, tiny_landing: Path) -> Iterator[dict[str, Any]]:
    """dbt's own description of the project; no database needed."""
    outcome = project.run(tiny_landing, project.target / "warehouse.duckdb", "parse")
    assert outcome.success, outcome.exception
    yield json.loads((project.target / "manifest.json").read_text())


@pytest.fixture(scope="session")
def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [n for n in manifest["nodes"].values() if n["resource_type"] == "model"]
