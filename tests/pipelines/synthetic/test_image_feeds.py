"""What trusts send of images after the exam: audit messages, transfers and meeting lists."""

import base64
import re
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from pipelines.network import Network
from pipelines.sources.inbox import FEED_KINDS, deliveries
from pipelines.synthetic import audit_xml, image_transfers, meetings
from pipelines.synthetic.calendar import day_number
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.image_sharing import simulate_sharing, write_feeds
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.worlds import World
from tests.invented_images import FEEDS, PERIOD, Shared, Written, invented_exams, shared
from tests.pipelines.conftest import OTHER_SHAPES

LINE = re.compile(
    r"<85>1 (?P<sent>\S+) (?P<host>\S+) \S+ - (?P<kind>\S+) - (?P<mark>\ufeff?)(?P<xml>.*)"
)


def lines_by_party(inbox: Path) -> list[tuple[str, str, re.Match[str]]]:
    """File, party and parts of each line that was delivered."""
    found = []
    for file in sorted(inbox.glob(f"{audit_xml.FEED}/*/*.log")):
        for line in file.read_bytes().decode("utf-8").split("\n")[:-1]:
            match = LINE.fullmatch(line)
            assert match, line[:120]
            found.append((str(file.relative_to(inbox)), file.name[:3], match))
    return found


def is_well_formed(xml: str) -> bool:
    try:
        ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return False
    return True


def named(message: ElementTree.Element) -> dict[str, str]:
    """Study and patient of a message by type code of the object."""
    return {
        one.attrib["ParticipantObjectTypeCode"]: one.attrib["ParticipantObjectID"]
        for one in message.iter("ParticipantObjectIdentification")
    }


def test_every_audit_message_names_study_and_patient_in_both_dialects(written: Written):
    """Failing means that views cannot be joined to exams."""
    exams = written.told("exams").filter(pl.col("completed_at").is_not_null())
    # Two exams of one scan share a study.
    accessions, patients = defaultdict(set), {}
    for study, accession, patient, party in exams.select(
        "study_instance_uid", "accession_number", "patient_id", "party_code"
    ).iter_rows():
        accessions[study].add(accession)
        patients[study] = f"{patient}^^^{party}"
    dialects = Counter()
    for _, party, line in lines_by_party(written.inbox):
        if not is_well_formed(line["xml"]):
            continue
        message = ElementTree.fromstring(line["xml"])
        is_dicom = written.parties.index(party) % 2 == 0
        code = message.find("EventIdentification/EventID").attrib
        used = {key for element in message.iter() for key in element.attrib}
        assert ("csd-code" in used, "code" in used) == (is_dicom, not is_dicom)
        if code["csd-code" if is_dicom else "code"] == "110112":
            continue
        objects = named(message)
        assert objects["1"] == patients[objects["2"]] or re.fullmatch("999[0-9]{7}", objects["1"])
        told = [one.attrib["Number"] for one in message.iter("Accession")]
        assert len(told) == is_dicom and set(told) <= accessions[objects["2"]]
        datetime.fromisoformat(message.find("EventIdentification").attrib["EventDateTime"])
        dialects[is_dicom, line["mark"] != ""] += 1
    assert {key[0] for key in dialects} == {True, False}
    assert min(dialects.values()) > 10


def test_spoiled_and_repeated_audit_messages_are_counted(written: Written):
    """Failing means that a test cannot say how many messages a reader has to refuse."""
    delivered = Counter((file, line["xml"]) for file, _, line in lines_by_party(written.inbox))
    broken = {key: n for key, n in delivered.items() if not is_well_formed(key[1])}
    dirt = written.dirt()
    assert set(dirt) == {"repeated_message", "truncated_message", "unescaped_text"}
    cut = sum(n for (_, xml), n in broken.items() if not xml.endswith("</AuditMessage>"))
    assert cut == dirt["truncated_message"]
    assert sum(broken.values()) - cut == dirt["unescaped_text"]
    again = sum(n - 1 for key, n in delivered.items() if key not in broken)
    assert again == dirt["repeated_message"]


def test_every_view_of_the_live_weeks_is_in_the_audit(written: Written):
    """Failing means that a perfect reader would count other views than the truth."""
    period = Period.of(date(2021, 2, 1), 8)
    cutoff = datetime.fromtimestamp(period.cutoff, UTC)
    studies = written.told("exams").select("exam_no", "study_instance_uid")
    views = written.told("image_views").filter(pl.col("viewed_at") >= cutoff)
    views = views.join(studies, on="exam_no", how="left")
    told, seconds = set(), {}
    for _, _, line in lines_by_party(written.inbox):
        if not is_well_formed(line["xml"]):
            continue
        message = ElementTree.fromstring(line["xml"])
        event = message.find("EventIdentification").attrib
        at = datetime.fromisoformat(event["EventDateTime"]).astimezone(UTC).replace(microsecond=0)
        for person in message.iter("ActiveParticipant"):
            if person.attrib["UserTypeCode"] != "1":
                continue
            key = (person.attrib["UserID"], named(message)["2"], at)
            told.add((*key, event["EventOutcomeIndicator"] != "0"))
            for detail in message.iter("ParticipantObjectDetail"):
                seconds[key] = float(base64.b64decode(detail.attrib["value"]))
    names = ("staff_code", "study_instance_uid", "viewed_at")
    assert set(views.select(*names, "launch_failed").iter_rows()) <= told
    timed = views.filter(pl.col("seconds_to_first_image").is_not_null())
    assert views.height > timed.height > 50
    expected = {
        row[:3]: row[3] for row in timed.select(*names, "seconds_to_first_image").iter_rows()
    }
    assert seconds == expected


def test_every_archive_is_heard_on_every_live_day(written: Written):
    """Failing means that a small network's audit passes for one that was switched off."""
    days = [f"{day:%Y%m%d}" for day in Period.of(date(2021, 2, 1), 8).live_days]
    wanted = {f"{party}_{day}.log" for party in written.parties for day in days}
    assert {file.name for file in written.inbox.glob(f"{audit_xml.FEED}/*/*.log")} == wanted


def test_a_line_lies_in_the_file_of_its_local_day(written: Written):
    """Failing means that a day counts views of another."""
    for file, party, line in lines_by_party(written.inbox):
        found = re.search('EventDateTime="([^"]+)"', line["xml"])
        assert found and line["host"].endswith(f".{party.lower()}.example")
        local = datetime.fromisoformat(found[1]).astimezone(audit_xml.LONDON)
        assert file == f"image_access/{local:%Y-%m-%d}/{party}_{local:%Y%m%d}.log"


@pytest.mark.parametrize(
    ("feed", "truth", "party", "moment", "columns"),
    [
        (
            "image_transfers",
            "image_transfers",
            "from_party",
            "requested_at",
            image_transfers.COLUMNS,
        ),
        ("meeting_lists", "meeting_patients", "meeting_party", "meeting_at", meetings.COLUMNS),
    ],
)
def test_monthly_files_hold_what_the_truth_holds(
    written: Written, feed: str, truth: str, party: str, moment: str, columns: tuple[str, ...]
):
    """Failing means that rows get lost between the truth and the files of a party."""
    files = sorted(written.inbox.glob(f"{feed}/*/*.csv"))
    assert len(files) == 8 * len(written.parties), "a file for each month, also a quiet one"
    rows = written.rows(feed, party)
    assert rows.columns == [*columns, party]
    studies = written.told("exams").select("exam_no", "accession_number", "study_instance_uid")
    expected = written.told(truth).join(studies, on="exam_no", how="left")
    local = pl.col(moment).dt.convert_time_zone("Europe/London").dt.strftime("%d/%m/%Y %H:%M")
    key = ["accession_number", "study_instance_uid", party, moment]
    expected = expected.with_columns(local.alias(moment)).select(key)
    assert rows.height > 5
    assert rows.select(key).sort(key).equals(expected.sort(key))
    for file in files:
        delivered = date.fromisoformat(file.parent.name)
        told = re.search(r"_(\d{4})-(\d\d)_", file.name)
        month = f"{told[2]}/{told[1]}" if told else f"{delivered - timedelta(days=1):%m/%Y}"
        months = pl.read_csv(file, infer_schema=False)[moment].str.slice(3, 7)
        assert set(months) <= {month}


def test_what_happens_to_a_transfer_after_the_delivery_is_not_in_its_file(
    network: Network, tmp_path: Path
):
    """Failing means that a file tells the future."""
    period = Period.of(date(2019, 1, 1), 6)
    exams = invented_exams(network, 5000, [(period.first_on, period.end_on)])
    world = World.load("effect", day_number(period.first_on))
    sharing = simulate_sharing(exams, network, load_profile().go_lives, period, world, (7,))
    parties = network.programme_parties["party_code"].to_list()
    image_transfers.write_transfers(sharing.transfers, exams, parties, period, tmp_path)
    received = 0
    for file in sorted(tmp_path.glob("image_transfers/*/*.csv")):
        rows = pl.read_csv(file, infer_schema=False)
        for name in ("sent_at", "arrived_at"):
            days = rows[name].drop_nulls().str.slice(0, 10).str.to_date("%d/%m/%Y")
            assert (days < date.fromisoformat(file.parent.name)).all()
        received += rows["arrived_at"].count()
    assert 100 < received < sharing.transfers["received_at"].count()


def test_the_same_seed_writes_the_same_images(network: Network, tmp_path: Path):
    """Failing means that a figure cannot be repeated by a reader."""
    period = Period.of(date(2021, 3, 1), 7)
    exams = invented_exams(network, 1500, [(period.first_on, period.end_on)])
    parties = network.programme_parties["party_code"].to_list()

    def files(name: str, seed: int) -> dict[str, bytes]:
        world = World.load("effect", day_number(period.first_on))
        sharing = simulate_sharing(exams, network, load_profile().go_lives, period, world, (seed,))
        inbox, ledger = tmp_path / name, DirtLedger()
        counts = write_feeds(sharing, exams, parties, period, 0.0005, inbox, (seed,), ledger)
        assert set(counts) == set(FEEDS)
        found = {
            str(path.relative_to(inbox)): path.read_bytes()
            for path in sorted(inbox.rglob("*"))
            if path.is_file()
        }
        assert set(found) == {file for feed in counts.values() for file in feed}
        return found

    one, again, other = files("one", 7), files("again", 7), files("other", 8)
    assert one == again
    assert one != other


def test_a_network_too_large_for_audit_messages_still_has_the_truth(
    network: Network, invented: Shared, tmp_path: Path
):
    """Failing means that a large run fills the disk with XML."""
    exams = invented.exams.head(50)
    sharing = shared(network, exams)
    parties = network.programme_parties["party_code"].to_list()
    scale = 2 * audit_xml.LARGEST_SCALE
    counts = write_feeds(sharing, exams, parties, PERIOD, scale, tmp_path, (7,), DirtLedger())
    assert counts[audit_xml.FEED] == {}
    assert not (tmp_path / audit_xml.FEED).exists()


def test_the_harvest_looks_into_the_folders_that_have_a_contract(written: Written):
    """Failing means that what becomes of images is written and nothing reads it."""
    found = {
        delivery.path.relative_to(written.inbox).parts[0]
        for kind in FEED_KINDS
        for delivery in deliveries(written.inbox, kind)
    }
    assert found == set(FEED_KINDS) - OTHER_SHAPES
    assert {audit_xml.FEED, image_transfers.FEED, meetings.FEED} <= found
    assert all((written.inbox / feed).is_dir() for feed in FEEDS)
