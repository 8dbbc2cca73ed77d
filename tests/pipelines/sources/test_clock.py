"""Wall clock to UTC: an hour lost or gained here moves every waiting time that crosses it."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.clock import (
    EARLIEST,
    end_of_day,
    localise,
    parse_hl7_times,
    parse_iso_times,
    parse_wall_clock,
)

LONDON = "Europe/London"
ZONE = ZoneInfo(LONDON)


def hl7_time(text: str | None) -> dict[str, object]:
    return parse_hl7_times(pl.Series([text], dtype=pl.String), LONDON).row(0, named=True)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant", "precision"),
    [
        ("20260512", utc(2026, 5, 11, 23), "d"),
        ("202605120914", utc(2026, 5, 12, 8, 14), "m"),
        ("20260512091422", utc(2026, 5, 12, 8, 14, 22), "s"),
        ("20260512091422.5", utc(2026, 5, 12, 8, 14, 22, 500_000), "ms"),
        ("20260112091422.0625", utc(2026, 1, 12, 9, 14, 22, 62_500), "ms"),
    ],
)
def test_every_precision_of_hl7_is_read_and_named(text: str, instant: datetime, precision: str):
    """Failing means that a date without an hour can pass for an exact time."""
    found = hl7_time(text)
    assert (found["utc"], found["precision"]) == (instant, precision)
    assert (found["tz_source"], found["flag"]) == ("assumed", None)
    assert found["local"] == instant.astimezone(ZONE).replace(tzinfo=None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "45321.5",
        "2026051",
        "2026051209",
        "20260512.5",
        "202605120914.5",
        "20261301000000",
        "20260229",
        "20260512091422+9999",
        "20260512091422Z",
        "12/05/2026 09:14",
        "20260512091422 ",
        "17530101",
        "18991230000000",
        "19000101000000",
        "19700101010000",
    ],
)
def test_what_is_not_an_hl7_time_becomes_null_and_never_a_guess(text: str | None):
    """Failing means that an unreadable time turns into a wrong one."""
    assert set(hl7_time(text).values()) == {None}


def test_the_hour_that_occurs_twice_is_read_as_the_earlier_and_flagged():
    """Failing means that the last hour of summer time is an hour off, or not marked."""
    found = hl7_time("20261025013000")
    assert found["utc"] == utc(2026, 10, 25, 0, 30)
    assert found["flag"] == "ambiguous"
    for neighbour in ("20261025005959", "20261025020000"):
        assert hl7_time(neighbour)["flag"] is None


def test_the_hour_that_does_not_exist_is_read_as_gmt_and_flagged():
    """Failing means that a time of the skipped hour is lost or silently moved."""
    found = hl7_time("20260329013000")
    assert found["utc"] == utc(2026, 3, 29, 1, 30)
    assert found["local"] == datetime(2026, 3, 29, 1, 30)
    assert found["flag"] == "nonexistent"
    assert hl7_time("20260329005959")["flag"] is None
    assert hl7_time("20260329020000")["utc"] == utc(2026, 3, 29, 1)


@pytest.mark.parametrize(
    ("text", "instant", "flag"),
    [
        ("20260512091400+0100", utc(2026, 5, 12, 8, 14), None),
        ("20260112091400+0000", utc(2026, 1, 12, 9, 14), None),
        ("20260112091400+0100", utc(2026, 1, 12, 8, 14), "offset_unexpected"),
        ("20260512091400+0000", utc(2026, 5, 12, 9, 14), "offset_unexpected"),
        ("20260512091400-0530", utc(2026, 5, 12, 14, 44), "offset_unexpected"),
        ("20261025013000+0100", utc(2026, 10, 25, 0, 30), None),
        ("20261025013000+0000", utc(2026, 10, 25, 1, 30), None),
        ("20260329013000+0000", utc(2026, 3, 29, 1, 30), "offset_unexpected"),
        ("20260329013000+0100", utc(2026, 3, 29, 0, 30), "offset_unexpected"),
    ],
)
def test_a_stated_offset_wins_and_one_foreign_to_london_is_flagged(
    text: str, instant: datetime, flag: str | None
):
    """Failing means that a sender with a fixed offset is an hour off half the year."""
    found = hl7_time(text)
    assert (found["utc"], found["flag"]) == (instant, flag)
    assert found["tz_source"] == "explicit"
    assert found["local"] == instant.astimezone(ZONE).replace(tzinfo=None)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.datetimes(datetime(1971, 11, 1), datetime(2037, 12, 31)).map(
            lambda moment: moment.replace(microsecond=0)
        ),
        min_size=1,
        max_size=60,
    )
)
def test_london_time_and_back_is_the_same_instant(moments: list[datetime]):
    """Failing means that a time changes by being delivered as a wall clock."""
    instants = [moment.replace(tzinfo=UTC) for moment in moments]
    walls = [instant.astimezone(ZONE).replace(tzinfo=None) for instant in instants]
    texts = pl.Series([f"{wall:%Y%m%d%H%M%S}" for wall in walls])
    found = parse_hl7_times(texts, LONDON)
    assert found["local"].to_list() == walls
    for instant, was, flag in zip(instants, found["utc"], found["flag"], strict=True):
        assert flag != "nonexistent"
        assert was == instant or (flag == "ambiguous" and (instant - was).total_seconds() == 3600)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.datetimes(datetime(1971, 11, 1), datetime(2037, 12, 31)), min_size=1))
def test_any_wall_clock_is_read_as_the_standard_library_reads_it(walls: list[datetime]):
    """Failing means that two tools of the same house disagree on the same hour."""
    found = localise(pl.Series(walls, dtype=pl.Datetime("us")), LONDON)
    expected = [wall.replace(tzinfo=ZONE).astimezone(UTC) for wall in walls]
    assert found["utc"].to_list() == expected


def test_repeated_and_missing_values_keep_their_places():
    """Failing means that a time lands on the record of another patient."""
    texts = pl.Series(["20260512", None, "x", "20260512", "20260513"])
    found = parse_hl7_times(texts, LONDON)["utc"].to_list()
    assert found == [utc(2026, 5, 11, 23), None, None, utc(2026, 5, 11, 23), utc(2026, 5, 12, 23)]


def test_a_year_of_two_digits_is_unreadable_and_not_the_first_century():
    """Failing means that 01/02/26 lands as an exam of the year 26."""
    texts = pl.Series(["01/02/26 09:30", "01/02/2026 09:30", "31/02/2026 09:30", None])
    found = parse_wall_clock(texts, "%d/%m/%Y %H:%M", LONDON)
    assert found["utc"].to_list() == [None, utc(2026, 2, 1, 9, 30), None, None]


def test_what_databases_write_for_no_time_is_unreadable():
    """Failing means that an exam without a time waited since 1900."""
    texts = pl.Series(["01/01/1900 00:00", "30/12/1899 00:00", "01/01/1970 01:00"])
    found = parse_wall_clock(texts, "%d/%m/%Y %H:%M", LONDON)
    assert found["utc"].null_count() == 3
    written = pl.Series(["1900-01-01", "1970-01-01T00:00:00Z", "1970-12-31T23:59:59+00:00"])
    assert parse_iso_times(written, LONDON)["utc"].null_count() == 3


def test_a_feed_with_a_rule_of_its_own_for_old_times_gets_them_read():
    """Failing means that a request of 1970 is unreadable to a rule that allows it."""
    texts = pl.Series(["1970-01-01T00:00:00Z", "1849-12-31T12:00:00Z"])
    found = parse_iso_times(texts, LONDON, EARLIEST)["utc"].to_list()
    assert found == [utc(1970, 1, 1), None]


def test_a_delivery_is_complete_when_its_day_ends_in_the_zone():
    """Failing means that messages of the evening look later than their own delivery."""
    assert end_of_day(date(2026, 1, 7), LONDON) == utc(2026, 1, 7, 23, 59, 59)
    assert end_of_day(date(2026, 7, 7), LONDON) == utc(2026, 7, 7, 22, 59, 59)
    assert end_of_day(date(2026, 3, 29), LONDON) == utc(2026, 3, 29, 22, 59, 59)
