"""Images after the exam: views, transfers, meetings and repeats, and the effects put into them."""

import base64
import json
import re
from collections import Counter
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from pipelines.network import Network
from pipelines.sources.inbox import FEED_KINDS, deliveries
from pipelines.synthetic import audit_xml, calendar, generate, image_transfers, meetings, repeats
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, day_number
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.image_access import ROUTES
from pipelines.synthetic.image_sharing import ImageSharing, simulate_sharing, write_feeds
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.worlds import World

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"
FEEDS = (audit_xml.FEED, image_transfers.FEED, meetings.FEED)
LINE = re.compile(
    r"<85>1 (?P<sent>\S+) (?P<host>\S+) \S+ - (?P<kind>\S+) - (?P<mark>\ufeff?)(?P<xml>.*)"
)
PERIOD = Period.of(date(2018, 4, 1), 96)
# The first go-live of any party is in November 2020, the last one has grown in by June 2022.
WINDOWS = {
    "before": (date(2018, 6, 1), date(2020, 6, 1)),
    "after": (date(2023, 1, 1), date(2025, 1, 1)),
}


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.load(SEEDS)


@dataclass(frozen=True)
class Written:
    """A small network whose live weeks, in summer 2021, lie between the go-lives."""

    inbox: Path
    truth: Path
    parties: list[str]

    def told(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.truth / f"{name}.parquet")

    def dirt(self) -> dict[str, int]:
        return json.loads((self.truth / "dirt.json").read_text())[audit_xml.FEED]

    def rows(self, feed: str, party: str) -> pl.DataFrame:
        """Rows of a monthly feed with the party of the file in the column `party`."""
        return pl.concat(
            pl.read_csv(f, infer_schema=False).with_columns(pl.lit(f.stem[-3:]).alias(party))
            for f in sorted(self.inbox.glob(f"{feed}/*/*.csv"))
        )


@pytest.fixture(scope="module")
def written(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("images")
    period = Period.of(date(2021, 2, 1), 8)
    generate(network, folder / "inbox", folder / "truth", seed=7, scale=0.0005, period=period)
    parties = network.programme_parties["party_code"].to_list()
    return Written(folder / "inbox", folder / "truth", parties)


def invented_exams(network: Network, count: int, windows: list[tuple[date, date]]) -> pl.DataFrame:
    """One row per completed exam, shared out between windows; a third of the patients are away."""
    rng = np.random.default_rng(11)
    parties = network.programme_parties["party_code"].to_list()
    first, end = (np.array([day_number(d) for d in ends]) for ends in zip(*windows, strict=True))
    window = rng.integers(len(windows), size=count)
    completed = ((first + (end - first - 1) * rng.random((count, 1)))[range(count), window]) * DAY
    own = rng.integers(len(parties), size=count)
    home = np.where(rng.random(count) < 1 / 3, rng.integers(len(parties), size=count), own)
    verified = completed + rng.exponential(24 * HOUR, count)
    return pl.DataFrame(
        {
            "exam_no": np.arange(count),
            "patient_no": rng.integers(count, size=count),
            "party_code": pl.Series(parties).gather(own),
            "patient_home_party": pl.Series(parties).gather(home),
            "completed": completed.astype(np.int64),
            "verified": verified.astype(np.int64),
            "source_setting": rng.choice(["01", "03", "04", "05"], count),
            "referring_org_code": rng.choice(["P00001", "P00002"], count),
            "modality_group": "CT",
            "dicom_modality": rng.choice(["CT", "DX"], count),
            "exam_code": "CCHES",
            "body_region": rng.choice(["chest", "abdomen", "head"], count),
            "priority": rng.choice(["R", "T", "P"], count, p=[0.4, 0.5, 0.1]),
            "nhs_number": rng.integers(9_990_000_000, 9_999_999_999, count).astype(str),
            "patient_id": rng.integers(10**6, 10**7, count).astype(str),
            "accession_number": np.arange(10**7, 10**7 + count).astype(str),
            "study_instance_uid": [f"2.25.{number}" for number in range(count)],
        }
    ).with_columns(verified=pl.when(pl.col("exam_no") % 10 > 0).then("verified"))


def shared(
    network: Network, exams: pl.DataFrame, world: str = "effect", seed: tuple[int, ...] = (7,)
) -> ImageSharing:
    chosen = World.load(world, day_number(PERIOD.first_on))
    return simulate_sharing(exams, network, load_profile().go_lives, PERIOD, chosen, seed)


@dataclass(frozen=True)
class Shared:
    """What was simulated from the invented exams, by world."""

    exams: pl.DataFrame
    worlds: dict[str, ImageSharing]

    def seen(self, world: str, window: str) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """Exams of a window and what became of them, each row with facts of its exam."""
        ends = [day_number(day) * DAY for day in WINDOWS[window]]
        exams = self.exams.filter(pl.col("completed").is_between(*ends)).with_columns(
            away=pl.col("party_code") != pl.col("patient_home_party")
        )
        facts = exams.select("exam_no", "away")
        found = self.worlds[world]
        return exams, {
            "views": found.views.join(facts, on="exam_no"),
            "transfers": found.transfers.join(facts, on="exam_no"),
            "meetings": found.meetings.join(facts, on="exam_no"),
            "repeats": found.repeats.join(facts, left_on="earlier_exam_no", right_on="exam_no"),
        }


@pytest.fixture(scope="module")
def invented(network: Network) -> Shared:
    exams = invented_exams(network, 100_000, list(WINDOWS.values()))
    return Shared(exams, {world: shared(network, exams, world) for world in ("effect", "null")})


AWAY = pl.col("away")
HOME = ~AWAY
CROSS = pl.col("is_cross_trust")
REPORTED_GP = (pl.col("source_setting") == "04") & pl.col("verified").is_not_null()
# By quantity of worlds.csv: rows counted, and exams or rows they are counted from.
RATES = {
    "own_record_views_per_exam": ("views", pl.col("route") == "own_record", "exams", True),
    "archive_viewer_views_per_exam": ("views", pl.col("route") == "archive_viewer", "exams", True),
    "shared_record_views_per_away_exam": (
        "views", (pl.col("route") == "shared_record") & AWAY, "exams", AWAY,
    ),
    "shared_record_views_per_home_exam": (
        "views", (pl.col("route") == "shared_record") & HOME, "exams", HOME,
    ),
    "gp_views_per_gp_exam": ("views", pl.col("route") == "gp", "exams", REPORTED_GP),
    "transfers_per_away_exam": ("transfers", pl.col("purpose") == "care", "exams", AWAY),
    "meeting_transfer_rate": ("meetings", CROSS & pl.col("is_sent_for"), "meetings", CROSS),
    "meeting_images_available_rate": (
        "meetings", CROSS & pl.col("is_image_available_at_meeting"), "meetings", CROSS,
    ),
    "repeats_per_away_exam": ("repeats", AWAY, "exams", AWAY & (pl.col("priority") != "P")),
    "repeats_per_home_exam": ("repeats", HOME, "exams", HOME & (pl.col("priority") != "P")),
}  # fmt: skip


def measured(name: str, invented: Shared, world: str, window: str) -> tuple[float, float]:
    """Size of one quantity of worlds.csv in a window and its standard error."""
    exams, found = invented.seen(world, window)
    if name in RATES:
        rows, counted, base, among = RATES[name]
        base_count = (found | {"exams": exams})[base].filter(among).height
        rate = found[rows].filter(counted).height / base_count
        # A share of cases is sharper than a count of events.
        spread = rate * (1 - rate) if base == "meetings" else rate
        return rate, np.sqrt(spread / base_count)
    if name.startswith("preparation"):
        minutes = found["meetings"].filter(CROSS if "outside" in name else ~CROSS)
        values = minutes["preparation_minutes"]
        return float(values.mean()), float(values.std()) / np.sqrt(len(values))
    # Launches without any effect before and with all of it after: those at home.
    views = found["views"].filter(~CROSS)
    if name == "launch_failure_rate":
        rate = float(views["launch_failed"].mean())
        return rate, np.sqrt(rate / len(views))
    seconds = views["seconds_to_first_image"].drop_nulls()
    return float(seconds.median()), 1.25 * float(seconds.median()) * 0.45 / np.sqrt(len(seconds))


QUANTITIES = sorted(
    {*RATES, "preparation_minutes_per_own_case", "preparation_minutes_per_outside_case"}
    | {"launch_failure_rate", "seconds_to_first_image"}
)


def test_every_quantity_of_the_table_is_measured_here():
    """Failing means that an effect was added to the worlds and nobody checks that it is there."""
    world = World.load("effect", day_number(PERIOD.first_on))
    kinds = ["viewing_effect", "archive_effect"]
    names = world.effects().filter(pl.col("kind").is_in(kinds))["name"].to_list()
    stems = {name.removesuffix("_before") for name in names if name.endswith("_before")}
    assert stems == set(QUANTITIES)
    assert {f"{stem}_after" for stem in stems} <= set(names)


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("world", ["effect", "null"])
def test_each_effect_has_the_size_of_the_table(invented: Shared, world: str, name: str):
    """Failing means that the truth tells another effect than the one put in."""
    table = World.load(world, day_number(PERIOD.first_on))
    for window in WINDOWS:
        (size,) = table.effect(f"{name}_{window}", ["R0A"])
        found, error = measured(name, invented, world, window)
        assert found == pytest.approx(size, abs=4 * error + 1e-9), window


@pytest.mark.parametrize("name", QUANTITIES)
def test_only_the_world_with_an_effect_tells_before_from_after(invented: Shared, name: str):
    """Failing means that a method finds a benefit where there is none, or cannot find one."""
    for world in ("effect", "null"):
        before, after = (measured(name, invented, world, window) for window in WINDOWS)
        error = np.hypot(before[1], after[1])
        if world == "null":
            assert before[0] == pytest.approx(after[0], abs=4 * error)
        else:
            assert abs(before[0] - after[0]) > 4 * error


def test_parties_of_the_confounded_world_look_more_or_less_often_before_any_go_live(
    network: Network, invented: Shared
):
    """Failing means that a plain before-and-after comparison of views would pass as evidence."""
    exams, _ = invented.seen("effect", "before")

    def per_exam(world: str, party: str) -> float:
        views = shared(network, exams, world).views.filter(viewer_party=party)
        own = views.filter(route="archive_viewer")
        return own.height / exams.filter(party_code=party).height

    def ratio(world: str) -> float:
        return per_exam(world, "RW6") / per_exam(world, "R0A")

    years = (day_number(date(2019, 6, 1)) - day_number(PERIOD.first_on)) / 365.25
    assert ratio("effect") == pytest.approx(1, abs=0.06)
    assert ratio("confounded") == pytest.approx(np.exp((0.06 + 0.03) * years), abs=0.06)


def test_transfers_nearly_vanish_once_both_parties_share_the_archive(invented: Shared):
    """Failing means that the archive saves no disc and no courier."""

    def per_exam(world: str, window: str) -> float:
        exams, found = invented.seen(world, window)
        return found["transfers"].height / exams.height

    assert per_exam("effect", "before") > 0.1
    assert per_exam("effect", "after") < 0.05 * per_exam("effect", "before")
    assert per_exam("null", "after") == pytest.approx(per_exam("null", "before"), rel=0.08)


def test_an_effect_grows_in_and_waits_for_the_later_party():
    """Failing means that images are shared by a party that has no archive yet."""
    world = World.load("effect", day_number(PERIOD.first_on))
    live = [date(2021, 1, 1), date(2021, 3, 2)]
    go_lives = pl.DataFrame(
        {"party_code": ["RW6", "RM3"], "go_live_type": "archive", "go_live_on": live}
    )
    adoption = Adoption.of(world, go_lives, ["RW6", "RM3", "RMC"])
    early, late, never = (np.full(3, number) for number in range(3))
    days = day_number(live[1]) + np.array([0.0, 30.0, 60.0])
    assert adoption.ramp("archive", early, days).tolist() == [1.0, 1.0, 1.0]
    assert adoption.shared_archive(early, late, days).tolist() == [0.0, 0.5, 1.0]
    assert adoption.shared_archive(never, late, days).tolist() == [0.0, 0.0, 0.0]
    assert adoption.ramp("viewing", early, days).tolist() == [0.0, 0.0, 0.0]


def test_nobody_sees_an_image_before_the_exam_has_ended(written: Written, invented: Shared):
    """Failing means that a time from exam to first view comes out negative."""
    exams = written.told("exams").select("exam_no", "completed_at", "verified_at", "party_code")
    views = written.told("image_views").join(exams, on="exam_no", how="left")
    assert views["completed_at"].null_count() == 0
    assert (views["viewed_at"] > views["completed_at"]).all()
    assert set(views["route"]) == set(ROUTES)
    assert views["is_cross_trust"].equals(views["viewer_party"] != views["party_code"])
    practices = views.filter(route="gp")
    assert (practices["viewed_at"] >= practices["verified_at"].dt.offset_by("-1m")).all()
    for world in invented.worlds.values():
        rows = world.views.join(invented.exams, on="exam_no", how="left")
        assert (rows["viewed_at"] > rows["completed"]).all()


def test_images_of_another_party_are_seen_only_once_both_are_ready(written: Written):
    """Failing means that a party looks into an archive, or through a viewer, that is not there."""
    live = {
        (kind, party): day
        for kind, party, day in load_profile()
        .go_lives.select("go_live_type", "party_code", "go_live_on")
        .iter_rows()
    }
    exams = written.told("exams").select("exam_no", "completed_at_local", "party_code")
    views = written.told("image_views").filter(route="shared_record")
    views = views.join(exams, on="exam_no", how="left")
    assert views.height > 5 and views["is_cross_trust"].all()
    for viewer, owner, at in views.select(
        "viewer_party", "party_code", "completed_at_local"
    ).iter_rows():
        assert at.date() >= max(live["viewing", viewer], live["archive", owner])


def test_a_failed_launch_shows_no_first_image(invented: Shared):
    """Failing means that failures make a viewer look fast."""
    views = invented.worlds["effect"].views
    assert (
        views.filter("launch_failed")["seconds_to_first_image"].null_count()
        == views.filter("launch_failed").height
    )
    silent = (
        views.filter(~pl.col("launch_failed"))
        .group_by("viewer_party")
        .agg(pl.col("seconds_to_first_image").is_null().mean().alias("silent"))
    )
    assert set(silent["silent"]) == {0.0, 1.0}, "a party logs the time always or never"


def test_the_steps_of_a_transfer_follow_each_other(invented: Shared):
    """Failing means that images arrive before they are sent."""
    rows = invented.worlds["effect"].transfers.join(invented.exams, on="exam_no", how="left")
    assert (rows["from_party"] == rows["party_code"]).all()
    assert (rows["from_party"] != rows["to_party"]).all()
    for earlier, later in (
        ("completed", "requested_at"),
        ("requested_at", "sent_at"),
        ("sent_at", "received_at"),
    ):
        assert (rows[later] >= rows[earlier]).drop_nulls().all(), later
    assert 0 < rows["sent_at"].null_count() < 0.1 * rows.height
    assert set(rows["method"]) == set(image_transfers.METHODS)


def test_images_sent_for_a_meeting_arrive_before_it_exactly_when_they_are_there(invented: Shared):
    """Failing means that a list says "available" of images that were still in the post."""
    sharing = invented.worlds["null"]
    sent = sharing.transfers.filter(purpose="meeting").join(
        sharing.meetings, on="exam_no", how="full", coalesce=True
    )
    sent = sent.filter(pl.col("is_sent_for"))
    assert sent.height == sharing.meetings["is_sent_for"].sum() > 500
    in_time = (sent["received_at"] < sent["meeting_at"]).fill_null(False)
    assert in_time.equals(sent["is_image_available_at_meeting"])


def test_a_meeting_is_weekly_on_a_working_day_after_the_exam(invented: Shared):
    """Failing means that cases are discussed at a meeting that does not take place."""
    rows = invented.worlds["effect"].meetings.join(invented.exams, on="exam_no", how="left")
    assert rows["exam_no"].is_unique().all()
    assert (rows["meeting_at"] > rows["completed"] + DAY).all()
    assert (rows["listed_at"] > rows["completed"]).all()
    assert (rows["listed_at"] < rows["meeting_at"]).all()
    assert rows["is_cross_trust"].equals(rows["meeting_party"] != rows["exam_party"])
    local = calendar.utc_to_local(rows["meeting_at"].to_numpy())
    day, hour = local // DAY, local % DAY // HOUR
    assert calendar.is_working_day(int(day.min()), int(day.max() - day.min()) + 1)[
        day - day.min()
    ].all()
    assert ((hour >= 8) & (hour < 17)).all()
    weekly = rows.with_columns(weekday=pl.Series(day % 7)).group_by("meeting_party", "tumour_site")
    assert weekly.agg(pl.col("weekday").n_unique())["weekday"].max() == 1
    assert rows.group_by("meeting_id").agg(pl.col("meeting_at").n_unique())["meeting_at"].max() == 1


def test_a_repeat_is_of_the_same_patient_at_another_party_within_28_days(
    network: Network, invented: Shared
):
    """Failing means that surveillance at one trust is counted as a repeat."""
    sites = dict(network.sites.select("site_code", "party_code").iter_rows())
    for world in invented.worlds.values():
        rows = world.repeats.join(
            invented.exams, left_on="earlier_exam_no", right_on="exam_no", suffix="_earlier"
        )
        assert rows.height == world.repeats.height > 100
        assert (rows["patient_no"] == rows["patient_no_earlier"]).all()
        assert (rows["earlier_party"] == rows["party_code_earlier"]).all()
        assert (rows["party_code"] != rows["party_code_earlier"]).all()
        wait = rows["requested"] - rows["completed"]
        assert (wait > 0).all() and (wait <= 28 * DAY).all()
        assert [sites[site] for site in rows["site_code"]] == rows["party_code"].to_list()
        assert not (rows["priority_earlier"] == "P").any()


def test_a_like_exam_elsewhere_is_found_up_to_28_days_back():
    """Failing means that repeats are missed, or exams of another kind are called repeats."""
    told = [
        (1, 7, "CT", "chest", "RW6", 0),
        (2, 7, "CT", "chest", "RM3", 20),
        (3, 7, "CT", "chest", "RM3", 48),  # 28 days after an exam of its own party
        (4, 7, "CT", "abdomen", "RM3", 21),
        (5, 8, "CT", "chest", "RM3", 22),
        (6, 7, "CT", "chest", "RW6", 47),
    ]
    names = ["exam_no", "patient_no", "modality_group", "body_region", "party_code", "day"]
    exams = pl.DataFrame(told, schema=names, orient="row").with_columns(
        completed=pl.col("day") * DAY
    )
    found = repeats.earlier_elsewhere(exams)
    assert found.rows() == [(2, 1, 20.0), (3, 6, 1.0), (6, 2, 27.0)]


def by_month(exams: pl.DataFrame) -> list[pl.DataFrame]:
    month = pl.from_epoch("completed").dt.truncate("1mo").alias("month")
    return exams.with_columns(month).sort("month").partition_by("month", maintain_order=True)


def test_a_batch_of_exams_needs_nothing_from_the_batch_before(network: Network, invented: Shared):
    """Failing means that a large network cannot be simulated month by month."""
    parts = by_month(invented.exams)[:12]
    forward = [shared(network, part, seed=(7, number)) for number, part in enumerate(parts)]
    again = [
        shared(network, part, seed=(7, number)) for number, part in reversed(list(enumerate(parts)))
    ][::-1]
    for part, one, other in zip(parts, forward, again, strict=True):
        known = part["exam_no"].implode()
        for name in ("meetings", "transfers", "views", "repeats"):
            rows = getattr(one, name)
            assert rows.equals(getattr(other, name))
            exam = "earlier_exam_no" if name == "repeats" else "exam_no"
            assert rows[exam].is_in(known).all()
    views = pl.concat(one.views for one in forward).filter(route="archive_viewer")
    assert views.height / sum(p.height for p in parts) == pytest.approx(0.8, abs=0.03)


def test_joined_batches_are_written_like_one(network: Network, tmp_path: Path):
    """Failing means that rows a batch leaves in a later month never reach a file."""
    period = Period.of(date(2021, 3, 1), 7)
    exams = invented_exams(network, 1500, [(period.first_on, period.end_on)])
    world = World.load("effect", day_number(period.first_on))
    parts = [
        simulate_sharing(part, network, load_profile().go_lives, period, world, (7, number))
        for number, part in enumerate(by_month(exams))
    ]
    joined = ImageSharing(
        *(pl.concat(getattr(part, one.name) for part in parts) for one in fields(ImageSharing))
    )
    parties = network.programme_parties["party_code"].to_list()
    counts = write_feeds(joined, exams, parties, period, 0.0005, tmp_path, (7,), DirtLedger())
    assert sum(counts[meetings.FEED].values()) == joined.meetings.height > 50
    assert sum(counts[image_transfers.FEED].values()) == joined.transfers.height > 50
    assert (
        sum(counts[audit_xml.FEED].values())
        > joined.views.filter(pl.col("viewed_at") >= period.cutoff).height
    )


def test_a_batch_without_exams_is_a_batch_without_images(network: Network, invented: Shared):
    """Failing means that a quiet month ends the run."""
    nothing = shared(network, invented.exams.clear())
    assert nothing.views.schema == invented.worlds["effect"].views.schema
    assert [
        frame.height
        for frame in (nothing.meetings, nothing.transfers, nothing.views, nothing.repeats)
    ] == [0, 0, 0, 0]


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
    facts = {
        study: (accession, f"{patient}^^^{party}")
        for study, accession, patient, party in exams.select(
            "study_instance_uid", "accession_number", "patient_id", "party_code"
        ).iter_rows()
    }
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
        accession, patient = facts[objects["2"]]
        assert objects["1"] == patient or re.fullmatch("999[0-9]{7}", objects["1"])
        told = [one.attrib["Number"] for one in message.iter("Accession")]
        assert told == ([accession] if is_dicom else [])
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
        month = f"{delivered - timedelta(days=1):%m/%Y}"
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
        for name in ("sent_at", "received_at"):
            days = rows[name].drop_nulls().str.slice(0, 10).str.to_date("%d/%m/%Y")
            assert (days < date.fromisoformat(file.parent.name)).all()
        received += rows["received_at"].count()
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


def test_the_harvest_leaves_the_new_folders_alone(written: Written):
    """Failing means that a feed without a contract is read as if it had one."""
    found = {
        delivery.path.relative_to(written.inbox).parts[0]
        for kind in FEED_KINDS
        for delivery in deliveries(written.inbox, kind)
    }
    assert found == set(FEED_KINDS) - {"dicom_series"}
    assert not found & set(FEEDS)
    assert all((written.inbox / feed).is_dir() for feed in FEEDS)
