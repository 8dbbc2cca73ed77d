"""A real archive asked by every route: nothing lost, nothing twice, the same series each time."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.harvest import harvest
from pipelines.landing.keys import create_key_file
from pipelines.settings import PROJECT_ROOT
from pipelines.sources.dicom_archives import (
    Answered,
    Archive,
    ArchiveProblem,
    Places,
    Window,
    ask_archive,
    ask_due,
    is_due,
    read_archives,
    recent_column_changes,
)
from pipelines.sources.dicom_archives.cfind import Finder, series_query
from pipelines.sources.dicom_archives.cursor import load_cursor, save_cursor
from pipelines.sources.dicom_archives.pace import Pace
from pipelines.sources.inbox import deliveries
from tests.orthanc import AE_TITLE, PASSWORD, USER, Orthanc, invented_image, running_orthanc

STUDIES = 310
NOW = datetime(2026, 1, 26, 12, tzinfo=UTC)
ALL = Window(date(2026, 1, 1), date(2026, 2, 28))
ROUTES = ["qido", "changes", "cfind", "cfind by study", "qido by study"]
VARIABLE = "IMAGING_ARCHIVE_TEST"


def images() -> list[Any]:
    """Every study has one series, every tenth a second one; every fifth series two images."""
    found = [invented_image(study) for study in range(STUDIES)]
    found += [invented_image(study, series=2) for study in range(0, STUDIES, 10)]
    found += [invented_image(study, image=2) for study in range(0, STUDIES, 5)]
    summer = {"StudyDate": "20250701", "SeriesDate": "20250701", "TimezoneOffsetFromUTC": "+0100"}
    poor = {
        "SeriesDate": None,
        "SeriesTime": None,
        "AcquisitionDateTime": None,
        "PerformedProcedureStepStartDate": None,
        "DeviceSerialNumber": None,
        "AccessionNumber": None,
        "StationName": None,
    }
    found += [invented_image(900, **summer), invented_image(901, **poor)]
    return sorted(found, key=lambda one: one.SOPInstanceUID)


SERIES = STUDIES + len(range(0, STUDIES, 10)) + 2


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory):
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        archive.store(images())
        yield archive


@dataclass(frozen=True)
class Asked:
    """A place to ask from, and how."""

    places: Places
    new_archive: Callable[..., Archive]

    def ask(self, route: str, span: Window | None = None, **more: Any) -> tuple[Answered, Archive]:
        archive = self.new_archive(route, **more)
        return ask_archive(archive, self.places, clock=lambda: NOW, span=span), archive

    def rows(self) -> pl.DataFrame:
        files = sorted((self.places.inbox / "dicom_series").glob("*/*.csv"))
        rows = pl.concat([pl.read_csv(file, infer_schema=False) for file in files])
        return rows.sort("series_instance_uid")


def addresses(orthanc: Orthanc, route: str) -> dict[str, Any]:
    kind, _, by_study = route.partition(" ")
    found = {"route": kind, "relational": "no" if by_study else "probe"}
    if kind == "cfind":
        return found | {"host": "127.0.0.1", "port": orthanc.dicom_port, "ae_title": AE_TITLE}
    url = orthanc.dicomweb if kind == "qido" else orthanc.url
    return found | {"url": url, "user": USER, "password_variable": VARIABLE}


def asked_from(folder: Path, orthanc: Orthanc, columns: list[str]) -> Asked:
    def new_archive(route: str, **more: Any) -> Archive:
        settings = {
            "name": re.sub(r"\W", "_", route),
            "party": "RMC",
            "start_on": date(2025, 7, 1),
            "window_days": 30,
            "page_size": 97,
            "requests_per_second": 100_000,
        }
        return Archive(**(settings | addresses(orthanc, route) | more))

    places = Places(
        home=folder / "home",
        inbox=folder / "inbox",
        zone="Europe/London",
        columns=tuple(columns),
        feeds=frozenset({"dicom_RMC"}),
        environment={VARIABLE: PASSWORD}.get,
    )
    return Asked(places, new_archive)


@pytest.fixture
def asked(orthanc: Orthanc, tmp_path: Path, inbound) -> Asked:
    return asked_from(tmp_path, orthanc, inbound["dicom_series"].column_names())


@pytest.fixture(scope="module")
def told(orthanc: Orthanc, tmp_path_factory, inbound) -> dict[str, pl.DataFrame]:
    """Rows of the deliveries of each route."""
    found = {}
    for route in ROUTES:
        folder = tmp_path_factory.mktemp("told")
        asked = asked_from(folder, orthanc, inbound["dicom_series"].column_names())
        answered, _ = asked.ask(route)
        rows = asked.rows()
        assert answered.series == len(rows)
        if route == "changes":
            # A series that came to rest twice, because the machine was busy, is told twice.
            rows = rows.sort("archive_received_at").unique("series_instance_uid", keep="last")
        found[route] = rows.sort("series_instance_uid")
    return found


@pytest.mark.parametrize("route", ROUTES)
def test_every_series_is_told_once_with_its_values(told, route):
    """Failing means that a route loses or doubles series, or that its columns say something else.

    Paging, relational queries and queries by study bring the same; so does the archive's own
    count.
    """
    rows, name = told[route], route.split()[0]
    assert len(rows) == rows["series_instance_uid"].n_unique() == SERIES
    assert set(rows["route"]) == {name}
    first = rows.filter(pl.col("series_instance_uid").str.ends_with(".999.10.2")).row(0, named=True)
    assert first == {
        "study_instance_uid": "1.2.826.0.1.3680043.10.999.10",
        "series_instance_uid": "1.2.826.0.1.3680043.10.999.10.2",
        "accession_number": "ACC00010",
        "patient_id": "PAT0010",
        "modality": "CT",
        "station_name": "CT1",
        "device_serial_number": "SN-1",
        "station_ae_title": "AE_CT1",
        "number_of_series_related_instances": "1",
        "first_acquired_at": "2026-01-06 08:07:30.250000",
        "last_acquired_at": None,
        "archive_received_at": first["archive_received_at"],
        "manufacturer": "Acme, Inc.",
        "manufacturer_model_name": "Slice 64",
        "software_versions": "v1\\v2",
        "institution_name": 'Hôpital "North"',
        "route": name,
    }
    assert (first["archive_received_at"] is not None) == (name == "changes")
    assert rows["number_of_series_related_instances"].cast(int).sum() == len(images())
    poor = rows.filter(pl.col("patient_id") == "PAT0028", pl.col("accession_number").is_null())
    # Only the time of the study is left.
    assert poor["first_acquired_at"].to_list() == ["2026-01-15 09:05:00.000000"]


def test_all_routes_agree_in_every_column(told):
    """Failing means that figures change when an archive is connected another way."""
    same = [told[route].drop("route", "archive_received_at") for route in ROUTES]
    for route, rows in zip(ROUTES[1:], same[1:], strict=True):
        assert rows.equals(same[0]), route


def test_findscu_sees_the_same_series(orthanc: Orthanc, told):
    """Failing means that we and the field's own tool read one archive differently."""
    # of the system: a findscu on the search path may be pynetdicom's
    findscu = shutil.which("findscu", path=os.defpath)
    assert findscu, "findscu is missing: apt-get install dcmtk"
    keys = ["QueryRetrieveLevel=SERIES", "StudyDate=20250101-20261231", "SeriesInstanceUID"]
    wanted = [part for key in keys for part in ("-k", key)]
    command = [findscu, "-S", "-aec", AE_TITLE, *wanted, "127.0.0.1", str(orthanc.dicom_port)]
    found: list[str] = []
    for _ in range(3):
        # A busy machine can break an association off; findscu then ends without an answer.
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        said = done.stdout + done.stderr
        found = re.findall(r"\(0020,000e\) UI \[([\d.]+)", said)
        if found:
            break
    assert sorted(found) == told["cfind"]["series_instance_uid"].to_list(), said[-2000:]


def test_the_time_of_arrival_is_read_as_utc(asked: Asked, orthanc: Orthanc):
    """Failing means that clock offsets are an hour out in summer: Orthanc tells UTC."""
    asked.ask("changes")
    newest = max(one["LastUpdate"] for one in orthanc.get("/series?expand&since=0&limit=1000000"))
    wall = datetime.strptime(newest, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    arrived = asked.rows()["archive_received_at"].max()
    written = pl.Series([arrived]).str.to_datetime("%Y-%m-%d %H:%M:%S%.f")
    assert written.dt.replace_time_zone("Europe/London").dt.convert_time_zone("UTC")[0] == wall


def test_the_archive_has_an_old_study_that_a_backfill_finds(asked: Asked):
    """Failing means that a period left out cannot be made good; the cursor must not notice."""
    span = Window(date(2025, 6, 1), date(2025, 7, 31))
    for route in ROUTES:
        answered, archive = asked.ask(route, span)
        assert answered.series == 1
        cursor = load_cursor(asked.places.state(archive), archive.route)
        assert (cursor.asked_to, cursor.last_change, cursor.finished_at) == (None, 0, None)
    # Told as +0100, shown on the wall clock of the network, which is at +0100 in July.
    assert set(asked.rows()["first_acquired_at"]) == {"2025-07-01 08:06:30.250000"}


@pytest.mark.parametrize("route", ["qido", "cfind", "changes"])
def test_asking_again_asks_for_the_overlap_only(asked: Asked, route):
    """Failing means that every run asks for the whole history, or that late series are missed."""
    first, archive = asked.ask(route)
    again, _ = asked.ask(route)
    assert first.series >= SERIES
    # Three days of overlap, ten studies a day and one more series; changes need none.
    overlap = 31 + 11 if route != "changes" else 0
    assert again.series <= overlap < SERIES
    assert again.requests < first.requests
    cursor = load_cursor(asked.places.state(archive), archive.route)
    assert cursor.asked_to == ("2026-01-26" if route != "changes" else None)
    assert not is_due(archive, asked.places, NOW)


def test_the_returned_columns_are_noted_and_a_change_is_told(asked: Asked):
    """Failing means that a column dries up and nobody is told."""
    _, archive = asked.ask("cfind")
    folder = asked.places.state(archive)
    cursor = load_cursor(folder, "cfind")
    assert cursor.is_relational
    columns = cursor.columns or {}
    assert columns["SeriesInstanceUID"] == 1
    assert 0.9 < columns["DeviceSerialNumber"] < 1
    assert 0 < columns["TimezoneOffsetFromUTC"] < 0.01
    before = {"AcquisitionDate": 0.5, "AcquisitionTime": 0.001} | columns
    del before["StationName"]
    save_cursor(folder, replace(cursor, columns=before, asked_to=None))
    answered, _ = asked.ask("cfind")
    assert (answered.gained, answered.lost) == (["StationName"], ["AcquisitionDate"])
    assert "StationName" in answered.notes[0]
    told = recent_column_changes({archive.name: archive}, asked.places, NOW)
    assert len(told) == 1 and "AcquisitionDate" in told[0]
    # A column that was rare before is not missed.
    noted = load_cursor(folder, "cfind").columns or {}
    assert (noted["AcquisitionDate"], noted["AcquisitionTime"]) == (0, 0.001)


def test_a_series_deleted_between_the_two_calls_is_left_out(asked: Asked, tmp_path):
    """Failing means that one deletion stops the harvest of an archive, or invents a series."""
    with running_orthanc(tmp_path / "orthanc") as archive:
        archive.store(invented_image(study) for study in range(6))
        gone = {one["ID"]: one for one in archive.get("/series?expand&since=0&limit=10")}
        _deletes_after_listing(archive, sorted(gone)[:2], asked, tmp_path)
    rows = asked.rows()
    left = {one["MainDicomTags"]["SeriesInstanceUID"] for key, one in sorted(gone.items())[2:]}
    assert set(rows["series_instance_uid"]) == left


def _deletes_after_listing(archive: Orthanc, ids: list[str], asked: Asked, tmp_path: Path) -> None:
    from pipelines.sources.dicom_archives import changes

    plain = changes._expanded

    def late(web: Any, wanted: Any) -> Any:
        for one in ids:
            archive.delete(f"/series/{one}")
        # The order of the list must not matter either.
        return plain(web, dict.fromkeys(reversed(list(wanted))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "_expanded", late)
        asked.ask("changes", url=archive.url)


def test_an_archive_that_was_emptied_is_noticed(asked: Asked):
    """Failing means that a restored archive is never read again, without a word."""
    _, archive = asked.ask("changes")
    folder = asked.places.state(archive)
    save_cursor(folder, replace(load_cursor(folder, "changes"), last_change=10_000_000))
    with pytest.raises(ArchiveProblem, match="restored or emptied"):
        asked.ask("changes")


def test_back_to_back_queries_lose_no_answer(asked: Asked, orthanc: Orthanc):
    """Failing means that pynetdicom's own thread takes answers, and series vanish as a success."""
    archive = asked.new_archive("cfind by study")
    with Finder(archive, Pace(archive, "Europe/London", lambda: NOW)) as finder:
        counts = [
            len(finder.find(series_query(f"{root}.{study}")))
            for root in ["1.2.826.0.1.3680043.10.999"]
            for study in (*range(1, 10), *range(11, 20))
            for _ in range(30)
        ]
    assert counts == [1] * 18 * 30


# What kills the process, and how many deliveries are there then.
MOMENTS = {"deliver": 0, "save_cursor": 1}
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from pipelines.sources.dicom_archives import Places, ask, read_archives
moment, home, columns = sys.argv[1:]
setattr(ask, moment, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
places = Places(
    Path(home), Path(home) / "inbox", "Europe/London", tuple(columns.split()),
    frozenset({"dicom_RMC"}), os.environ.get,
)
archive = read_archives(places.home / "archives.toml")["qido"]
ask.ask_archive(archive, places, clock=lambda: datetime(2026, 1, 26, 12, tzinfo=UTC))
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_query_killed_at_the_worst_moment_loses_and_doubles_nothing(
    asked: Asked, orthanc: Orthanc, tmp_path, new_setup, moment
):
    """Failing means that a power cut costs series, or counts them twice.

    Killed after the answer, and after the delivery before the cursor; then asked again.
    """
    home, inbox = asked.places.home, asked.places.home / "inbox"
    _write_archives(home, orthanc)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, moment, str(home), " ".join(asked.places.columns)],
        cwd=PROJECT_ROOT,
        env={VARIABLE: PASSWORD},
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -9, killed.stderr
    assert len(list(inbox.rglob("*.csv"))) == MOMENTS[moment]
    assert not (home / "archives" / "qido" / "cursor.json").exists()
    archive = read_archives(home / "archives.toml")["qido"]
    ask_archive(archive, replace(asked.places, inbox=inbox), clock=lambda: NOW)
    setup = new_setup(tmp_path / "harvested")
    result = harvest("dicom_series", deliveries(inbox, "dicom_series"), setup, now=NOW)
    assert result.rows_rejected == 0
    landed = setup.landing.read("dicom_series")
    assert landed["series_instance_uid"].n_unique() == len(landed) == SERIES - 1
    assert stat_of(inbox) == {0o600}
    raw = b"".join(p.read_bytes() for p in (home / "archives").rglob("*") if p.is_file())
    assert b"PAT0" not in raw and PASSWORD.encode() not in raw


def _write_archives(home: Path, orthanc: Orthanc) -> None:
    home.mkdir()
    settings = addresses(orthanc, "qido") | {"party": "RMC", "window_days": 30}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = ["[archives.qido]", *lines, "start_on = 2026-01-01", "requests_per_second = 1000"]
    (home / "archives.toml").write_text("\n".join(text))


def test_the_command_asks_by_name_and_by_date(asked: Asked, orthanc: Orthanc):
    """Failing means that an operator cannot ask, or is not told what came."""
    keys = asked.places.home / "keys.json"
    environment = {
        "IMAGING_HOME": str(asked.places.home),
        "IMAGING_KEY_FILE": str(keys),
        VARIABLE: PASSWORD,
    }

    def imaging(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["query", "archive", *arguments], env=environment)
        return done.exit_code, done.output + str(done.exception or "")

    _write_archives(asked.places.home, orthanc)
    code, said = imaging("qido", "--from", "2026-01-05", "--to", "2026-01-06")
    assert code == 0, said
    assert f"qido (127.0.0.1:{orthanc.http_port})" in said
    assert "study dates 2026-01-05 to 2026-01-06 (--from, --to), 1 window of 30 days" in said
    # Twenty studies and two more series a day; a page, the empty one after it, and the probe.
    assert "44 series of 40 studies\n" in said
    assert "1 file in the inbox" in said and "3 requests in " in said
    assert "left as it was: nothing is asked for yet" in said
    create_key_file(keys)
    assert f"{SERIES - 1} of them have not landed yet" in imaging("qido")[1]
    assert "there are: qido" in imaging("nobody")[1]
    assert "belong together" in imaging("qido", "--from", "2026-01-05")[1]


def stat_of(inbox: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in inbox.rglob("*.csv")}


def test_one_archive_out_of_order_does_not_keep_the_others_waiting(asked: Asked):
    """Failing means that one broken archive stops the harvest of the region."""
    archives = {
        "gone": asked.new_archive("cfind", name="gone", port=1, attempts=1),
        "qido": asked.new_archive("qido"),
    }
    answered, problems = ask_due(archives, asked.places, clock=lambda: NOW)
    assert [one.series for one in answered] == [SERIES]
    assert len(problems) == 1 and "gone" in str(problems[0])


def test_wrong_credentials_and_titles_are_named(asked: Asked, orthanc: Orthanc, tmp_path):
    """Failing means that an operator cannot tell a wrong password from a dead archive."""
    places = replace(asked.places, environment={VARIABLE: "wrong"}.get)
    with pytest.raises(ArchiveProblem, match=r"401.*credentials"):
        ask_archive(asked.new_archive("qido"), places, clock=lambda: NOW)
    with pytest.raises(ArchiveProblem, match=f"{VARIABLE} is not set"):
        ask_archive(
            asked.new_archive("qido"), replace(places, environment={}.get), clock=lambda: NOW
        )
    with (
        running_orthanc(tmp_path / "strict", DicomCheckCalledAet=True) as strict,
        pytest.raises(ArchiveProblem, match="rejects the association"),
    ):
        asked.ask("cfind", port=strict.dicom_port, ae_title="SOMEBODY")
