"""Who is asking and what they may see: claims, age of the sign-in, audience, record."""

import json
import stat
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_views import text_of

from dashboards.auth import target
from dashboards.auth.audit import NotRecorded, Recorder, Seen
from dashboards.auth.door import Refused, check_demo
from dashboards.auth.principal import (
    DEMO,
    EVERYBODY,
    NoFile,
    Principal,
    audience_of,
    is_current,
    of_claims,
)
from dashboards.contents import ENTRIES
from dashboards.export import button
from dashboards.sqllab import broker

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
AUDIENCES = {
    "demo": {"kind": "demo"},
    "network": {"kind": "network"},
    "trust_rmc": {"kind": "trust"},
    "trust_rmp": {"kind": "trust"},
    "analyst": {"kind": "analyst"},
}


def test_the_claim_of_each_role_is_read():
    """Failing means that a reader is let in as somebody else, or not at all."""
    for role in ("board", "analyst", "steward", "admin"):
        assert of_claims({"sub": "s|1", "imaging_role": role}) == Principal(role, "", "s|1")
    told = of_claims({"sub": "S 1", "imaging_role": "trust:RMC"})
    assert told == Principal("trust", "RMC", "S 1")


UNKNOWN = [None, "", "Board", "board ", ["board"], "demo", "trust", "trust:", "trust:rmc"]
UNKNOWN += ["trust:RMC,RMP", "trust:RMC:RMP", "board:RMC", "trust:../RMC", "trust:RMC\n", 1, {}]


@pytest.mark.parametrize("role", UNKNOWN)
def test_any_other_claim_is_no_role(role):
    """Failing means that what nobody granted opens a door."""
    assert of_claims({"sub": "s", "imaging_role": role}) is None
    assert of_claims({"imaging_role": "board"}) is None


@given(some.text())
def test_no_text_but_the_five_forms_is_a_role(text):
    """Failing means that a claim nobody thought of is taken for a role."""
    found = of_claims({"sub": "s", "imaging_role": text})
    assert found is None or text in EVERYBODY or text == f"trust:{found.trust}"


@pytest.mark.parametrize(
    ("claims", "is_in"),
    [
        ({"auth_time": NOW.timestamp() - 3600}, True),
        ({"auth_time": NOW.timestamp() - 8 * 3600}, False),
        ({"iat": NOW.timestamp() - 60}, True),
        # A refreshed token does not make the sign-in younger.
        ({"auth_time": NOW.timestamp() - 9 * 3600, "iat": NOW.timestamp()}, False),
        ({"auth_time": NOW.timestamp() + 3600}, False),
        ({"auth_time": "now"}, False),
        ({"auth_time": True}, False),
        ({"auth_time": float("inf")}, False),
        ({"auth_time": float("nan")}, False),
        ({}, False),
    ],
)
def test_a_sign_in_counts_for_so_many_hours(claims, is_in):
    """Failing means that a cookie of a month is a sign-in of a month."""
    assert is_current(claims, hours=8, now=NOW) is is_in


def test_each_role_has_its_own_file_and_never_another_instead():
    """Failing means that a trust without a file reads somebody else's."""
    expected = {"board": "network", "steward": "network", "admin": "network", "analyst": "analyst"}
    for role, audience in expected.items():
        assert audience_of(Principal(role, "", "s"), AUDIENCES) == audience
    assert audience_of(Principal("trust", "RMP", "s"), AUDIENCES) == "trust_rmp"
    with pytest.raises(NoFile, match="trust RW6"):
        audience_of(Principal("trust", "RW6", "s"), AUDIENCES)
    with pytest.raises(NoFile):
        audience_of(Principal("board", "", "s"), {"demo": {"kind": "demo"}})


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "10.0.0.5", "imaging.nhs.uk"])
def test_without_a_provider_only_this_machine_is_served(address):
    """Failing means that everybody on the network sees what the demo user sees."""
    with pytest.raises(Refused, match="No sign-in is configured"):
        check_demo(address, {})


def test_a_proxy_in_front_is_not_this_machine():
    """Failing means that a proxy opens the demo to the network."""
    for address in ("127.0.0.1", "localhost", "::1"):
        check_demo(address, {"Host": "localhost"})
    with pytest.raises(Refused, match="proxy"):
        check_demo("127.0.0.1", {"X-Forwarded-For": "10.0.0.5"})


def test_the_page_asked_for_is_kept_and_only_a_known_one_is_opened():
    """Failing means that a link loses its filters, or leads where no page is."""
    query = {"organisation": ["A & B (party)"], "test": ["CT", 'x";alert(1)//</script>']}
    packed = target.pack("throughput", query)
    assert target.unpack(packed, ["throughput"]) == ("throughput", query)
    assert target.unpack(packed, ["waiting_times"]) is None
    assert target.unpack("https%3A%2F%2Felsewhere", ["throughput"]) is None
    script = target.keep_script(packed)
    assert script.count("</script>") == 1 and "alert(1)" not in script
    assert target.unpack(target.pack("throughput", {"x": ["y" * 5000]}), ["throughput"]) == (
        "throughput",
        {},
    )


def test_the_record_only_grows_and_only_its_owner_reads_it(tmp_path):
    """Failing means that nobody can say later who saw what, or that anybody can."""
    recorder = Recorder(tmp_path / "audit", Principal("trust", "RMC", "a|ß"), "trust_rmc", "b1")
    sql = "select 1\n-- two lines"
    recorder.add(Seen("sql", "shown", view="sql_workbench", sql=sql, rows=1), NOW)
    recorder.add(Seen("view", "shown", view="throughput", filters={"Modality": "CT"}), NOW)
    (file,) = (tmp_path / "audit").iterdir()
    assert file.name == "audit_2026-11.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    first, second = map(json.loads, file.read_text().splitlines())
    assert first["subject"] == "a|ß" and first["sql"] == sql and len(first["sql_sha256"]) == 64
    assert first["at"] == "2026-11-28T09:00:00.000+00:00" and first["audience"] == "trust_rmc"
    assert second["filters"] == {"Modality": "CT"} and second["sql_sha256"] == ""
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(NotRecorded, match="cannot be written"):
        Recorder(blocked / "audit", None).add(Seen("view", "shown"), NOW)


@pytest.mark.parametrize(
    ("role", "age", "title"),
    [
        ("out", 0, "Sign in"),
        ("board", 9, "Your sign-in has ended"),
        ("nobody", 0, "No access"),
        (None, 0, "No access"),
        ("board", 0, "No access"),
    ],
)
def test_whoever_may_not_open_a_page_sees_nothing_of_it(
    open_view, home, signed_in, role, age, title
):
    """Failing means that a page shows figures to somebody without the role for it."""
    signed_in(role, timedelta(hours=age))
    app = open_view("data_quality")
    assert [one.value for one in app.title] == [title]
    assert not app.dataframe and not app.get("plotly_chart") and not app.exception
    assert "Build" not in text_of(app)


def test_a_trust_without_a_file_is_shown_nothing_instead(open_view, signed_in):
    """Failing means that a trust that has no file sees the file of another."""
    signed_in("trust:RMC")
    app = open_view("throughput")
    assert app.title[0].value == "No access" and not app.get("plotly_chart")
    assert "trust RMC" in text_of(app)


def test_a_reader_takes_the_pack_of_their_own_file_and_no_other(
    open_view, audiences, home, signed_in, monkeypatch
):
    """Failing means that the board pack tells a signed-in reader what only another file may hold."""
    asked = []
    made = {"pdf": b"%PDF", "pptx": b"PK"}
    monkeypatch.setattr(button, "_made", lambda *told: asked.append(told[1:]) or made)
    monkeypatch.setenv("IMAGING_AUDIENCE", "demo")
    signed_in("board")
    app = open_view("benefits_summary", audiences)
    app.button(key="make_pack").click().run()
    assert not app.exception
    assert [audience for _, audience in asked] == ["network"]


def test_a_demo_user_is_told_so_and_what_they_see_is_recorded(open_view, home):
    """Failing means that an installation without sign-in looks like one with it."""
    app = open_view("metric_dictionary")
    assert "Demo user" in text_of(app) and not app.exception
    (file,) = (home / "dashboards" / "audit").iterdir()
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(one["what"], one["view"], one["role"]) for one in told] == [
        ("view", "metric_dictionary", DEMO)
    ]


def test_typed_sql_is_open_to_analysts_and_trusts_only():
    """Failing means that a role that may see no rows can type SQL."""
    workbench = next(entry for entry in ENTRIES if entry.view == "sql_workbench")
    assert workbench.roles == ("trust", "analyst")


def test_a_user_runs_one_query_at_a_time(tmp_path):
    """Failing means that one reader with two windows holds up everybody else."""
    service, cancel = broker._Service(), threading.Event()
    began = threading.Event()

    def second() -> None:
        with service._slot(cancel, "a") as has_slot:
            if has_slot:
                began.set()

    with service._slot(cancel, "a"):
        thread = threading.Thread(target=second)
        thread.start()
        with service._slot(cancel, "b") as other:
            assert other
        time.sleep(0.2)
        assert not began.is_set()
    thread.join(5)
    assert began.is_set()
