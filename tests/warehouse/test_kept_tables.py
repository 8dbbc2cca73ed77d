"""Tables that are kept from build to build: the same to the row as if all had been computed anew."""

import hashlib
import json
import os
import random
import re
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
    doses,
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
FEED_KINDS = ["hl7", "ris_extract"]
IDENTITY = {"patient_merged", "exam_reidentified"}
FIRST, LAST = datetime(2025, 11, 1, 9), datetime(2026, 3, 31, 9)
ALL = ["--resource-type", "model", "--resource-type", "seed"]
FEW_ROWS = 5
SEED = "seeds/national/repeat_exclusions.csv"
Rows = list[dict[str, Any]]


def random_event(rng: random.Random, kinds: list[str]) -> dict[str, Any]:
    """An event of one of a few exams and patients: any type, at any time, known at any time later."""
    issuer = rng.choice(list(SITES))
    site, station = SITES[issuer]
    exam, kind, patient = f"exam-{rng.randrange(8)}", rng.choice(kinds), rng.randrange(5)
    wall = FIRST + rng.random() * (LAST - FIRST)
    wall = wall.replace(minute=rng.randrange(60), second=0, microsecond=0)
    told = {"issuer_ods": issuer, "site_ods": site, "resource": station, **ROUTINE}
    told |= rng.choice([CT, CT, MRI, FILM])
    told |= {"patient_key": f"patient-{patient}", "nhs_number_valid": True}
    # a person is known at several hospitals, and now and then by the number of another
    told |= {"nhs_key": f"person-{rng.choice([patient] * 9 + [0])}"}
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


def random_access(rng: random.Random) -> dict[str, Any]:
    """Somebody looks at images: told by the study, by the number of the exam, or by both."""
    wall = (FIRST + rng.random() * (LAST - FIRST)).replace(microsecond=0)
    exam = f"exam-{rng.randrange(8)}"
    told = {"issuer_ods": "RMC", "event_id": str(rng.randrange(30)), "source_kind": "audit"}
    made = event(exam, "exam_started", wall.isoformat(" "), **told)
    named = rng.choice([{"exam_key": None}, {"study_uid": None}, {}])
    return {
        **made,
        "event_type": "images_viewed",
        "study_uid": f"study-{exam}",
        "actor_org": rng.choice(list(SITES)),
        **named,
    }


def random_image(rng: random.Random) -> dict[str, Any]:
    """One image of a study of one of the exams, on some day."""
    exam, day = f"exam-{rng.randrange(8)}", FIRST + timedelta(days=rng.randrange(150))
    made = header(exam, f"image-{rng.random()}", f"{exam}-{rng.randrange(2)}", "patient-1", "08:10")
    start = day.replace(hour=rng.randrange(8, 18), minute=rng.randrange(60))
    arrived = start.replace(tzinfo=UTC) + timedelta(hours=rng.randrange(1, 60))
    made |= {"start_local": start, "start_utc": start.replace(tzinfo=UTC), "received_at": arrived}
    return made | {"accession_number": exam}


def listed_series(image: dict[str, Any]) -> dict[str, Any]:
    """The series of an image as a list of an archive has it: told again, it has more images."""
    return {
        "series_instance_uid": f"listed-{image['series_instance_uid']}",
        "number_of_series_related_instances": image["start_local"].minute,
        "first_acquired_at_utc": image["start_utc"],
        "first_acquired_at_local": image["start_local"],
        "last_acquired_at_utc": image["start_utc"] + timedelta(minutes=4),
        "last_acquired_at_local": image["start_local"] + timedelta(minutes=4),
        "archive_received_at_utc": image["received_at"],
        **{
            name: image[name]
            for name in (
                "study_instance_uid",
                "accession_number",
                "patient_id",
                "modality",
                "station_name",
                "received_at",
            )
        },
    }


def told_dose(rng: random.Random, image: dict[str, Any]) -> Rows:
    """The rows of a dose report of the study of an image; of each exam there is one report."""
    reported = rng.choice(doses())
    shared = ("study_instance_uid", "accession_number", "received_at")
    told = {name: image[name] for name in shared}
    told |= {"sop_instance_uid": f"report-{image['accession_number']}"}
    return [reported | told | {"dlp_mgy_cm": rng.random(), "event_no": n} for n in (1, 2)]


def land(folder: Path, table: str, name: str, rows: Rows, feed: str) -> None:
    """Land a file of rows with its receipt, each named by the source."""
    rows = [row | {"source_sha": name, "feed_id": feed} for row in rows]
    came = {"received_at": max(row["received_at"] for row in rows)}
    came |= {"landed_at": came["received_at"] + timedelta(hours=6)}
    write_landing_file(folder, table, name, [row | came for row in rows])
    write_landing_file(folder, "receipts", name, [receipt(table, name, feed, len(rows)) | came])


def land_batch(folder: Path, number: int, rng: random.Random) -> None:
    """A batch of a few files: messages and extracts of each party, images, lists and doses.

    Every other batch has neither merges nor new numbers: their tables then stand while others move.
    One file in three comes again or goes.
    """
    kinds = sorted(RANKS) if number % 2 == 0 else sorted(set(RANKS) - IDENTITY)
    for issuer in rng.sample(list(SITES), rng.randrange(1, 4)):
        rows = [
            e for e in (random_event(rng, kinds) for _ in range(40)) if e["issuer_ods"] == issuer
        ]
        if rows:
            kind = rng.choice(FEED_KINDS)
            land(folder, "imaging_events", f"{number}-{issuer}", rows, f"{kind}_{issuer}")
    if number == 1 or rng.random() < 0.7:
        rows = [random_access(rng) for _ in range(6)]
        land(folder, "imaging_events", f"{number}-looks", rows, "image_access_RMC")
    images = [random_image(rng) for _ in range(5)]
    if number == 1 or rng.random() < 0.7:
        land(folder, "dicom_headers", f"{number}-images", images, "dicom_RMC")
    if number == 1 or rng.random() < 0.5:
        rows = [listed_series(image) for image in images[:2]]
        land(folder, "dicom_series", f"{number}-list", rows, "series_list_RMC")
    if number == 1 or rng.random() < 0.5:
        rows = [row for image in images[:2] for row in told_dose(rng, image)]
        land(folder, "dose_events", f"{number}-doses", rows, "dicom_RMC")
    landed = sorted(folder.glob("*/[0-9]*.parquet"))
    if rng.random() < 0.3:
        # read again: its bytes are others, though its rows are the same
        os.utime(rng.choice(landed), (number, number))
    if number > 1 and rng.random() < 0.3:
        rng.choice(landed).unlink()


def change_seed(project: Project) -> None:
    """Take a rule out of a seed, or put it back."""
    whole = (PROJECT / SEED).read_text()
    seed = project.folder / SEED
    seed.write_text(whole.rsplit("\n", 2)[0] + "\n" if seed.read_text() == whole else whole)


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
def copied(tmp_path_factory) -> Project:
    """The project with a folder of its own, for its seeds to be changed; it computes all rows of a
    large table in parts."""
    folder = tmp_path_factory.mktemp("copied") / "dbt_project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("target", "logs"))
    settings = folder / "dbt_project.yml"
    few = re.subn(r"rows_at_once: \d+", f"rows_at_once: {FEW_ROWS}", settings.read_text())
    assert few[1] == 1
    settings.write_text(few[0])
    return Project(folder.parent / "target", folder)


@pytest.fixture(scope="module")
def begun(copied, tmp_path_factory) -> Path:
    """A folder with the tiny network, landed and built; both are there once more for a restart."""
    folder = tmp_path_factory.mktemp("begun")
    write_tiny_landing(folder / "landing")
    # a feed that begins makes all arrivals be judged anew: here each has begun
    first = {"received_at": FIRST.replace(tzinfo=UTC)}
    rows = [random_event(random.Random(0), ["order_placed"]) | first]
    for issuer in SITES:
        for kind in FEED_KINDS:
            land(folder / "landing", "imaging_events", f"{kind}-{issuer}", rows, f"{kind}_{issuer}")
    (folder / "kept").mkdir()
    (folder / "anew").mkdir()
    build(copied, folder / "landing", folder / "kept" / "warehouse.duckdb", *ALL)
    shutil.copytree(folder / "landing", folder / "landing of then")
    shutil.copy(folder / "kept" / "warehouse.duckdb", folder / "kept of then")
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
def test_batches_one_after_another_give_the_tables_of_a_full_refresh(copied, begun, seed):
    """Failing means that what readers see depends on how often the warehouse was built."""
    rng = random.Random(seed)
    landing = begun / "landing"
    kept, anew = (begun / name / "warehouse.duckdb" for name in ("kept", "anew"))
    shutil.rmtree(landing)
    shutil.copytree(begun / "landing of then", landing)
    shutil.copy(begun / "kept of then", kept)
    by_key, touched = kept_by_key(copied), set()
    for number in range(1, BATCHES + 1):
        land_batch(landing, number, rng)
        if number > 1 and rng.random() < 0.5:
            change_seed(copied)
        if number % 2 == 0:
            # a run that got to one table, whose inputs may be of before
            build(copied, landing, kept, "--select", rng.choice(sorted(by_key)))
        ways = build(copied, landing, kept, *ALL)
        touched |= {name for name, way in ways.items() if way == "TOUCHED"}
        anew.unlink(missing_ok=True)
        build(copied, landing, anew, *ALL)
        assert differences(anew, kept, schemas=READ) == [], f"after batch {number}"
    # a rule that no batch makes use of is not tested by the comparison
    assert by_key - touched == set()


def test_a_table_computed_in_parts_is_the_one_computed_whole(copied, tiny, tiny_landing, tmp_path):
    """Failing means that a network of many exams loses some of them, or counts some twice."""
    file = tmp_path / "warehouse.duckdb"
    shutil.copy(tiny.file, file)
    said = "config.meta.kept.in_parts:true"
    done = copied.run(tiny_landing, file, "run", "--full-refresh", "--select", said)
    assert done.success, done.exception
    models = [r for r in done.result.results if r.node.resource_type == "model"]
    assert len(models) == 5
    assert all(re.search(r"in \d+ parts", r.message) for r in models)
    assert differences(file, tiny.file, schemas=READ) == []


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
        external_location: "read_parquet('IMAGING_LANDING/{name}/*.parquet')"
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
    shutil.copy(PROJECT / "macros" / "landing.sql", folder / "macros")
    shutil.copy(PROJECT / "profiles.yml", folder)
    (folder / "dbt_project.yml").write_text(SMALL_PROJECT)
    (folder / "models").mkdir()
    (folder / "models" / "things.yml").write_text(THINGS)
    (folder / "models" / "counted.sql").write_text(COUNTED_THINGS)
    return Project(folder / "target", folder)


def land_things(landing: Path, name: str, things: str) -> None:
    """Write a landing file of things, told by a query of one column `thing`, landed in 2025."""
    (landing / "things").mkdir(parents=True, exist_ok=True)
    landed = f"select *, timestamptz '2025-12-31 00:00:00+00' as landed_at from ({things})"
    with duckdb.connect() as connection:
        connection.execute(f"copy ({landed}) to '{landing}/things/{name}.parquet'")


def counted(things: Project, landing: Path, file: Path) -> tuple[str, list[tuple[Any, ...]]]:
    """Run the small project: how its table was brought up to date, and how many have which times."""
    done = things.run(landing, file, "run")
    assert done.success, done.exception
    with duckdb.connect(str(file), read_only=True) as connection:
        query = "select times, count(*) from counted group by times order by times"
        return ways_of(done)["counted"], connection.execute(query).fetchall()


def test_a_change_of_more_rows_than_a_row_group_keeps_them_all(things, tmp_path):
    """Failing means that a day that touches very many exams empties a table."""
    many = f"select 'thing ' || range as thing from range({MORE_THAN_A_ROW_GROUP})"
    found = []
    for name in ("first", "second"):
        land_things(tmp_path / "landing", name, many)
        found.append(counted(things, tmp_path / "landing", tmp_path / "warehouse.duckdb"))
    assert found[1] == ("TOUCHED", [(2, MORE_THAN_A_ROW_GROUP)])


def test_a_day_that_touches_only_rows_without_a_key_is_not_lost(things, tmp_path):
    """Failing means that a delivery whose rows all lack a key changes nothing."""
    landing, file = tmp_path / "landing", tmp_path / "warehouse.duckdb"
    land_things(landing, "first", "select unnest(['a', null]) as thing")
    counted(things, landing, file)
    land_things(landing, "second", "select cast(null as varchar) as thing")
    assert counted(things, landing, file)[1] == [(1, 1), (2, 1)]
    land_things(landing, "third", "select unnest(['a', null]) as thing")
    assert counted(things, landing, file) == ("TOUCHED", [(2, 1), (3, 1)])


def test_what_was_known_by_an_instant_is_never_told_by_new_files(things, tmp_path, monkeypatch):
    """Failing means that a look back counts rows that nobody had then."""
    landing, file = tmp_path / "landing", tmp_path / "warehouse.duckdb"
    monkeypatch.setenv("IMAGING_AS_KNOWN_ON", "2026-01-01T00:00:00+00:00")
    land_things(landing, "first", "select 'a' as thing")
    counted(things, landing, file)
    land_things(landing, "second", "select 'a' as thing")
    assert counted(things, landing, file) == ("REBUILT", [(2, 1)])


def test_a_landing_folder_that_the_engine_names_otherwise_is_told(things, tmp_path):
    """Failing means that new files are never seen, and every build says that nothing changed."""
    land_things(tmp_path / "landing", "first", "select 'a' as thing")
    (tmp_path / "beside").mkdir()
    named = tmp_path / "beside" / ".." / "landing"
    done = things.run(named, tmp_path / "warehouse.duckdb", "run")
    assert not done.success


def test_tables_brought_up_to_date_by_other_macros_are_not_kept():
    """Failing means that an upgrade leaves tables that the old macros made; write this hash there."""
    written = (PROJECT / "materializations" / "kept.sql").read_text()
    (told,) = re.findall(r"macro kept_format\(\) -%}\s*{{ return\('(\w+)'\) }}", written)
    code = re.sub(r"{#-.*?-#}|\s+", " ", written, flags=re.DOTALL).replace(told, "")
    assert told == hashlib.md5(code.encode()).hexdigest()[:8]
