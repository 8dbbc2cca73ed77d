"""Alerts: what a build says, told once to those who want it, and never more than they may know."""

import json
import ssl
import subprocess
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dashboards.contents import ENTRIES
from pipelines.alerts.book import AlertsBusy, Book, MutesBroken, NoSuchMute
from pipelines.alerts.delivery import AlertsNotSent, Letter, Mail, raise_failed, send
from pipelines.alerts.reading import NoNetworkFile, network_file
from pipelines.alerts.recipients import RecipientProblem, read_recipients
from pipelines.alerts.signals import BREACH, CONCERN, LATE_FEED, find, page_of, pages
from pipelines.defs.publish import alerts as wiring
from pipelines.defs.resources import Pipeline
from pipelines.publishing.audiences import Audience
from pipelines.publishing.pointer import Manifest
from pipelines.settings import Settings
from tests.pipelines.alerts.alert_tables import ALARM, NOW, URL, W02, made
from tests.pipelines.alerts.mail_server import MailServer, Webhook, serving

AUDIENCES = {
    "network": Audience("network", "network", None, "none", None, 5),
    "trust_rmc": Audience("trust_rmc", "trust", "RMC", "own", None, 5),
}
LETTER = Letter("Greater Manchester", "B1", is_synthetic=True)
NO_MAIL = Mail(None, 25, "none", "")


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "alerts")


def told_in(folder: Path, text: str) -> list:
    path = folder / "alerts.toml"
    path.write_text(text)
    return read_recipients(path, AUDIENCES)


def entry(target: str, audience: str = "trust_rmc", more: str = "") -> str:
    return (
        f'[[recipients]]\nname = "{audience}"\naudience = "{audience}"\n'
        f"valid_from = 2026-01-01\n{target}\n{more}\n"
    )


# ------------------------------------------------------------ what is an alert


def test_a_signal_a_missed_target_and_a_late_feed_are_alerts_with_a_page(tables):
    """Failing means that a reader is not told, or is led to a page without the figure."""
    found = {(one.kind, one.org_level, one.metric_id): one for one in find(tables, URL)}
    assert set(found) == {
        (CONCERN, "network", "W01"),
        (CONCERN, "trust", "W02"),
        (BREACH, "trust", "W02"),
        (LATE_FEED, "party", "hl7_RMC/hl7"),
    }, "a chart whose last month is hidden gives none"
    breach = found[BREACH, "trust", "W02"]
    assert breach.text == (
        "Bolton (trust): Waiting six weeks and more 15.0% in March 2026. Target at most 5.0%, not "
        "verified: missed since January 2026."
    )
    assert breach.link == f"{URL}/waiting_times?organisation=Bolton+%28trust%29"
    assert "20 March 2026, 09:30" in found[LATE_FEED, "party", "hl7_RMC/hl7"].text


def test_an_alert_writes_no_small_count(tables):
    """Failing means that three people can be read from an e-mail."""
    (network,) = (one for one in find(tables, URL) if one.org_level == "network")
    assert "(too few to write)" in network.text and " 3 " not in network.text


def test_an_alert_keeps_its_id_while_the_signal_goes_on():
    """Failing means that every build tells the same thing again."""
    ids = {one.id for one in find(made(), URL) if one.metric_id == "W02"}
    calm = made([*W02[:3], (0.12, ALARM)])
    assert {one.id for one in find(calm, URL) if one.metric_id == "W02"} == ids


def test_every_metric_has_a_page_of_the_dashboards():
    """Failing means that a new metric breaks the alerts of all, or leads to no page."""
    root = Path(__file__).parents[3]
    views = {one.view for one in ENTRIES}
    told = [*pages()["metrics"].values(), *pages()["families"].values(), pages()["late_feed"]]
    assert set(told) <= views
    text = (root / "dbt_project/models/marts/metrics/rpt_metrics_monthly.yml").read_text()
    ids = {line.split(": ")[1] for line in text.splitlines() if "- metric_id: " in line}
    assert ids and all(page_of(one) in views for one in ids)


def test_alerts_are_made_of_the_file_of_the_network_only():
    """Failing means that an e-mail tells what only a trust or an analyst may see."""
    files = {
        "demo": {"file": "demo", "suppressed": False},
        "trust_rmc": {"file": "rmc", "suppressed": True, "kind": "trust"},
    }
    manifest = Manifest("B1", "", "", files, [], {}, {})
    with pytest.raises(NoNetworkFile, match="kind network"):
        network_file(Path("p"), manifest)
    told = files | {"network": {"file": "net", "suppressed": True, "kind": "network"}}
    assert network_file(Path("p"), replace(manifest, audiences=told)) == Path("p/net")


# ------------------------------------------------------------ who is told, and once


def test_a_trust_is_told_of_itself_and_the_network_of_the_network(tables, tmp_path):
    """Failing means that an alert reaches those it is not for."""
    where = 'email = "a@nhs.example"'
    trust, network = told_in(tmp_path, entry(where) + entry(where, "network"))
    alerts = find(tables, URL)
    assert {one.org_code for one in alerts if trust.wants(one)} == {"RMC"}
    assert {one.kind for one in alerts if network.wants(one)} == {CONCERN, LATE_FEED}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry('email = "a@b"', more='kinds = ["breech"]'), "kinds holds 'breech'"),
        (entry('email = "a@b"', "trust_xxx"), "no audience trust_xxx"),
        (entry('emial = "a@b"'), "do you mean email"),
        (entry('email = "a@b\\nBcc: c@d"'), "no e-mail address"),
        (entry('webhook = "http://other.example"'), "https"),
        (entry('webhook_file = "missing"'), "is not there"),
        (entry(""), "say email"),
        ("[recipients]\n", r"\[\[recipients\]\]"),
        ("nonsense", "no TOML"),
    ],
)
def test_a_wrong_entry_is_named_with_the_next_step(tmp_path, text, message):
    """Failing means that an operator believes that somebody is told."""
    with pytest.raises(RecipientProblem, match=message):
        told_in(tmp_path, text)


def test_twice_sends_once_and_a_new_build_only_what_is_new(tables, tmp_path, book):
    """Failing means that people stop reading alerts."""
    server = MailServer()
    mail = Mail("127.0.0.1", server.port, "none", "imaging@nhs.example")
    with serving(server):
        told = told_in(tmp_path, entry('email = ["a@nhs.example", "b@nhs.example"]'))

        def sent(tables, now=NOW) -> list[int]:
            outcomes = send(find(tables, URL), told, book, LETTER, mail, now=now)
            raise_failed(outcomes)
            return [one.told for one in outcomes]

        assert sent(tables) == [3, 3]
        assert sent(tables) == []
        assert sent(made([(0.12, ALARM), (0.12, ALARM), *W02[2:]])) == [], "calm between"
        assert sent(made([(0.12, ALARM)] * 6)) == [], "the same run, told to begin earlier"
    texts = [text for text, _ in server.messages]
    assert len(texts) == 2 and all("[synthetic]" in text for text in texts)
    assert "SYNTHETIC DATA" in texts[0] and "b@nhs" not in texts[0]
    assert "nhs.example" not in book.sent_file.read_text()


def test_a_mute_holds_to_its_day_and_can_be_taken_away(tables, tmp_path, book):
    """Failing means that noise cannot be stopped, or that a mute hides a signal for ever."""
    hook = Webhook()
    with serving(hook):
        told = told_in(tmp_path, entry(f'webhook = "{hook.url}"'))

        def sent(now) -> int:
            return sum(
                one.told for one in send(find(tables, URL), told, book, LETTER, NO_MAIL, now=now)
            )

        book.mute(until=NOW.date(), reason="known", now=NOW, metric_id="W02", org_code="RMC")
        late = book.mute(until=date(2027, 1, 1), reason="sender told", now=NOW, kind=LATE_FEED)
        assert sent(NOW) == 0
        assert sent(NOW + timedelta(days=1)) == 2
        assert book.unmute(late.number) == late
        assert sent(NOW + timedelta(days=1)) == 1
    with pytest.raises(NoSuchMute):
        book.unmute(late.number)


def test_a_line_cut_off_by_a_crash_costs_no_later_one(tables, tmp_path, book):
    """Failing means that after a crash nobody is told, or everybody twice."""
    (told,) = told_in(tmp_path, entry('email = "a@nhs.example"'))
    book.folder.mkdir()
    book.sent_file.write_text('{"sent_at": "2026')
    alerts = find(tables, URL)
    book.add(alerts, told.targets[0], NOW)
    assert [line["alert"] for line in book.sent()] == [one.id for one in alerts]


def test_two_senders_do_not_meet(book, tables):
    """Failing means that the sensor and an operator tell the same thing together."""
    with book.sending(), pytest.raises(AlertsBusy):
        send(find(tables, URL), [], Book(book.folder), LETTER, NO_MAIL, now=NOW)


# ------------------------------------------------------------ peers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"]
    made += [str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=localhost"]
    subprocess.run(
        [*made, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    return folder


def test_mail_is_encrypted_and_the_server_must_prove_itself(tables, tmp_path, book, certificate):
    """Failing means that alerts and the password cross the network in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = MailServer(context=context)
    mail = Mail("127.0.0.1", server.port, "starttls", "imaging@nhs.example")
    told = told_in(tmp_path, entry('email = "a@nhs.example"'))
    with serving(server):
        (refused,) = send(find(tables, URL), told, book, LETTER, mail, now=NOW)
        assert refused.problem and not server.messages
        known = replace(mail, authority=certificate / "cert.pem")
        (taken,) = send(find(tables, URL), told, book, LETTER, known, now=NOW)
    assert taken.told == 3 and [encrypted for _, encrypted in server.messages] == [True]


def test_without_encryption_no_mail_is_sent_where_it_is_asked_for(tables, tmp_path, book):
    """Failing means that a server without STARTTLS takes the mail, or a password, in the clear."""
    server = MailServer()
    told = told_in(tmp_path, entry('email = "a@nhs.example"'))
    mail = Mail("127.0.0.1", server.port, "starttls", "imaging@nhs.example")
    with serving(server):
        for one in (mail, replace(mail, security="none", user="imaging")):
            (outcome,) = send(find(tables, URL), told, book, LETTER, one, now=NOW)
            assert outcome.problem
    assert not server.messages


@pytest.mark.parametrize(("mode", "taken"), [("hang", 0), ("refuse", 0), ("leave", 1)])
def test_a_peer_that_fails_is_told_of_and_tried_again_and_the_others_are_told(
    tables, tmp_path, book, mode, taken
):
    """Failing means that one mail server keeps everybody from being told, or is told twice."""
    server, hook = MailServer(mode=mode), Webhook()
    mail = Mail("127.0.0.1", server.port, "none", "imaging@nhs.example", seconds=0.3)
    targets = f'email = "a@nhs.example"\nwebhook = "{hook.url}"'
    told = told_in(tmp_path, entry(targets))
    with serving(server), serving(hook):
        first = send(find(tables, URL), told, book, LETTER, mail, now=NOW)
        assert [bool(one.problem) for one in first] == [not taken, False]
        server.mode = ""
        second = send(find(tables, URL), told, book, LETTER, mail, now=NOW)
        assert [one.told for one in second] == ([] if taken else [3])
    assert len(server.messages) == 1 and len(hook.posts) == 1
    if not taken:
        with pytest.raises(AlertsNotSent, match="trust_rmc by email"):
            raise_failed(first)


@pytest.mark.parametrize("status", [500, 302])
def test_a_webhook_that_refuses_or_leads_elsewhere_is_told_of(tables, tmp_path, book, status):
    """Failing means that an alert is lost, or that a token goes to an address nobody configured."""
    hook = Webhook(status)
    (tmp_path / "token").write_text("s3cret\n")
    told = told_in(tmp_path, entry(f'webhook = "{hook.url}"\nwebhook_token_file = "token"'))
    with serving(hook):
        (first,) = send(find(tables, URL), told, book, LETTER, NO_MAIL, now=NOW)
        assert first.problem == f"it answered {status}"
        hook.status = 204
        (second,) = send(find(tables, URL), told, book, LETTER, NO_MAIL, now=NOW)
    assert second.told == 3 and len(hook.posts) == 2
    (document, headers), (_, again) = hook.posts
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Idempotency-Key"] == again["Idempotency-Key"]
    assert {one["kind"] for one in document["alerts"]} == {CONCERN, BREACH, LATE_FEED}


# ------------------------------------------------------------ wiring


def published_home(home: Path) -> None:
    """A published folder with the file of the network, as far as alerts read it."""
    folder = home / "published"
    folder.mkdir(parents=True)
    told = made()
    with duckdb.connect(str(folder / "net.duckdb")) as connection:
        for schema in ("marts", "statistics", "catalogue"):
            connection.execute(f"create schema {schema}")
        for name, frame in (("charts", told.charts), ("points", told.points)):
            connection.register(name, frame)
        connection.register("feeds", told.feeds)
        connection.register("organisations", told.organisations)
        for text in (
            "statistics.spc_charts as select *, 'All' as modality_group, true as is_current "
            "from charts",
            "statistics.spc_points as select *, 'All' as modality_group from points",
            "catalogue.metrics as select distinct metric_id, name, unit from charts",
            "marts.rpt_feed_freshness as select *, true as is_late from feeds",
            "marts.dim_organisation as select * from organisations",
            "marts.dim_trust as select 'RMC' as trust_code, true as is_current",
            "catalogue.build as select 'Greater Manchester' as network_name, true as is_synthetic",
        ):
            connection.execute(f"create table {text}")
    files = {"network": {"file": "net.duckdb", "suppressed": True, "kind": "network"}}
    document = {"build_id": "B1", "created_at": "", "inputs_fingerprint": "", "audiences": files}
    document |= {"as_at": [], "gate": {}, "tables": {}}
    (folder / "manifest.json").write_text(json.dumps(document))


def test_the_sensor_tells_after_a_publication_once_and_tries_again(tmp_path):
    """Failing means that nobody is told after a publication, or everybody at every look."""
    settings = Settings(home=tmp_path, dashboards_url=URL)
    pipeline = Pipeline(settings)

    def look(cursor=None):
        return wiring.alert_sensor(dg.build_sensor_context(cursor=cursor), pipeline=pipeline)

    assert look().skip_message == "nothing is published yet"
    published_home(tmp_path)
    hook = Webhook(500)
    settings.alerts_file.write_text(entry(f'webhook = "{hook.url}"'))
    with serving(hook):
        with pytest.raises(AlertsNotSent):
            look()
        hook.status = 204
        done = look()
        assert done.skip_reason.skip_message == "told 1 target(s) of what is new"
        assert look(done.cursor).skip_message == "the alerts of this build were sent"
    assert len(hook.posts) == 2


@pytest.mark.parametrize("text", ["{", '["mute"]', '[{"number": 1}]', "7"])
def test_a_broken_file_of_mutes_is_named_and_nothing_is_sent(tmp_path, text):
    """Failing means a traceback, or that what was muted is sent after all."""
    book = Book(tmp_path)
    book.mutes_file.write_text(text)
    with pytest.raises(MutesBroken, match="is not a list of mutes"):
        book.mutes()
