"""Archives that hang, drop, babble or refuse: a named error or a new attempt, never half an answer."""

import gzip
import json
import socket
import socketserver
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from pipelines.sources.dicom_archives import Archive, ArchiveProblem, Places, ask_archive, ask_due
from pipelines.sources.dicom_archives.cfind import STUDY_ROOT
from pipelines.sources.dicom_archives.cursor import load_cursor
from pipelines.sources.dicom_archives.pace import Pace
from pipelines.sources.dicom_archives.reasons import harmless
from tests.orthanc import free_ports

NOW = datetime(2026, 1, 6, 22, tzinfo=UTC)
# Far longer than the time limit of those tests that wait for it.
HANG_SECONDS = 10
SHORT = {"hangs": 0.5, "trickles": 0.5}
PATIENT = "PAT-SECRET-1"


class Script:
    """What a server does with one request after the other; the last deed is repeated."""

    def __init__(self, *deeds: Callable[[Any], object]) -> None:
        self.deeds = list(deeds)
        self.seen: list[str] = []

    def next_for(self, request: Any) -> None:
        self.seen.append(getattr(request, "path", ""))
        deed = self.deeds.pop(0) if len(self.deeds) > 1 else self.deeds[0]
        deed(request)


class Sleeps(list[float]):
    """Waits that are noted instead of slept."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@contextmanager
def serving(script: Script) -> Generator[str]:
    """A web server that does what its script says; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            script.next_for(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()


def says(body: Any, status: int = 200, **headers: str) -> Callable[[Any], None]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    def deed(request: Any) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    return deed


def data_set(number: int) -> dict[str, Any]:
    values = {
        "0020000D": f"1.2.{number}",
        "0020000E": f"1.2.{number}.1",
        "00100020": PATIENT,
        "00080060": "CT",
        "00201209": 3,
    }
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}


PAGE = [data_set(1), data_set(2)]
EMPTY: list[Any] = []


def hangs(_: Any) -> None:
    time.sleep(HANG_SECONDS)


def trickles(request: Any) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    with suppress(OSError):
        while True:
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.05)


def drops(request: Any) -> None:
    text = json.dumps(PAGE).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    request.wfile.write(text[: len(text) // 2])
    request.wfile.flush()
    request.connection.shutdown(socket.SHUT_RDWR)


def drops_unannounced(request: Any) -> None:
    """Half a body without a length: only that it is no JSON shows that something is missing."""
    text = json.dumps(PAGE).encode()
    request.close_connection = True
    request.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + text[: len(text) // 2])


class Invents:
    """A page that is never the last."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: Any) -> None:
        self.count += 2
        says([data_set(self.count), data_set(self.count + 1)])(request)


@pytest.fixture
def places(tmp_path: Path, inbound) -> Places:
    return Places(
        home=tmp_path / "home",
        inbox=tmp_path / "inbox",
        zone="Europe/London",
        columns=tuple(inbound["dicom_series"].column_names()),
        feeds=frozenset({"dicom_RMC"}),
        environment={"SECRET": "hidden-token"}.get,
    )


def archive_at(url: str | None = None, **more: Any) -> Archive:
    settings = {
        "name": "test",
        "party": "RMC",
        "route": "qido",
        "url": url,
        "start_on": date(2026, 1, 6),
        "page_size": 2,
        "attempts": 2,
        "requests_per_second": 100_000,
        "answer_timeout_seconds": 60,
        "connect_timeout_seconds": 60,
        "relational": "yes",
    }
    return Archive(**(settings | more))


def ask(archive: Archive, places: Places, sleeps: Sleeps | None = None, now: datetime = NOW) -> Any:
    def clock() -> datetime:
        return now

    pace = Pace(
        archive,
        places.zone,
        clock,
        sleep=Sleeps() if sleeps is None else sleeps,
        chance=lambda: 1.0,
    )
    return ask_archive(archive, places, clock=clock, pace=pace)


def delivered(places: Places) -> list[Path]:
    return [path for path in places.inbox.rglob("*") if path.is_file()]


def resets(request: Any) -> None:
    """End the connection without an answer, as a firewall does."""
    lingers_not = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingers_not)
    request.connection.close()
    request.close_connection = True


def leaves(request: Any) -> None:
    request.close_connection = True


def speaks_otherwise(request: Any) -> None:
    request.wfile.write(b"220 mail.example ESMTP\r\n")
    request.close_connection = True


def says_text(text: str, status: int) -> Callable[[Any], None]:
    return says(text.encode(), status, Content_Type="text/plain; charset=utf-8")


BOMB = gzip.compress(b" " * 100_000_000, 1)
FAULTS = {
    "hangs": (hangs, r"no answer within 0\.5 s \(answer_timeout_seconds\).*raise answer_timeout"),
    "trickles": (trickles, r"no whole answer within 0\.5 s \(answer_timeout_seconds\)"),
    "drops": (drops, "connection ended within the answer"),
    "drops unannounced": (drops_unannounced, "no JSON"),
    "resets": (resets, "the connection was reset"),
    "leaves": (leaves, "closes the connection without an answer"),
    "another protocol": (speaks_otherwise, "something that is no HTTP.*check the port"),
    "garbage": (says(b"<html>\xff" + PATIENT.encode()), "it answers 19 bytes that are no JSON"),
    "wrongly packed": (says(b"[]", Content_Encoding="gzip"), "cannot be unpacked"),
    "a bomb": (says(BOMB, Content_Encoding="gzip"), "larger than largest_answer_mb"),
    "deep nesting": (says(b"[" * 90_000), "no JSON"),
    "no list": (says({"error": PATIENT}), "no list of data sets"),
    "no data set": (says([PATIENT]), "no list of data sets"),
    "same page": (says(PAGE), "same page again at offset 2"),
    "endless": (Invents(), "more than most_series"),
    "oversize": (says(b"[" + b" " * 200_000 + b"]"), "larger than largest_answer_mb"),
    "busy": (says(b"", 503), "answers 503 Service Unavailable"),
    "too many": (says(b"", 429), "answers 429 Too Many Requests"),
    "elsewhere": (
        says(b"", 302, Location="http://127.0.0.1:1/?token=hidden"),
        r"answers 302 Found, it sends us to http://127\.0\.0\.1:1; put the final address",
    ),
    "forbidden": (
        says_text(f"Access denied for {PATIENT}", 403),
        r'403 Forbidden, saying "Access denied for \.\.\."; .*read access',
    ),
    "not there": (says(b"", 404), "404 Not Found.*check url"),
}
ASKED = r"archive test \(127\.0\.0\.1:\d+\): GET /series \(study dates 20260106-20260106, offset \d+\): "


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_answer_ends_with_a_named_error_and_delivers_nothing(places, fault):
    """Failing means that a broken archive blocks the harvest, or half a window passes for whole.

    The first page is sound, so that half an answer is at hand; no error repeats what was answered.
    """
    deed, message = FAULTS[fault]
    script = Script(says(PAGE), says(PAGE), deed)
    with serving(script) as url:
        limit = SHORT.get(fault, 60)
        archive = archive_at(
            url, largest_answer_mb=0.1, most_series=50, answer_timeout_seconds=limit
        )
        asked = r"archive test \(.*: " if fault == "endless" else ASKED
        with pytest.raises(ArchiveProblem, match=f"{asked}.*{message}") as problem:
            ask(archive, places)
    assert "hidden" not in str(problem.value)
    assert PATIENT not in str(problem.value)
    assert delivered(places) == []
    assert load_cursor(places.state(archive), "qido").asked_to is None


@pytest.mark.parametrize("fault", ["drops", "drops unannounced", "busy", "too many", "hangs"])
def test_a_passing_fault_is_asked_again(places, fault):
    """Failing means that one lost packet a night costs a day of series."""
    script = Script(says(PAGE), FAULTS[fault][0], says(PAGE), says(EMPTY))
    sleeps = Sleeps()
    with serving(script) as url:
        archive = archive_at(url, answer_timeout_seconds=3 if fault == "hangs" else 60)
        answered = ask(archive, places, sleeps)
    assert answered.series == 2
    assert [seconds for seconds in sleeps if seconds >= 0.5] == [1.0]
    rows = pl.read_csv(answered.deliveries[0], infer_schema=False)
    assert rows["series_instance_uid"].to_list() == ["1.2.1.1", "1.2.2.1"]


def test_the_archive_says_how_long_to_wait(places):
    """Failing means that we press on an archive that asked for rest."""
    sleeps = Sleeps()
    busy = says(b"", 503, Retry_After="7")
    dated = says(b"", 429, Retry_After="Tue, 06 Jan 2026 22:00:30 GMT")
    with serving(Script(busy, dated, says(PAGE), says(PAGE), says(EMPTY))) as url:
        assert ask(archive_at(url, attempts=3), places, sleeps).series == 2
        assert [seconds for seconds in sleeps if seconds >= 0.5] == [7.0, 30.0]
    with (
        serving(Script(says(b"", 503, Retry_After="3600"))) as url,
        pytest.raises(ArchiveProblem, match="3600 s of rest"),
    ):
        ask(archive_at(url), places)


def test_each_wait_is_longer_than_the_last_up_to_the_limit(places):
    """Failing means that a dead archive is hammered, or waited for without end."""
    sleeps = Sleeps()
    with serving(Script(says(b"", 500))) as url, pytest.raises(ArchiveProblem):
        ask(archive_at(url, attempts=6, longest_wait_seconds=5), places, sleeps)
    assert [seconds for seconds in sleeps if seconds >= 0.5] == [1, 2, 4, 5, 5]


def test_a_short_page_is_not_taken_for_the_last(places):
    """Failing means that an archive that hands out fewer than asked loses the rest."""
    script = Script(says(PAGE[:1]), says(PAGE[:1]), says(PAGE[1:]), says(EMPTY, 204))
    with serving(script) as url:
        assert ask(archive_at(url, page_size=100), places).series == 2


def test_keys_that_an_archive_refuses_are_left_out_from_then_on(places):
    """Failing means that an archive that answers 400 to one key cannot be asked at all."""
    refused = "00181000"

    def strict(request: Any) -> None:
        if refused in request.path:
            says(b"", 400)(request)
        else:
            says(PAGE if "offset=0" in request.path else EMPTY)(request)

    script = Script(strict)
    with serving(script) as url:
        archive = archive_at(url)
        assert ask(archive, places).series == 2
        asked = len(script.seen)
        ask(archive, places)
    assert load_cursor(places.state(archive), "qido").refused_keys == ["DeviceSerialNumber"]
    assert len(script.seen) - asked == 2
    assert not any(refused in path for path in script.seen[asked:])


def test_an_archive_without_search_over_series_is_asked_study_by_study(places):
    """Failing means that archives which only search studies cannot be connected."""

    def studies_only(request: Any) -> None:
        path, _, query = request.path.removeprefix("/dicom-web").partition("?")
        if path == "/series":
            says(b"", 501)(request)
        elif "offset=0" not in query:
            says(EMPTY)(request)
        elif path == "/studies":
            says([data_set(1)])(request)
        else:
            says([{"0020000E": {"vr": "UI", "Value": ["1.2.1.1"]}}])(request)

    with serving(Script(studies_only)) as url:
        archive = archive_at(url, relational="probe")
        answered = ask(archive, places)
    row = pl.read_csv(answered.deliveries[0], infer_schema=False).row(0, named=True)
    assert (row["series_instance_uid"], row["patient_id"]) == ("1.2.1.1", PATIENT)
    assert load_cursor(places.state(archive), "qido").is_relational is False


def test_requests_keep_their_distance(places):
    """Failing means that an archive is asked faster than its owner allowed."""
    sleeps = Sleeps()
    with serving(Script(says(PAGE), says(PAGE), says(EMPTY))) as url:
        archive = archive_at(url, requests_per_second=0.1)
        still = Pace(archive, "Europe/London", lambda: NOW, sleep=sleeps, monotonic=lambda: 100.0)
        ask_archive(archive, places, clock=lambda: NOW, pace=still)
    assert sleeps == [10, 10]


def test_outside_the_quiet_hours_nothing_is_asked(places):
    """Failing means that a query slows an archive down while people work with it."""
    script = Script(says(PAGE), says(PAGE), says(EMPTY))
    with serving(script) as url:
        archive = archive_at(url, quiet_hours=["21:00-06:30"])
        for hour, asked in ((20, 0), (7, 0), (23, 3)):
            # January: the wall clock of London is UTC.
            answered = ask(archive, places, now=datetime(2026, 1, 6, hour, tzinfo=UTC))
            assert len(script.seen) == asked
            assert bool(answered.notes) == (asked == 0)


def test_hours_that_end_during_a_run_leave_the_rest_to_the_next(places):
    """Failing means that a long run goes on into the working day, or loses what it had."""
    moments = [datetime(2026, 1, 6, 5, 0, tzinfo=UTC)]

    def later(request: Any) -> None:
        moments.append(datetime(2026, 1, 6, 7, 0, tzinfo=UTC))
        says(EMPTY)(request)

    with serving(Script(says(PAGE), says(PAGE), later)) as url:
        archive = archive_at(url, quiet_hours=["21:00-06:30"], start_on=date(2026, 1, 4))
        pace = Pace(archive, "Europe/London", lambda: moments[-1], sleep=Sleeps())
        answered = ask_archive(archive, places, clock=lambda: moments[-1], pace=pace)
    assert (answered.series, len(answered.deliveries)) == (2, 1)
    cursor = load_cursor(places.state(archive), "qido")
    assert (cursor.asked_to, cursor.finished_at) == ("2026-01-04", None)


def test_the_token_goes_into_the_request_and_nowhere_else(places):
    """Failing means that a secret is written down, or never sent."""
    heard = []

    def listens(request: Any) -> None:
        heard.append(request.headers["Authorization"])
        says(b"", 401)(request)

    with (
        serving(Script(listens)) as url,
        pytest.raises(ArchiveProblem, match="401") as problem,
    ):
        ask(archive_at(url, token_variable="SECRET"), places)
    assert heard[0] == "Bearer hidden-token"
    assert "hidden" not in str(problem.value)
    written = [path.read_bytes() for path in places.home.rglob("*") if path.is_file()]
    assert not any(b"hidden" in text for text in written)


def test_a_second_query_of_one_archive_is_refused_while_the_first_runs(places):
    """Failing means that two runs move one cursor against each other."""
    inner = []

    def asks_again(request: Any) -> None:
        try:
            ask(archive_at("http://127.0.0.1:1"), places)
        except ArchiveProblem as problem:
            inner.append(str(problem))
        says(EMPTY)(request)

    with serving(Script(asks_again)) as url:
        ask(archive_at(url), places)
    assert "is being asked already" in inner[0]


# ---------------------------------------------------------------- DICOM peers


@contextmanager
def listening(deed: Callable[[socket.socket], object]) -> Generator[int]:
    """A peer that does one deed with each connection; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            deed(self.request)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def finder_at(port: int, **more: Any) -> Archive:
    peer = {"route": "cfind", "url": None, "host": "127.0.0.1", "port": port, "ae_title": "PEER"}
    return archive_at(**(peer | {"relational": "no"} | more))


def speaks(*units: bytes) -> Callable[[socket.socket], object]:
    """A peer that takes a request and sends these units, whatever was asked."""

    def deed(connection: socket.socket) -> None:
        connection.recv(10_000)
        for unit in units:
            connection.sendall(unit)
        with suppress(OSError):
            connection.recv(10_000)

    return deed


def unit(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


# Where they fail, and what each must be told by.
PEERS = {
    "hangs": (lambda connection: time.sleep(HANG_SECONDS), r"within 0\.5 s \(connect_timeout"),
    "closes": (lambda connection: connection.recv(10_000), "closes the connection .*check that"),
    "garbage": (speaks(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9), "bytes that are no DICOM"),
    "a broken answer": (speaks(unit(2, b"\xff" * 100)), "no valid DICOM"),
    "a unit of gigabytes": (
        speaks(struct.pack(">BBL", 2, 0, 0xFFFFFFF0) + b"\0" * 9000),
        "larger than largest_answer_mb",
    ),
    "aborts": (speaks(unit(7, b"\0\0\2\2")), r"aborts the association \(source: .*reason 2\)"),
}


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_speaks_no_dicom_ends_with_a_named_error(places, peer):
    """Failing means that a wrong port or a dead peer blocks the harvest, or fills the memory."""
    deed, cause = PEERS[peer]
    with listening(deed) as port:
        archive = finder_at(port, connect_timeout_seconds=0.5 if peer == "hangs" else 60)
        named = rf"archive test \(127\.0\.0\.1:{port}\): C-FIND STUDY of study dates 20260106"
        with pytest.raises(ArchiveProblem, match=f"{named}.*{cause}.* asks for it again"):
            ask(archive, places)
    assert delivered(places) == []


# Result, source and reason (PS3.8 9.3.4), and how often an archive that says so is asked.
REJECTIONS = {
    "unknown caller": ((1, 1, 3), "permanent, source: service user, reason: calling ae title", 1),
    "no room": ((2, 3, 2), r"transient, source: .*presentation\), reason: local limit", 2),
    "no such reason": ((1, 1, 4), "permanent, source: service user, reason: 4, which DICOM", 1),
    "cut short": ((1,), "rejects the association in no way of DICOM", 2),
    "no such result": ((9, 9, 9), "rejects the association in no way of DICOM", 2),
}


@pytest.mark.parametrize("kind", REJECTIONS)
def test_a_rejected_association_is_told_with_its_reason(places, kind):
    """Failing means that nobody can tell an unknown AE title from an archive that is full."""
    codes, told, attempts = REJECTIONS[kind]
    met = []

    def rejects(connection: socket.socket) -> None:
        met.append(1)
        speaks(unit(3, bytes([0, *codes])))(connection)

    with listening(rejects) as port, pytest.raises(ArchiveProblem, match=told):
        ask(finder_at(port), places)
    assert len(met) == attempts


def address_of(route: str, host: str, port: int) -> dict[str, Any]:
    if route == "cfind":
        return {"route": route, "host": host, "port": port, "ae_title": "PEER"}
    return {"route": route, "url": f"http://{host}:{port}/?key=hidden"}


@pytest.mark.parametrize("route", ["qido", "cfind", "changes"])
def test_an_archive_that_cannot_be_reached_is_told_with_address_and_cause(places, route):
    """Failing means that an operator cannot tell a wrong name from a closed port."""
    (port,) = free_ports(1)
    for host, cause in (
        ("127.0.0.1", "connection refused"),
        ("archive.invalid", "the name of its host is not known"),
    ):
        archive = archive_at(**address_of(route, host, port))
        with pytest.raises(ArchiveProblem) as problem:
            ask(archive, places)
        told = str(problem.value)
        assert told.startswith(f"archive test ({host}:{port}): "), told
        assert f": {cause} (2 attempts); " in told
        assert "hidden" not in told
    # Nor does it keep the others waiting.
    answered, problems = ask_due({"test": archive}, places, clock=lambda: NOW)
    assert (answered, len(problems)) == ([], 1)


def test_what_an_archive_says_is_repeated_in_harmless_words_only():
    """Failing means that a name in an error page ends up in a log."""
    page = "<html><style>b {}</style><b>Bad Request</b>: unknown includefield 00181000 of Smith^Ann"
    assert harmless(page) == "Bad Request unknown includefield 00181000 of ..."
    assert harmless('{"Message": "Bad request", "PatientID": "9990000001"}') == (
        "Message Bad request PatientID ..."
    )
    assert harmless("Smith denied") == ""


def found(number: int) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = "STUDY"
    answer.StudyInstanceUID = f"1.2.{number}"
    answer.PatientID = PATIENT
    return answer


def series_of(identifier: Dataset) -> Dataset:
    answer = found(1)
    answer.QueryRetrieveLevel = "SERIES"
    answer.StudyInstanceUID = identifier.StudyInstanceUID
    answer.SeriesInstanceUID = f"{identifier.StudyInstanceUID}.1"
    answer.Modality = "CT"
    answer.NumberOfSeriesRelatedInstances = "3"
    return answer


@contextmanager
def answering(handler: Callable[[Any], Any]) -> Generator[int]:
    """A C-FIND provider with a handler of its own; yields its port."""
    entity = AE(ae_title="PEER")
    entity.add_supported_context(STUDY_ROOT)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, handler)]
    )
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def honest(event: Any) -> Any:
    if event.identifier.QueryRetrieveLevel == "STUDY":
        yield from ((0xFF00, found(number)) for number in (1, 2, 3))
    elif event.identifier.StudyInstanceUID:
        yield 0xFF00, series_of(event.identifier)


def half_then_abort(event: Any) -> Any:
    yield 0xFF00, found(1)
    event.assoc.abort()


def half_then_fails(event: Any) -> Any:
    yield 0xFF00, found(1)
    yield 0xC001, None


def half_then_hangs(event: Any) -> Any:
    yield 0xFF00, found(1)
    time.sleep(3)


def floods(event: Any) -> Any:
    yield from ((0xFF00, found(number)) for number in range(1000))


def half_then_garbage(event: Any) -> Any:
    yield 0xFF00, found(1)
    event.assoc.dul.socket.send(b"\xff" * 500)
    time.sleep(0.2)


def half_then_no_command(event: Any) -> Any:
    yield 0xFF00, found(1)
    event.assoc.dul.socket.send(unit(4, struct.pack(">LBB", 22, 1, 3) + b"\xff" * 20))
    time.sleep(0.2)


def half_then_endless(event: Any) -> Any:
    """A data set whose pieces never end."""
    yield 0xFF00, found(1)
    piece = struct.pack(">LBB", 8_002, 1, 0) + b"\0" * 8_000
    with suppress(OSError, AttributeError):
        for _ in range(2_000):
            event.assoc.dul.socket.socket.sendall(unit(4, piece))


def says_why(event: Any) -> Any:
    yield 0xFF00, found(1)
    status = Dataset()
    status.Status = 0xC001
    status.ErrorComment = f"Query failed for {PATIENT}"
    yield status, None


ANSWERS = {
    "abort": (half_then_abort, "it aborts the association|closes the connection"),
    "failure": (half_then_fails, "status 0xc001"),
    "failure with a comment": (says_why, r'0xc001 \(see its log\), saying "Query failed for \.'),
    "hang": (half_then_hangs, r"no answer within 0\.5 s \(answer_timeout_seconds\)"),
    "garbage": (half_then_garbage, "bytes that are no DICOM"),
    "no command": (half_then_no_command, r"no answer within 0\.5 s"),
    "an endless data set": (half_then_endless, "larger than largest_answer_mb"),
    "flood": (floods, "more than most_series"),
}


# pynetdicom's thread dies of a command that is none; ours must not wait for it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("answer", ANSWERS)
def test_half_an_answer_of_a_peer_is_not_delivered(places, answer):
    """Failing means that a query cut short passes for a quiet day."""
    handler, message = ANSWERS[answer]
    with answering(handler) as port:
        limit = 0.5 if answer in ("hang", "no command") else 60
        archive = finder_at(
            port, most_series=100, answer_timeout_seconds=limit, largest_answer_mb=1
        )
        named = rf"archive test \(127\.0\.0\.1:{port}\): C-FIND .*study dates 20260106"
        with pytest.raises(ArchiveProblem, match=f"{named}.*({message})") as problem:
            ask(archive, places)
    assert PATIENT not in str(problem.value)
    assert delivered(places) == []
    assert load_cursor(places.state(archive), "cfind").asked_to is None


def test_a_peer_that_aborts_once_is_asked_again_from_where_it_was(places):
    """Failing means that a long night of queries starts over at every hiccup."""
    seen: list[str] = []

    def aborts_once(event: Any) -> Any:
        seen.append(f"{event.identifier.QueryRetrieveLevel} {event.identifier.StudyInstanceUID}")
        if len(seen) == 3:
            event.assoc.abort()
            return
        yield from honest(event)

    with answering(aborts_once) as port:
        assert ask(finder_at(port), places).series == 3
    again = ["STUDY ", "SERIES 1.2.1", "SERIES 1.2.2", "SERIES 1.2.2", "SERIES 1.2.3"]
    assert seen == again


@pytest.mark.parametrize("whim", ["refuses", "tells nothing", "tells some", "tells all it has"])
def test_a_peer_without_relational_queries_loses_no_series(places, whim):
    """Failing means that an archive which half knows relational queries tells half its series."""

    def whimsical(event: Any) -> Any:
        identifier = event.identifier
        if identifier.QueryRetrieveLevel == "STUDY" or identifier.StudyInstanceUID:
            yield from honest(event)
        elif whim == "refuses":
            yield 0xA900, None
        elif whim != "tells nothing":
            for study in ("1.2.1", "1.2.77") if whim == "tells all it has" else ("1.2.1",):
                identifier.StudyInstanceUID = study
                yield 0xFF00, series_of(identifier)

    with answering(whimsical) as port:
        archive = finder_at(port, relational="probe")
        answered = ask(archive, places)
    rows = pl.read_csv(answered.deliveries[0], infer_schema=False)
    assert rows["series_instance_uid"].to_list() == ["1.2.1.1", "1.2.2.1", "1.2.3.1"]
    assert load_cursor(places.state(archive), "cfind").is_relational is False


def test_a_peer_that_cuts_its_answers_off_is_noticed_by_its_own_count(places):
    """Failing means that an archive which ends at a number of answers loses half a study."""

    def cuts_off(event: Any) -> Any:
        identifier = event.identifier
        if identifier.QueryRetrieveLevel == "STUDY":
            study = found(1)
            study.NumberOfStudyRelatedSeries = 2
            yield 0xFF00, study
            return
        whole = bool(identifier.StudyInstanceUID)
        identifier.StudyInstanceUID = "1.2.1"
        for series in ("1.2.1.1", "1.2.1.2") if whole else ("1.2.1.1",):
            answer = series_of(identifier)
            answer.SeriesInstanceUID = series
            yield 0xFF00, answer

    with answering(cuts_off) as port:
        archive = finder_at(port, relational="yes")
        answered = ask(archive, places)
    rows = pl.read_csv(answered.deliveries[0], infer_schema=False)
    assert rows["series_instance_uid"].to_list() == ["1.2.1.1", "1.2.1.2"]


def test_a_peer_without_study_root_is_named(places):
    """Failing means that an operator looks for a network fault where a service is missing."""
    entity = AE(ae_title="PEER")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(ArchiveProblem, match="does not offer Study Root FIND"):
            ask(finder_at(server.server_address[1]), places)
    finally:
        server.shutdown()


def test_a_run_that_takes_too_long_goes_on_next_time(places):
    """Failing means that a long history blocks the queue of runs, or starts over each night."""
    moments = [NOW]

    def slowly(request: Any) -> None:
        moments.append(moments[-1] + timedelta(minutes=70))
        says(EMPTY)(request)

    with serving(Script(slowly)) as url:
        archive = archive_at(url, start_on=date(2026, 1, 1), overlap_days=3)
        # One window a run: with the overlap asked first, none would ever get on.
        for day in range(1, 7):
            pace = Pace(archive, places.zone, lambda: moments[-1], sleep=Sleeps())
            answered = ask_archive(archive, places, clock=lambda: moments[-1], pace=pace)
            assert answered.notes == [
                "longest_run_minutes are over before all was asked; the next run goes on"
            ]
            found = load_cursor(places.state(archive), "qido")
            assert (found.asked_to, found.finished_at) == (f"2026-01-{day:02d}", None)


def test_pages_of_changes_are_gathered_into_one_delivery(places):
    """Failing means that a first run over a large archive writes thousands of tiny files."""
    with serving(Script(five_changes)) as url:
        archive = archive_at(url, route="changes", read_one_image=False)
        answered = ask(archive, places)
    assert (answered.series, len(answered.deliveries)) == (5, 1)
    assert load_cursor(places.state(archive), "changes").last_change == 5


def test_what_was_gathered_before_the_archive_failed_is_delivered(places):
    """Failing means that an archive which fails once a night never gets on."""

    def fails_after_three(request: Any) -> None:
        (says(b"", 403) if "since=3" in request.path else five_changes)(request)

    with serving(Script(fails_after_three)) as url:
        archive = archive_at(url, route="changes", read_one_image=False)
        with pytest.raises(ArchiveProblem, match="403"):
            ask(archive, places)
    (file,) = delivered(places)
    assert len(pl.read_csv(file)) == 3
    assert load_cursor(places.state(archive), "changes").last_change == 3


def five_changes(request: Any) -> None:
    """An Orthanc with five series, which tells one change a page."""
    path, _, query = request.path.removeprefix("/dicom-web").partition("?")
    if path == "/changes":
        since = int(query.split("since=")[1].split("&")[0])
        row = {"Seq": since + 1, "ChangeType": "StableSeries", "ID": str(since + 1)}
        says({"Changes": [row], "Last": since + 1, "Done": since == 4})(request)
        return
    wanted = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
    kind = wanted["Level"]
    uids = "SeriesInstanceUID" if kind == "Series" else "StudyInstanceUID"
    says(
        [
            {"ID": one, "Type": kind, "ParentStudy": one, "MainDicomTags": {uids: f"1.{one}"}}
            for one in wanted["Resources"]
        ]
    )(request)


CHANGE = {"Seq": 9, "ChangeType": "StableSeries", "ID": "9"}
ODD = {"ID": "9", "Type": "Series", "ParentStudy": ["9"], "Instances": 3, "LastUpdate": 7}
PAGES = {
    "no object": ([1, 2], "otherwise than an Orthanc"),
    "no keys": ({"Changes": [{}], "Last": 9, "Done": True}, "otherwise than an Orthanc"),
    "no number": ({"Changes": [], "Last": float("inf"), "Done": True}, "otherwise than an Orthanc"),
    "the same page": ({"Changes": [], "Last": 0, "Done": False}, "same page again"),
    "bad resources": ({"Changes": [CHANGE], "Last": 9, "Done": True}, "otherwise than an Orthanc"),
}


@pytest.mark.parametrize("page", PAGES)
def test_changes_that_no_orthanc_would_tell_end_with_a_named_error(places, page):
    """Failing means that a wrong address ends in a traceback, or moves the cursor."""
    told, cause = PAGES[page]

    def answers(request: Any) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        says(told if "/changes" in request.path else {"ID": PATIENT})(request)

    with serving(Script(answers)) as url:
        archive = archive_at(url, route="changes")
        named = rf"archive test \(127\.0\.0\.1:\d+\): (GET )?/(changes|tools).*{cause}.*; "
        with pytest.raises(ArchiveProblem, match=named) as problem:
            ask(archive, places)
    assert PATIENT not in str(problem.value)
    assert delivered(places) == []
    assert load_cursor(places.state(archive), "changes").last_change == 0


@pytest.mark.parametrize("fault", ["hangs", "drops", "resets", "garbage", "a bomb", "busy"])
def test_changes_of_an_archive_that_fails_are_not_delivered(places, fault):
    """Failing means that half a page of changes moves the cursor past what was not told."""
    deed, cause = FAULTS[fault]

    def fails(request: Any) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        page = {"Changes": [CHANGE], "Last": 9, "Done": True}
        (says(page) if "/changes" in request.path else deed)(request)

    with serving(Script(fails)) as url:
        limits = {"answer_timeout_seconds": SHORT.get(fault, 60), "largest_answer_mb": 0.1}
        archive = archive_at(url, route="changes", **limits)
        with pytest.raises(ArchiveProblem, match=f"POST /tools/bulk-content: .*{cause}"):
            ask(archive, places)
    assert delivered(places) == []
    assert load_cursor(places.state(archive), "changes").last_change == 0


def test_a_series_of_odd_values_is_told_without_them(places):
    """Failing means that one odd resource ends a night of changes in a traceback."""

    def answers(request: Any) -> None:
        if "/changes" in request.path:
            says({"Changes": [CHANGE], "Last": 9, "Done": True})(request)
            return
        size = int(request.headers["Content-Length"])
        level = json.loads(request.rfile.read(size))["Level"]
        study = {"ID": "['9']", "Type": "Study", "MainDicomTags": ["no object"]}
        says([ODD if level == "Series" else study])(request)

    with serving(Script(answers)) as url:
        assert ask(archive_at(url, route="changes"), places).series == 1


def test_a_bomb_of_an_archive_is_not_unpacked(places):
    """Failing means that a few kilobytes of an archive fill the memory of the harvest."""
    with serving(Script(FAULTS["a bomb"][0])) as url:
        archive = archive_at(url, largest_answer_mb=1, attempts=1)
        tracemalloc.start()
        try:
            with pytest.raises(ArchiveProblem, match="larger than"):
                ask(archive, places)
            assert tracemalloc.get_traced_memory()[1] < 50e6
        finally:
            tracemalloc.stop()
