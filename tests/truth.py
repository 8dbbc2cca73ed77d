"""Numbers computed from the synthetic truth alone: polars only, nothing of pipelines or dbt.

The rules are written here a second time on purpose; where a figure differs from the warehouse,
one of the two is wrong.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

LONDON = ZoneInfo("Europe/London")


@cache
def exams(truth: Path) -> pl.DataFrame:
    """One row per request that a perfect warehouse would know."""
    return pl.read_parquet(truth / "exams.parquet").filter(~pl.col("is_refused"))


def performed_by_party_and_month(truth: Path) -> pl.DataFrame:
    """Exams performed by party and month of the exam's start, local date."""
    done = exams(truth).filter(pl.col("completed_at").is_not_null())
    month = pl.col("started_at_local").dt.date().dt.month_start().alias("month")
    return done.group_by("party_code", month).len("exams").sort("party_code", "month")


def waiting_list(truth: Path, census: date) -> pl.DataFrame:
    """Requests on the DM01 waiting list at the end of a day: one row per request with its wait.

    Not inpatients (01) nor emergencies (05), and planned patients (priority P) from their due date
    only, as far as the feeds say so: what they leave out or call by another stream no warehouse can
    know. The clock starts at the request, of planned tests at the due date, and is reset by a
    missed appointment, and by one that the patient cancelled: of those only the messages tell, not
    the history extract.
    """
    is_planned = pl.col("priority_delivered").eq_missing("P")
    is_inside = pl.col("source_setting_delivered").is_in(["01", "05"]).fill_null(False)
    requested = pl.col("requested_at_local").dt.date()
    rows = (
        exams(truth)
        .filter(
            pl.col("dm01_test").is_not_null()
            & (pl.col("exam_code_delivered") == pl.col("exam_code"))
            & pl.when(is_planned).then(pl.col("due_on").is_not_null()).otherwise(~is_inside)
        )
        .with_columns(
            began_on=pl.when(is_planned)
            .then(pl.max_horizontal(requested, "due_on"))
            .otherwise(requested)
        )
    )
    told_from = date.fromisoformat(
        json.loads((truth / "parameters.json").read_text("utf-8"))["history_extract_on"]
    )
    day = {name: pl.col(f"{name}_at_local").dt.date() for name in ("started", "cancelled", "dna")}
    stopped = pl.min_horizontal(day["started"], day["cancelled"])
    on_list = (pl.col("began_on") <= census) & (stopped.is_null() | (stopped > census))
    given_up = pl.col("moved_appointment_at_local").dt.date()
    is_told = (pl.col("moved_by") == "patient") & (pl.col("moved_at_local").dt.date() >= told_from)
    resets = (
        pl.when(day["dna"] <= census).then(day["dna"]),
        pl.when(is_told & (given_up <= census)).then(given_up),
    )
    start = pl.max_horizontal("began_on", *resets)
    return (
        rows.filter(on_list)
        .with_columns(waited=(pl.lit(census) - start).dt.total_days())
        .select("party_code", "dm01_test", "patient_no", "waited")
    )


def activity(truth: Path, month: date) -> tuple[int, None]:
    """Tests of the national return done in a month, of every stream."""
    done = exams(truth).filter(
        pl.col("completed_at").is_not_null()
        & pl.col("dm01_test").is_not_null()
        & (pl.col("exam_code_delivered") == pl.col("exam_code"))
        & (pl.col("started_at_local").dt.date().dt.month_start() == month)
    )
    return len(done), None


def unreported(truth: Path, census: date) -> tuple[int, int]:
    """Exams done and unreported at the midnight that ends a day: those over 28 days old, and all.

    An exam whose report is dated before its end is a data-quality case and counts in neither.
    """
    midnight = datetime.combine(census + timedelta(days=1), time(), tzinfo=LONDON).astimezone(UTC)
    verified_on = pl.col("verified_at_local").dt.date()
    rows = exams(truth).filter(
        pl.col("completed_at").is_not_null()
        & (pl.col("started_at_local").dt.date() <= census)
        & (verified_on.is_null() | (verified_on > census))
        & ~(pl.col("verified_at") < pl.col("completed_at")).fill_null(False)
    )
    return len(rows.filter(midnight - pl.col("completed_at") > timedelta(days=28))), len(rows)


def reported_within_28_days(truth: Path, month: date) -> tuple[int, int]:
    """Exams started in a month, and how many had a verified report within 28 days of their end.

    An exam whose report is dated before its end is a data-quality case and counts in neither.
    """
    done = exams(truth).filter(
        pl.col("completed_at").is_not_null()
        & (pl.col("started_at_local").dt.date().dt.month_start() == month)
        & ~(pl.col("verified_at") < pl.col("completed_at")).fill_null(False)
    )
    taken = pl.col("verified_at") - pl.col("completed_at")
    within = done.filter(taken <= timedelta(days=28))
    return len(within), len(done)


def cross_site_share(truth: Path, month: date) -> tuple[int, int]:
    """Network-reported reports verified in a month, and how many of another party's exams."""
    reports = exams(truth).filter(
        (pl.col("verified_at_local").dt.date().dt.month_start() == month)
        & ~pl.col("reporter_org").str.starts_with("ZZ")
        & pl.col("completed_at").is_not_null()
    )
    crossed = reports.filter(pl.col("reporter_org") != pl.col("party_code"))
    return len(crossed), len(reports)


def outsourced_share(truth: Path, month: date) -> tuple[int, int]:
    """Reports verified in a month, and how many a supplier wrote."""
    reports = exams(truth).filter(pl.col("verified_at_local").dt.date().dt.month_start() == month)
    return len(reports.filter(pl.col("reporter_org").str.starts_with("ZZ"))), len(reports)


def out_of_hours_share(truth: Path, month: date) -> tuple[int, int]:
    """Reports verified in a month, and how many at a weekend or from 20:00 to 08:00 on the wall."""
    at = pl.col("verified_at_local")
    reports = exams(truth).filter(at.dt.date().dt.month_start() == month)
    outside = (at.dt.weekday() >= 6) | (at.dt.hour() >= 20) | (at.dt.hour() < 8)
    return len(reports.filter(outside)), len(reports)


def amended_reports(truth: Path, month: date) -> tuple[int, int]:
    """Reports first verified in a month, and how many were amended within 30 days.

    Corrections are told by messages only, not by the history extract; addenda by both.
    """
    told_from = date.fromisoformat(
        json.loads((truth / "parameters.json").read_text("utf-8"))["history_extract_on"]
    )
    reports = exams(truth).filter(pl.col("verified_at_local").dt.date().dt.month_start() == month)
    is_told = pl.col("corrected_at_local").dt.date() >= told_from
    corrected = pl.when(is_told).then(pl.col("corrected_at"))
    limit = pl.col("verified_at") + pl.duration(days=30)
    in_time = [
        ((amended >= pl.col("verified_at")) & (amended < limit)).fill_null(False)
        for amended in (pl.col("addendum_at"), corrected)
    ]
    return reports.filter(in_time[0] | in_time[1]).height, reports.height


def exam_doses(truth: Path) -> pl.DataFrame:
    """One row per exam with a dose report: its irradiation events, each once.

    Beam-on times are by the clock of the scanner. A CT report tells when its last event ended, in
    whole seconds, and when its first began; of other scanners each event tells its start and length.
    """
    events = pl.read_parquet(truth / "dose_events.parquet")
    is_ct = pl.col("modality") == "CT"
    seconds = pl.col("exposure_seconds")
    length = pl.when(is_ct).then(seconds.floor() + 1).otherwise(seconds)
    ended = pl.col("started_at_device") + pl.duration(microseconds=(length * 1e6).round())
    studies = (
        events.with_columns(ended=ended)
        .group_by("exam_no")
        .agg(
            pl.len().cast(pl.Int64).alias("event_count"),
            pl.col("started_at_device").min().alias("started_at_local"),
            pl.col("ended").sort_by("started_at_device").last().alias("ended_at_local"),
            pl.col("dlp_mgy_cm").sum().round(6),
            pl.col("ctdi_vol_mgy").max(),
            pl.col("dap_gy_m2").sum().round(12),
            pl.col("agd_mgy").max(),
            pl.col("exposure_seconds").sum().round(6),
        )
    )
    done = exams(truth).select("exam_no", "party_code", "accession_number")
    return studies.join(done, on="exam_no").drop("exam_no")


def imaged_exams(truth: Path) -> pl.DataFrame:
    """Exams of the live weeks with at least one image series, one row per exam."""
    series = pl.read_parquet(truth / "dicom_series.parquet").filter(pl.col("scan_kind") == "exam")
    with_images = series["exam_no"].unique().to_list()
    return exams(truth).filter(
        pl.col("exam_no").is_in(with_images) & pl.col("completed_at").is_not_null()
    )


def room_minutes(truth: Path) -> pl.DataFrame:
    """Minutes by station and local day in which a patient with images was in the room.

    From the start to the end of the exam; overlaps count once; cut at midnight of the wall clock.
    """
    stays = imaged_exams(truth).select("station_name", start="started_at", end="completed_at")
    rows = []
    for (station,), part in stays.drop_nulls().partition_by("station_name", as_dict=True).items():
        for start, end in merged(part.sort("start").select("start", "end").rows()):
            rows += [(station, day, minutes) for day, minutes in minutes_by_day(start, end)]
    schema = {"station_name": pl.String, "day_on": pl.Date, "room_minutes": pl.Float64}
    by_day = pl.DataFrame(rows, schema=schema, orient="row").group_by("station_name", "day_on")
    return by_day.agg(pl.col("room_minutes").sum())


def merged(stays: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Intervals in order of their start, those that overlap or touch as one."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in stays:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def minutes_by_day(start: datetime, end: datetime) -> list[tuple[date, float]]:
    """The minutes of an interval (UTC) by day of the London wall clock."""
    found = []
    while start < end:
        day = start.astimezone(LONDON).date()
        midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=LONDON)
        stop = min(end, midnight.astimezone(UTC))
        found.append((day, (stop - start).total_seconds() / 60))
        start = stop
    return found


def scanner_downtimes(truth: Path) -> pl.DataFrame:
    """Downtimes of scanners of the live months: one row per downtime."""
    parameters = json.loads((truth / "parameters.json").read_text("utf-8"))
    told_from = date.fromisoformat(parameters["history_extract_on"]).replace(day=1)
    return pl.read_parquet(truth / "downtime.parquet").filter(
        pl.col("site_code").is_not_null() & (pl.col("month_on") >= told_from)
    )


def image_views(truth: Path, month: date) -> pl.DataFrame:
    """Launches of a month (local), one row per view: a person who comes back to a study soon is one.

    `is_certain` is False for the few that begin half an hour to an hour after an earlier launch of
    the same person, study and outcome: further accesses, up to half an hour long, decide there.
    """
    studies = exams(truth).select("exam_no", "study_instance_uid")
    launches = pl.read_parquet(truth / "image_views.parquet").join(studies, on="exam_no")
    same = ["staff_code", "study_instance_uid", "launch_failed"]
    since = pl.col("viewed_at") - pl.col("viewed_at").shift(1).over(same, order_by="viewed_at")
    local = pl.col("viewed_at").dt.convert_time_zone("Europe/London").dt.date()
    return (
        launches.filter(local.dt.month_start() == month)
        .with_columns(
            is_first=(since >= timedelta(minutes=30)).fill_null(True),
            is_certain=~since.is_between(timedelta(minutes=30), timedelta(minutes=60)).fill_null(
                False
            ),
        )
        .filter("is_first")
    )
