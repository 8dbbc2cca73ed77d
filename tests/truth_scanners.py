"""Scanner time of the synthetic truth alone: sets of time by station, polars and plain Python only.

A set of time is a list of intervals (UTC) in order that neither overlap nor touch. What images can tell is taken from the
series as they were made; the definition adds 2 minutes before a patient's first image and 3 after the last.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from tests.truth import LONDON, exams, merged, minutes_by_day, scanner_downtimes

Times = list[tuple[datetime, datetime]]
# What a scanner's figures are told by.
CELL = {"party_code": pl.String, "modality_group": pl.String, "month": pl.Date}
LEAD, TAIL = timedelta(minutes=2), timedelta(minutes=3)
CHANGEOVER = timedelta(minutes=15)


def common(one: Times, other: Times) -> Times:
    """The time in both sets."""
    both = [(max(a, c), min(b, d)) for a, b in one for c, d in other if a < d and c < b]
    return merged(sorted(both))


def without(one: Times, *others: Times) -> Times:
    """The time of the first set in none of the others."""
    left = one
    for start, end in merged(sorted(span for other in others for span in other)):
        cut = []
        for a, b in left:
            if end <= a or b <= start:
                cut.append((a, b))
                continue
            cut += [(a, start)] if a < start else []
            cut += [(end, b)] if end < b else []
        left = cut
    return left


def _by_station(rows: pl.DataFrame, station: str, start: str, end: str) -> dict[str, Times]:
    rows = rows.select(station, start, end).drop_nulls().sort(station, start)
    return {
        name: merged(part.drop(station).rows())
        for (name,), part in rows.partition_by(station, as_dict=True).items()
    }


@cache
def stations(truth: Path) -> dict[str, tuple[str, str]]:
    """Party and modality group of each station that the rota, the downtimes or an exam names."""
    done = exams(truth).select(
        "station_name", "site_code", "party_code", "dicom_modality", "modality_group"
    )
    parties = dict(done.select("site_code", "party_code").drop_nulls().unique().iter_rows())
    groups = dict(done.select("dicom_modality", "modality_group").drop_nulls().unique().iter_rows())
    rota = pl.read_parquet(truth / "rota.parquet")
    down = pl.read_parquet(truth / "downtime.parquet").rename(
        {"asset": "station_name", "asset_type": "dicom_modality"}
    )
    rows = pl.concat(
        one.select("station_name", "site_code", "dicom_modality") for one in (rota, down, done)
    )
    return {
        station: (parties[site], groups[modality])
        for station, site, modality in rows.drop_nulls().unique("station_name").iter_rows()
    }


@cache
def staffed(truth: Path) -> dict[str, Times]:
    """When each station was staffed."""
    rota = pl.read_parquet(truth / "rota.parquet")
    return _by_station(rota, "station_name", "session_start_at", "session_end_at")


@cache
def down(truth: Path, is_planned: bool) -> dict[str, Times]:
    """When each station was down, by plan or not."""
    rows = scanner_downtimes(truth).filter(pl.col("is_planned") == is_planned)
    return _by_station(rows, "asset", "down_from_at", "down_to_at")


def _scans(truth: Path, kind: str) -> pl.DataFrame:
    """One row per scan: first image and last end."""
    rows = pl.read_parquet(truth / "dicom_series.parquet").filter(pl.col("scan_kind") == kind)
    # of some series only the frames tell how long it took
    rows = rows.with_columns(end_at=pl.max_horizontal("end_at", "frames_end_at"))
    return rows.group_by("study_instance_uid", "station_name").agg(
        pl.col("start_at").min(), pl.col("end_at").max(), pl.col("start_at_local").min()
    )


@cache
def occupied(truth: Path, kind: str = "exam") -> dict[str, Times]:
    """When a patient took each table, or with kind `phantom` a phantom."""
    rows = _scans(truth, kind).with_columns(
        start_at=pl.col("start_at") - LEAD, end_at=pl.col("end_at") + TAIL
    )
    return _by_station(rows, "station_name", "start_at", "end_at")


def opening(rows: pl.DataFrame, first: date, last: date) -> dict[str, Times]:
    """When each station was open from a day to another, by rows of station, weekday, opens, closes."""
    days = pl.date_range(first, last, eager=True).to_list()
    found: dict[str, Times] = {}
    for station, weekday, *clocks in rows.select(
        "station_name", "weekday", "opens", "closes"
    ).iter_rows():
        for day in (day for day in days if day.isoweekday() == int(weekday)):
            start, end = (
                datetime.combine(day, time.fromisoformat(clock), tzinfo=LONDON).astimezone(UTC)
                for clock in clocks
            )
            found.setdefault(station, []).append((start, end))
    return {station: merged(sorted(spans)) for station, spans in found.items()}


def hours_by_month(truth: Path, times: dict[str, Times]) -> pl.DataFrame:
    """One row per party, modality and month (local) with the hours of all stations."""
    rows = [
        (*stations(truth)[station], day.replace(day=1), minutes / 60)
        for station, spans in times.items()
        for span in spans
        for day, minutes in minutes_by_day(*span)
    ]
    found = pl.DataFrame(rows, schema=CELL | {"hours": pl.Float64}, orient="row")
    return found.group_by(*CELL).agg(pl.col("hours").sum())


def scans_in_staffed_time(truth: Path) -> pl.DataFrame:
    """One row per party, modality and month with the scans begun in staffed time."""
    rows = [
        (*stations(truth)[station], local.date().replace(day=1))
        for _, station, start, _, local in _scans(truth, "exam").iter_rows()
        if any(a <= start < b for a, b in staffed(truth).get(station, []))
    ]
    return pl.DataFrame(rows, schema=CELL, orient="row").group_by(*CELL).len("scans")


def clock_error_minutes(truth: Path, station: str, at: datetime) -> float:
    """By how much the clock of a station was wrong then, either way."""
    rows = pl.read_parquet(truth / "device_clocks.parquet").filter(
        (pl.col("station_name") == station)
        & (pl.col("valid_from_at") <= at)
        & (pl.col("valid_to_at") > at)
    )
    since = (pl.lit(at) - pl.col("valid_from_at")) / timedelta(days=1)
    wrong = pl.col("offset_seconds") + pl.col("drift_seconds_per_day") * since
    return rows.select(wrong.abs().max() / 60).item() or 0.0


def sessions(truth: Path) -> pl.DataFrame:
    """One row per staffed session with a patient: party, modality, month, delay, idle gaps, clock error in minutes."""
    rows = []
    for station, spans in staffed(truth).items():
        busy = occupied(truth).get(station, [])
        other = [
            times.get(station, [])
            for times in (occupied(truth, "phantom"), down(truth, True), down(truth, False))
        ]
        for span in spans:
            patients = common([span], busy)
            if not patients:
                continue
            first, last = patients[0][0], patients[-1][1]
            gaps = without([(first, last)], busy, *other)
            idle = [end - start for start, end in gaps if end - start > CHANGEOVER]
            rows.append(
                (
                    *stations(truth)[station],
                    span[0].astimezone(LONDON).date().replace(day=1),
                    (first - span[0]) / timedelta(minutes=1),
                    sum(idle, timedelta()) / timedelta(minutes=1),
                    clock_error_minutes(truth, station, first),
                )
            )
    minutes = dict.fromkeys(("delay_minutes", "idle_minutes", "clock_minutes"), pl.Float64)
    return pl.DataFrame(rows, schema=CELL | minutes, orient="row")
