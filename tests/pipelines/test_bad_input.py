"""Every kind of bad input: a named reason, its records encrypted, counts that add up, a way back."""

import errno
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.durable import DiskFull
from pipelines.gate import reconciliation_failures
from pipelines.harvest import HarvestResult, Replayed, Setup, harvest, replay_waiting, waiting
from pipelines.landing.writer import write_parquet
from pipelines.network import Network
from pipelines.problems import Problem
from pipelines.settings import PROJECT_ROOT
from pipelines.sources.hl7 import split_messages
from pipelines.sources.inbox import Delivery, deliveries, unread
from tests import bad_input
from tests.bad_input import Kind
from tests.hl7_sender import NHS_NUMBER, SURNAME, framed, message

NOW = datetime(2026, 6, 12, 6, tzinfo=UTC)
DAY = date(2026, 6, 11)
PAGE = PROJECT_ROOT / "docs" / "bad_input.md"
# Feed kind, name of the delivery, what a file of it begins with, and its kinds as files.
FILES: dict[str, tuple[str, dict[str, Kind]]] = {
    "hl7": ("RMC_{}.hl7", bad_input.MESSAGE_FILES),
    "workforce": ("workforce_RBV_{}.csv", bad_input.TABLE_FILES),
    "image_access": ("audit_RMC_{}.xml", bad_input.AUDIT),
    "fhir": ("fhir_RMC_{}.ndjson", bad_input.RESOURCES),
    "dids_v2": ("dids_RMC_{}.csv", bad_input.SUBMISSIONS),
    "monthly_workbook": ("monthly_workbook_RBV_{}.xlsx", bad_input.WORKBOOKS),
}
OF_FILES = {
    (feed, kind): case for feed, (_, kinds) in FILES.items() for kind, case in kinds.items()
}
# Tests of models, which run in every build.
UNIT_TESTS = "../../dbt_project/models/intermediate/pathway/_pathway__unit_tests.yml"
# Proved where their subject is: the row of the page, and its test.
ELSEWHERE = {
    "LF, CRLF, byte order marks, envelopes, frames": "sources/test_hl7.py::test_the_framing_of_a_file_changes_no_event",
    "a file of two bytes a character with its mark": "sources/test_hl7_reading.py::test_a_file_of_wide_characters_is_read",
    "other separators": "sources/test_hl7.py::test_separators_of_the_message_are_used_and_not_the_usual_ones",
    "neighbouring hex escapes": "sources/test_hl7.py::test_escapes_are_resolved_and_what_is_none_stays",
    "several exams in one message": "sources/test_hl7.py::test_every_exam_of_a_message_gets_a_row_with_its_own_order",
    "an order without OBR": "sources/test_hl7.py::test_an_order_without_an_exam_segment_still_gives_its_row",
    "a message sent again under a new number": "test_harvest.py::test_messages_sent_again_in_another_file_add_no_event",
    "a frame whose BTS-1 disagrees, of the receiver": "receivers/test_spooled_messages.py::test_a_batch_trailer_in_one_frame_counts_that_frame_only",
    "more bad records of one rule than its contract tolerates": "test_harvest.py::test_a_broken_delivery_is_refused_with_contract_rule_and_count",
    "a formula in a cell": "sources/test_workbooks.py::test_a_formula_is_a_rejected_row_and_not_a_value",
    "a formula among numbers": "sources/test_workbooks.py::test_a_formula_among_numbers_is_rejected_and_never_computed",
    "macros": "sources/test_workbooks.py::test_macros_are_refused",
    "a workbook that swells, or is too large": "sources/test_workbooks.py::test_a_workbook_beyond_any_limit_is_refused",
    "a workbook cut off, encrypted or none": "sources/test_workbooks.py::test_a_workbook_that_is_unsigned_foreign_or_broken_is_refused_whole",
    "an audit message over 4 MiB": "sources/test_image_access.py::test_what_cannot_be_read_is_named_and_costs_no_other_message",
    "no MSH segment on the wire": "receivers/test_hl7_receiver.py::test_answers_come_in_the_order_of_their_messages",
    "a frame over the limit": "receivers/test_hl7_receiver.py::test_a_message_over_the_limit_is_refused_and_its_connection_ends",
    "bytes outside frames": "receivers/test_hl7_receiver.py::test_garbage_between_frames_is_skipped_and_counted",
    "a frame that breaks off": "receivers/test_hl7_receiver.py::test_what_breaks_off_is_not_spooled_and_what_half_closes_is_answered",
    "a peer that ends its side": "receivers/test_hl7_receiver.py::test_what_breaks_off_is_not_spooled_and_what_half_closes_is_answered",
    "a peer that sends slowly": "receivers/test_hl7_receiver.py::test_a_peer_that_sends_byte_by_byte_has_no_more_time_than_others",
    "a peer that is silent": "receivers/test_hl7_receiver.py::test_a_peer_that_misbehaves_is_let_go_and_named",
    "a peer that is gone without a word": "receivers/test_hl7_receiver.py::test_a_peer_that_is_gone_without_a_word_is_noticed",
    "a peer that does not speak MLLP, or speaks TLS unasked": "receivers/test_hl7_receiver.py::test_a_peer_that_misbehaves_is_let_go_and_named",
    "a peer that does not read its answers": "receivers/test_hl7_receiver.py::test_senders_are_held_back_while_the_disk_is_behind",
    "a stranger, or one too many": "receivers/test_hl7_receiver.py::test_strangers_and_too_many_get_no_answer",
    "a message for training on the wire": "receivers/test_hl7_receiver.py::test_a_message_for_testing_is_acknowledged_and_kept",
    "a full disk under the receiver": "receivers/test_hl7_receiver.py::test_a_full_disk_is_told_and_the_receiver_goes_on_when_there_is_room",
    "a slow disk under the receiver": "receivers/test_hl7_receiver.py::test_a_disk_that_hangs_is_told_in_time",
    "a receiver that is killed": "receivers/test_hl7_command.py::test_a_receiver_killed_under_load_loses_and_doubles_nothing",
    "a file that is still in transfer": "test_bad_input.py::test_a_file_in_transfer_is_left_alone",
    "a file that grows under its own name": "test_bad_input.py::test_a_file_read_while_it_grows_counts_once_when_it_is_whole",
    "a folder that is no day": "test_bad_input.py::test_a_folder_that_is_no_day_stops_the_run_by_name",
    "a file where no feed looks (another folder, outside a day)": "test_bad_input.py::test_what_lies_where_no_feed_looks_is_named",
    "messages in any order, days or files": f"{UNIT_TESTS}::start_and_end_are_last_asserted_and_verified_is_earliest",
    "a fact told by several messages": f"{UNIT_TESTS}::an_event_told_twice_is_one_event_and_an_appointment_finds_its_exam",
    "a whole day sent again": "test_harvest.py::test_a_second_harvest_lands_nothing",
    "an addendum as a whole new report": "sources/test_hl7.py::test_an_addendum_is_an_event_of_its_own_and_moves_no_verification",
    "a correction or a withdrawal": "sources/test_hl7.py::test_the_status_of_a_report_and_of_its_lines_decides_what_happened",
    "a report before the end of its exam": f"{UNIT_TESTS}::a_report_before_the_end_of_its_exam_has_no_turnaround",
    "an appointment missed, then booked again": f"{UNIT_TESTS}::a_missed_or_given_up_appointment_resets_the_clock_once_a_day_and_a_hospital_cancellation_does_not",
    "a feed that falls silent": "../../dbt_project/models/marts/quality/rpt_feed_freshness.yml::a_feed_is_as_fresh_as_its_last_event_and_a_silent_feed_is_listed",
    "a request cancelled, then ordered again": f"{UNIT_TESTS}::a_cancelled_request_lives_again_when_ordered_afterwards",
    "a full disk under the harvest": "test_bad_input.py::test_a_disk_that_fills_at_any_moment_loses_and_doubles_nothing",
}  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """What became of the bad input of all feeds, harvested once and replayed once."""

    folder: Path
    setup: Setup
    results: dict[str, HarvestResult]
    replays: list[Replayed]

    def rejects(self, name: str, numbers: list[int] | None = None) -> list[str]:
        """Rules by which records of a delivery were rejected the first time, in their order."""
        found = self.setup.landing.read("rejects").filter(
            (pl.col("file_name") == name) & (pl.col("landed_at") == NOW)
        )
        if numbers is not None:
            found = found.filter(pl.col("row_no").is_in(numbers))
        return found.sort("row_no")["rule"].to_list()


def in_few_files() -> tuple[dict[str, bytes], dict[str, tuple[str, list[int]]]]:
    """Every kind of message behind a sound one: the files, and file and numbers of each kind.

    So many to a file that none of their rules is broken more often than its contract tolerates.
    """
    files: dict[str, bytes] = {}
    places, count = {}, 0
    for number, (kind, case) in enumerate(bad_input.MESSAGES.items()):
        name = f"RMC_kinds_{number // 20}.hl7"
        count = 0 if name not in files else count
        files[name] = files.get(name, b"") + framed(message(1000 + number)) + framed(case.data)
        pieces = len(split_messages(framed(case.data)))
        places[kind] = (name, list(range(count + 2, count + 2 + pieces)))
        count += 1 + pieces
    return files, places


MESSAGES, PLACES = in_few_files()
ROWS = bad_input.HEADER + b"".join(
    bad_input.STAFF + case.data for case in bad_input.TABLE_ROWS.values()
)
# The header is line 1, and a sound row stands before each.
LINES = {kind: [3 + 2 * at] for at, kind in enumerate(bad_input.TABLE_ROWS)}


def name_of(feed: str, kind: str, case: Kind) -> str:
    pattern, kinds = FILES[feed]
    return case.name or pattern.format(list(kinds).index(kind))


@pytest.fixture(scope="module")
def tried(
    new_setup: Callable[..., Setup], network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Tried:
    folder = tmp_path_factory.mktemp("bad_input")
    one = network.feeds.filter(pl.col("feed_id") == "hl7_RMC")
    more = [one.with_columns(feed_id=pl.lit(f"{kind}_RMC")) for kind in ("fhir", "dids")]
    setup = new_setup(folder, network=replace(network, feeds=pl.concat([network.feeds, *more])))
    results = {}
    for feed, (_, kinds) in FILES.items():
        sent = [
            Delivery(feed, Path(name_of(feed, kind, case)), DAY, case.data)
            for kind, case in kinds.items()
        ]
        if feed == "hl7":
            sent += [Delivery(feed, Path(name), DAY, data) for name, data in MESSAGES.items()]
        if feed == "workforce":
            sent.append(Delivery(feed, Path("workforce_RBV_all.csv"), DAY, ROWS))
        results[feed] = harvest(feed, sent, setup, now=NOW)
    replays = list(replay_waiting(waiting(setup), setup, now=NOW + timedelta(hours=1)))
    return Tried(folder, setup, results, replays)


@pytest.mark.parametrize("kind", bad_input.MESSAGES)
def test_a_bad_message_lands_or_is_rejected_by_name_and_costs_no_other(tried: Tried, kind: str):
    """Failing means that a message is believed, lost, or takes its neighbours along."""
    case, (name, numbers) = bad_input.MESSAGES[kind], PLACES[kind]
    assert tried.rejects(name, numbers) == ([case.rule] if case.rule else [])
    sha = hashlib.sha256(MESSAGES[name]).hexdigest()
    events = tried.setup.landing.read("imaging_events").filter(pl.col("source_sha") == sha)
    landed = events.filter(pl.col("message_id").is_in(numbers))
    assert len(landed) == (0 if case.rule else 1)
    assert case.shows(landed)
    assert len(events.filter(pl.col("message_id") == numbers[0] - 1)) == 1, "the one before it"
    if case.warned:
        others = [k for k, other in bad_input.MESSAGES.items() if other.warned == case.warned]
        told = sum(PLACES[other][0] == name for other in others)
        note = f"{name}: warning {case.warned}: {told} records"
        assert note in tried.results["hl7"].notes


@pytest.mark.parametrize("kind", bad_input.TABLE_ROWS)
def test_a_bad_row_is_rejected_by_name_and_costs_no_other(tried: Tried, kind: str):
    """Failing means that a formula or a value of no meaning counts."""
    (line,) = LINES[kind]
    assert tried.rejects("workforce_RBV_all.csv", [line]) == [bad_input.TABLE_ROWS[kind].rule]
    landed = tried.setup.landing.read("workforce")["row_no"].to_list()
    assert line not in landed and line - 1 in landed


@pytest.mark.parametrize(("feed", "kind"), OF_FILES, ids=[kind for _, kind in OF_FILES])
def test_a_bad_delivery_is_refused_or_rejected_by_name(tried: Tried, feed: str, kind: str):
    """Failing means that a run stops on a delivery, or that nobody is told what is wrong with it."""
    case = OF_FILES[feed, kind]
    name = name_of(feed, kind, case)
    assert tried.rejects(name) == [case.rule] * case.records
    receipts = tried.setup.landing.receipts()
    (receipt,) = receipts.filter(
        (pl.col("file_name") == name) & (pl.col("landed_at") == NOW)
    ).to_dicts()
    assert (receipt["rows_landed"], receipt["rows_rejected"]) == (0, case.records)
    if case.records == 0:
        assert receipt["failed_rule"] == case.rule


def test_received_is_landed_plus_rejected_plus_quarantined(tried: Tried):
    """Failing means that bad input makes records vanish from the ledger."""
    for result in tried.results.values():
        assert result.rows_received == result.rows_landed + result.rows_rejected
    receipts, rejects = (tried.setup.landing.read(name) for name in ("receipts", "rejects"))
    assert reconciliation_failures(receipts, rejects) == []
    first = receipts.filter(pl.col("landed_at") == NOW)
    kept = sum(one.entry.record_count for one in tried.replays)
    assert first["rows_rejected"].sum() == kept > 50


def test_no_kind_leaves_an_identity_in_the_clear(tried: Tried):
    """Failing means that what is not understood is written down as it came."""
    assert sum(data.count(NHS_NUMBER.encode()) for data in MESSAGES.values()) > 50
    files = [path for path in tried.folder.rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        assert NHS_NUMBER.encode() not in content and SURNAME.encode() not in content, path
    assert any(path.suffix == ".enc" for path in files)


def test_every_entry_can_be_replayed_and_its_counts_add_up(tried: Tried):
    """Failing means that something can only be dismissed, or that a replay loses records."""
    assert len(tried.replays) > 20
    for one in tried.replays:
        assert one.is_reconciled, one.entry
        assert one.result is not None and one.result.rows_landed == 0
    before = {(w.entry.entry_id, w.entry.record_count) for w in waiting(tried.setup)}
    assert sum(count for _, count in before) == sum(r.entry.record_count for r in tried.replays)
    assert {one.since for one in waiting(tried.setup)} == {NOW}


def rows_of_the_page() -> dict[str, str]:
    """Kind and rule of every row of the page's tables."""
    rows = re.findall(r"^\| (.+?) \| .+? \| (.+?) \| .+? \|$", PAGE.read_text(), re.M)
    return {kind.replace("\\|", "|"): rule.strip("`") for kind, rule in rows if kind != "Kind"}


def test_every_row_of_the_page_is_proved_and_every_proof_is_on_the_page():
    """Failing means that docs/bad_input.md promises what nobody tried, or leaves out what we know."""
    ours = {
        kind: case.rule or case.warned or "-"
        for cases in (bad_input.MESSAGES, bad_input.TABLE_ROWS, *(k for _, k in FILES.values()))
        for kind, case in cases.items()
    }
    told = rows_of_the_page()
    assert set(told) == set(ours) | set(ELSEWHERE)
    assert {kind: told[kind] for kind in ours} == ours
    for place in ELSEWHERE.values():
        file, _, test = place.partition("::")
        named = f"def {test}(" if file.endswith(".py") else f"- name: {test}\n"
        assert named in (Path(__file__).parent / file).read_text(), place


class NoRoom:
    """A disk that fills before its `last` sync, counted over all files."""

    def __init__(self, last: int | None) -> None:
        self.last, self.count, self.real = last, 0, os.fsync

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        if self.count == self.last:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.real(descriptor)


def test_a_disk_that_fills_at_any_moment_loses_and_doubles_nothing(
    new_setup: Callable[..., Setup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a full disk costs records, or that making room counts them twice."""
    sent = [Delivery("hl7", Path(name), DAY, data) for name, data in MESSAGES.items()]

    def outcome(setup: Setup) -> tuple[object, ...]:
        receipts, rejects = (setup.landing.read(name) for name in ("receipts", "rejects"))
        assert reconciliation_failures(receipts, rejects) == []
        kept = [(e.entry_id, setup.quarantine.payload(e)) for e in setup.quarantine.entries()]
        columns = ["file_name", "status", "rows_received", "rows_landed", "rows_rejected"]
        told = receipts.select(columns).sort("file_name").rows()
        return sorted(setup.landing.read("imaging_events")["event_id"]), kept, told

    undisturbed, syncs = new_setup(tmp_path / "undisturbed"), NoRoom(None)
    undisturbed.landing.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", syncs)
        harvest("hl7", sent, undisturbed, now=NOW)
    assert syncs.count >= 12
    # Each file is synced and then its folder: the moments before its name is there, and the last.
    for moment in (*range(1, syncs.count, 2), syncs.count):
        setup = new_setup(tmp_path / str(moment))
        setup.landing.prepare()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", NoRoom(moment))
            with pytest.raises(OSError, match=r"room left|No space left"):
                harvest("hl7", sent, setup, now=NOW)
        assert not list((tmp_path / str(moment)).rglob(".*.tmp")), "half a file stays"
        harvest("hl7", sent, setup, now=NOW + timedelta(hours=1))
        assert outcome(setup) == outcome(undisturbed)


def test_a_table_that_finds_no_room_is_named_and_leaves_the_old_one(tmp_path: Path):
    """Failing means that a full disk ends in a page of traceback, or in half a table."""
    path = tmp_path / "table.parquet"
    write_parquet(pl.DataFrame({"a": [1]}), path)
    (tmp_path / f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"no room left, table\.parquet could not be written"):
        write_parquet(pl.DataFrame({"a": range(10_000)}), path)
    assert pl.read_parquet(path)["a"].to_list() == [1]
    assert [one.name for one in tmp_path.iterdir()] == ["table.parquet"]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox" / "hl7" / DAY.isoformat()
    folder.mkdir(parents=True)
    return folder


def test_a_file_in_transfer_is_left_alone(inbox: Path):
    """Failing means that half a file is read, and the whole one later beside it."""
    for name in ("RMC_1.hl7.part", "RMC_1.hl7.tmp", "RMC_1.hl7.filepart", ".RMC_1.hl7"):
        (inbox / name).write_bytes(message(1))
    assert deliveries(inbox.parent.parent, "hl7") == []
    (inbox / "RMC_1.hl7.part").rename(inbox / "RMC_1.hl7")
    assert [one.name for one in deliveries(inbox.parent.parent, "hl7")] == ["RMC_1.hl7"]


def test_a_file_read_while_it_grows_counts_once_when_it_is_whole(
    inbox: Path, new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that a sender that does not rename makes its exams count twice."""
    whole = b"".join(message(number) for number in range(10))
    setup, path = new_setup(tmp_path), inbox / "RMC_1.hl7"
    # Cut within the header of the fifth message.
    path.write_bytes(b"".join(message(number) for number in range(4)) + message(4)[:40])
    first = harvest("hl7", deliveries(inbox.parent.parent, "hl7"), setup, now=NOW)
    assert (first.rows_landed, first.rows_rejected) == (4, 1)
    path.write_bytes(whole)
    second = harvest("hl7", deliveries(inbox.parent.parent, "hl7"), setup, now=NOW)
    assert (second.rows_landed, second.rows_rejected) == (10, 0)
    events = setup.landing.read("imaging_events")
    assert (len(events), events["event_id"].n_unique()) == (14, 10)


def test_what_lies_where_no_feed_looks_is_named(tmp_path: Path):
    """Failing means that a delivery in a misspelt folder waits for ever, and nobody is told."""
    root = tmp_path / "inbox"
    assert unread(root) == []
    day, secret = "2026-06-11", f"{SURNAME}.csv"
    lost = {
        f"ris_extracts/{day}/{secret}": ("ris_extracts", "do you mean ris_extract?"),
        f"hl7/{secret}": ("hl7", "outside the folders of the days"),
        secret: ("", "outside the folders of the feeds"),
        f"rota/{day}/sub/{secret}": (f"rota/{day}", "rota reads files only"),
        f"dicom/{day}/{secret}": (f"dicom/{day}", "named by their party"),
    }
    read = ("hl7/2026-06-11/a.hl7", "dicom/2026-06-11/RMC/a", "dicom/2026-06-11/RMC.zip")
    left = ("hl7/.hidden", "hl7/RMC.hl7.part", "dicom/2026-06-11/a.tmp")
    for name in (*lost, *read, *left):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    told = unread(root)
    assert len(told) == len(lost) and SURNAME not in "".join(told)
    for place, hint in lost.values():
        assert [line for line in told if line.startswith(f"{root / place}: ") and hint in line]


def test_a_folder_that_is_no_day_stops_the_run_by_name(inbox: Path):
    """Failing means that a misnamed folder is never read and nobody is told."""
    (inbox.parent / "june").mkdir()
    with pytest.raises(Problem, match="june"):
        deliveries(inbox.parent.parent, "hl7")
