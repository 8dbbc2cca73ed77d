"""Images after the exam: views, transfers, meetings and repeats, and the effects put into them."""

from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.network import Network
from pipelines.synthetic import audit_xml, calendar, image_transfers, meetings
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, day_number
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.image_access import ROUTES
from pipelines.synthetic.image_sharing import ImageSharing, simulate_sharing, write_feeds
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.worlds import World
from tests.invented_images import PERIOD, WINDOWS, Shared, Written, invented_exams, shared

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


# Those of image systems and discs: test_operations.
MEASURED_ELSEWHERE = {"media_rate", "system_failures_per_year"}


def test_every_quantity_of_the_table_is_measured_here():
    """Failing means that an effect was added to the worlds and nobody checks that it is there."""
    world = World.load("effect", day_number(PERIOD.first_on))
    kinds = ["viewing_effect", "archive_effect"]
    names = world.effects().filter(pl.col("kind").is_in(kinds))["name"].to_list()
    stems = {name.removesuffix("_before") for name in names if name.endswith("_before")}
    assert stems - MEASURED_ELSEWHERE == set(QUANTITIES)
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
