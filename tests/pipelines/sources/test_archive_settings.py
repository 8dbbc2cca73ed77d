"""The archives file and the cursor: what is wrong is named, what is due is asked."""

import ipaddress
import re
import ssl
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pynetdicom import AE, evt

from pipelines.sources.dicom_archives import (
    Archive,
    ArchiveProblem,
    Places,
    Window,
    ask_archive,
    is_due,
    read_archives,
    read_list_maps,
)
from pipelines.sources.dicom_archives.cfind import STUDY_ROOT
from pipelines.sources.dicom_archives.cursor import Cursor, load_cursor, save_cursor
from pipelines.sources.dicom_archives.windows import next_span, windows

ROOT = Path(__file__).parents[3]
GOOD = """
[archives.central]
party = "RMC"
route = "qido"
url = "https://archive.example/dicom-web"
start_on = 2026-01-01
"""
NOW = datetime(2026, 1, 6, 22, tzinfo=UTC)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "archives.toml"
        path.write_text(text)
        return path

    return written


def archive(**more: object) -> Archive:
    settings = {"party": "RMC", "route": "qido", "url": "https://archive.example/"}
    return Archive(**({"name": "central", "start_on": date(2026, 1, 1)} | settings | more))


def test_no_file_is_no_archive(tmp_path):
    """Failing means that an installation without archives cannot run."""
    assert read_archives(tmp_path / "archives.toml") == {}
    assert read_list_maps(tmp_path / "archives.toml") == {}


def test_the_example_of_the_operators_page_is_valid(write):
    """Failing means that the page teaches settings that do not work."""
    page = (ROOT / "docs" / "archives.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    assert {one.route for one in read_archives(write(example)).values()} == {
        "qido",
        "cfind",
        "changes",
    }
    assert read_list_maps(write(example)) == {"RRF": "example_vendor"}


WRONG = {
    "a syntax error": ("[archives.central\n", "is not TOML"),
    "an unknown section": (
        GOOD + "[archive]\n",
        r"no section archive, do you mean archives\?.*\[archives.NAME",
    ),
    "a bad name": (GOOD.replace("central", "RMC"), "small letters"),
    "a missing key": (GOOD.replace('party = "RMC"', ""), "the key party is missing: add it"),
    "an unknown key": (
        GOOD + "window_day = 3\n",
        r"no key window_day, do you mean window_days\?; keys are listed",
    ),
    "a bad number": (GOOD + "window_days = 0\n", "window_days must be at least 1;"),
    "nothing a second": (GOOD + "requests_per_second = 0\n", "_second must be more than 0;"),
    "a bad port": (GOOD + "port = 70000\n", "port must be at most 65535;"),
    "no number": (GOOD + 'page_size = "many"\n', "page_size must be a whole number;"),
    "no truth": (GOOD + 'tls = "perhaps"\n', "tls must be true or false;"),
    "no date": (GOOD.replace("2026-01-01", '"soon"'), "start_on must be a date such as"),
    "no list": (GOOD + 'quiet_hours = "19:00-07:00"\n', r"quiet_hours must be a list such as \["),
    "no text": (GOOD.replace('"RMC"', "7"), "party must be text in quotes;"),
    "an empty text": (GOOD.replace('"RMC"', '""'), "party must be filled;"),
    "a long title": (GOOD + f'ae_title = "{"A" * 17}"\n', "must be at most 16 characters long"),
    "another route": (
        GOOD.replace('"qido"', '"dicomweb"'),
        r'route must be one of "qido", "cfind" or "changes";',
    ),
    "a zone that is none": (
        GOOD + 'received_zone = "Europe/Lundon"\n',
        "received_zone must be a time zone such as UTC",
    ),
    "a port that is none": (GOOD.replace("example/", "example:x/"), "url must be like https"),
    "a key of another route": (GOOD.replace('"qido"', '"cfind"'), "needs the key.*host, port"),
    "bad hours": (GOOD + 'quiet_hours = ["19-7"]\n', "quiet_hours must be like"),
    "the password itself": (GOOD + 'user = "a"\npassword = "hush"\n', "password_variable"),
    "a user without password": (GOOD + 'user = "a"\n', "belong together"),
    "credentials in the address": (GOOD.replace("//", "//a:hush@"), "url holds credentials"),
    "credentials in clear": (
        GOOD.replace("https", "http") + 'token_variable = "T"\n',
        "travel in clear; use https",
    ),
    "no map": (GOOD + '[series_lists.RRF]\nname = "x"\n', "must hold one key.*series_list_maps/"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_setting_is_named_with_file_and_key(write, fault):
    """Failing means that an operator searches for the line; a secret must not be repeated."""
    text, message = WRONG[fault]
    path = write(text)
    with pytest.raises(ArchiveProblem, match=f"{path}.*{message}") as problem:
        read_archives(path)
        read_list_maps(path)
    assert "hush" not in str(problem.value)
    # The words of a library are not the operator's.
    assert not re.search(r"[Ii]nput|permitted|parse|Value error", str(problem.value))


def test_a_secret_is_found_only_where_it_is_safe(tmp_path):
    """Failing means that a password lies with the data, or where others can read it."""
    home, file = tmp_path / "home", tmp_path / "password"
    home.mkdir()
    named = archive(user="reader", password_file=file)
    with pytest.raises(ArchiveProblem, match="cannot be read"):
        named.credentials({}.get, home)
    file.write_text("hush\n")
    file.chmod(0o644)
    with pytest.raises(ArchiveProblem, match="chmod 600"):
        named.credentials({}.get, home)
    file.chmod(0o600)
    assert named.credentials({}.get, home) == "hush"
    with pytest.raises(ArchiveProblem, match="with the data; move it"):
        named.credentials({}.get, tmp_path)
    assert archive().credentials({}.get, home) is None


def test_hours_may_run_over_midnight():
    """Failing means that the night is mistaken for the day."""
    night = archive(quiet_hours=["21:00-06:30", "12:00-12:30"])
    asked = {hour: night.may_ask_at(datetime(2026, 1, 6, hour, 15)) for hour in (3, 7, 12, 20, 21)}
    assert asked == {3: True, 7: False, 12: True, 20: False, 21: True}


def test_every_day_is_asked_for_and_none_is_left_between_windows():
    """Failing means that series of a day are never asked for."""
    found = windows(Window(date(2026, 1, 1), date(2026, 1, 10)), 4)
    days = [
        one.first + timedelta(n) for one in found for n in range((one.last - one.first).days + 1)
    ]
    assert days == [date(2026, 1, day) for day in range(1, 11)]
    assert windows(Window(date(2026, 1, 2), date(2026, 1, 1)), 4) == []


def test_the_overlap_never_reaches_before_the_start():
    """Failing means that years are asked for that the archive's owner did not agree to."""
    start, today = date(2026, 1, 5), date(2026, 1, 20)
    agreed = {"start_on": start, "overlap_days": 3, "today": today}
    assert next_span(None, None, **agreed) == Window(start, today)
    assert next_span(date(2026, 1, 6), None, **agreed) == Window(start, today)
    assert next_span(date(2026, 1, 19), None, **agreed) == Window(date(2026, 1, 16), today)
    # Cut short: on from there, not back again.
    assert next_span(date(2026, 1, 19), date(2026, 1, 18), **agreed).first == date(2026, 1, 18)


def test_the_cursor_never_goes_back_and_survives_another_route(tmp_path):
    """Failing means that a backfill makes the next night ask for years."""
    cursor = Cursor("qido").asked(date(2026, 1, 9)).asked(date(2026, 1, 3))
    assert (cursor.asked_to, cursor.next_on) == ("2026-01-09", "2026-01-04")
    assert cursor.finished("t0").next_on is None
    save_cursor(tmp_path, cursor)
    assert load_cursor(tmp_path, "qido") == cursor
    assert load_cursor(tmp_path, "cfind").asked_to == "2026-01-09"
    (tmp_path / "cursor.json").write_text('{"route": "qido"}')
    with pytest.raises(ArchiveProblem, match=r"is damaged .*; delete it"):
        load_cursor(tmp_path, "qido")


def test_a_column_is_missed_only_where_it_was_to_be_expected():
    """Failing means a warning every night for a rare column, or none when one dries up."""
    cursor = Cursor("qido").with_columns({"StationName": 90, "DeviceUID": 1}, 100, "t0")
    assert cursor.columns == {"StationName": 0.9, "DeviceUID": 0.01}
    assert cursor.with_columns({}, 5, "t1").column_changes == []
    assert cursor.with_columns({}, 0, "t1") == cursor
    lost = cursor.with_columns({}, 50, "t1")
    assert lost.column_changes == [{"at": "t1", "gained": [], "lost": ["StationName"]}]
    back = lost.with_columns({"StationName": 2}, 5, "t2")
    assert back.column_changes[-1] == {"at": "t2", "gained": ["StationName"], "lost": []}


def test_a_scheduled_run_asks_as_often_as_agreed(places):
    """Failing means that an hourly schedule asks an archive hourly which wants a nightly query."""
    nightly = archive(every_hours=24, quiet_hours=["21:00-23:00"])
    assert is_due(nightly, places, NOW)
    assert not is_due(nightly, places, NOW + timedelta(hours=2))
    save_cursor(places.state(nightly), Cursor("qido", finished_at=NOW.isoformat()))
    assert not is_due(nightly, places, NOW + timedelta(minutes=50))
    assert is_due(nightly, places, NOW + timedelta(hours=24))


def test_an_archive_of_an_unknown_party_is_not_asked(places):
    """Failing means that answers are fetched which the harvest must refuse."""
    with pytest.raises(ArchiveProblem, match="no feed dicom_XXX"):
        ask_archive(archive(party="XXX"), places, clock=lambda: NOW)


@pytest.fixture
def places(tmp_path: Path, inbound) -> Places:
    return Places(
        home=tmp_path / "home",
        inbox=tmp_path / "inbox",
        zone="Europe/London",
        columns=tuple(inbound["dicom_series"].column_names()),
        feeds=frozenset({"dicom_RMC"}),
        environment={}.get,
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate of 127.0.0.1 signed by itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def served_with(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_web_archive_is_trusted_by_its_certificate_only(places, certificate):
    """Failing means that identities go to whoever answers at that address."""
    server = HTTPServer(("127.0.0.1", 0), _Empty)
    server.socket = served_with(certificate).wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(ArchiveProblem, match=r"certificate is refused: self.*ca_file"):
            ask_archive(archive(url=url, attempts=1), places, clock=lambda: NOW)
        for more in ({"ca_file": certificate}, {"verify_tls": False}):
            one = archive(url=url, attempts=1, **more)
            assert ask_archive(one, places, clock=lambda: NOW).series == 0
    finally:
        server.shutdown()
        server.server_close()


def test_a_dicom_archive_is_trusted_by_its_certificate_only(places, certificate):
    """Failing means that C-FIND over TLS talks to anybody, or not at all."""
    entity = AE(ae_title="PEER")
    entity.add_supported_context(STUDY_ROOT)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        ssl_context=served_with(certificate),
        evt_handlers=[(evt.EVT_C_FIND, lambda _: iter(()))],
    )
    try:
        peer = {"route": "cfind", "host": "127.0.0.1", "port": server.server_address[1]}
        peer |= {"ae_title": "PEER", "tls": True, "attempts": 1}
        with pytest.raises(ArchiveProblem, match=r"certificate is refused: self.*ca_file"):
            ask_archive(archive(**peer), places, clock=lambda: NOW)
        one = archive(**peer, ca_file=certificate)
        assert ask_archive(one, places, clock=lambda: NOW).series == 0
    finally:
        server.shutdown()
