"""The HL7 receiver over real sockets: acknowledged means synced, and no bad peer stops the others."""

import errno
import ipaddress
import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.receivers import hl7_connection, hl7_receiver
from pipelines.receivers.hl7_receiver import Hl7Listening, Hl7Receiver
from pipelines.receivers.listeners import Listener, ListenersProblem, read_listeners
from pipelines.receivers.spool import SpoolWriter, segments
from pipelines.receivers.tls import server_context
from tests.hl7_sender import NHS_NUMBER, SURNAME, Engine, framed, message
from tests.pipelines.receivers.conftest import spooled
from tests.pipelines.receivers.test_dicom_store import certificate

NewReceiver = Callable[..., Hl7Receiver]
NewSpool = Callable[..., SpoolWriter]


@pytest.fixture
def new_hl7_receiver(new_spool: NewSpool) -> Iterator[NewReceiver]:
    """Start a receiver on free ports; stopped when the test ends."""
    with ExitStack() as stack:

        def make(
            *listeners: Listener, spool: SpoolWriter | None = None, **listening
        ) -> Hl7Receiver:
            receiver = Hl7Receiver(
                spool or new_spool(),
                listeners or [Listener(0, "hl7_RMC")],
                Hl7Listening(**listening),
            )
            receiver.start()
            stack.callback(receiver.stop, grace=0.2)
            return receiver

        yield make


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does; fails after half a minute."""
    waited = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("it did not happen")


def closed(receiver: Hl7Receiver) -> list:
    """Everything spooled, when receiver and spool have ended."""
    receiver.stop()
    receiver.spool.close()
    return spooled(receiver.spool.root)


def test_messages_are_spooled_as_they_came_for_the_party_of_their_port(
    new_hl7_receiver: NewReceiver,
):
    """Failing means that bytes are changed, or that a trust's exams count for another."""
    receiver = new_hl7_receiver(Listener(0, "hl7_RMC"), Listener(0, "hl7_RBV"))
    accented = message(2).replace(b"AURELIA", "ZOË".encode("latin-1"))
    with Engine(receiver.ports[0]) as first, Engine(receiver.ports[1]) as second:
        assert [first.send(message(1)), second.send(accented)] == ["AA", "AA"]
    records = closed(receiver)
    assert [(r.feed_id, r.payload) for r in records] == [
        ("hl7_RMC", message(1)),
        ("hl7_RBV", accented),
    ]
    assert {r.sender for r in records} == {"127.0.0.1"}
    document = receiver.document()
    assert document["acknowledged"] == {"AA": 2}
    assert document["feeds"]["hl7_RBV"]["received"] == 1
    assert json.loads(json.dumps(document)) == document


def test_nobody_is_answered_before_the_sync(
    new_hl7_receiver: NewReceiver, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that an engine deletes what a power cut can still take from us."""
    receiver, may_sync, real = new_hl7_receiver(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    with Engine(receiver.ports[0]) as engine:
        engine.write(framed(message(1)))
        engine.wire.settimeout(0.2)
        with pytest.raises(TimeoutError):
            engine.answer()
        engine.wire.settimeout(10)
        may_sync.set()
        assert engine.answer()[1][:3] == ["MSA", "AA", "C000001"]


def test_answers_come_in_the_order_of_their_messages(new_hl7_receiver: NewReceiver):
    """Failing means that a sender that does not wait takes one answer for another."""
    receiver = new_hl7_receiver()
    with Engine(receiver.ports[0]) as engine:
        contents = [message(n) if n % 3 else b"no header" for n in range(1, 301)]
        engine.write(b"".join(framed(content) for content in contents))
        answers = [engine.answer()[1][1:3] for _ in contents]
    assert answers == [
        ["AA", f"C{n:06d}"] if n % 3 else ["AR", ""] for n in range(1, len(contents) + 1)
    ]
    assert [record.payload for record in closed(receiver)] == [c for c in contents if c[:1] == b"M"]
    assert receiver.counts.refused == {"it has no MSH segment": 100}


def test_a_message_for_testing_is_acknowledged_and_kept(new_hl7_receiver: NewReceiver):
    """Failing means that a test message blocks the queue of the engine that sent it."""
    receiver = new_hl7_receiver()
    with Engine(receiver.ports[0]) as engine:
        assert engine.send(message(1, processing="T")) == "AA"
        assert engine.send(message(2, header_end="|||AL|NE")) == "CA"
        engine.write(framed(message(3, header_end="|||NE|NE")))  # wants no answer
        assert engine.send(message(4)) == "AA"
    assert len(closed(receiver)) == 4
    assert receiver.counts.acknowledged == {"AA": 2, "CA": 1, "none": 1}
    assert receiver.counts.not_for_production == 1


def test_a_listener_for_senders_that_do_not_know_ca(new_hl7_receiver: NewReceiver):
    """Failing means that an engine that fills in MSH-15 without meaning it cannot be connected."""
    receiver = new_hl7_receiver(Listener(0, "hl7_RMC", always_aa=True))
    with Engine(receiver.ports[0]) as engine:
        assert engine.send(message(2, header_end="|||AL|NE")) == "AA"


@pytest.mark.parametrize("largest", [1000, 200_000])
def test_a_message_over_the_limit_is_refused_and_its_connection_ends(
    new_hl7_receiver: NewReceiver, largest: int
):
    """Failing means that one message fills the memory, or that its sender never learns why."""
    receiver = new_hl7_receiver(largest_message=largest)
    with Engine(receiver.ports[0]) as engine:
        if largest > 1000:
            assert engine.send(message(1)) == "AA"
        engine.write(framed(message(2) + b"x" * 8_000_000))
        answer = engine.answer()[1]
        assert answer[1:] == ["AR", "C000002", f"it is larger than {largest:,} bytes"]
        assert engine.has_ended()
    with Engine(receiver.ports[0]) as engine:
        assert engine.send(b"MSH|^~\\&|small") == "AA"
    assert len(closed(receiver)) == (2 if largest > 1000 else 1)


def test_a_message_of_16_mib_is_taken(new_hl7_receiver: NewReceiver):
    """Failing means that a report with a scanned document cannot be sent."""
    receiver = new_hl7_receiver()
    large = message(1) + b"OBX|2|ED|PDF^^||" + b"A" * ((16 << 20) - 1000)
    with Engine(receiver.ports[0]) as engine:
        assert engine.send(large) == "AA"
    assert [record.payload for record in closed(receiver)] == [large]


def test_a_full_disk_is_told_and_the_receiver_goes_on_when_there_is_room(
    new_hl7_receiver: NewReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """Failing means that messages are lost on a full disk, or that somebody has to restart us."""
    receiver, real = new_hl7_receiver(), os.fdatasync
    port = receiver.ports[0]
    with Engine(port) as engine:
        assert engine.send(message(1)) == "AA"

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            engine.write(framed(message(2)) + framed(message(3)))
            answers = [engine.answer()[1] for _ in range(2)]
            assert {answer[1] for answer in answers} == {"AE"}
            assert {answer[3] for answer in answers} == {"the disk of the spool is full"}
            assert engine.has_ended()
            assert receiver.spool.document()["refusing"] == "the disk of the spool is full"
    assert os.fdatasync is real
    with Engine(port) as engine:
        assert [engine.send(message(n)) for n in (2, 3)] == ["AA", "AA"]
    assert [record.payload for record in closed(receiver)] == [message(n) for n in (1, 2, 3)]
    assert receiver.spool.document()["refusing"] is None
    assert "messages are answered AE" in caplog.text
    assert "messages are kept again" in caplog.text


def test_a_disk_that_hangs_is_told_in_time(
    new_hl7_receiver: NewReceiver, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that senders wait for a hung disk for ever, or are told that it is safe."""
    monkeypatch.setattr(hl7_connection, "PATIENCE_SECONDS", 0.1)
    receiver, may_sync, real = new_hl7_receiver(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    with Engine(receiver.ports[0]) as engine:
        engine.write(framed(message(1)))
        assert engine.answer()[1][1:] == ["AE", "C000001", "the disk is too slow"]
        assert engine.has_ended()
    may_sync.set()
    until(lambda: receiver.counts.received == 1)
    assert receiver.unsafe_bytes == 0


def test_senders_are_held_back_while_the_disk_is_behind(
    new_hl7_receiver: NewReceiver, new_spool: NewSpool, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a slow disk fills the memory, or that held-back senders are forgotten."""
    receiver = new_hl7_receiver(spool=new_spool(pending_bytes=4000))
    may_sync, real = threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ExitStack() as stack:
        engines = [stack.enter_context(Engine(receiver.ports[0])) for _ in range(4)]
        for number, engine in enumerate(engines):
            engine.write(b"".join(framed(message(number * 100 + n)) for n in range(50)))
        until(lambda: receiver.paused)
        assert receiver.unsafe_bytes <= receiver.most_unsafe + len(message(1)) + 10
        may_sync.set()
        for number, engine in enumerate(engines):
            found = [engine.answer()[1][1:3] for _ in range(50)]
            assert found == [["AA", f"C{number * 100 + n:06d}"] for n in range(50)]
    assert len(closed(receiver)) == 200
    assert receiver.unsafe_bytes == 0


BAD_PEERS = {
    "it speaks TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "it does not speak MLLP": b"GET / HTTP/1.1\r\n" * 8000,
    "a message took too long": b"\x0bMSH|^~\\&|RIS",
    "it was silent for too long": b"",
}


@pytest.mark.parametrize(("reason", "data"), BAD_PEERS.items(), ids=BAD_PEERS)
def test_a_peer_that_misbehaves_is_let_go_and_named(
    new_hl7_receiver: NewReceiver,
    reason: str,
    data: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """Failing means that a hung or foreign peer holds a place for ever, or nobody learns why."""
    monkeypatch.setattr(hl7_receiver, "TICK_SECONDS", 0.02)
    receiver = new_hl7_receiver(message_seconds=0.1, idle_seconds=0.1 if not data else 3600)
    with Engine(receiver.ports[0]) as bad:
        bad.write(data)
        assert bad.has_ended()
    receiver.listening = Hl7Listening()  # a busy machine may be slow with the good one
    with Engine(receiver.ports[0]) as good:
        assert good.send(message(1)) == "AA"
    assert [dropped for dropped in receiver.counts.connections_dropped if reason in dropped]
    assert f"hl7_RMC at 127.0.0.1 ended after 0 messages: {reason}" in caplog.text


def test_a_peer_that_sends_byte_by_byte_has_no_more_time_than_others(
    new_hl7_receiver: NewReceiver, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a peer that trickles holds its place for ever."""
    monkeypatch.setattr(hl7_receiver, "TICK_SECONDS", 0.02)
    receiver = new_hl7_receiver(message_seconds=0.3)
    waited = threading.Event()
    with Engine(receiver.ports[0]) as slow:
        for byte in framed(message(1)):
            try:
                slow.write(bytes([byte]))
            except OSError:
                break  # let go: nobody reads it any more
            waited.wait(0.01)
        else:
            raise AssertionError("it was heard to the end")
    assert receiver.counts.connections_dropped == {"a message took too long": 1}
    assert closed(receiver) == []


def test_a_peer_that_is_gone_without_a_word_is_noticed(new_hl7_receiver: NewReceiver):
    """Failing means that an engine that lost its power holds its place for an hour."""
    receiver = new_hl7_receiver()
    with Engine(receiver.ports[0]) as engine:
        assert engine.send(message(1)) == "AA"
        (connection,) = receiver.connections
        assert connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_garbage_between_frames_is_skipped_and_counted(new_hl7_receiver: NewReceiver):
    """Failing means that a stray byte costs a message or a connection."""
    receiver = new_hl7_receiver()
    with Engine(receiver.ports[0]) as engine:
        engine.write(b"noise" + framed(message(1)) + b"\r\n\0\0" + framed(message(2)))
        assert [engine.answer()[1][1] for _ in range(2)] == ["AA", "AA"]
    closed(receiver)
    assert receiver.counts.skipped_bytes == 7


def test_what_breaks_off_is_not_spooled_and_what_half_closes_is_answered(
    new_hl7_receiver: NewReceiver,
):
    """Failing means that half a message lands, or that a script that ends its side gets no answer."""
    receiver = new_hl7_receiver()
    with Engine(receiver.ports[0]) as engine:
        engine.write(framed(message(1))[:-40])
    with Engine(receiver.ports[0]) as engine:
        engine.write(framed(message(2))[:-1])  # without its carriage return
        engine.wire.shutdown(socket.SHUT_WR)
        assert engine.answer()[1][1] == "AA"
        assert engine.has_ended()
    assert [record.payload for record in closed(receiver)] == [message(2)]
    assert receiver.counts.frames_broken_off == 1


def test_strangers_and_too_many_get_no_answer(
    new_hl7_receiver: NewReceiver, caplog: pytest.LogCaptureFixture
):
    """Failing means that anybody on the network can put messages into the warehouse."""
    strict = Listener(0, "hl7_RBV", (ipaddress.ip_network("192.0.2.0/24"),))
    receiver = new_hl7_receiver(Listener(0, "hl7_RMC"), strict, most_connections=2)
    with Engine(receiver.ports[1]) as stranger:
        assert stranger.has_ended()
    with Engine(receiver.ports[0]) as one, Engine(receiver.ports[0]) as two:
        assert [one.send(message(1)), two.send(message(2))] == ["AA", "AA"]
        with Engine(receiver.ports[0]) as third:
            assert third.has_ended()
        assert receiver.document()["connections_open"] == 2
    assert receiver.counts.connections_refused == {
        "not in the list of addresses": 1,
        "too many connections": 1,
    }
    assert "connection for hl7_RBV at 127.0.0.1 refused" in caplog.text


def test_tls_lets_in_only_who_has_a_certificate_and_waits_for_nobody(
    new_hl7_receiver: NewReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Failing means that messages cross the network in the clear, or a silent peer blocks all."""
    own, sender = certificate(tmp_path, "receiver"), certificate(tmp_path, "sender")
    receiver = new_hl7_receiver(tls=server_context(*own, sender[0]))
    port = receiver.ports[0]
    context = ssl.create_default_context(cafile=own[0])
    with socket.create_connection(("127.0.0.1", port)):  # never shakes hands
        with Engine(port) as plain:
            plain.write(framed(message(1)))
            assert plain.wire.recv(1 << 16)[:1] != b"\x0b"  # an alert, or the end
        with pytest.raises(OSError), Engine(port, context) as stranger:
            stranger.send(message(2))
            raise ConnectionError("it was let in and not answered")
        context.load_cert_chain(*sender)
        with Engine(port, context) as engine:
            assert [engine.send(message(n)) for n in (3, 4)] == ["AA", "AA"]
            engine.write(framed(message(5)) * 20)
            assert {engine.answer()[1][1] for _ in range(20)} == {"AA"}
    assert len(closed(receiver)) == 22
    assert receiver.counts.connections_refused["TLS failed"] >= 2
    assert "TLS with hl7_RMC at 127.0.0.1 failed" in caplog.text


def test_stopping_answers_what_was_received(
    new_hl7_receiver: NewReceiver, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that every restart makes engines send messages twice."""
    receiver, may_sync, real = new_hl7_receiver(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    with Engine(receiver.ports[0]) as engine:
        engine.write(framed(message(1)))
        until(lambda: receiver.unsafe_bytes)
        stopping = threading.Thread(target=receiver.stop)
        stopping.start()
        until(lambda: receiver.is_stopping)
        may_sync.set()
        assert engine.answer()[1][1] == "AA"
        assert engine.has_ended()
        stopping.join(10)
    assert len(closed(receiver)) == 1


def test_no_identity_is_readable_in_spool_or_log(
    new_hl7_receiver: NewReceiver, caplog: pytest.LogCaptureFixture
):
    """Failing means that a copied disk or a log file names patients."""
    caplog.set_level(logging.DEBUG)
    receiver = new_hl7_receiver(largest_message=5000)
    with Engine(receiver.ports[0]) as engine:
        engine.send(message(1))
        engine.send(b"PID|1||" + NHS_NUMBER.encode())
        engine.write(framed(message(2) * 20))
        engine.answer()
    closed(receiver)
    content = b"".join(path.read_bytes() for path in segments(receiver.spool.root, ".closed"))
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("imaging"))
    assert "refused" in ours and len(content) > 100
    for text in (NHS_NUMBER, SURNAME, "C000001"):
        assert text not in ours
        assert text.encode() not in content


def test_an_error_of_our_own_costs_one_connection_and_tells_no_value(
    new_hl7_receiver: NewReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """Failing means that one odd message stops all feeds, or that a traceback names a patient."""
    receiver, real = new_hl7_receiver(), hl7_connection.header_of

    def fails(content: bytes):
        if b"ODD" in content:
            raise ValueError(content.decode())
        return real(content)

    monkeypatch.setattr(hl7_connection, "header_of", fails)
    with Engine(receiver.ports[0]) as odd, Engine(receiver.ports[0]) as other:
        odd.write(framed(message(1) + b"ODD"))
        assert odd.has_ended()
        assert other.send(message(2)) == "AA"
    assert "internal error ValueError" in caplog.text
    assert SURNAME not in caplog.text


def test_a_receiver_that_ends_by_itself_says_so(
    new_spool: NewSpool, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a process goes on that nobody can send to, and nothing restarts it."""
    monkeypatch.setattr(hl7_receiver, "TICK_SECONDS", 0.02)
    has_ended = threading.Event()
    receiver = Hl7Receiver(
        new_spool(), [Listener(0, "hl7_RMC")], Hl7Listening(), on_end=has_ended.set
    )
    receiver.start()
    monkeypatch.setattr(receiver, "_tick", lambda: 1 / 0)
    assert has_ended.wait(10)
    with pytest.raises(ZeroDivisionError):
        receiver.stop()


LIST_FAULTS = {
    "no list of listeners": None,
    "is not TOML": "listener = [",
    "names no listener": "listeners = []",
    "needs port and party": '[[listener]]\nparty = "RMC"',
    "'2575' is no port": '[[listener]]\nport = "2575"\nparty = "RMC"',
    "'adresses' is no key of a listener, do you mean addresses": '[[listener]]\nport = 1\nparty = "RMC"\nadresses = []',
    "has no feed hl7_XXX": '[[listener]]\nport = 2575\nparty = "XXX"',
    "does not appear to be": '[[listener]]\nport = 1\nparty = "RMC"\naddresses = ["ten"]',
    "leave it out": '[[listener]]\nport = 1\nparty = "RMC"\naddresses = []',
    "has port 2575 already": '[[listener]]\nport = 2575\nparty = "RMC"\n' * 2,
    "true or false": '[[listener]]\nport = 1\nparty = "RMC"\nalways_aa = "yes"',
}


@pytest.mark.parametrize(("words", "text"), LIST_FAULTS.items(), ids=LIST_FAULTS)
def test_a_faulty_list_of_listeners_is_named(tmp_path: Path, words: str, text: str | None):
    """Failing means that a receiver starts with a list other than its operator meant."""
    path = tmp_path / "hl7_listeners.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ListenersProblem, match=words) as problem:
        read_listeners(path, {"hl7_RMC"})
    assert str(path) in str(problem.value)


def test_listeners_are_those_of_the_list(tmp_path: Path):
    """Failing means that patients are hashed with the issuer of another trust."""
    path = tmp_path / "hl7_listeners.toml"
    path.write_text('[[listener]]\nport = 2575\nparty = "RMC"\naddresses = ["10.20.0.0/16"]\n')
    networks = (ipaddress.ip_network("10.20.0.0/16"),)
    assert read_listeners(path, {"hl7_RMC"}) == [Listener(2575, "hl7_RMC", networks)]
