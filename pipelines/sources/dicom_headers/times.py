"""When an acquisition began and ended: the first usable rung of each ladder, with its provenance.

Starts (scanner time rules): 1 AcquisitionDateTime, 2 AcquisitionDate + AcquisitionTime,
3 SeriesDate + SeriesTime, 4 PerformedProcedureStepStart, 5 StudyDate + StudyTime. Date and time
of one level only are combined; an AcquisitionTime without its date takes that of the series.
Content date and time are never an acquisition time. Ends: the start and AcquisitionDuration, the
start and the frames, the start and ExposureTime, the end of the performed step.
"""

import polars as pl

from pipelines.sources.clock import localise

RUNGS: tuple[tuple[int, str, str], ...] = (
    (2, "acquisition_date", "acquisition_time"),
    (2, "series_date", "acquisition_time"),
    (3, "series_date", "series_time"),
    (4, "performed_procedure_step_start_date", "performed_procedure_step_start_time"),
    (5, "study_date", "study_time"),
)
STEP_END = ("performed_procedure_step_end_date", "performed_procedure_step_end_time")
# Rungs that tell of the acquisition itself; only to these a duration can be added.
OF_ACQUISITION = (1, 2)
STARTS = (
    "start_raw",
    "start_local",
    "start_utc",
    "start_rung",
    "ts_precision",
    "tz_source",
    "ts_flag",
)
ENDS = ("end_utc", "end_local", "end_method")
TIMES = (*STARTS, *ENDS)
EARLIEST_YEAR = 1990
# An acquisition so long before the start of its series was made after midnight.
LONGEST_WAIT = pl.duration(hours=12)
# A longer acquisition is a wrong number, or a whole day of monitoring; neither is scanner time.
LONGEST_ACQUISITION = 24 * 3600.0
MILLISECONDS = 1e-3
# Of these the frames tell how long each took; they follow one another, but for the nuclear images
# that each detector takes at the same time (third value of ImageType).
TIMED_BY_FRAME = ("NM", "PT")
AT_ONCE = r"^[^\\]*\\[^\\]*\\(?:STATIC|WHOLE BODY)(?:\\|$)"
# Today's form and the old one; of any other form nothing is guessed.
DATE = r"^(?:\d{8}|\d{4}\.\d{2}\.\d{2})$"
TIME = r"^\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d+)?)?)?$"
DATE_TIME = r"^(\d{10}|\d{12}|\d{14}(?:\.\d+)?)(?:[+-](?:0\d|1[0-4])[0-5]\d)?$"
MIDNIGHT_AFTER = r"^\d{8}24(?:00(?:00(?:\.0+)?)?)?$"
# Flags of a start in the order in which they hide one another; the first hour is the worst.
CLAMPED, NEXT_DAY, IMPLAUSIBLE = "clamped", "next_day", "implausible"


def acquisition_times(headers: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One row per header row: the columns of `acquisition_starts` and of `acquisition_ends`."""
    starts = acquisition_starts(headers, zone)
    return starts.hstack(acquisition_ends(headers, starts, zone).get_columns())


def acquisition_starts(headers: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One row per header row: `start_raw`, `start_local`, `start_utc`, `start_rung`,
    `ts_precision`, `tz_source` (own | header | assumed), `ts_flag`.

    An offset inside AcquisitionDateTime wins (own), then TimezoneOffsetFromUTC (header), else the
    wall clock of `zone` on that date (assumed). Nulls where no rung is usable. `ts_flag`:
    implausible (before 1990, or after `latest_allowed`, the UTC instant of an optional column of
    `headers`), ambiguous or nonexistent (clock change), next_day (an AcquisitionTime without date
    that lies over twelve hours before its series began is of the next day), clamped (second 60).
    """
    own = _parse_dt(headers["acquisition_date_time"])
    candidates = [own.with_columns(rung=pl.lit(1, pl.Int16))]
    for rung, date, time in RUNGS:
        found = _parse_dt(_joined(headers, date, time)).with_columns(rung=pl.lit(rung, pl.Int16))
        if (date, time) == ("series_date", "acquisition_time"):
            found = _after_series_start(found, headers)
        candidates.append(found)
    chosen = candidates[0].rename(lambda name: f"{name}_0")
    for index, frame in enumerate(candidates[1:], start=1):
        chosen = chosen.hstack(
            frame.rename({c: f"{c}_{index}" for c in frame.columns}).get_columns()
        )
    usable = [pl.col(f"wall_{index}").is_not_null() for index in range(len(candidates))]
    picked = chosen.select(
        _pick(usable, name).alias(name)
        for name in ("raw", "wall", "offset", "precision", "mark", "rung")
    )
    times = _in_zone(picked, headers, zone)
    latest = (
        headers["latest_allowed"]
        if "latest_allowed" in headers.columns
        else pl.Series("latest_allowed", [None], pl.Datetime("us", "UTC")).new_from_index(
            0, len(headers)
        )
    )
    return times.with_columns(latest.alias("latest")).select(
        pl.col("raw").alias("start_raw"),
        pl.col("local").alias("start_local"),
        pl.col("utc").alias("start_utc"),
        pl.col("rung").alias("start_rung"),
        pl.col("precision").alias("ts_precision"),
        pl.when(pl.col("wall").is_null())
        .then(None)
        .when(pl.col("offset").is_not_null())
        .then(pl.lit("own"))
        .when(pl.col("stated").is_not_null())
        .then(pl.lit("header"))
        .otherwise(pl.lit("assumed"))
        .alias("tz_source"),
        pl.when((pl.col("wall").dt.year() < EARLIEST_YEAR) | (pl.col("utc") > pl.col("latest")))
        .then(pl.lit(IMPLAUSIBLE))
        .otherwise(pl.coalesce("changed", "mark"))
        .alias("ts_flag"),
    )


def acquisition_ends(headers: pl.DataFrame, starts: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One row per header row: `end_utc`, `end_local`, `end_method`, null where the file tells none.

    `starts` is `acquisition_starts` of the same rows. `end_method`: duration (start and
    AcquisitionDuration), frames (nuclear medicine and PET: start and number of frames times
    ActualFrameDuration, once where all frames are taken together), exposure (start and
    ExposureTime) or step_end (end of the performed step, if it is given, is not 00:00:00 and not
    before the start). An image of a CT or X-ray series tells the end of its own exposure; the last
    of them is the end of the series.
    """
    step = _in_zone(_parse_dt(_joined(headers, *STEP_END)), headers, zone)
    told = headers.select(
        duration=_number("acquisition_duration"),
        frames=pl.when(pl.col("modality").is_in(TIMED_BY_FRAME)).then(
            _number("actual_frame_duration")
            * pl.when(pl.col("image_type").str.contains(AT_ONCE))
            .then(1.0)
            .otherwise(_number("number_of_frames").fill_null(1.0))
            * MILLISECONDS
        ),
        exposure=_number("exposure_time") * MILLISECONDS,
        is_no_end=pl.col(STEP_END[1]).str.contains(r"^(?:0|:)*(?:\.0*)?$").fill_null(True),
    )
    rows = told.with_columns(
        starts["start_utc"],
        starts["start_rung"],
        step["utc"].alias("step_end_utc"),
    )
    of_acquisition = pl.col("start_rung").is_in(OF_ACQUISITION)
    methods = {
        name: pl.when(of_acquisition & pl.col(name).is_between(0, LONGEST_ACQUISITION)).then(
            pl.col("start_utc") + pl.duration(microseconds=(pl.col(name) * 1e6).round())
        )
        # An exposure or a duration of zero is a field that nobody has filled.
        for name in ("duration", "frames", "exposure")
    }
    rows = rows.with_columns(
        *(
            pl.when(pl.col(name) > 0).then(end).alias(f"end_{name}")
            for name, end in methods.items()
        ),
        end_step_end=pl.when(
            ~pl.col("is_no_end") & (pl.col("step_end_utc") >= pl.col("start_utc"))
        ).then("step_end_utc"),
    )
    names = (*methods, "step_end")
    method = pl.coalesce(
        pl.when(pl.col(f"end_{name}").is_not_null()).then(pl.lit(name)) for name in names
    )
    end = pl.coalesce(f"end_{name}" for name in names)
    return rows.select(
        end.alias("end_utc"),
        end.dt.convert_time_zone(zone).dt.replace_time_zone(None).alias("end_local"),
        method.alias("end_method"),
    )


def _number(column: str) -> pl.Expr:
    """The first value of a number in text, null where it is none."""
    first = pl.col(column).str.split("\\").list.first()
    number = first.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _joined(headers: pl.DataFrame, date: str, time: str) -> pl.Series:
    """Date and time as one DT text, null where one of them is not in its form."""
    trimmed_date, trimmed_time = (pl.col(name).str.strip_chars(" \0") for name in (date, time))
    return headers.select(
        pl.when(trimmed_date.str.contains(DATE) & trimmed_time.str.contains(TIME))
        .then(trimmed_date.str.replace_all(r"\.", "") + trimmed_time.str.replace_all(":", ""))
        .alias("raw")
    )["raw"]


def _after_series_start(found: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    """An AcquisitionTime with the date of its series: on the day after, if long before its start.

    Without the time of the series nobody can tell the day, so nothing is guessed.
    """
    series = _parse_dt(_joined(headers, "series_date", "series_time"))["wall"]
    is_early = pl.col("wall") < pl.col("series") - LONGEST_WAIT
    return (
        found.with_columns(series=series)
        .with_columns(
            wall=pl.when(pl.col("series").is_null())
            .then(None)
            .when(is_early)
            .then(pl.col("wall") + pl.duration(days=1))
            .otherwise("wall"),
            mark=pl.when(is_early).then(pl.lit(NEXT_DAY)).otherwise("mark"),
        )
        .drop("series")
    )


def _in_zone(times: pl.DataFrame, headers: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Wall clocks with `utc`, `local`, the offset that the header has `stated`, and `changed`.

    `changed` marks a wall clock that the clock change makes doubtful.
    """
    assumed = localise(times["wall"], zone)
    times = times.with_columns(
        stated=_minutes(headers["timezone_offset_from_utc"]),
        assumed_utc=assumed["utc"],
        assumed_flag=assumed["flag"],
    ).with_columns(minutes=pl.coalesce("offset", "stated"))
    explicit = (pl.col("wall") - pl.duration(minutes="minutes")).dt.replace_time_zone("UTC")
    is_assumed = pl.col("minutes").is_null()
    return times.with_columns(utc=pl.coalesce(explicit, pl.col("assumed_utc"))).with_columns(
        local=pl.when(is_assumed)
        .then(pl.col("wall"))
        .otherwise(pl.col("utc").dt.convert_time_zone(zone).dt.replace_time_zone(None)),
        changed=pl.when(is_assumed).then(pl.col("assumed_flag")),
    )


def _pick(usable: list[pl.Expr], name: str) -> pl.Expr:
    chain = pl.when(usable[0]).then(pl.col(f"{name}_0"))
    for index, condition in enumerate(usable[1:], start=1):
        chain = chain.when(condition).then(pl.col(f"{name}_{index}"))
    return chain.otherwise(None)


def _parse_dt(raw: pl.Series) -> pl.DataFrame:
    """Wall clock, own offset (minutes), precision and mark of DICOM DT text.

    Date-only is not usable. 24:00 is midnight after that day; a second of 60, which is legal, is
    read as 59 and marked.
    """
    text = pl.col("raw").str.extract(DATE_TIME)
    digits = text.str.extract(r"^(\d+)")
    whole = pl.when(digits.str.len_chars() == 10).then(digits + "0000")
    whole = whole.when(digits.str.len_chars() == 12).then(digits + "00").otherwise(digits)
    is_midnight = text.str.contains(MIDNIGHT_AFTER)
    is_leap = whole.str.slice(12, 2) == "60"
    read = pl.when(is_midnight).then(digits.str.slice(0, 8) + "000000")
    read = read.when(is_leap).then(whole.str.slice(0, 12) + "59").otherwise(whole)
    return (
        pl.DataFrame({"raw": raw.str.strip_chars(" \0")})
        .with_columns(
            whole=read,
            days=is_midnight.fill_null(False).cast(pl.Int64),
            mark=pl.when(is_leap).then(pl.lit(CLAMPED)),
            # What follows second 60 would lie in the next minute.
            fraction=pl.when(~is_leap).then(text.str.extract(r"\.(\d{1,6})")),
        )
        .with_columns(
            wall=pl.col("whole").str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us")
            + pl.duration(
                days="days",
                microseconds=pl.col("fraction").str.pad_end(6, "0").cast(pl.Int64).fill_null(0),
            ),
            precision=pl.when(pl.col("fraction").is_not_null())
            .then(pl.lit("fraction"))
            .when(digits.str.len_chars() == 14)
            .then(pl.lit("second"))
            .otherwise(pl.lit("minute")),
        )
        .with_columns(offset=_minutes(raw))
        .select("raw", "wall", "offset", "precision", "mark")
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
