"""The harvest as a whole: nothing lost, nothing twice, nothing readable by those who should not."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.feeds import FEEDS
from pipelines.harvest import (
    HarvestResult,
    Setup,
    dicom_delivery,
    feed_of,
    harvest,
    intake,
    prune_inbox,
    replay,
    unseen,
)
from pipelines.landing.pseudonymise import pseudonyms
from pipelines.landing.schema import landing_schema
from pipelines.network import Network
from pipelines.sources.hl7 import Feed, read_messages, split_messages
from pipelines.sources.inbox import FEED_KINDS, Delivery, deliveries
from pipelines.synthetic.faults import break_batch
from tests.pipelines.conftest import OTHER_SHAPES

NOW = datetime(2026, 4, 2, 6, tzinfo=UTC)
KINDS = [kind for kind in FEED_KINDS if kind not in OTHER_SHAPES]
SHEET = ".xlsx#"
NewSetup = Callable[..., Setup]
# Operational feeds; for some the rows of the truth that are sent.
TRUTHS = {
    "workforce": ("workforce", pl.lit(True)),
    "reporting_rota": ("reporting_rota", pl.lit(True)),
    "staff_survey": ("survey", pl.lit(True)),
    "outsourcing_invoices": ("invoices", pl.lit(True)),
    "storage": ("storage", pl.lit(True)),
    "contract_lines": ("contract_lines", pl.lit(True)),
    "admissions": ("admissions", pl.col("discharged_at").is_not_null()),
    "time_studies": ("time_studies", pl.lit(True)),
    "image_transfers": ("image_transfers", pl.lit(True)),
    "meeting_lists": ("meeting_patients", pl.lit(True)),
}
OPERATIONS = (*TRUTHS, "booking_diary")


@dataclass(frozen=True)
class Harvested:
    """The small network, harvested once; tests only read it."""

    folder: Path
    inbox: Path
    setup: Setup
    results: dict[str, HarvestResult]

    def dirt(self) -> dict[str, dict[str, int]]:
        return json.loads((self.inbox.parent / "truth" / "dirt.json").read_text())


@pytest.fixture(scope="module")
def harvested(
    delivered: Path, new_setup: NewSetup, tmp_path_factory: pytest.TempPathFactory
) -> Harvested:
    folder = tmp_path_factory.mktemp("harvested")
    inbox, setup = delivered / "inbox", new_setup(folder)
    results = {kind: harvest(kind, deliveries(inbox, kind), setup, now=NOW) for kind in KINDS}
    return Harvested(folder, inbox, setup, results)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_received_is_landed_or_rejected(harvested: Harvested, kind: str):
    """Failing means that records vanish between the inbox and the warehouse."""
    result = harvested.results[kind]
    assert result.rows_received == result.rows_landed + result.rows_rejected > 0
    assert result.files_refused == 0
    receipts = harvested.setup.landing.receipts().filter(
        # the sheets of workbooks are further deliveries of their kinds
        (pl.col("feed_kind") == kind) & ~pl.col("file_name").str.contains(SHEET, literal=True)
    )
    assert receipts["rows_received"].sum() == result.rows_received
    rejects = harvested.setup.landing.read("rejects").filter(pl.col("feed_kind") == kind)
    assert len(rejects) == result.rows_rejected == sum(result.rejects_by_rule.values())
    table = harvested.setup.landing.read(FEEDS[kind].landing_table)
    mine = table.filter(pl.col("source_sha").is_in(receipts["source_sha"].to_list()))
    assert len(mine) == result.rows_written


def test_all_that_lies_in_the_inbox_is_received(harvested: Harvested):
    """Failing means that a part of a file is never counted."""
    lines = sum(
        len(path.read_bytes().splitlines()) - 1 for path in harvested.inbox.glob("ris_extract/*/*")
    )
    assert harvested.results["ris_extract"].rows_received == lines
    messages = 0
    for path in harvested.inbox.glob("hl7/*/*"):
        data = path.read_bytes()
        messages += len(re.findall(rb"(?:^|\r)MSH\|", data)) + (not data.startswith(b"MSH"))
    assert harvested.results["hl7"].rows_received == messages
    files = sum(path.is_file() for path in harvested.inbox.glob("dicom/**/*"))
    copies = harvested.dirt()["dicom"]["resent_copy"]
    assert harvested.results["dicom"].rows_received == files - copies


@pytest.mark.parametrize("kind", OPERATIONS)
def test_every_row_of_the_operational_feeds_lands_as_it_happened(harvested: Harvested, kind: str):
    """Failing means that staff, money or images after the exam are lost, or counted twice."""
    files = list(harvested.inbox.glob(f"{kind}/*/*.csv"))
    contents = {path.read_bytes() for path in files}
    sent = sum(len(content.splitlines()) - 1 for content in contents)
    landed = harvested.setup.landing.read(kind)
    receipts = harvested.setup.landing.receipts().filter(pl.col("feed_kind") == kind)
    sheets = receipts.filter(pl.col("file_name").str.contains(SHEET, literal=True))
    assert harvested.results[kind].rows_rejected == 0
    assert landed.height == sent + sheets["rows_landed"].sum()
    if kind in TRUTHS:
        name, wanted = TRUTHS[kind]
        truth = pl.read_parquet(harvested.inbox.parent / "truth" / f"{name}.parquet")
        # a charge made twice and its credit note are lines that nobody ordered
        planted = harvested.dirt().get(kind, {})
        more = sum(planted.get(fault, 0) for fault in ("charged_again", "credit_note"))
        more += planted.get("duplicate_line", 0)
        assert landed.height == truth.filter(wanted).height + more


def test_workbooks_bring_every_row_they_hold(harvested: Harvested):
    """Failing means that the months of the parties without a system are missing."""
    landing = harvested.setup.landing
    stated = landing.read("monthly_workbook")
    assert stated["row_count"].sum() > 0
    receipts = landing.receipts().filter(pl.col("file_name").str.contains(SHEET, literal=True))
    assert len(receipts) == len(stated)
    assert receipts["rows_landed"].sum() == stated["row_count"].sum()
    assert set(receipts["feed_id"].str.slice(-3)) == {"RBV", "RMP"}


def test_identities_of_meetings_transfers_and_admissions_meet_those_of_the_exams(
    harvested: Harvested,
):
    """Failing means that a case or a bed day cannot be joined to its exam, or can be read."""
    landing = harvested.setup.landing
    events = landing.read("imaging_events")
    accessions, patients = set(events["accession"]), set(events["patient_key"])
    nhs = set(events["nhs_key"])
    for kind in ("meeting_lists", "image_transfers"):
        rows = landing.read(kind)
        assert set(rows["accession_number"]) & accessions
        assert set(rows["nhs_number"].drop_nulls()) & nhs
        assert rows["accession_number"].str.contains("^[0-9a-f]{32}$").all()
    admitted = landing.read("admissions")
    assert set(admitted["patient_id"]) & patients
    assert admitted["admission_id"].str.contains("^[0-9a-f]{32}$").all()


def test_exactly_the_known_faults_are_rejected(harvested: Harvested):
    """Failing means that good records are refused or bad ones land."""
    dirt, results = harvested.dirt(), harvested.results
    extract = dirt["ris_extract"]
    assert results["ris_extract"].rejects_by_rule == {
        rule: extract[kind]
        for rule, kind in (
            ("accession_number_is_given", "missing_accession"),
            ("started_at_is_a_timestamp", "unparseable_date"),
            ("started_at_is_not_in_the_future", "started_in_future"),
            ("exam_code_is_given", "missing_exam_code"),
            ("priority_is_given", "missing_priority"),
            ("source_setting_is_given", "missing_source_setting"),
            ("site_code_is_given", "missing_site"),
        )
        if kind in extract
    }
    assert results["hl7"].rejects_by_rule == {
        "has_message_header": dirt["hl7"]["no_msh"],
        "message_code_is_given": dirt["hl7"]["truncated_message"],
        "message_is_for_production": dirt["hl7"]["test_message"],
    }
    damaged = sum(n for kind, n in dirt["dicom"].items() if kind.startswith("damaged"))
    assert results["dicom"].rejects_by_rule == {"header_is_readable": damaged}


def test_survivable_faults_land_and_are_marked(harvested: Harvested):
    """Failing means that data quality counts something else than what is wrong."""
    events = harvested.setup.landing.read("imaging_events").filter(
        (pl.col("source_kind") == "csv") & (pl.col("event_type") == "order_placed")
    )
    extract = harvested.dirt()["ris_extract"]
    # One row per exam here; copies of a row share their event.
    exams = events.unique("event_id")
    assert len(events) - len(exams) == extract["exact_duplicate_row"]
    assert (exams["nhs_number_valid"] == False).sum() == extract["nhs_number_invalid"]  # noqa: E712
    assert exams["nhs_number_valid"].null_count() == extract["nhs_number_missing"]
    assert (exams["proc_code"] == "ZZQ99").sum() == extract["unknown_exam_code"]


def test_every_exam_of_the_truth_has_landed(harvested: Harvested):
    """Failing means that exams are lost or invented."""
    truth = pl.read_parquet(harvested.inbox.parent / "truth" / "exams.parquet")
    events = harvested.setup.landing.read("imaging_events")
    done = events.filter(pl.col("event_type") == "exam_completed")
    expected = truth.filter(pl.col("completed_at").is_not_null() & ~pl.col("is_refused"))
    # An accession number is unique within its issuer only.
    assert done["exam_key"].n_unique() == len(expected)


def test_a_second_harvest_lands_nothing(harvested: Harvested):
    """Failing means that every night counts everything again."""
    before = harvested.setup.landing.file_names()
    for kind in KINDS:
        waiting = deliveries(harvested.inbox, kind)
        assert unseen(kind, waiting, harvested.setup) == []
        again = harvest(kind, waiting, harvested.setup, now=NOW + timedelta(days=1))
        assert (again.rows_received, again.rows_written) == (0, 0)
        assert again.files_known == len(waiting)
    assert harvested.setup.landing.file_names() == before


def test_messages_sent_again_in_another_file_add_no_event(
    harvested: Harvested, new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a replay by the engine counts everything twice."""
    source = max(harvested.inbox.glob("hl7/*/RMC_*.hl7"), key=lambda p: p.stat().st_size)
    text = source.read_bytes().decode()
    again = re.sub(
        r"(?m)(MSH(?:\|[^|]*){5}\|)\d+(\|[^|]*\|[^|]*\|)", r"\g<1>20260331235900\g<2>A", text
    )
    assert again != text
    setup = new_setup(tmp_path)
    for number, content in enumerate((text, again)):
        day = tmp_path / "inbox" / "hl7" / f"2026-03-3{number}"
        day.mkdir(parents=True)
        (day / source.name).write_text(content, newline="")
    harvest("hl7", deliveries(tmp_path / "inbox", "hl7"), setup, now=NOW)
    events = setup.landing.read("imaging_events")
    # A message may repeat what an earlier one of its file said: ids are compared as sets.
    told = [set(rows["event_id"]) for _, rows in events.group_by("source_sha")]
    assert len(told) == 2
    assert told[0] == told[1]
    assert events.group_by("source_sha").len()["len"].n_unique() == 1
    assert len(told[0]) > 5


def identities(inbox: Path) -> dict[str, set[str]]:
    """Every identity that was delivered, by kind."""
    found: dict[str, set[str]] = {}
    for path in inbox.glob("ris_extract/*/*.csv"):
        rows = pl.read_csv(path, infer_schema=False)
        for column in (
            "nhs_number",
            "patient_id",
            "birth_date",
            "postcode",
            "accession_number",
            "study_instance_uid",
            "referrer_code",
            "reporter_code",
            "radiographer_code",
        ):
            found.setdefault(column, set()).update(rows[column].drop_nulls())
    for path in inbox.glob("hl7/*/*.hl7"):
        rows = read_messages(path.read_bytes(), feed="x").rows
        for column in (
            "nhs_number",
            "patient_id",
            "accession",
            "placer_id",
            "appointment_id",
            "study_uid",
            "report_text",
            "birth_date",
        ):
            found.setdefault(column, set()).update(rows[column].drop_nulls())
        for name in re.findall(rb"\rPID\|[^|]*\|[^|]*\|[^|]*\|[^|]*\|([^|^]+)", path.read_bytes()):
            found.setdefault("name", set()).add(name.decode())
    return found


def test_no_identity_is_in_any_byte_that_was_written(harvested: Harvested):
    """Failing means that a patient or member of staff can be read off the disk."""
    raw = identities(harvested.inbox)
    assert all(len(raw[kind]) > 20 for kind in ("nhs_number", "patient_id", "name", "report_text"))
    values = {
        v for kind, found in raw.items() for v in found if len(v) > 5 and kind != "birth_date"
    }
    # A birth date as a header or message writes it can also be the date of an exam: values only
    # of columns that hold no other date.
    births = raw["birth_date"]
    allowed = re.compile(rb"[A-Za-z0-9.]{6,}")
    for path in harvested.folder.rglob("*"):
        if not path.is_file():
            continue
        words = {word.decode() for word in allowed.findall(path.read_bytes())}
        assert not words & values, path
        if path.suffix != ".parquet":
            continue
        frame = pl.read_parquet(path)
        for column in frame.select(pl.col(pl.String)).iter_columns():
            here = set(column.drop_nulls())
            assert not here & values, (path, column.name)
            if not column.name.endswith(("_raw", "_date")):
                assert not here & births, (path, column.name)


def test_report_text_and_names_are_in_no_landed_value(harvested: Harvested):
    """Failing means that a word of a report or a surname is on disk."""
    raw = identities(harvested.inbox)
    lines = {line for text in raw["report_text"] for line in text.split("\n") if len(line) > 12}
    needles = [n.lower() for n in lines | raw["name"]]
    for table in ("imaging_events", "dicom_headers", "rejects", "receipts"):
        frame = harvested.setup.landing.read(table)
        text = "\n".join(
            str(value).lower()
            for column in frame.select(pl.col(pl.String)).iter_columns()
            for value in column.drop_nulls().unique()
        )
        assert not [needle for needle in needles if needle in text]


def test_landed_files_have_the_shape_of_their_contracts(harvested: Harvested):
    """Failing means that the warehouse reads another table than the contract promises."""
    for table, contract in harvested.setup.landing.tables.items():
        for path in (harvested.setup.landing.root / table).glob("*.parquet"):
            assert pl.read_parquet_schema(path) == landing_schema(contract)


def test_images_and_messages_meet_on_study_patient_and_accession(harvested: Harvested):
    """Failing means that no image is ever linked to its exam."""
    headers = harvested.setup.landing.read("dicom_headers")
    events = harvested.setup.landing.read("imaging_events")
    for theirs, ours in (
        ("study_instance_uid", "study_uid"),
        ("accession_number", "accession"),
        ("patient_id", "patient_key"),
    ):
        known = headers[theirs].is_in(events[ours].drop_nulls().unique().to_list())
        assert known.mean() > 0.95, theirs


def one_feed(
    new_setup: NewSetup, folder: Path, delivered: Path, kind: str = "ris_extract"
) -> tuple[Path, Setup]:
    """Inbox of its own with the good deliveries of one party, nothing harvested yet."""
    inbox = folder / "inbox"
    for path in (delivered / "inbox" / kind).glob("*/*RMC*"):
        target = inbox / path.relative_to(delivered / "inbox")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return inbox, new_setup(folder)


FAULTS = {
    ("ris_extract", "missing_column"): "has_all_columns",
    ("ris_extract", "wrong_type"): "requested_at_is_a_timestamp",
    ("ris_extract", "future_dates"): "started_at_is_not_in_the_future",
    ("hl7", "missing_column"): "subject_id_is_given",
    ("hl7", "wrong_type"): "event_time_is_readable",
    ("hl7", "future_dates"): "event_is_not_in_the_future",
}


@pytest.mark.parametrize(("feed", "kind"), FAULTS)
def test_a_broken_delivery_is_refused_with_contract_rule_and_count(
    feed: str, kind: str, new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that a broken delivery lands, or that nobody is told why it does not."""
    inbox, setup = one_feed(new_setup, tmp_path, delivered, feed)
    if feed == "hl7":
        # A day busy enough for more faults than the few that are tolerated.
        texts = [p.read_bytes() for p in sorted(delivered.glob("inbox/hl7/*/*.hl7"))]
        busy = inbox / "hl7" / "2026-03-31" / "RMC_20260331.hl7"
        busy.parent.mkdir(exist_ok=True)
        busy.write_bytes(b"".join(texts))
    path = break_batch(kind, inbox, feed=feed)
    result = harvest(feed, [Delivery(feed, path, date(2026, 4, 1))], setup, now=NOW)
    assert (result.files_refused, result.files_landed, result.rows_landed) == (1, 0, 0)
    assert result.rows_received == result.rows_rejected > 0
    (failure,) = result.failures
    assert failure.contract == {"hl7": "hl7_messages"}.get(feed, feed)
    assert (failure.rule, failure.file_name) == (FAULTS[feed, kind], path.name)
    assert 5 < failure.count <= result.rows_received
    assert path.name in failure.message and "--replay" in failure.message
    assert setup.landing.read("imaging_events").is_empty()
    (entry,) = [e for e in setup.quarantine.entries(state="open") if e.scope == "file"]
    assert setup.quarantine.payload(entry) == path.read_bytes()


def test_a_feed_that_is_not_registered_is_refused(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that a misnamed file lands under no party, and its patients without issuer."""
    inbox, setup = one_feed(new_setup, tmp_path, delivered)
    stray = inbox / "ris_extract" / "2026-01-07" / "ris_extract_XYZ.csv"
    (inbox / "ris_extract" / "2026-01-07" / "ris_extract_RMC.csv").rename(stray)
    stray.write_bytes(stray.read_bytes() + b"\n")
    source = next((delivered / "inbox").glob("dicom/*/RMC"))
    folder = inbox / "dicom" / source.parent.name / "XYZ"
    shutil.copytree(source, folder)
    for kind, path in (("ris_extract", stray), ("dicom", folder)):
        day = date.fromisoformat(path.parent.name)
        result = harvest(kind, [Delivery(kind, path, day)], setup, now=NOW)
        assert [f.rule for f in result.failures] == ["feed_is_registered"]
        assert (result.rows_landed, result.rows_received) == (0, result.rows_rejected)
        assert "XYZ" in result.failures[0].message
    assert setup.landing.read("dicom_headers").is_empty()


def test_a_folder_given_by_hand_belongs_to_no_feed_and_still_lands(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that nobody can try the reader on a folder of images."""
    folder = tmp_path / "export"
    shutil.copytree(next((delivered / "inbox").glob("dicom/*/RMC")), folder)
    setup = new_setup(tmp_path)
    result = harvest("dicom", [dicom_delivery(folder, date(2026, 4, 1))], setup, now=NOW)
    assert result.rows_landed > 0
    assert set(setup.landing.receipts()["feed_id"]) == {"dicom"}


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("ris_extract", "ris_extract_RMC.csv", ("ris_extract_RMC", "RMC")),
        ("hl7", "RBV_20260107.hl7", ("hl7_RBV", "RBV")),
        ("hl7", "20260107-RBV.hl7", ("hl7_RBV", "RBV")),
        ("dicom", "RW6", ("dicom_RW6", "RW6")),
        ("unit_costs", "anything.csv", ("unit_costs", None)),
        ("hl7", "RBVX_20260107.hl7", (None, None)),
        ("rota", "rota.csv", (None, None)),
    ],
)
def test_the_feed_is_found_by_the_party_in_the_name(
    network: Network, kind: str, name: str, expected: tuple[str | None, str | None]
):
    """Failing means that one party's exams are counted for another."""
    assert feed_of(Delivery(kind, Path(name), date(2026, 1, 7)), network) == expected


def test_two_feeds_of_one_sender_do_not_double_its_messages(
    network: Network, new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that registering a replay feed counts every message twice."""
    more = network.feeds.filter(pl.col("feed_id") == "hl7_RMC").with_columns(
        feed_id=pl.lit("hl7_replay_RMC")
    )
    feeds = pl.concat([network.feeds, more])
    path = max((delivered / "inbox").glob("hl7/*/RMC_*.hl7"), key=lambda p: p.stat().st_size)
    setups = (
        new_setup(tmp_path / "a"),
        new_setup(tmp_path / "b", network=replace(network, feeds=feeds)),
    )
    counts = [
        harvest("hl7", [Delivery("hl7", path, date(2026, 3, 1))], setup, now=NOW).rows_written
        for setup in setups
    ]
    assert counts[0] == counts[1] > 0


def test_a_batch_of_fewer_messages_than_its_trailer_states_is_refused(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that a file that broke off on its way passes for a quiet day."""
    path = max((delivered / "inbox").glob("hl7/*/RMC_*.hl7"), key=lambda p: p.stat().st_size)
    data = path.read_bytes()
    setup = new_setup(tmp_path)
    count = len(split_messages(data))
    for stated in (count + 1, count):
        batch = tmp_path / "inbox" / "hl7" / "2026-03-01" / f"RMC_{stated}.hl7"
        batch.parent.mkdir(parents=True, exist_ok=True)
        batch.write_bytes(b"BHS|^~\\&|RIS\r" + data + b"BTS|%d\r" % stated)
        result = harvest("hl7", [Delivery("hl7", batch, date(2026, 3, 1))], setup, now=NOW)
        assert result.rows_received == count
        rules = [failure.rule for failure in result.failures]
        assert rules == (["batch_count_agrees"] if stated > count else [])


def test_a_feed_file_changes_what_its_own_sender_lands_and_nobody_else(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that the quirk of one sender is read into the messages of another."""
    # Rule 10 is the new order.
    feed = Feed("hl7_RMC", events={10: None})
    kept = {}
    for name, feeds in (("plain", {}), ("quirk", {"hl7_RMC": feed})):
        setup = replace(new_setup(tmp_path / name), hl7_feeds=feeds)
        harvest("hl7", deliveries(delivered / "inbox", "hl7"), setup, now=NOW)
        landed = setup.landing.read("imaging_events").filter(pl.col("event_type") == "order_placed")
        kept[name] = dict(landed.group_by("feed_id").len().iter_rows())
    assert kept["plain"].pop("hl7_RMC") > kept["quirk"].pop("hl7_RMC", 0)
    assert kept["plain"] == kept["quirk"] != {}


def broken_rows(inbox: Path, mend: bool = False) -> Path:
    """A file of 400 good rows and three with a sex that is no code (which is tolerated)."""
    source = inbox / "ris_extract" / "2026-01-07" / "ris_extract_RMC.csv"
    rows = pl.read_csv(source, infer_schema=False).filter(
        pl.col("accession_number").is_not_null(), pl.col("started_at").is_null()
    )
    rows = rows.head(40).with_columns(
        sex=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("1" if mend else "M")).otherwise("sex")
    )
    target = inbox / "ris_extract" / "2026-02-01" / "ris_extract_RMC.csv"
    target.parent.mkdir(exist_ok=True)
    rows.write_csv(target)
    return target


def test_rejected_records_are_never_lost_however_often_they_are_replayed(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that a replay before the cause is mended deletes the records."""
    inbox, setup = one_feed(new_setup, tmp_path, delivered)
    path = broken_rows(inbox)
    first = harvest(
        "ris_extract", [Delivery("ris_extract", path, date(2026, 2, 1))], setup, now=NOW
    )
    assert first.rejects_by_rule == {"sex_is_a_known_code": 3}
    for attempt in (1, 2):
        (entry,) = setup.quarantine.entries(state="open")
        later = NOW + timedelta(hours=attempt)
        result = replay(entry, setup, now=later)
        assert (result.rows_landed, result.rows_rejected) == (0, 3)
        assert result.files_refused == 0
    (entry,) = setup.quarantine.entries(state="open")
    assert setup.quarantine.payload(entry).count(b"\n") == 4


def test_a_replay_after_mending_lands_the_records_and_closes_the_entry(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that mended records stay out, or that the gate never opens again."""
    inbox, setup = one_feed(new_setup, tmp_path, delivered)
    path = broken_rows(inbox)
    harvest("ris_extract", [Delivery("ris_extract", path, date(2026, 2, 1))], setup, now=NOW)
    (entry,) = setup.quarantine.entries(state="open")
    contract = setup.inbound["ris_extract"]
    rules = tuple(rule for rule in contract.rules if rule.name != "sex_is_a_known_code")
    mended = replace(setup, inbound=setup.inbound | {"ris_extract": replace(contract, rules=rules)})
    result = replay(entry, mended, now=NOW + timedelta(hours=1))
    assert (result.rows_landed, result.rows_rejected) == (3, 0)
    assert [e.state for e in setup.quarantine.entries() if e.entry_id == entry.entry_id] == [
        "replayed"
    ]
    assert setup.quarantine.entries(state="open") == []
    assert result.rows_written > 0
    receipt = setup.landing.receipts().sort("landed_at").tail(1).row(0, named=True)
    assert receipt["replay_of"] == entry.source_sha


def test_rejected_messages_without_a_header_can_be_replayed(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that set-aside messages run into each other."""
    good = max((delivered / "inbox").glob("hl7/*/RMC_*.hl7"), key=lambda p: p.stat().st_size)
    message = good.read_bytes()
    frames = [message, b"PID|1||1\rOBR|1\r", b"MSH|^~\\&|RIS|RMC\r", b"PID|1||2\rOBR|1\r"]
    path = tmp_path / "RMC_20260401.hl7"
    path.write_bytes(b"".join(b"\x0b" + frame + b"\x1c\r" for frame in frames))
    setup = new_setup(tmp_path)
    first = harvest("hl7", [Delivery("hl7", path, date(2026, 4, 1))], setup, now=NOW)
    assert first.rows_rejected == 3
    (entry,) = setup.quarantine.entries(state="open")
    again = replay(entry, setup, now=NOW + timedelta(hours=1))
    assert (again.rows_received, again.rows_rejected) == (3, 3)
    assert again.rejects_by_rule == first.rejects_by_rule


def test_images_that_break_a_rule_are_kept_by_path_and_replayed_for_their_party(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that rejected images are forgotten, or land as another issuer's patients."""
    source = max(
        (delivered / "inbox").glob("dicom/*/R*"), key=lambda p: len(list(p.rglob("*.dcm")))
    )
    folder = tmp_path / "inbox" / "dicom" / source.parent.name / source.name
    shutil.copytree(source, folder)
    day = date.fromisoformat(source.parent.name)
    expected = new_setup(tmp_path / "whole")
    harvest("dicom", [Delivery("dicom", folder, day)], expected, now=NOW)
    setup = new_setup(tmp_path / "early")
    # Seen ten days early, every acquisition lies in the future.
    early = harvest("dicom", [Delivery("dicom", folder, day - timedelta(days=10))], setup, now=NOW)
    assert early.rows_rejected == early.rows_received and not early.rows_written
    entry = setup.quarantine.entries(state="open")[0]
    assert len(json.loads(setup.quarantine.payload(entry))) == early.rows_received
    again = harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW + timedelta(hours=1))
    assert again.rows_received == 0, "known rejects are not counted twice"
    result = replay(replace(entry, delivered_on=str(day)), setup, now=NOW)
    assert result.rows_landed == early.rows_received - result.rows_rejected > 0
    columns = ["sop_instance_uid", "patient_id", "feed_id"]
    landed = setup.landing.read("dicom_headers").select(columns).sort("sop_instance_uid")
    whole = expected.landing.read("dicom_headers").select(columns).sort("sop_instance_uid")
    assert landed.equals(whole)


def test_only_what_has_landed_long_enough_ago_is_deleted_from_the_inbox(
    new_setup: NewSetup, delivered: Path, tmp_path: Path
):
    """Failing means that a delivery is deleted before it has landed, or identities stay for good."""
    inbox, setup = one_feed(new_setup, tmp_path, delivered)
    harvest("ris_extract", deliveries(inbox, "ris_extract"), setup, now=NOW)
    landed = inbox / "ris_extract" / "2026-01-07" / "ris_extract_RMC.csv"
    copy = inbox / "ris_extract" / "2026-01-08" / "ris_extract_RMC.csv"
    copy.parent.mkdir()
    shutil.copy(landed, copy)
    refused = break_batch("missing_column", inbox)
    harvest("ris_extract", [Delivery("ris_extract", refused, date(2026, 4, 1))], setup, now=NOW)
    week = timedelta(days=7)

    def prune(later: timedelta) -> set[Path]:
        waiting = deliveries(inbox, "ris_extract")
        return set(prune_inbox(waiting, setup, retention=week, now=NOW + later))

    assert prune(timedelta(days=6)) == set()
    assert prune(timedelta(days=8)) == {landed, copy}
    assert refused.exists() and not landed.exists()
    # The same name on the same day again, but not yet harvested.
    landed.write_text("new bytes")
    assert prune(timedelta(days=9)) == set()
    assert landed.exists()


def test_a_harvest_in_two_parts_lands_what_one_harvest_lands(
    harvested: Harvested, new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a result depends on how often the harvest is run."""
    setup = new_setup(tmp_path)
    waiting = deliveries(harvested.inbox, "hl7")
    for part in (waiting[60:], waiting[:60]):
        harvest("hl7", part, setup, now=NOW)
    ours = harvested.setup.landing.read("imaging_events").filter(pl.col("source_kind") == "hl7v2")
    keys = ["source_sha", "message_id", "obr_set", "seq"]
    assert setup.landing.read("imaging_events").sort(keys).equals(ours.sort(keys))
    names = {n for n in harvested.setup.landing.file_names() if n.startswith("imaging_events")}
    assert {n for n in setup.landing.file_names() if n.startswith("imaging_events")} <= names


def test_a_series_list_lands_under_the_keys_of_the_headers(new_setup: NewSetup, tmp_path: Path):
    """Failing means that a listed series is not the one whose headers are read later."""
    path = tmp_path / "series_RMC.csv"
    path.write_text(
        "study_instance_uid,series_instance_uid,accession_number,patient_id,modality,station_name,"
        "device_serial_number,station_ae_title,number_of_series_related_instances,"
        "first_acquired_at,last_acquired_at\n"
        "1.2.3,1.2.3.4,A1,H1,CT,RMC01CT1,SN1,AE1,200,2026-01-07 08:10:00,2026-01-07 08:14:02.250\n"
        "1.2.3,1.2.3.5,A1,H1,CT,RMC01CT1,SN1,AE1,many,2026-01-07 08:10:00,\n"
    )
    setup = new_setup(tmp_path / "home")
    result = harvest(
        "dicom_series", [Delivery("dicom_series", path, date(2026, 4, 1))], setup, now=NOW
    )
    assert (result.rows_landed, result.rows_rejected, result.files_refused) == (1, 1, 0)
    (landed,) = setup.landing.read("dicom_series").to_dicts()
    key = setup.keys.pseudonym
    expected = {
        "series_instance_uid": ("series", "1.2.3.4"),
        "study_instance_uid": ("study", "1.2.3"),
        "accession_number": ("accession", "A1"),
        "patient_id": ("patient", "RMC|H1"),
    }
    for column, (domain, value) in expected.items():
        assert landed[column] == pseudonyms(pl.Series([value]), domain, key)[0], column
    assert landed["feed_id"] == "dicom_RMC"
    assert landed["number_of_series_related_instances"] == 200
    assert landed["last_acquired_at_utc"] == datetime(2026, 1, 7, 8, 14, 2, 250_000, tzinfo=UTC)


def test_groups_of_deliveries_give_what_one_harvest_of_all_gives(
    harvested: Harvested, new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that bounding the memory of a harvest changes what it lands."""
    monkeypatch.setattr(intake, "GROUP_BYTES", 1)
    setup = new_setup(tmp_path)
    waiting = deliveries(harvested.inbox, "ris_extract")
    found = harvest("ris_extract", waiting, setup, now=NOW)
    together = harvested.results["ris_extract"]
    assert replace(found, quarantined=()) == replace(together, quarantined=())
    landed, expected = (
        s.landing.read("imaging_events")
        .filter(pl.col("source_kind") == "csv")
        .sort("source_sha", "seq", "event_id")
        for s in (setup, harvested.setup)
    )
    assert landed.equals(expected)


def test_an_empty_file_of_one_party_or_day_is_not_that_of_another(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that an export that fails at two parties is told of one."""
    setup = new_setup(tmp_path)
    sent = [
        Delivery("ris_extract", Path(f"ris_extract_{party}.csv"), day, b"")
        for party in ("RMC", "RBV")
        for day in (date(2026, 3, 1), date(2026, 3, 2))
    ]
    assert harvest("ris_extract", sent, setup, now=NOW).files_refused == 4
    assert harvest("ris_extract", sent, setup, now=NOW).files_known == 4
    kept = setup.quarantine.entries(state="open")
    assert {(e.file_name, e.delivered_on) for e in kept} == {
        (one.name, one.delivered_on.isoformat()) for one in sent
    }
    (again,) = [replay(e, setup, now=NOW + timedelta(hours=1)) for e in kept[:1]]
    assert again.quarantined == (kept[0].entry_id,)
    assert len(setup.quarantine.entries(state="open")) == 4


def test_an_empty_list_of_one_party_is_not_that_of_another(new_setup: NewSetup, tmp_path: Path):
    """Failing means that a party which says that nothing happened is called silent."""
    setup = new_setup(tmp_path)
    contract = setup.inbound["meeting_lists"]
    heading = (",".join(contract.column_names()) + "\n").encode()
    sent = [
        Delivery("meeting_lists", Path(f"meeting_lists_{party}.csv"), day, heading)
        for party in ("RMC", "RBV")
        for day in (date(2026, 3, 1), date(2026, 4, 1))
    ]
    first = harvest("meeting_lists", sent, setup, now=NOW)
    assert (first.files_landed, first.rows_received) == (4, 0)
    assert harvest("meeting_lists", sent, setup, now=NOW).files_known == 4
    receipts = setup.landing.receipts()
    assert receipts["source_sha"].n_unique() == 4
    assert set(receipts["feed_id"]) == {"meeting_lists_RMC", "meeting_lists_RBV"}
