"""Tables that are kept from build to build: the same to the row as if all had been computed anew."""

import json
import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.defs.statistics.turnaround import store_survival
from tests.published_files import differences
from tests.warehouse.conftest import PROJECT, Project
from tests.warehouse.tiny_landing import (
    CT,
    FILM,
    LONDON,
    MRI,
    RANKS,
    ROUTINE,
    event,
    header,
    receipt,
    write_landing_file,
    write_tiny_landing,
)

IS_FULL = bool(os.environ.get("IMAGING_TEST_FULL"))
EXAMPLES = 12 if IS_FULL else 1
BATCHES = 6 if IS_FULL else 2
READ = ("staging", "intermediate", "marts", "statistics")
SITES = {"RMC": ("RMC01", "RMC01CT1"), "RW6": ("R0A66", None), "RBV": ("RBV01", None)}
FIRST, LAST = datetime(2025, 11, 1, 9), datetime(2026, 3, 31, 9)
MODELS = ["--resource-type", "model"]
SEEDS = ["--resource-type", "seed"]
# Rules that the batches leave alone: no batch has a list of series or a report of doses, each has
# identity events, and of the few persons each claims several numbers of a hospital.
NOT_TOUCHED = {
    "int_exam_renumberings",
    "int_repeat_exams",
    "stg_dicom__dose_events",
    "stg_dicom__series",
}
Rows = list[dict[str, Any]]


def random_event(rng: random.Random) -> dict[str, Any]:
    """An event of one of a few exams and patients: any type, at any time, known at any time later."""
    issuer = rng.choice(list(SITES))
    site, station = SITES[issuer]
    exam, kind = f"exam-{rng.randrange(8)}", rng.choice(list(RANKS))
    wall = FIRST + rng.random() * (LAST - FIRST)
    wall = wall.replace(minute=rng.randrange(60), second=0, microsecond=0)
    told = {"issuer_ods": issuer, "site_ods": site, "resource": station, **ROUTINE}
    told |= rng.choice([CT, CT, MRI, FILM])
    told |= {"patient_key": f"patient-{rng.randrange(5)}", "nhs_number_valid": True}
    told |= {"nhs_key": f"person-{rng.randrange(3)}"}
    if kind == "patient_merged":
        told |= {"exam_key": None, "accession": None, "filler_id": None}
        told |= {"prior_patient_key": f"patient-{rng.randrange(5)}"}
    elif kind == "exam_reidentified":
        told |= {"prior_accession": f"exam-{rng.randrange(8)}"}
    elif kind.startswith("appointment"):
        slot = wall + timedelta(days=rng.randrange(1, 60))
        told |= {"filler_only": True, "scheduled_for": slot.replace(tzinfo=LONDON).astimezone(UTC)}
        told |= {"reason": rng.choice(["patient", "hospital"])}
    elif kind.startswith("report"):
        told |= {"actor_org": rng.choice([*SITES, "ZZT01"]), "result_hash": rng.randbytes(4)}
    elif kind.startswith("exam"):
        told |= {"study_uid": f"study-{exam}"}
    # half of them are the one event of their kind of an exam, told again and perhaps corrected
    which = rng.choice(["same", str(rng.random())])
    told |= {"event_id": f"{issuer} {told.get('filler_only')} {which}"}
    made = event(exam, kind, wall.isoformat(" "), **told)
    late = timedelta(days=rng.choice([0, 0, 0, 1, 20]))
    return made | {name: made[name] + late for name in ("asserted_ts_utc", "received_at")}


def random_series(rng: random.Random) -> dict[str, Any]:
    """One image of a study of one of the exams, on some day."""
    exam, day = f"exam-{rng.randrange(8)}", FIRST + timedelta(days=rng.randrange(150))
    made = header(exam, f"image-{rng.random()}", f"{exam}-{rng.randrange(2)}", "patient-1", "08:10")
    start = day.replace(hour=rng.randrange(8, 18), minute=rng.randrange(60))
    arrived = start.replace(tzinfo=UTC) + timedelta(hours=rng.randrange(1, 60))
    made |= {"start_local": start, "start_utc": start.replace(tzinfo=UTC), "received_at": arrived}
    return made | {"accession_number": exam}


def land(folder: Path, table: str, name: str, rows: Rows, feed: str) -> None:
    """Land a file of rows with its receipt, each named by the source."""
    rows = [row | {"source_sha": name, "feed_id": feed} for row in rows]
    came = {"received_at": max(row["received_at"] for row in rows)}
    came |= {"landed_at": came["received_at"] + timedelta(hours=6)}
    write_landing_file(folder, table, name, [row | came for row in rows])
    write_landing_file(folder, "receipts", name, [receipt(table, name, feed, len(rows)) | came])


def land_batch(folder: Path, number: int, rng: random.Random) -> None:
    """A batch of a few files: messages and extracts of each party, images, and one file again."""
    for issuer in rng.sample(list(SITES), rng.randrange(1, 4)):
        rows = [e for e in (random_event(rng) for _ in range(40)) if e["issuer_ods"] == issuer]
        if rows:
            kind = rng.choice(["hl7", "ris_extract"])
            land(folder, "imaging_events", f"{number}-{issuer}", rows, f"{kind}_{issuer}")
    if rng.random() < 0.7:
        rows = [random_series(rng) for _ in range(5)]
        land(folder, "dicom_headers", f"{number}-images", rows, "dicom_RMC")
    if rng.random() < 0.3:
        # read again: its bytes are others, though its rows are the same
        again = rng.choice(sorted((folder / "imaging_events").glob("*.parquet")))
        again.write_bytes(again.read_bytes())
        os.utime(again, (number, number))


def build(project: Project, landing: Path, file: Path, *arguments: str) -> dict[str, str]:
    """Run a build and the statistics on it; by model the way it was brought up to date."""
    done = project.run(landing, file, "build", *arguments)
    assert done.success, done.exception or [
        (r.node.name, r.message) for r in done.result.results if str(r.status) == "error"
    ]
    with duckdb.connect(str(file)) as connection:
        store_survival(connection)
    return ways_of(done)


def ways_of(done: Any) -> dict[str, str]:
    """Of a run by model: UNCHANGED, TOUCHED or REBUILT."""
    return {r.node.name: str(r.message).split()[0] for r in done.result.results}


def kept_by_key(project: Project) -> set[str]:
    """Models with a rule by which keys they are brought up to date."""
    nodes = json.loads((project.target / "manifest.json").read_text())["nodes"].values()
    return {n["name"] for n in nodes if n["config"].get("meta", {}).get("kept")}


@pytest.fixture(scope="module")
def begun(project, tmp_path_factory) -> Path:
    """A folder with the tiny network, landed and built; both are there once more for a restart."""
    folder = tmp_path_factory.mktemp("begun")
    write_tiny_landing(folder / "landing")
    build(project, folder / "landing", folder / "kept.duckdb", *MODELS, *SEEDS)
    shutil.copytree(folder / "landing", folder / "landing of then")
    shutil.copy(folder / "kept.duckdb", folder / "kept of then")
    return folder


@given(seed=st.integers(0, 2**32 - 1))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not IS_FULL,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_batches_one_after_another_give_the_tables_of_a_full_refresh(project, begun, seed):
    """Failing means that what readers see depends on how often the warehouse was built."""
    rng = random.Random(seed)
    landing, kept, anew = begun / "landing", begun / "kept.duckdb", begun / "anew.duckdb"
    shutil.rmtree(landing)
    shutil.copytree(begun / "landing of then", landing)
    shutil.copy(begun / "kept of then", kept)
    touched: set[str] = set()
    for number in range(1, BATCHES + 1):
        land_batch(landing, number, rng)
        ways = build(project, landing, kept, *MODELS)
        touched |= {name for name, way in ways.items() if way == "TOUCHED"}
    anew.unlink(missing_ok=True)
    build(project, landing, anew, *MODELS, *SEEDS)
    assert differences(anew, kept, schemas=READ) == []
    # a rule that no batch makes use of is not tested by the comparison
    assert kept_by_key(project) - touched <= NOT_TOUCHED


COUNTED_THINGS = """
{{ config(
    materialized='incremental',
    meta={'kept': {'by': 'thing', 'inputs': {'things': 'thing'}}},
) }}
select thing, count(*) as times from {{ source('landing', 'things') }} group by thing
"""
THINGS = """
sources:
  - name: landing
    config:
      meta:
        external_location: "read_parquet('{{ env_var('IMAGING_LANDING') }}/{name}/*.parquet')"
    tables: [{name: things}]
"""
SMALL_PROJECT = """
name: imaging
profile: imaging
macro-paths: [macros]
on-run-start: "{{ kept_landing() }}"
"""
# DuckDB stores rows in groups of 122,880, and reads beyond one in ways of its own.
MORE_THAN_A_ROW_GROUP = 130_000


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> Project:
    """A project of one kept model over one landing table."""
    folder = tmp_path_factory.mktemp("things")
    shutil.copytree(PROJECT / "materializations", folder / "macros")
    (folder / "macros" / "_materializations.yml").unlink()
    shutil.copy(PROJECT / "profiles.yml", folder)
    (folder / "dbt_project.yml").write_text(SMALL_PROJECT)
    (folder / "models").mkdir()
    (folder / "models" / "things.yml").write_text(THINGS)
    (folder / "models" / "counted.sql").write_text(COUNTED_THINGS)
    return Project(folder / "target", folder)


def test_a_change_of_more_rows_than_a_row_group_keeps_them_all(things, tmp_path):
    """Failing means that a day that touches very many exams empties a table."""
    file, landing = tmp_path / "kept.duckdb", tmp_path / "landing" / "things"
    landing.mkdir(parents=True)
    for name in ("first", "second"):
        with duckdb.connect() as connection:
            connection.execute(
                f"copy (select 'thing ' || range as thing from range({MORE_THAN_A_ROW_GROUP})) "
                f"to '{landing / name}.parquet'"
            )
        done = things.run(landing.parent, file, "run")
        assert done.success, done.exception
    assert ways_of(done)["counted"] == "TOUCHED"
    with duckdb.connect(str(file), read_only=True) as connection:
        query = "select times, count(*) from counted group by times"
        assert connection.execute(query).fetchall() == [(2, MORE_THAN_A_ROW_GROUP)]
