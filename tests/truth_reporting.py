"""Reporting figures from the synthetic truth alone: polars only, nothing of pipelines or dbt.

The rules are written here a second time on purpose, as in `tests.truth`.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from tests.truth import LONDON, exams

# Hours allowed by category, in force from the day below.
MAXIMA = {"emergency": 12, "inpatient": 24, "suspected_cancer": 72, "urgent": 168, "routine": 672}
MAXIMA_FROM = date(2023, 8, 9)
TEAMS = {
    "CT": "cross_sectional",
    "MRI": "cross_sectional",
    "Nuclear medicine": "cross_sectional",
    "PET": "cross_sectional",
    "Plain radiography": "plain_film",
    "Mammography": "plain_film",
}
WEIGHTS = {
    "CT": 13.0,
    "MRI": 12.0,
    "Nuclear medicine": 12.0,
    "PET": 20.0,
    "Plain radiography": 1.2,
    "Mammography": 3.0,
}
FEWEST_READERS = 5


def _acquired(truth: Path, month: date) -> pl.DataFrame:
    """Exams started in a month and done; one reported before its end is a case of data quality."""
    return exams(truth).filter(
        pl.col("completed_at").is_not_null()
        & (pl.col("started_at_local").dt.date().dt.month_start() == month)
        & ~(pl.col("verified_at") < pl.col("completed_at")).fill_null(False)
    )


def within_maximum(truth: Path, month: date, by: str = "category") -> pl.DataFrame:
    """One row per category, or party: exams of a month that have a category, and those in time."""
    setting, priority = pl.col("source_setting_delivered"), pl.col("priority_delivered")
    is_urgent = priority.is_in(["S", "U"])
    category = (
        pl.when(setting == "05")
        .then(pl.lit("emergency"))
        .when(setting.is_null() | priority.is_null())
        .then(None)
        .when(setting == "01")
        .then(pl.when(is_urgent).then(pl.lit("emergency")).otherwise(pl.lit("inpatient")))
        .when(priority == "T")
        .then(pl.lit("suspected_cancer"))
        .when(is_urgent)
        .then(pl.lit("urgent"))
        .otherwise(pl.lit("routine"))
    )
    allowed = category.replace_strict(MAXIMA, default=None, return_dtype=pl.Int64)
    taken = pl.col("verified_at") - pl.col("completed_at")
    return (
        _acquired(truth, month)
        .filter(pl.col("started_at_local").dt.date() >= MAXIMA_FROM)
        .with_columns(category=category, is_within=taken <= pl.duration(hours=allowed))
        .filter(pl.col("category").is_not_null())
        .group_by(by)
        .agg(exams=pl.len(), within=pl.col("is_within").fill_null(False).sum())
        .sort(by)
    )


@cache
def _last_event(truth: Path) -> datetime:
    """The last thing that happened to any request before the last day was over, UTC."""
    told = json.loads((truth / "parameters.json").read_text("utf-8"))
    over = datetime.combine(date.fromisoformat(told["last_day_on"]), time(23, 59), tzinfo=LONDON)
    over = over.astimezone(UTC)
    rows = exams(truth)
    # an appointment is a time that was meant
    happened = [
        rows[name].filter(rows[name] <= over).max()
        for name in rows.columns
        if name.endswith("_at") and not name.endswith("appointment_at")
    ]
    return max(at for at in happened if at is not None)


def turnaround_percentile(
    truth: Path, month: date, share: float, patients: pl.DataFrame | None = None
) -> float | None:
    """Hours by which a share of the exams of a month is reported (Kaplan-Meier), None if never.

    Of all exams, or of those of `patients` (patient_no).

    Product limit, one exam at a time: at a report the share left falls by one of those who have
    waited at least as long; an exam still open has waited until the last event of the network.
    """
    last = _last_event(truth)
    rows = _acquired(truth, month)
    if patients is not None:
        rows = rows.join(patients, on="patient_no", how="semi")
    waited = (pl.col("verified_at").fill_null(last) - pl.col("completed_at")) / timedelta(hours=1)
    order = rows.select(waited.alias("hours"), is_open=pl.col("verified_at").is_null())
    at_risk, left = len(rows), 1.0
    # at one time reports come before open exams
    for hours, is_open in order.sort("hours", "is_open").iter_rows():
        left *= 1.0 if is_open else 1 - 1 / at_risk
        at_risk -= 1
        if left <= 1 - share + 1e-9:
            return hours
    return None


def network_reports(truth: Path) -> pl.DataFrame:
    """One row per report by a reader of the network: party of the reader, team, periods, minutes."""
    group = pl.col("modality_group")
    is_told = pl.col("exam_code_delivered") == pl.col("exam_code")
    return (
        exams(truth)
        .filter(pl.col("verified_at").is_not_null() & ~pl.col("reporter_org").str.starts_with("ZZ"))
        .select(
            "exam_no",
            "verified_at",
            acquired="party_code",
            party_code="reporter_org",
            month_on=pl.col("verified_at_local").dt.date().dt.month_start(),
            week_on=pl.col("verified_at_local").dt.date().dt.truncate("1w"),
            team=pl.when(is_told).then(group.replace_strict(TEAMS, default=None)),
            minutes=pl.when(is_told).then(group.replace_strict(WEIGHTS, default=None)),
        )
    )


def sessions(truth: Path) -> pl.DataFrame:
    """One row per rostered reporting session."""
    rows = pl.read_parquet(truth / "reporting_rota.parquet")
    return measured(rows)


def measured(rows: pl.DataFrame) -> pl.DataFrame:
    """Sessions with a number, their hours, and the Monday of their week."""
    length = pl.col("session_end_at") - pl.col("session_start_at")
    return rows.with_columns(
        hours=length / timedelta(hours=1),
        week_on=pl.col("session_start_at_local").dt.date().dt.truncate("1w"),
    ).with_row_index("session_no")


def _of_rostered_teams(truth: Path, rota: pl.DataFrame) -> pl.DataFrame:
    """Of `network_reports`, those whose party sent a rota of their team and month."""
    keys = ["party_code", "team", "month_on"]
    return network_reports(truth).join(rota.select(keys).unique(), on=keys)


def against_rota(truth: Path, rota: pl.DataFrame) -> pl.DataFrame:
    """One row per party and month with a rota: reports in and outside sessions, and extra-paid.

    `rota` as of `sessions`. Only reports of teams that have a rota in the month count. A report in several sessions of its team falls to each in equal parts.
    """
    reports = _of_rostered_teams(truth, rota)
    during = reports.join(rota.drop("month_on"), on=["party_code", "team"]).filter(
        (pl.col("session_start_at") <= pl.col("verified_at"))
        & (pl.col("verified_at") < pl.col("session_end_at"))
    )
    extra = pl.col("pay_type").is_in(["WLI", "insourced"]).mean()
    parts = during.group_by("exam_no").agg(extra=extra)
    return (
        reports.join(parts, on="exam_no", how="left")
        .group_by("party_code", "month_on")
        .agg(
            reports=pl.len(),
            outside=pl.col("extra").is_null().sum(),
            inside=pl.col("extra").is_not_null().sum(),
            extra=pl.col("extra").sum(),
        )
        .sort("party_code", "month_on")
    )


def rostered(truth: Path, rota: pl.DataFrame, by: str) -> pl.DataFrame:
    """One row per party and period with a rota: hours, at home, with a place, readers, minutes.

    `rota` as of `sessions`; `by` is month_on or week_on. The readers are those that the sessions
    under way at one time need at least. Reports of months without a rota of their team do not
    count.
    """
    others = rota.select(
        "party_code",
        "staff_group",
        other_start="session_start_at",
        other_end="session_end_at",
    )
    at_once = (
        rota.join(others, on=["party_code", "staff_group"])
        .filter(
            (pl.col("other_start") <= pl.col("session_start_at"))
            & (pl.col("session_start_at") < pl.col("other_end"))
        )
        .group_by("session_no", "party_code", by, "staff_group")
        .agg(at_once=pl.len())
    )
    readers = (
        at_once.group_by("party_code", by, "staff_group")
        .agg(pl.col("at_once").max())
        .group_by("party_code", by)
        .agg(readers=pl.col("at_once").sum())
    )
    minutes = (
        _of_rostered_teams(truth, rota).group_by("party_code", by).agg(pl.col("minutes").sum())
    )
    return (
        rota.group_by("party_code", by)
        .agg(
            pl.col("hours").sum(),
            home=pl.col("hours").filter(pl.col("place") == "home").sum(),
            placed=pl.col("hours").filter(pl.col("place").is_not_null()).sum(),
        )
        .join(readers, on=["party_code", by])
        .join(minutes, on=["party_code", by], how="left")
        .with_columns(pl.col("minutes").fill_null(0.0))
        .sort("party_code", by)
    )


def shown(parties: pl.DataFrame, by: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of `rostered`: the network by period, and the parties, that have readers enough.

    A party is not shown either when those left out of its period are too few together.
    """
    return _shown(parties, by, pl.lit(True))


def months_shown(truth: Path, rota: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The network by month, and the parties, that are shown: `shown` in every week as well."""
    by_week = rostered(truth, rota, "week_on")
    weeks = rota.select("party_code", "month_on", "week_on").unique()
    network, parties = shown(by_week, "week_on")
    left_out = weeks.join(parties, on=["party_code", "week_on"], how="anti")
    network_left_out = weeks.join(network, on="week_on", how="anti")["month_on"]
    keys = pl.struct("party_code", "month_on")
    is_whole = ~keys.is_in(left_out.select(keys).to_series().implode())
    by_month, of_parties = _shown(rostered(truth, rota, "month_on"), "month_on", is_whole)
    return by_month.filter(~pl.col("month_on").is_in(network_left_out.implode())), of_parties


def _shown(parties: pl.DataFrame, by: str, is_whole: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    figures = ("minutes", "hours", "home", "placed", "readers")
    enough = pl.col("readers") >= FEWEST_READERS
    network = parties.group_by(by).agg(pl.col(*figures).sum()).filter(enough).sort(by)
    judged = parties.with_columns(is_enough=enough & is_whole)
    left_out = judged.filter(~pl.col("is_enough")).group_by(by).agg(rest=pl.col("readers").sum())
    apart = pl.col("rest").is_null() | (pl.col("rest") >= FEWEST_READERS)
    shown = judged.join(left_out, on=by, how="left").filter(pl.col("is_enough") & apart)
    return network, shown.sort("party_code", by)
