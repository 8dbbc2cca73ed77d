"""When an acquisition began: the first usable rung of the time ladder, with its provenance.

Rungs (scanner time rules): 1 AcquisitionDateTime, 2 AcquisitionDate + AcquisitionTime,
3 SeriesDate + SeriesTime, 4 PerformedProcedureStepStart, 5 StudyDate + StudyTime. Date and time
of one level only are combined. Content date and time are never an acquisition time.
"""

import polars as pl

from pipelines.sources.clock import localise

RUNGS: tuple[tuple[int, str, str], ...] = (
    (2, "acquisition_date", "acquisition_time"),
    (3, "series_date", "series_time"),
    (4, "performed_procedure_step_start_date", "performed_procedure_step_start_time"),
    (5, "study_date", "study_time"),
)
EARLIEST_YEAR = 1990
# Today's form and the old one; of any other form nothing is guessed.
DATE = r"^(?:\d{8}|\d{4}\.\d{2}\.\d{2})$"
TIME = r"^\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d+)?)?)?$"
DATE_TIME = r"^(\d{10}|\d{12}|\d{14}(?:\.\d+)?)(?:[+-](?:0\d|1[0-4])[0-5]\d)?$"


def acquisition_starts(headers: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One row per header row: `start_raw`, `start_local`, `start_utc`, `start_rung`,
    `ts_precision`, `tz_source` (own | header | assumed), `ts_flag`.

    An offset inside AcquisitionDateTime wins (own), then TimezoneOffsetFromUTC (header), else the
    wall clock of `zone` on that date (assumed). Nulls where no rung is usable.
    """
    own = _parse_dt(headers["acquisition_date_time"])
    candidates = [own.with_columns(rung=pl.lit(1, pl.Int16))]
    for rung, date, time in RUNGS:
        raw = headers.select(
            pl.when(pl.col(date).str.contains(DATE) & pl.col(time).str.contains(TIME))
            .then(pl.col(date).str.replace_all(r"\.", "") + pl.col(time).str.replace_all(":", ""))
            .alias("raw")
        )["raw"]
        candidates.append(_parse_dt(raw).with_columns(rung=pl.lit(rung, pl.Int16)))
    chosen = candidates[0].rename(lambda name: f"{name}_0")
    for index, frame in enumerate(candidates[1:], start=1):
        chosen = chosen.hstack(
            frame.rename({c: f"{c}_{index}" for c in frame.columns}).get_columns()
        )
    usable = [pl.col(f"wall_{index}").is_not_null() for index in range(len(candidates))]
    picked = chosen.select(
        _pick(usable, name).alias(name) for name in ("raw", "wall", "offset", "precision", "rung")
    )
    stated = _minutes(headers["timezone_offset_from_utc"])
    assumed = localise(picked["wall"], zone)
    times = picked.with_columns(
        stated=stated, assumed_utc=assumed["utc"], assumed_flag=assumed["flag"]
    ).with_columns(minutes=pl.coalesce("offset", "stated"))
    explicit = (pl.col("wall") - pl.duration(minutes="minutes")).dt.replace_time_zone("UTC")
    return (
        times.with_columns(start_utc=pl.coalesce(explicit, pl.col("assumed_utc")))
        .with_columns(
            start_local=pl.when(pl.col("minutes").is_null())
            .then(pl.col("wall"))
            .otherwise(pl.col("start_utc").dt.convert_time_zone(zone).dt.replace_time_zone(None)),
            tz_source=pl.when(pl.col("wall").is_null())
            .then(None)
            .when(pl.col("offset").is_not_null())
            .then(pl.lit("own"))
            .when(pl.col("stated").is_not_null())
            .then(pl.lit("header"))
            .otherwise(pl.lit("assumed")),
            ts_flag=pl.when(pl.col("wall").dt.year() < EARLIEST_YEAR)
            .then(pl.lit("implausible"))
            .when(pl.col("minutes").is_null())
            .then(pl.col("assumed_flag")),
        )
        .select(
            pl.col("raw").alias("start_raw"),
            "start_local",
            "start_utc",
            pl.col("rung").alias("start_rung"),
            pl.col("precision").alias("ts_precision"),
            "tz_source",
            "ts_flag",
        )
    )


def _pick(usable: list[pl.Expr], name: str) -> pl.Expr:
    chain = pl.when(usable[0]).then(pl.col(f"{name}_0"))
    for index, condition in enumerate(usable[1:], start=1):
        chain = chain.when(condition).then(pl.col(f"{name}_{index}"))
    return chain.otherwise(None)


def _parse_dt(raw: pl.Series) -> pl.DataFrame:
    """Wall clock, own offset (minutes) and precision of DICOM DT text; date-only is not usable."""
    text = pl.col("raw").str.extract(DATE_TIME)
    digits = text.str.extract(r"^(\d+)")
    whole = pl.when(digits.str.len_chars() == 10).then(digits + "0000")
    whole = whole.when(digits.str.len_chars() == 12).then(digits + "00").otherwise(digits)
    return (
        pl.DataFrame({"raw": raw.str.strip_chars(" \0")})
        .with_columns(whole=whole, fraction=text.str.extract(r"\.(\d{1,6})"))
        .with_columns(
            wall=pl.col("whole").str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us")
            + pl.duration(
                microseconds=pl.col("fraction").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
            ),
            precision=pl.when(pl.col("fraction").is_not_null())
            .then(pl.lit("fraction"))
            .when(digits.str.len_chars() == 14)
            .then(pl.lit("second"))
            .otherwise(pl.lit("minute")),
        )
        .with_columns(offset=_minutes(raw))
        .select("raw", "wall", "offset", "precision")
    )


def _minutes(raw: pl.Series) -> pl.Series:
    """Offset in minutes from text that ends in +HHMM or -HHMM; the sign holds for both parts."""
    sign = pl.col("raw").str.extract(r"([+-])\d{4}\s*$")
    digits = pl.col("raw").str.extract(r"[+-]((?:0\d|1[0-4])[0-5]\d)\s*$")
    size = digits.str.slice(0, 2).cast(pl.Int64) * 60 + digits.str.slice(2, 2).cast(pl.Int64)
    return (
        pl.DataFrame({"raw": raw})
        .select(pl.when(sign == "-").then(-size).otherwise(size).alias("minutes"))
        .to_series()
    )
