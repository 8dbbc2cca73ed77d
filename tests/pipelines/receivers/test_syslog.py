"""Audit messages over the network: each kept as it came, or its sender is held back or let go."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.harvest import Setup, harvest_arrived, waiting_segments
from pipelines.landing.keys import create_key_file
from pipelines.receivers import syslog
from pipelines.receivers.addresses import networks
from pipelines.receivers.listeners import AuditListener, ListenersProblem, read_audit_listeners
from pipelines.receivers.spool import CLOSED, SpoolRefused, SpoolWriter, segments
from pipelines.receivers.syslog import (
    AuditListening,
    AuditReceiver,
)
from pipelines.receivers.syslog_frames import FrameTooLarge, SyslogFrames
from pipelines.receivers.tls import server_context
from pipelines.settings import PROJECT_ROOT
from pipelines.sources.image_access import split_audit
from tests.pipelines.receivers.conftest import spooled
from tests.pipelines.receivers.test_dicom_store import certificate

PERSON, PATIENCE = "C9990003", 20
RMC = AuditListener(0, "image_access_RMC")
NewReceiver = Callable[..., AuditReceiver]


def message(number: int = 1, person: str = PERSON) -> bytes:
    return (
        f"<85>1 2026-05-21T08:15:44+01:00 epr.rmc.example epr-viewer - IHE+RFC-3881 - "
        '<?xml version="1.0" encoding="UTF-8"?><AuditMessage>'
        '<EventIdentification EventActionCode="R" EventDateTime="2026-05-21T08:15:44+01:00" '
        'EventOutcomeIndicator="0"><EventID code="110103" codeSystemName="DCM"/>'
        f'</EventIdentification><ActiveParticipant UserID="{person}" UserIsRequestor="true" '
        'UserTypeCode="1"/><AuditSourceIdentification AuditEnterpriseSiteID="RMC" '
        'AuditSourceID="rmc-epr-viewer"/><ParticipantObjectIdentification '
        f'ParticipantObjectID="1.2.3.{number}" ParticipantObjectTypeCode="2">'
        '<ParticipantObjectIDTypeCode code="110180" codeSystemName="DCM"/>'
        "</ParticipantObjectIdentification></AuditMessage>"
    ).encode()


def counted(*messages: bytes) -> bytes:
    return b"".join(b"%d %s" % (len(one), one) for one in messages)


@pytest.fixture
def new_audit_receiver(new_spool: Callable[..., SpoolWriter]) -> Iterator[NewReceiver]:
    with ExitStack() as stack:

        def make(*listeners: AuditListener, limits: dict | None = None, **listening):
            receiver = AuditReceiver(
                new_spool(**(limits or {})), listeners or (RMC,), AuditListening(**listening)
            )
            receiver.start()
            stack.callback(receiver.stop, grace=2)
            return receiver

        yield make


def send(receiver: AuditReceiver, *pieces: bytes, number: int = 0) -> None:
    with socket.create_connection(("127.0.0.1", receiver.ports[number]), PATIENCE) as wire:
        for piece in pieces:
            wire.sendall(piece)


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.01)


def kept(receiver: AuditReceiver, tmp_path: Path) -> list[bytes]:
    """What is in the spool once the receiver has ended."""
    receiver.stop()
    receiver.spool.close()
    return [record.payload for record in spooled(tmp_path / "spool")]


STREAMS = {
    "counted": lambda messages: counted(*messages),
    "lines": lambda messages: b"".join(one + b"\n" for one in messages),
    "lines_crlf": lambda messages: b"".join(one + b"\r\n" for one in messages),
    "indented": lambda messages: b"".join(one.replace(b"><", b">\n <") + b"\n" for one in messages),
    "counted_lines": lambda messages: b"".join(counted(one) + b"\n" for one in messages),
}


@pytest.mark.parametrize("stream", STREAMS)
@given(cuts=st.lists(st.integers(1, 900), max_size=12))
def test_however_a_stream_is_cut_the_messages_are_the_same(stream: str, cuts: list[int]):
    """Failing means that it matters to a count how the network cuts its packets."""
    sent = [message(1), message(2)[:-60], message(3)]
    whole = STREAMS[stream](sent)
    frames, position, found = SyslogFrames(1 << 20), 0, []
    for size in [*cuts, len(whole)]:
        found += frames.feed(whole[position : position + size])
        position += size
    found += frames.end()
    same = [one.replace(b">\n <", b"><") for one in found]
    assert same == sent


def test_a_message_that_never_ends_is_not_kept_in_memory():
    """Failing means that one sender can fill the memory."""
    for endless in (b"9999999 <85>1 ", b"<85>1 " + b"x" * 3000):
        with pytest.raises(FrameTooLarge):
            SyslogFrames(2000).feed(endless)


def test_messages_before_one_too_large_are_handed_over():
    """Failing means that one odd message loses those that came whole before it."""
    for endless in (b"9999999 <85>1 ", b"<85>1 " + b"x" * 3000):
        with pytest.raises(FrameTooLarge) as told:
            SyslogFrames(2000).feed(counted(message(1), message(2)) + endless)
        assert told.value.before == [message(1), message(2)]


def test_a_number_before_anything_but_a_priority_is_no_length():
    """Failing means that a line that begins with its date ends its connection."""
    line = b"20261126 101500 viewer opened"
    for size in (1, 9, 1000):
        frames = SyslogFrames(2000)
        stream = line + b"\n" + counted(message()) + b"7 days\n"
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        found = [one for piece in pieces for one in frames.feed(piece)]
        assert found == [line, message(), b"7 days"]


def test_a_length_beyond_the_limit_at_the_end_is_a_piece_of_a_message():
    """Failing means that what came before it is lost with it."""
    frames = SyslogFrames(2000)
    assert frames.feed(b"<85>1 <AuditMessage>\n9999999 <85>1 ") == []
    assert frames.end() == [b"<85>1 <AuditMessage>", b"9999999 <85>1"]


def test_what_is_sent_over_tcp_and_udp_lies_encrypted_under_its_feed(
    new_audit_receiver: NewReceiver, tmp_path: Path
):
    """Failing means that views are lost, or that the disk tells who looked at what."""
    rbv = AuditListener(0, "image_access_RBV", "udp")
    receiver = new_audit_receiver(RMC, rbv)
    send(receiver, counted(message(1), message(2)))
    send(receiver, message(3) + b"\n", message(4)[:100])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.sendto(message(5), ("127.0.0.1", receiver.ports[1]))
    until(lambda: receiver.counts.received == 5)
    told = receiver.document()
    assert (told["cut_off"], told["refused"], told["connections"]) == (1, {}, 2)
    assert {name: one["received"] for name, one in told["feeds"].items()} == {
        "image_access_RBV": 1,
        "image_access_RMC": 4,
    }
    receiver.stop()
    receiver.spool.close()
    records = spooled(tmp_path / "spool")
    assert sorted((r.feed_id, r.payload) for r in records) == sorted(
        [
            *(("image_access_RMC", message(n)) for n in (1, 2, 3)),
            ("image_access_RMC", message(4)[:100]),
            ("image_access_RBV", message(5)),
        ]
    )
    for path in (tmp_path / "spool").iterdir():
        assert PERSON.encode() not in path.read_bytes()


def test_tls_is_spoken_where_it_is_set_up_and_nobody_waits_for_who_does_not(
    new_audit_receiver: NewReceiver, tmp_path: Path
):
    """Failing means that identities travel in the clear, or that a stranger can send."""
    own, sender = certificate(tmp_path, "receiver"), certificate(tmp_path, "sender")
    receiver = new_audit_receiver(tls=server_context(*own, sender[0]))
    silent = socket.create_connection(("127.0.0.1", receiver.ports[0]), PATIENCE)
    context = ssl.create_default_context(cafile=own[0])
    context.load_cert_chain(*sender)
    plain = socket.create_connection(("127.0.0.1", receiver.ports[0]), PATIENCE)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as wire:
        wire.sendall(counted(message()))
        until(lambda: receiver.counts.received == 1)
    send(receiver, counted(message()))
    until(lambda: receiver.counts.refused["connection broke off"] == 1)
    silent.close()
    assert kept(receiver, tmp_path) == [message()]


def test_a_stranger_and_one_too_many_are_let_go(new_audit_receiver: NewReceiver):
    """Failing means that anybody can invent views, or that one sender can shut out the others."""
    elsewhere = replace(RMC, addresses=networks(["10.1.0.0/16"]))
    receiver = new_audit_receiver(elsewhere, replace(elsewhere, transport="udp"), RMC)
    send(receiver, counted(message()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.sendto(message(), ("127.0.0.1", receiver.ports[1]))
    until(lambda: receiver.counts.refused["address is not listed"] == 2)
    assert receiver.counts.received == 0


def test_more_connections_than_places_are_let_go(new_audit_receiver: NewReceiver):
    """Failing means that a fault of one sender uses up the machine."""
    receiver = new_audit_receiver(most_connections=1)
    with socket.create_connection(("127.0.0.1", receiver.ports[0]), PATIENCE) as first:
        first.sendall(counted(message()))
        until(lambda: receiver.counts.received == 1)
        send(receiver, counted(message(2)))
        until(lambda: receiver.counts.refused["too many connections"] == 1)
        first.sendall(counted(message(3)))
        until(lambda: receiver.counts.received == 2)


def test_who_is_silent_for_too_long_makes_room(new_audit_receiver: NewReceiver, tmp_path: Path):
    """Failing means that connections nobody uses shut out those that have something to say."""
    receiver = new_audit_receiver(most_connections=1, idle_seconds=0.1)
    with socket.create_connection(("127.0.0.1", receiver.ports[0]), PATIENCE) as silent:
        silent.sendall(counted(message(1)))
        assert silent.recv(1) == b""
    until(lambda: receiver.document()["connections_open"] == 0)
    assert receiver.counts.refused["connection was silent for too long"] == 1
    send(receiver, counted(message(2)))
    until(lambda: receiver.counts.received == 2)
    assert kept(receiver, tmp_path) == [message(1), message(2)]


def test_a_peer_that_is_gone_is_noticed(new_audit_receiver: NewReceiver):
    """Failing means that a viewer that lost its power holds its place for ever."""
    receiver = new_audit_receiver()
    with socket.create_connection(("127.0.0.1", receiver.ports[0]), PATIENCE) as wire:
        receiver._secured(wire)
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_the_log_names_a_refusal_once_a_minute(
    new_audit_receiver: NewReceiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    """Failing means that a stranger who tries again and again fills the disk with the log."""
    receiver, at = new_audit_receiver(), [1000.0]
    monkeypatch.setattr(syslog, "time", SimpleNamespace(monotonic=lambda: at[0]))
    for _ in range(3):
        receiver._refuse("address is not listed", "10.9.9.9")
    receiver._refuse("address is not listed", "10.9.9.8")
    at[0] += syslog.REPEAT_SECONDS
    receiver._refuse("address is not listed", "10.9.9.9")
    monkeypatch.undo()
    assert [one.getMessage() for one in caplog.records] == [
        "10.9.9.9: address is not listed (1 in all)",
        "10.9.9.8: address is not listed (4 in all)",
        "10.9.9.9: address is not listed (5 in all)",
    ]
    assert receiver.counts.refused["address is not listed"] == 5


def test_a_full_disk_ends_the_connection_and_is_told(new_audit_receiver: NewReceiver):
    """Failing means that messages vanish and nobody is told."""
    receiver = new_audit_receiver(limits={"free_bytes": 1 << 60})
    send(receiver, counted(message()))
    until(lambda: receiver.counts.refused["the disk of the spool is full"] == 1)
    assert receiver.counts.received == 0


def test_a_message_too_large_costs_its_connection_only(
    new_audit_receiver: NewReceiver, tmp_path: Path
):
    """Failing means that one odd sender stops the others."""
    receiver = new_audit_receiver(largest_message=2000)
    send(receiver, counted(message(1), message(2)) + b"5000 <85>1 ")
    until(lambda: receiver.counts.refused["message is too large"] == 1)
    send(receiver, counted(message(3)))
    until(lambda: receiver.counts.received == 3)
    assert kept(receiver, tmp_path) == [message(n) for n in (1, 2, 3)]


def test_stopping_keeps_what_has_arrived(new_audit_receiver: NewReceiver, tmp_path: Path):
    """Failing means that every restart loses messages."""
    receiver = new_audit_receiver()
    sent = [message(n) for n in range(200)]
    with socket.create_connection(("127.0.0.1", receiver.ports[0]), PATIENCE) as wire:
        wire.sendall(counted(*sent))
        until(lambda: receiver.counts.received > 0)
        assert kept(receiver, tmp_path) == sent
    assert threading.active_count() < 50


def test_stopping_ends_though_senders_go_on(new_audit_receiver: NewReceiver, tmp_path: Path):
    """Failing means that a busy receiver cannot be stopped, or counts what is not in its spool."""
    receiver = new_audit_receiver(RMC, replace(RMC, transport="udp"))
    is_over = threading.Event()

    def send_on(transport: socket.SocketKind, port: int) -> None:
        with socket.socket(socket.AF_INET, transport) as wire:
            wire.connect(("127.0.0.1", port))
            while not is_over.is_set():
                try:
                    wire.send(counted(message()) if transport == socket.SOCK_STREAM else message())
                except ConnectionError:
                    return
                time.sleep(0.002)

    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ports = (receiver.ports[0], *receiver.ports)
    senders = [threading.Thread(target=send_on, args=one) for one in zip(kinds, ports, strict=True)]
    try:
        for sender in senders:
            sender.start()
        until(lambda: receiver.counts.connections == 2 and receiver.counts.received > 20)
        mine = [*receiver._threads, *receiver._open]
        receiver.stop(grace=0.3)
        assert not any(thread.is_alive() for thread in mine)
        assert receiver.document()["connections_open"] == 0
    finally:
        is_over.set()
        for sender in senders:
            sender.join()
    assert len(kept(receiver, tmp_path)) == receiver.counts.received


def test_what_the_spool_took_before_it_refused_is_counted(
    new_audit_receiver: NewReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Failing means that the counts of receiver and warehouse never agree after a bad day."""
    receiver = new_audit_receiver()
    append, taken = receiver.spool.append, []

    def append_two(payload: bytes, **rest):
        if len(taken) == 2:
            raise SpoolRefused("the disk is too slow")
        taken.append(payload)
        return append(payload, **rest)

    monkeypatch.setattr(receiver.spool, "append", append_two)
    send(receiver, counted(message(1), message(2), message(3)))
    until(lambda: receiver.counts.refused["the disk is too slow"] == 1)
    assert receiver.counts.received == 2
    assert kept(receiver, tmp_path) == [message(1), message(2)]


def test_what_was_received_lands_once_for_its_party(
    new_audit_receiver: NewReceiver, new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that it matters to the figures whether a viewer sends or delivers files."""
    receiver = new_audit_receiver()
    send(receiver, counted(message(1), message(2), message(3)[:-40]))
    until(lambda: receiver.counts.received == 3)
    receiver.stop()
    receiver.spool.close()
    setup = replace(new_setup(tmp_path / "home"), spools={"image_access": tmp_path / "spool"})
    (segment,) = waiting_segments(setup, "image_access")
    now = datetime.now(UTC)
    result = harvest_arrived("image_access", [], setup, now=now)
    assert (result.rows_landed, result.rejects_by_rule) == (2, {"message_is_whole": 1})
    events = setup.landing.read("imaging_events")
    assert events["event_type"].to_list() == ["images_viewed"] * 2
    assert events["feed_id"].unique().to_list() == ["image_access_RMC"]
    assert waiting_segments(setup) == [] and segment.with_suffix(".read").exists()
    (entry,) = setup.quarantine.entries()
    assert split_audit(setup.quarantine.payload(entry)) == [message(3)[:-40]]
    assert harvest_arrived("image_access", [], setup, now=now).rows_received == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no list of listeners"),
        ("[[listener", "is not TOML"),
        ("", "names no listener"),
        ("[[listener]]\nport = 1", "needs port and party"),
        ('[[listener]]\nport = 70000\nparty = "RMC"', "is no port"),
        ('[[listener]]\nport = 1\nparty = "XXX"', "register the feed"),
        ('[[listener]]\nport = 1\nparty = "RMC"\ntransport = "tls"', "transport is tcp or udp"),
        ('[[listener]]\nport = 1\nparty = "RMC"\naddresses = []', "addresses is a list"),
        ('[[listener]]\nport = 1\nparty = "RMC"\n' * 2, "another one has tcp port 1"),
    ],
)
def test_a_faulty_list_of_listeners_is_named(tmp_path: Path, text: str | None, told: str):
    """Failing means that somebody guesses why the receiver does not start."""
    path = tmp_path / "audit_listeners.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ListenersProblem, match=told):
        read_audit_listeners(path, {"image_access_RMC"})


def test_one_port_may_serve_both_transports(tmp_path: Path):
    """Failing means that a party has to move its senders to another port."""
    path = tmp_path / "audit_listeners.toml"
    entry = '[[listener]]\nport = 514\nparty = "RMC"\naddresses = ["10.0.0.0/8"]\n'
    path.write_text(f'{entry}{entry}transport = "udp"\n')
    found = read_audit_listeners(path, {"image_access_RMC"})
    assert [(one.port, one.transport) for one in found] == [(514, "tcp"), (514, "udp")]


def test_the_command_listens_says_so_and_ends_with_its_counts(tmp_path: Path):
    """Failing means that the receiver cannot be run as a service."""
    create_key_file(tmp_path / "keys.json")
    home = tmp_path / "home"
    home.mkdir()
    (home / "audit_listeners.toml").write_text('[[listener]]\nport = 0\nparty = "RMC"\n')
    settings = {"IMAGING_HOME": str(home), "IMAGING_KEY_FILE": str(tmp_path / "keys.json")}
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "receive", "audit"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **settings, "IMAGING_SPOOL_FREE_MB": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        assert line.endswith("(tcp) for image_access_RMC\n"), line
        port = int(line.split(":")[1].split()[0])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as wire:
            wire.sendall(counted(message()))
        status = home / "spool" / "image_access" / "receiver.json"
        until(lambda: status.exists() and json.loads(status.read_text())["received"] == 1)
        process.send_signal(signal.SIGTERM)
        final = json.loads(process.stdout.readline())
    assert process.returncode == 0 and (final["state"], final["received"]) == ("stopped", 1)
    assert len(segments(status.parent, CLOSED)) == 1
