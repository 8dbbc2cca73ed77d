"""`imaging receive hl7` as a process: killed under load again and again; nothing is lost or doubled."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines.harvest import Setup, harvest, harvest_spool
from pipelines.landing.keys import load_keys
from pipelines.receivers.spool import CLOSED, OPEN, segments
from pipelines.settings import PROJECT_ROOT
from pipelines.sources.inbox import Delivery
from tests.hl7_sender import (
    NHS_NUMBER,
    SURNAME,
    framed,
    message,
    send_until_it_breaks,
)
from tests.receiving_home import Receiving, receiving_home

NOW = datetime(2026, 6, 12, 6, tzinfo=UTC)
KILLS, CONNECTIONS = 2, 4
# Messages of each life of the process, and how many are acknowledged when it is killed.
OF_A_LIFE, KILL_AFTER = 600, 300
PATIENCE = 60


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    files = {"hl7_listeners.toml": '[[listener]]\nport = 0\nparty = "RMC"\n'}
    with receiving_home(tmp_path, ("hl7",), files) as found:
        yield found


def send_side_by_side(
    port: int,
    waiting: dict[int, bytes],
    acknowledged: set[int],
    many: int,
    at_many: Callable[[], object],
) -> None:
    """Send what waits over several connections, each message over one of them."""
    numbers = sorted(waiting)
    threads = []
    for start in range(CONNECTIONS):
        share = {number: waiting[number] for number in numbers[start::CONNECTIONS]}
        arguments = (port, share, acknowledged, many, at_many)
        threads.append(threading.Thread(target=send_until_it_breaks, args=arguments))
        threads[-1].start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_receiver_killed_under_load_loses_and_doubles_nothing(
    receiving: Receiving, tmp_path: Path, new_setup: Callable[..., Setup]
):
    """Failing means that a power cut costs acknowledged messages, or that they count twice."""
    everything: dict[int, bytes] = {}
    acknowledged: set[int] = set()
    for life in range(KILLS):
        everything |= {n: message(n) for n in range(life * OF_A_LIFE, (life + 1) * OF_A_LIFE)}
        waiting = {n: content for n, content in everything.items() if n not in acknowledged}
        before = len(acknowledged)
        process, port = receiving.start()
        send_side_by_side(port, waiting, acknowledged, before + KILL_AFTER, process.kill)
        process.wait()
        assert before + KILL_AFTER <= len(acknowledged) < len(everything)
        assert len(segments(receiving.spool, OPEN)) == 1
        found = receiving.all_bytes()
        assert NHS_NUMBER.encode() not in found and SURNAME.encode() not in found

    process, port = receiving.start()
    waiting = {n: content for n, content in everything.items() if n not in acknowledged}
    # One more than is lacking: the last message is sent again although it was acknowledged.
    waiting[max(acknowledged)] = everything[max(acknowledged)]
    send_side_by_side(port, waiting, acknowledged, len(everything) + 1, int)
    assert acknowledged == set(everything)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "mended" in errors
    counts = json.loads(output.splitlines()[-1])
    assert (counts["state"], counts["received"]) == ("stopped", len(waiting))
    assert counts["acknowledged"] == {"AA": len(waiting)}
    assert counts["spool"]["segments_waiting"] == KILLS + 1
    assert json.loads((receiving.spool / "receiver.json").read_text()) == counts

    keys = load_keys(tmp_path / "keys.json")
    setup = replace(new_setup(receiving.home, keys), spools={"hl7": receiving.spool})
    result = harvest_spool("hl7", setup, now=NOW)
    assert result.rows_rejected == 0
    assert segments(receiving.spool, CLOSED, OPEN) == []
    # What one file of every message, each once, would have landed.
    once = new_setup(tmp_path / "once", keys)
    data = b"".join(framed(content) for content in everything.values())
    harvest("hl7", [Delivery("hl7", Path("RMC.hl7"), date(2026, 6, 11), data)], once, now=NOW)
    expected = once.landing.read("imaging_events")
    landed = setup.landing.read("imaging_events")
    assert set(landed["event_id"]) == set(expected["event_id"]), "lost, or doubled in staging"
    assert landed["exam_key"].n_unique() == len(everything)
    assert harvest_spool("hl7", setup, now=NOW).rows_received == 0
    found = receiving.all_bytes()
    assert NHS_NUMBER.encode() not in found and SURNAME.encode() not in found


def test_a_port_that_is_taken_is_named(receiving: Receiving):
    """Failing means that an operator reads a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listeners = f'[[listener]]\nport = {port}\nparty = "RMC"\n'
        (receiving.home / "hl7_listeners.toml").write_text(listeners)
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "receive", "hl7"],
            cwd=PROJECT_ROOT,
            env=receiving.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1, ports {port}" in " ".join(done.stderr.split())
