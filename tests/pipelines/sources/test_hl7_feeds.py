"""Quirks of a sender as data: a feed file changes what is read, and a wrong one says so."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.defs.resources import Pipeline
from pipelines.landing.keys import create_key_file
from pipelines.settings import Settings
from pipelines.sources.hl7 import (
    Feed,
    FeedFileProblem,
    events_from_messages,
    read_event_map,
    read_messages,
)

LONDON = "Europe/London"
MESSAGE = (
    r"MSH|^~\&|RIS|ZZC|HUB|NET|20260612101520||ORU^R01|C4|P|2.4|||AL|NE|GBR",
    "PID|1||C0700311^^^ZZC^MR||EXAMPLEPERSON",
    "ORC|RE|PL7001^EPR|C26007001^RIS||CM",
    "OBR|1|PL7001^EPR|C26007001^RIS|CTHOR^Menière^NICIP||||||||||||||WRONG||||20260612111500+0000|||I",
    "OBX|1|ST|STUDYUID^Study^LOCAL||2.25.99||||||I",
)


def written(tmp_path: Path, text: str, name: str = "hl7_RMC") -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return path


def read(feed: Feed, codec: str = "utf-8") -> pl.DataFrame:
    return read_messages("\r".join(MESSAGE).encode(codec), feed=feed).rows


def events(feed: Feed) -> pl.DataFrame:
    rows = read(feed).with_columns(
        source_sha=pl.lit("s"), feed_id=pl.lit("f"), issuer_ods=pl.lit("ZZC")
    )
    return events_from_messages(rows, feed.rules(read_event_map()), LONDON, feed.clock)


def test_a_feed_without_a_file_is_read_by_the_default_maps():
    """Failing means that a new sender needs a file before anything of it is read."""
    assert Feed.named("hl7_never_heard_of") == Feed("hl7_never_heard_of")
    assert Feed.named("../../etc/passwd") == Feed("../../etc/passwd")
    assert read(Feed("x")).equals(
        read_messages("\r".join(MESSAGE).encode(), feed="x").rows, null_equal=True
    )


def test_a_feed_file_says_where_values_are(tmp_path: Path):
    """Failing means that a sender with fields of its own needs code of its own."""
    path = written(
        tmp_path, '[fields]\naccession = "OBR-3.1"\nstudy_uid = "ZDS-1 OBX(STUDYUID)-5"\n'
    )
    row = read(Feed.named("hl7_RMC", tmp_path)).row(0, named=True)
    assert Feed.named("hl7_RMC", tmp_path) == Feed.load(path)
    assert (row["accession"], row["study_uid"], row["study_uid_source"]) == (
        "C26007001",
        "2.25.99",
        "OBX",
    )
    assert read(Feed("x"))["accession"].to_list() == ["WRONG"]


@pytest.mark.parametrize("key", ["default", "always"])
def test_a_feed_file_says_in_which_character_set_texts_are(tmp_path: Path, key: str):
    """Failing means that names of a silent sender are read with the wrong letters."""
    feed = Feed.load(written(tmp_path, f'[character_set]\n{key} = "8859/1"\n'))
    rows = read(feed, "latin-1")
    assert rows["exam_name"].to_list() == ["Menière"]
    assert rows["charset_fallback"].to_list() == [False]
    assert read(Feed("x"), "latin-1")["charset_fallback"].to_list() == [True]


def test_a_feed_file_changes_adds_and_drops_rules_of_the_event_map(tmp_path: Path):
    """Failing means that a local status code needs a change of everybody's rules."""
    assert events(Feed("x")).is_empty()
    feed = Feed.load(
        written(
            tmp_path,
            '[events.30]\nobr25 = "R|I"\n[events.18]\ndropped = true\n[events.50]\n'
            'msg_type = "ADT"\nmsg_event = "A04"\nevent_type = "patient_arrived"\n'
            'ts_paths = "EVN-2 MSH-7"\n',
        ),
        {"dictated", "patient_arrived"},
    )
    assert events(feed)["event_type"].to_list() == ["dictated"]
    rules = feed.rules(read_event_map())
    ranks = rules["rule_rank"].to_list()
    assert "18" not in ranks and ranks[-1] == "50"
    assert len(rules) == len(read_event_map())
    changed = rules.filter(pl.col("rule_rank") == "30").row(0, named=True)
    assert (changed["event_type"], changed["ts_paths"]) == ("dictated", "OBR-22 OBX-14")


@pytest.mark.parametrize(
    ("text", "utc", "local"),
    [
        ("", 11, 12),
        ('stated_offsets = "ignored"\n', 10, 11),
        ('time_zone = "UTC"\nstated_offsets = "ignored"\n', 11, 12),
    ],
)
def test_a_feed_file_says_what_a_senders_clock_means(
    tmp_path: Path, text: str, utc: int, local: int
):
    """Failing means that the reports of a sender are an hour off for half of the year."""
    rule = '[events.30]\nobr25 = "I"\n'
    found = events(Feed.load(written(tmp_path, text + rule))).row(0, named=True)
    assert found["event_ts_utc"] == datetime(2026, 6, 12, utc, 15, tzinfo=UTC)
    assert found["event_ts_local"] == datetime(2026, 6, 12, local, 15)
    assert found["event_ts_raw"] == "20260612111500+0000"


WRONG = {
    "fields = 3": "fields must be a table",
    "colour = 1": "unknown key colour; there are time_zone",
    "time_zone": "is not TOML",
    'time_zone = "Mars"': "time_zone 'Mars' is no zone",
    'stated_offsets = "no"': 'write "used" or "ignored"',
    '[character_set]\nalways = "EBCDIC"': "character_set.always 'EBCDIC' is not known",
    '[fields]\nacession = "OBR-3"': r"unknown key fields\.acession",
    '[fields]\naccession = "OBR.3"': r"fields\.accession: OBR\.3 is no path",
    '[fields]\naccession = ""': r"fields\.accession: a column needs at least one path",
    '[fields]\naccession = "PID(x)-3"': "only OBX has one",
    '[fields]\naccession = "MSH-2"': "values begin at MSH-3",
    "[events.rank]\ndropped = true": r"events\.rank must be a table named by the rank",
    "[events.999]\ndropped = true": r"unknown key events\.999\.dropped",
    '[events.999]\nobr25 = "F"': r"events\.999 is no rule",
    '[events.30]\nts_paths = "ZZZ-1"': r"events\.30\.ts_paths names ZZZ-1",
    '[events.30]\nactor = "porter"': r"events\.30\.actor is 'porter'",
    "[events.30]\nobr25 = 3": r"events\.30\.obr25 must be text",
    '[events.30]\nevent_type = "tea"': r"events\.30\.event_type 'tea' is none of",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_feed_file_names_file_key_and_next_step(tmp_path: Path, text: str):
    """Failing means that an operator must guess why a sender is read wrongly."""
    path = written(tmp_path, text)
    with pytest.raises(FeedFileProblem, match=f"{path}.*{WRONG[text]}"):
        Feed.load(path, {"dictated"})


def test_the_harvest_reads_the_folder_of_feed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a feed file is written, and nothing reads it."""
    create_key_file(tmp_path / "keys.json")
    folder = tmp_path / "feeds"
    folder.mkdir()
    for name, value in (("HL7_FEEDS", folder), ("KEY_FILE", tmp_path / "keys.json")):
        monkeypatch.setenv(f"IMAGING_{name}", str(value))
    monkeypatch.setenv("IMAGING_HOME", str(tmp_path / "home"))
    assert Pipeline(Settings()).setup.hl7_feeds == {}
    written(folder, 'time_zone = "UTC"\n')
    assert Pipeline(Settings()).setup.hl7_feeds["hl7_RMC"].clock.zone == "UTC"
    written(folder, "", "hl7_XYZ")
    with pytest.raises(FeedFileProblem, match="no feed hl7_XYZ is registered"):
        _ = Pipeline(Settings()).setup
