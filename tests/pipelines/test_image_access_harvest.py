"""Audit messages from the inbox to landing: nothing lost, nothing twice, no identity."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import HarvestResult, Setup, harvest, replay, unseen
from pipelines.sources.inbox import Delivery, deliveries

KIND = "image_access"
NOW = datetime(2026, 4, 2, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def harvested(
    delivered: Path, new_setup: Callable[..., Setup], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Setup, HarvestResult]:
    setup = new_setup(tmp_path_factory.mktemp("audit"))
    return setup, harvest(KIND, deliveries(delivered / "inbox", KIND), setup, now=NOW)


def truth(delivered: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(delivered / "truth" / f"{name}.parquet")


def test_only_the_spoiled_messages_are_rejected(harvested, delivered: Path):
    """Failing means that sound messages are refused, or spoiled ones land."""
    setup, result = harvested
    planted = truth(delivered, "dirt").filter(pl.col("feed") == KIND)
    counts = dict(planted.group_by("kind").len().iter_rows())
    assert result.rejects_by_rule == {
        "message_is_whole": counts["truncated_message"],
        "text_is_escaped": counts["unescaped_text"],
    }
    events = setup.landing.read("imaging_events")
    assert len(events) == result.rows_written == result.rows_landed
    again = events.height - events.unique(["feed_id", "content_sha"]).height
    assert again == counts["repeated_message"]


def test_every_view_and_failed_launch_of_the_truth_has_landed(harvested, delivered: Path):
    """Failing means that use of images is counted too high or too low."""
    setup, _ = harvested
    events = setup.landing.read("imaging_events").unique("event_id")
    first = events["event_ts_utc"].min().date()
    views = truth(delivered, "image_views").filter(pl.col("viewed_at").dt.date() >= first)
    seen = events.filter(pl.col("event_type").is_in(["images_viewed", "image_view_failed"]))
    second = pl.col("event_ts_utc").dt.truncate("1s")
    found = set(
        seen.select(second, "actor_org", pl.col("event_type") == "image_view_failed").rows()
    )
    organisation = pl.when(pl.col("route") == "gp").then("viewer_org").otherwise("viewer_party")
    assert set(views.select("viewed_at", organisation, "launch_failed").rows()) <= found
    assert seen["actor_id"].null_count() == 0 and seen["study_uid"].null_count() == 0


def test_every_party_has_landed_audit_of_every_day(harvested):
    """Failing means that no month of a small network counts as audited."""
    setup, _ = harvested
    events = setup.landing.read("imaging_events")
    source = pl.col("attrs").str.json_path_match("$.audit_source")
    nightly = events.filter(source.str.ends_with("-vna"), pl.col("event_ts_utc").is_not_null())
    day = pl.col("event_ts_local").dt.date()
    days = nightly.group_by("feed_id").agg(day.n_unique(), last=day.max(), first=day.min())
    wanted = (days["last"].max() - days["first"].min()).days + 1
    assert days.height == 8 and set(days["event_ts_local"]) == {wanted}


def test_the_audit_names_no_person_in_landing(harvested, delivered: Path):
    """Failing means that somebody can see who looked at whose images."""
    setup, _ = harvested
    events = setup.landing.read("imaging_events")
    staff = set(truth(delivered, "image_views")["staff_code"])
    exams, patients = truth(delivered, "exams"), truth(delivered, "patients")
    told = {str(value) for name in events.columns for value in events[name].unique()}
    assert not told & (staff | set(patients["nhs_number"]) | set(exams["study_instance_uid"]))
    text = "".join(events["attrs"].drop_nulls().unique())
    assert not any(code in text for code in staff)


def test_the_same_files_again_and_the_quarantine_again_land_nothing_new(
    harvested, delivered: Path, new_setup, tmp_path: Path
):
    """Failing means that every night counts every view again."""
    folder = deliveries(delivered / "inbox", KIND)
    party = [one for one in folder if one.name.startswith("RMC_")]
    setup = new_setup(tmp_path)
    first = harvest(KIND, party, setup, now=NOW)
    assert first.rows_received > 0 and unseen(KIND, party, setup) == []
    again = harvest(KIND, party, setup, now=NOW + timedelta(days=1))
    assert (again.files_known, again.rows_received) == (len(party), 0)
    for entry in setup.quarantine.entries():
        result = replay(entry, setup, now=NOW + timedelta(days=2))
        assert (result.rows_landed, result.rows_rejected) == (0, entry.record_count)


def test_rejected_messages_are_kept_apart_and_a_mended_one_lands(new_setup, tmp_path: Path):
    """Failing means that a message is lost for good because its reader had a fault."""
    day = tmp_path / "inbox" / KIND / "2026-05-21"
    day.mkdir(parents=True)
    xml = (
        '<AuditMessage><EventIdentification EventActionCode="R" EventOutcomeIndicator="0" '
        'EventDateTime="2026-05-21T08:15:44"><EventID code="110103"/></EventIdentification>'
        '<AuditSourceIdentification AuditSourceID="x"/></AuditMessage>'
    )
    odd = xml.replace('"110103"', '"999"')
    (day / "RMC_20260521.xml").write_text(xml + "\n" + odd + "\n" + odd[:200])
    setup = new_setup(tmp_path / "home")
    result = harvest(KIND, deliveries(tmp_path / "inbox", KIND), setup, now=NOW)
    assert result.rejects_by_rule == {"event_code_is_known": 1, "message_is_whole": 1}
    (entry,) = setup.quarantine.entries()
    kept = setup.quarantine.payload(entry)
    assert kept == b"%d %s\n%d %s\n" % (len(odd), odd.encode(), 200, odd[:200].encode())
    mended = kept.replace(b'"999"', b'"110103"').replace(b"%d " % len(odd), b"%d " % len(xml), 1)
    again = Delivery(KIND, Path(entry.file_name), date(2026, 5, 21), mended)
    result = harvest(KIND, [again], setup, now=NOW, replay_of=entry.source_sha, is_selection=True)
    assert (result.rows_landed, result.rows_rejected) == (1, 1)


def test_a_file_without_a_message_is_refused_and_says_so(new_setup, tmp_path: Path):
    """Failing means that an empty delivery passes for a day without views."""
    empty = Delivery(KIND, Path("RMC_20260521.log"), date(2026, 5, 21), b"\n")
    result = harvest(KIND, [empty], new_setup(tmp_path), now=NOW)
    assert result.files_refused == 1 and result.failures[0].rule == "is_not_empty"
