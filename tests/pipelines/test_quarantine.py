"""What waits in quarantine: told without identities, replayed once however often it is asked."""

import base64
import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from pipelines import gate
from pipelines.cli import dismiss_entry
from pipelines.defs.resources import Pipeline
from pipelines.harvest import Kept, Setup, custody, harvest, replay_waiting, waiting
from pipelines.harvest.replaying import NothingOfThatName
from pipelines.journey import exclusive
from pipelines.landing.keys import Keys, create_key_file
from pipelines.quarantine_verbs import UnknownFeed, quarantine_app, replay_and_tell
from pipelines.settings import Settings
from pipelines.sources.inbox import Delivery
from tests.bad_input import HEADER, STAFF
from tests.hl7_sender import NHS_NUMBER, SURNAME, framed, message

NOW = datetime(2026, 6, 12, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = date(2026, 6, 11)
# Three messages for training beside a good one, and a file that no party's name claims.
TRAINING = b"".join(framed(message(n, processing="T" if n else "P")) for n in range(4))
SENT = {
    "hl7": [
        Delivery("hl7", Path("RMC_20260611.hl7"), DAY, TRAINING),
        Delivery("hl7", Path("XYZ_20260611.hl7"), DAY, framed(message(9))),
    ],
    "workforce": [
        Delivery(
            "workforce",
            Path("workforce_RBV.csv"),
            DAY,
            HEADER + STAFF + STAFF.replace(b"radiographer", b"=1+1"),
        )
    ],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home in which three entries wait."""
    create_key_file(tmp_path / "keys.json")
    monkeypatch.setenv("IMAGING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMAGING_KEY_FILE", str(tmp_path / "keys.json"))
    settings = Settings()
    settings.published_dir.mkdir(parents=True)
    for feed, sent in SENT.items():
        harvest(feed, sent, Pipeline(settings).setup, now=NOW)
    return settings


def listed(*arguments: str) -> str:
    done = CliRunner().invoke(quarantine_app, ["list", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    assert NHS_NUMBER not in done.output and SURNAME not in done.output
    return done.output


def test_the_list_says_what_waits_since_when_and_what_to_type(home: Settings):
    """Failing means that nobody can tell what is missing, or how it comes in again."""
    document = json.loads(listed("--json"))
    assert (document["entries"], document["records"]) == (3, 5)
    told = {one["delivery"]: one for one in document["waiting"]}
    training = told["RMC_20260611.hl7"]
    assert training["rules"] == {"message_is_for_production": 3}
    assert (training["feed"], training["feed_id"]) == ("hl7", "hl7_RMC")
    assert (training["records"], training["scope"]) == (3, "row")
    assert training["since"] == NOW.isoformat()
    assert training["can_be_replayed"] and training["hindrance"] is None
    assert told["XYZ_20260611.hl7"]["rules"] == {"feed_is_registered": 1}
    assert training["command"] == f"imaging quarantine replay hl7 {training['item']}"
    (cell,) = told["workforce_RBV.csv"]["rows"]
    assert (cell["row_no"], cell["rule"]) == (3, "cell_is_no_formula")
    assert f"row 3, {cell['column']}: cell_is_no_formula: " in listed("--rows")
    text = listed()
    assert "3 entries, 5 records" in text and "row 3" not in text
    assert training["command"] in text
    assert json.loads(listed("--json", "--feed", "workforce"))["entries"] == 1
    assert json.loads(listed("--json", "--feed", "hl7_RMC"))["entries"] == 1
    assert "nothing waits" in listed("--feed", "rota")


def test_the_command_of_the_list_replays_that_entry_and_no_other(
    home: Settings, capsys: pytest.CaptureFixture[str]
):
    """Failing means that a copied command does something else than the list says."""
    (one,) = json.loads(listed("--json", "--feed", "workforce"))["waiting"]
    _, _, verb, feed, item = shlex.split(one["command"])
    assert verb == "replay"
    before = listed("--json", "--feed", "hl7")
    with exclusive(home):
        assert replay_and_tell(home, feed, item)
    assert "received 1 = landed 0 + rejected again 1" in " ".join(capsys.readouterr().out.split())
    after = json.loads(listed("--json", "--feed", "hl7"))
    assert after["waiting"] == json.loads(before)["waiting"]
    assert json.loads((home.published_dir / "gate.json").read_text())["passed"] is False
    with exclusive(home):
        with pytest.raises(NothingOfThatName, match="quarantine list"):
            replay_and_tell(home, feed, "beef")
        with pytest.raises(UnknownFeed, match="do you mean workforce"):
            replay_and_tell(home, "workfroce")


def test_a_refused_file_is_told_once_with_the_rows_to_look_at(home: Settings):
    """Failing means a line for each of a million records, and none that says where to look."""
    broken = b"".join(
        STAFF.replace(b"40", b"forty" if n in (2, 5) or n > 7 else b"40") for n in range(13)
    )
    sent = {
        "workforce_RMC.csv": HEADER + broken,
        "workforce_RM3.csv": HEADER.replace(b"in_post_wte", b"x") + STAFF * 9,
        "workforce_RRF.csv": b"",
    }
    deliveries = [Delivery("workforce", Path(name), DAY, data) for name, data in sent.items()]
    found = harvest("workforce", deliveries, Pipeline(home).setup, now=NOW)
    waiting = json.loads(listed("--json", "--feed", "workforce"))["waiting"]
    told = {one["delivery"]: one["rows"] for one in waiting if one["scope"] == "file"}
    assert set(told) == set(sent)
    (row,) = told["workforce_RMC.csv"]
    assert (row["row_no"], row["rule"]) == (None, "establishment_wte_is_a_number")
    assert row["reason"].startswith(
        "7 of 13 records, the contract tolerates 5; rows 4, 7, 10, 11, 12, ...: "
    )
    (other,) = told["workforce_RM3.csv"]
    assert other["reason"].startswith("missing column(s) in_post")
    assert "the whole: is_not_empty: the file is empty" in listed("--rows")
    assert all(f.rule in f.message for f in found.failures) and len(found.failures) == 3


def test_a_name_of_two_entries_dismisses_neither(
    home: Settings, capsys: pytest.CaptureFixture[str]
):
    """Failing means that an operator dismisses the delivery of another feed unseen."""
    sent = [
        Delivery(kind, Path("dids_RMC.csv"), DAY, b"one,two\n") for kind in ("dids_v1", "dids_v2")
    ]
    setup = Pipeline(home).setup
    for one in sent:
        harvest(one.feed_kind, [one], setup, now=NOW)
    mine = [e for e in setup.quarantine.entries(state="open") if e.feed_kind.startswith("dids")]
    (name,) = {entry.entry_id for entry in mine}
    with pytest.raises(typer.Exit):
        dismiss_entry(home, name, "sent twice")
    assert f"dids_v1/{name} or dids_v2/{name}" in " ".join(capsys.readouterr().err.split())
    dismiss_entry(home, f"dids_v2/{name}", "sent twice")
    left = [e for e in setup.quarantine.entries(state="open") if e.feed_kind.startswith("dids")]
    assert [entry.feed_kind for entry in left] == ["dids_v1"]
    dismiss_entry(home, name, "sent twice")


def test_replaying_again_and_again_changes_nothing(home: Settings):
    """Failing means that a replay in vain counts records again, or loses them."""
    ledgers = []
    for _ in range(2):
        with exclusive(home):
            assert replay_and_tell(home, None)
        document = json.loads(listed("--json"))
        assert (document["entries"], document["records"]) == (3, 5)
        assert {one["since"] for one in document["waiting"]} == {NOW.isoformat()}
        ledgers.append(counted(Pipeline(home).landing.receipts()))
    assert ledgers == [{"hl7": (5, 1, 4), "workforce": (2, 1, 1)}] * 2
    landed = Pipeline(home).landing.read("imaging_events")
    assert len(landed) == 1


def counted(receipts: pl.DataFrame) -> dict[str, tuple[int, int, int]]:
    """Received, landed and rejected by feed, as the warehouse counts them (int_current_receipts)."""
    latest = receipts.sort("landed_at").unique(["feed_kind", "source_sha"], keep="last")
    is_replay = (pl.col("replay_of") != pl.col("source_sha")).fill_null(False)
    found = latest.group_by("feed_kind").agg(
        pl.col("rows_received").filter(~is_replay).sum(),
        pl.col("rows_landed").sum(),
        pl.when(is_replay).then(-pl.col("rows_landed")).otherwise("rows_rejected").sum().alias("r"),
    )
    return {feed: tuple(counts) for feed, *counts in found.iter_rows()}


def without_rule(setup: Setup, name: str) -> Setup:
    contract = setup.inbound["hl7_messages"]
    kept = tuple(rule for rule in contract.rules if rule.name != name)
    return replace(setup, inbound=setup.inbound | {"hl7_messages": replace(contract, rules=kept)})


def test_records_replayed_in_vain_count_once_when_they_land(
    new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that the ledger does not add up after the second replay."""
    setup = new_setup(tmp_path)
    harvest("hl7", SENT["hl7"][:1], setup, now=NOW)
    for hour in (1, 2, 3):
        (done,) = replay_waiting(waiting(setup), setup, now=NOW + hour * HOUR)
        assert done.is_reconciled
        assert counted(setup.landing.receipts()) == {"hl7": (4, 1, 3)}
    mended = without_rule(setup, "message_is_for_production")
    (done,) = replay_waiting(waiting(mended), mended, now=NOW + 4 * HOUR)
    assert done.is_reconciled and done.result is not None and done.result.rows_landed == 3
    assert counted(setup.landing.receipts()) == {"hl7": (4, 4, 0)}
    assert waiting(mended) == []


def test_what_cannot_be_replayed_says_why_and_stops_no_other(
    new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that one lost key or image keeps everything else out."""
    setup = new_setup(tmp_path)
    foreign = Keys(b"p" * 32, b"e" * 32, base64.urlsafe_b64encode(b"t" * 32))
    harvest("workforce", SENT["workforce"], new_setup(tmp_path, keys=foreign), now=NOW)
    harvest("hl7", SENT["hl7"][:1], setup, now=NOW)
    folder = tmp_path / "inbox" / "dicom" / DAY.isoformat() / "RMC"
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"no image")
    harvest("dicom", [Delivery("dicom", folder, DAY)], setup, now=NOW)
    told = {one.entry.feed_kind: one for one in waiting(setup)}
    assert told["dicom"].hindrance is None
    shutil.rmtree(folder)
    told = {one.entry.feed_kind: one for one in waiting(setup)}
    assert "another storage key" in str(told["workforce"].hindrance)
    assert told["workforce"].command is None
    assert "1 of the 1 files" in str(told["dicom"].hindrance)
    assert str(told["dicom"].command).startswith("imaging gate --dismiss ")
    done = list(replay_waiting(waiting(setup), setup, now=NOW + HOUR))
    assert {one.entry.feed_kind: one.is_reconciled for one in done} == {
        "workforce": False,
        "dicom": False,
        "hl7": True,
    }
    assert {one.entry.feed_kind for one in waiting(setup)} == {"workforce", "dicom", "hl7"}


def test_a_dismissed_delivery_does_not_hold_the_gate_again_under_a_newer_reader(
    new_setup: Callable[..., Setup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that an upgrade stops publishing over what somebody has settled."""
    setup = new_setup(tmp_path)
    harvest("hl7", SENT["hl7"][1:], setup, now=NOW)
    (refused,) = setup.quarantine.entries(state="open")
    setup.quarantine.close(refused, "dismissed", "not of this network")
    for module in ("landing.writer", "harvest.opening", "harvest.accounting"):
        monkeypatch.setattr(f"pipelines.{module}.PARSER_VERSION", "newer")
    assert harvest("hl7", SENT["hl7"][1:], setup, now=NOW + HOUR).files_refused == 1
    entries = setup.quarantine.entries()
    assert [(entry.state, entry.note) for entry in entries] == [
        ("dismissed", "not of this network")
    ]
    assert gate.open_failures(setup.landing.receipts(), entries, setup.inbound) == []


def test_stewards_are_told_what_waits_and_what_leaves_next_but_nothing_of_its_content(home):
    """Failing means that identities are kept longer than anybody knows, or that counting them tells one."""
    pipeline = Pipeline(home)
    good = Delivery("workforce", Path("workforce_RMC.csv"), DAY, HEADER + STAFF)
    harvest("workforce", [good], pipeline.setup, now=NOW)
    told = custody(pipeline.setup, Kept(7, 7, 5), ["b1"], NOW + timedelta(days=2))
    place = {one["place"]: one for one in told["places"]}
    # Two deliveries landed in part or whole, at one instant; the refused ones have no date.
    assert place["inbox"]["next_due_at"] == (NOW + timedelta(days=7)).isoformat()
    assert place["inbox"]["items"] == place["inbox"]["next_due_items"]
    waits = [one for one in told["quarantine"] if one["state"] == "open"]
    assert place["quarantine"]["items"] == sum(one["entries"] for one in waits) == 3
    assert {one["oldest_days"] for one in waits} == {3}
    assert {one["kind"] for one in told["positions"]} == {"rule", "practice", "decision"}
    text = json.dumps(told)
    assert not any(word in text for word in (NHS_NUMBER, SURNAME, "=1+1", "20260611", "workforce_"))
    later = custody(pipeline.setup, Kept(7, 7, 5), [], NOW + timedelta(days=8))
    assert later["places"][0]["items"] == 0
