"""Local wall clock to UTC in one place, so that every feed treats the clock change alike.

Rules (imaging events, time rules): no offset means the feed's zone; an hour that occurs twice is
read as the earlier instant and flagged `ambiguous`; an hour that does not exist is read as GMT
and flagged `nonexistent`; an explicit offset wins and is flagged `offset_unexpected` when the
zone has another offset at that instant.
"""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import polars as pl

HL7_FORMATS = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 8: "%Y%m%d"}
PRECISION = {14: "s", 12: "m", 8: "d"}
# A fraction belongs to seconds only; the offsets of the world lie within 14 hours.
HL7_TIME = r"^(\d{8}|\d{12}|\d{14}(?:\.\d+)?)(?:[+-](?:0\d|1[0-4])[0-5]\d)?$"
ISO_TIME = (
    r"^(?<day>\d{4}-\d\d-\d\d)(?:T(?<time>\d\d:\d\d(?::\d\d)?)(?<fraction>\.\d+)?"
    r"(?<offset>Z|[+-]\d\d:?\d\d)?)?$"
)
# A year of two digits reads as one of the first century; no value of a feed is that old.
EARLIEST = date(1850, 1, 1)
# What databases and programs write for no time (1753, 1899, 1900, the first day of 1970) lies before.
EARLIEST_EVENT = date(1971, 1, 1)


def localise(local: pl.Series, zone: str) -> pl.DataFrame:
    """One row per value: `utc`, `local`, `flag` for wall-clock times without an offset.

    `local` is a Datetime series without time zone; nulls stay null.
    """
    moment = pl.col("local")
    earlier = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    later = moment.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    return (
        pl.DataFrame({"local": local.cast(pl.Datetime("us"))})
        .with_columns(
            utc=pl.coalesce(
                earlier.dt.convert_time_zone("UTC"), moment.dt.replace_time_zone("UTC")
            ),
            flag=pl.when(moment.is_null())
            .then(None)
            .when(earlier.is_null())
            .then(pl.lit("nonexistent"))
            .when(earlier != later)
            .then(pl.lit("ambiguous")),
        )
        .select("utc", "local", "flag")
    )


def parse_hl7_times(raw: pl.Series, zone: str, earliest: date = EARLIEST_EVENT) -> pl.DataFrame:
    """One row per value: `utc`, `local`, `precision`, `tz_source`, `flag` of HL7 v2 timestamps.

    Reads YYYYMMDD[HHMM[SS[.s]]][+/-ZZZZ]; anything else becomes null, and so do days before
    `earliest`. `local` is the wall clock of `zone`, also where the sender gave another offset.
    """
    distinct = raw.unique()
    stated = pl.col("raw").str.extract(HL7_TIME)
    parts = pl.DataFrame({"raw": distinct}).with_columns(
        digits=stated.str.extract(r"^(\d+)"),
        fraction=stated.str.extract(r"\.(\d{1,6})"),
        offset=pl.when(stated.is_not_null()).then(pl.col("raw").str.extract(r"([+-]\d{4})$")),
    )
    parts = parts.with_columns(
        wall=pl.coalesce(
            pl.when(pl.col("digits").str.len_chars() == length)
            .then(pl.col("digits"))
            .str.to_datetime(pattern, strict=False, time_unit="us")
            for length, pattern in HL7_FORMATS.items()
        )
        + pl.duration(
            microseconds=pl.col("fraction").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
        ),
        precision=pl.when(pl.col("fraction").is_not_null())
        .then(pl.lit("ms"))
        .otherwise(pl.col("digits").str.len_chars().replace_strict(PRECISION, default=None)),
    )
    parts = parts.with_columns(plausible(parts["wall"], earliest))
    assumed = localise(parts["wall"], zone)
    minutes = pl.col("offset").str.slice(0, 1).replace_strict(
        {"+": 1, "-": -1}, default=None, return_dtype=pl.Int64
    ) * (
        pl.col("offset").str.slice(1, 2).cast(pl.Int64) * 60
        + pl.col("offset").str.slice(3, 2).cast(pl.Int64)
    )
    times = (
        parts.with_columns(assumed_utc=assumed["utc"], assumed_flag=assumed["flag"])
        .with_columns(
            stated_utc=(pl.col("wall") - pl.duration(minutes=minutes)).dt.replace_time_zone("UTC")
        )
        .with_columns(utc=pl.coalesce("stated_utc", "assumed_utc"))
        .with_columns(
            local=pl.col("utc").dt.convert_time_zone(zone).dt.replace_time_zone(None),
            tz_source=pl.when(pl.col("utc").is_null())
            .then(None)
            .when(pl.col("offset").is_not_null())
            .then(pl.lit("explicit"))
            .otherwise(pl.lit("assumed")),
        )
        .with_columns(
            flag=pl.when(pl.col("offset").is_null())
            .then(pl.col("assumed_flag"))
            .when(pl.col("local") != pl.col("wall"))
            .then(pl.lit("offset_unexpected")),
            local=pl.when(pl.col("offset").is_null() & (pl.col("assumed_flag") == "nonexistent"))
            .then(pl.col("wall"))
            .otherwise(pl.col("local")),
        )
        .with_columns(precision=pl.when(pl.col("utc").is_not_null()).then(pl.col("precision")))
        .select("raw", "utc", "local", "precision", "tz_source", "flag")
    )
    return (
        pl.DataFrame({"raw": raw})
        .join(times, on="raw", how="left", nulls_equal=True, maintain_order="left")
        .drop("raw")
    )


def parse_iso_times(raw: pl.Series, zone: str, earliest: date = EARLIEST_EVENT) -> pl.DataFrame:
    """The same of ISO 8601: YYYY-MM-DD[Thh:mm[:ss[.s]][Z|+/-hh:mm]]; anything else is null.

    So are days before `earliest`. Z is UTC on purpose and no wrong offset, so that it is never
    flagged.
    """
    parts = raw.str.extract_groups(ISO_TIME).struct.unnest()
    is_utc = pl.col("offset") == "Z"
    written = parts.select(
        raw=pl.concat_str(
            pl.col("day").str.replace_all("-", ""),
            pl.col("time").str.replace_all(":", "").fill_null(""),
            pl.col("fraction").fill_null(""),
            pl.when(is_utc)
            .then(pl.lit("+0000"))
            .otherwise(pl.col("offset").str.replace(":", ""))
            .fill_null(""),
        ),
        is_utc=is_utc.fill_null(False),
    )
    times = parse_hl7_times(written["raw"], zone, earliest)
    return times.with_columns(flag=pl.when(~written["is_utc"]).then(pl.col("flag")))


def parse_wall_clock(raw: pl.Series, pattern: str, zone: str) -> pl.DataFrame:
    """One row per value: `utc`, `local`, `flag` for text in one declared strptime pattern."""
    moments = raw.str.to_datetime(pattern, strict=False, time_unit="us")
    return localise(plausible(moments, EARLIEST_EVENT), zone)


def plausible(moments: pl.Series, earliest: date = EARLIEST) -> pl.Series:
    """The dates or times of a series, null where one is before a day (01/02/26 is year 26)."""
    return moments.set(moments.dt.date() < earliest, None)


def end_of_day(day: date, zone: str) -> datetime:
    """Last second of a delivery day in `zone`, as a UTC instant."""
    return datetime.combine(day, time(23, 59, 59), tzinfo=ZoneInfo(zone)).astimezone(UTC)
