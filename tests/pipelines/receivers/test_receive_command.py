"""`imaging receive dicom` as a process: killed, restarted, stopped; nothing acknowledged is lost."""

import copy
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import harvest_spool
from pipelines.landing.keys import load_keys
from pipelines.landing.pseudonymise import pseudonyms
from pipelines.receivers.spool import CLOSED, OPEN, segments
from pipelines.settings import PROJECT_ROOT
from pipelines.sources.dicom_archives.held_reactor import free_reactor, hold_reactor
from tests.pipelines.receivers.conftest import associate, ct_object
from tests.receiving_home import Receiving, receiving_home

NOW = datetime(2026, 6, 12, 6, tzinfo=UTC)
SENDERS, OBJECTS = 3, 240
# The process is killed when so many objects have been acknowledged.
KILL_AFTER = 90
PATIENCE = 60
# A sender waits so long for the answer of a receiver that is gone.
ANSWER = 5


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    files = {"dicom_callers.toml": '[callers]\nRMC_PACS = "RMC"\nRBV_PACS = "RBV"\n'}
    with receiving_home(
        tmp_path, ("dicom", "--port", "0"), files, IMAGING_SPOOL_SEGMENT_MB="1"
    ) as found:
        yield found


def send(port: int, objects: list, acknowledged: set[str], enough: threading.Event) -> None:
    """Send objects over one association until it breaks; note what was acknowledged."""
    association = associate(port)
    association.dimse_timeout = ANSWER
    # Else the association's own thread may take an answer in place of this one.
    hold_reactor(association)
    try:
        for dataset in objects:
            if not association.is_established:
                return
            try:
                answer = association.send_c_store(dataset)
            except (RuntimeError, ValueError, AttributeError):
                return  # the receiver is gone
            if "Status" not in answer:
                return
            if answer.Status == 0x0000:
                acknowledged.add(str(dataset.SOPInstanceUID))
                if len(acknowledged) >= KILL_AFTER:
                    enough.set()
    finally:
        free_reactor(association)
    association.release()


def send_side_by_side(port: int, objects: list, acknowledged: set[str]) -> threading.Event:
    enough = threading.Event()
    threads = [
        threading.Thread(target=send, args=(port, objects[n::SENDERS], acknowledged, enough))
        for n in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    enough.threads = threads
    return enough


def test_a_receiver_killed_under_load_loses_and_doubles_nothing(
    receiving: Receiving, tmp_path: Path, new_setup
):
    """Failing means that a power cut costs acknowledged objects, or that they count twice."""
    first = ct_object(tmp_path)
    objects = []
    for number in range(1, OBJECTS + 1):
        dataset = copy.deepcopy(first)
        dataset.SOPInstanceUID = f"2.25.{9000 + number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        objects.append(dataset)
    acknowledged: set[str] = set()
    process, port = receiving.start()
    enough = send_side_by_side(port, objects, acknowledged)
    assert enough.wait(PATIENCE)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for thread in enough.threads:
        thread.join(PATIENCE)
    before = set(acknowledged)
    assert KILL_AFTER <= len(before) < OBJECTS
    assert len(segments(receiving.spool, OPEN)) == 1

    process, port = receiving.start()
    missing = [o for o in objects if o.SOPInstanceUID not in before]
    for thread in send_side_by_side(port, missing, acknowledged).threads:
        thread.join(PATIENCE)
    assert len(acknowledged) == OBJECTS
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    counts = json.loads(output.splitlines()[-1])
    assert (counts["state"], counts["received"]) == ("stopped", len(missing))
    assert 0 < counts["synced_groups"] <= counts["received"]
    assert json.loads((receiving.spool / "receiver.json").read_text()) == counts

    keys = load_keys(tmp_path / "keys.json")
    setup = replace(new_setup(tmp_path / "landed", keys), spools={"dicom": receiving.spool})
    result = harvest_spool("dicom", setup, now=NOW)
    landed = setup.landing.read("dicom_headers")["sop_instance_uid"].to_list()
    expected = pseudonyms(pl.Series(sorted(acknowledged)), "instance", keys.pseudonym).to_list()
    assert sorted(landed) == sorted(expected), "lost or doubled"
    assert result.rows_rejected == 0
    assert segments(receiving.spool, CLOSED, OPEN) == []


def test_a_second_receiver_on_the_same_spool_ends_with_a_clear_line(receiving: Receiving):
    """Failing means that two processes mix their frames in one segment."""
    process, port = receiving.start()
    second = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "receive", "dicom", "--port", str(port)],
        cwd=PROJECT_ROOT,
        env=receiving.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert second.returncode == 2
    assert "another receiver writes to" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("name", ["KEY", "AUTHORITY"])
def test_tls_without_a_certificate_is_refused(receiving: Receiving, tmp_path: Path, name: str):
    """Failing means that an operator who wants TLS gets a receiver without it."""
    setting = f"IMAGING_RECEIVE_TLS_{name}"
    environment = receiving.environment | {setting: str(tmp_path / "some.pem")}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "receive", "dicom", "--port", "0"],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert f"{setting} needs IMAGING_RECEIVE_TLS_CERTIFICATE" in " ".join(done.stderr.split())


def test_a_status_file_that_cannot_be_written_stops_nobody(receiving: Receiving, tmp_path: Path):
    """Failing means that a full disk ends the receiver with a message about its port."""
    status = receiving.spool / "receiver.json"
    status.mkdir(parents=True)
    receiving.spool.chmod(0o700)
    process, port = receiving.start()
    association = associate(port)
    assert association.is_established
    association.release()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert "receiver.json cannot be written" in process.stderr.read()
