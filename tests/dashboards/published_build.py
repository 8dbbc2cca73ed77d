"""A small published build for tests: believable numbers for a network of eight parties.

`write_build(folder, build_id=...)` writes one DuckDB file and replaces manifest.json, in the shape
the publisher uses. Nothing here is read by the product.
"""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from pipelines.publishing.catalogue import unit_of
from pipelines.statistics.appraisal_cases import NOT_TOLD, point_measures
from pipelines.statistics.tables import METRIC_ESTIMATES
from pipelines.statistics.turnaround import as_metric
from tests.target_rows import seeded

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "dbt_project" / "seeds"
FIRST_MONTH, LAST_MONTH = date(2020, 4, 1), date(2026, 3, 1)
LIVE_FROM = date(2026, 1, 5)
AS_AT = datetime(2026, 3, 31, 22, 40, tzinfo=UTC)

SIZE = {"R0A": 3.4, "RW6": 2.6, "RM3": 1.4, "RMC": 1.1, "RRF": 1.1, "RWJ": 1.0, "RMP": 0.8}
SIZE["RBV"] = 0.5
MODALITY = {"Plain radiography": 120.0, "CT": 48.0, "MRI": 30.0, "Ultrasound": 56.0}
DM01 = {"CT": "CT", "MRI": "MRI", "Ultrasound": "NON_OBSTETRIC_ULTRASOUND"}
ARCHIVE = {
    "RW6": "2020-11-30",
    "RMC": "2021-02-22",
    "RRF": "2021-04-19",
    "RM3": "2021-06-14",
    "RWJ": "2021-09-06",
    "RMP": "2021-11-15",
    "RBV": "2022-01-24",
    "R0A": "2022-04-04",
}
BANDS = [f"band_{n:02d}" for n in range(14)]


def seed(path: str) -> list[dict[str, str]]:
    with (SEEDS / path).open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def months() -> list[date]:
    return pl.date_range(FIRST_MONTH, LAST_MONTH, "1mo", eager=True).to_list()


def trust_shares(party: str, day: date) -> list[tuple[str, float]]:
    if party != "RW6":
        return [(party, 1.0)]
    if day < date(2021, 4, 1):
        return [("RW6", 1.0)]
    middle = "RW6" if day < date(2021, 10, 1) else "RM3"
    return [(middle, 0.65), ("R0A", 0.35)]


def roll_up(parts: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """One row per level, organisation, modality (and All) and key: every number summed."""
    numbers = [
        c for c, t in parts.schema.items() if t.is_numeric() and c not in {*keys, "party", "trust"}
    ]
    frames = []
    for modality in (pl.col("modality_group"), pl.lit("All")):
        for level, code in (
            ("network", pl.lit("NETWORK")),
            ("party", pl.col("party")),
            ("trust", pl.col("trust")),
        ):
            frames.append(
                parts.with_columns(
                    modality.alias("modality_group"),
                    pl.lit(level).alias("org_level"),
                    code.alias("org_code"),
                )
                .group_by("org_level", "org_code", "modality_group", *keys)
                .agg(pl.col(n).sum() for n in numbers)
            )
    return pl.concat(frames).sort("org_level", "org_code", "modality_group", *keys)


def rate(numerator: str, denominator: str) -> pl.Expr:
    return pl.when(pl.col(denominator) > 0).then(pl.col(numerator) / pl.col(denominator))


def monthly_parts() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    rows = []
    for n, month in enumerate(months()):
        covid = 0.55 if month < date(2020, 8, 1) else 0.85 if month < date(2021, 4, 1) else 1.0
        for party, size in SIZE.items():
            live = date.fromisoformat(ARCHIVE[party]) <= month
            for modality, base in MODALITY.items():
                season = 1 + 0.05 * np.sin(n / 12 * 2 * np.pi)
                mean = base * size * covid * season * (1 + 0.003 * n)
                for trust, share in trust_shares(party, month):
                    exams = int(rng.poisson(mean * share))
                    cross = 0.11 if live else 0.02
                    queue = int(exams * 1.1)
                    waits = rng.dirichlet(np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1]))
                    bands = (waits * queue).astype(int)
                    dm01 = modality in DM01
                    reported = int(exams * 0.985)
                    late = int(exams * (0.09 if n < 60 else 0.05))
                    outsourced = int(reported * (0.09 if modality == "CT" else 0.04))
                    backlog = int(exams * 0.12)
                    live_weeks = month >= date(2026, 1, 1)
                    staffed = exams * (19.0 + 6 * size % 5) if live_weeks else 0.0
                    rows.append(
                        {
                            "period": month,
                            "party": party,
                            "trust": trust,
                            "modality_group": modality,
                            "exams": exams,
                            "reports": reported,
                            "within": exams - late,
                            "outsourced": outsourced,
                            "in_network": reported - outsourced,
                            "crossed": int((reported - outsourced) * cross),
                            "out_of_hours": int(reported * 0.21),
                            "backlog": backlog,
                            "old_backlog": int(backlog * 0.08),
                            "waiting": int(bands.sum()) if dm01 else 0,
                            "six_plus": int(bands[6:].sum()) if dm01 else 0,
                            "thirteen_plus": int(bands[13:].sum()) if dm01 else 0,
                            "tests": exams if dm01 else 0,
                            "valid": int(exams * 0.991),
                            "disorder": int(exams * 0.002),
                            "unmapped": int(exams * 0.004),
                            "matched": int(exams * 0.94) if live_weeks else 0,
                            "imaged": exams if live_weeks else 0,
                            "staffed": staffed,
                            "occupied": exams * 14.1 if live_weeks else 0.0,
                            **{b: int(v) if dm01 else 0 for b, v in zip(BANDS, bands, strict=True)},
                        }
                    )
    return pl.DataFrame(rows)


METRIC_PARTS = {
    "T01": ("exams", None),
    "W01": ("waiting", None),
    "W02": ("six_plus", "waiting"),
    "W03": ("thirteen_plus", None),
    "W04": ("tests", None),
    "W07": ("waiting", "tests"),
    "W08": ("thirteen_plus", None),
    "R02": ("within", "exams"),
    "R04": ("backlog", None),
    "R05": ("old_backlog", "backlog"),
    "R06": ("outsourced", "reports"),
    "R08": ("crossed", "in_network"),
    "R11": ("out_of_hours", "reports"),
    "R12": ("outsourced", "reports"),
    "R13": ("out_of_hours", "in_network"),
    "P01": ("old_backlog", "backlog"),
    "C04": ("crossed", "exams"),
    "C06": ("disorder", "exams"),
    "U01": ("exams", "staffed"),
    "U02": ("occupied", "staffed"),
    "Q01": ("valid", "exams"),
    "Q03": ("disorder", "exams"),
    "Q04": ("unmapped", "exams"),
    "Q05": ("matched", "imaged"),
    "Q08": ("exams", "reports"),
    "Q10": ("matched", "imaged"),
}
UNITS = {"U01": "exams per hour", "Q08": "hours"}

# metric_id, name, definition, numerator, denominator, unit, improvement, owner, source_status
METRICS = [
    ("T01", "Exams performed", "Imaging examinations completed in the month.", "exams", "none"),
    ("W01", "DM01 waiting list", "Requests still open at the month end.", "open requests", "none"),
    ("W02", "Waiting 6 weeks or more", "Share of the list waiting 42 days or more.", "42+", "W01"),
    ("W03", "Waiting 13 weeks or more", "Open requests of 91 days or more.", "91+ days", "none"),
    ("W04", "DM01 activity", "Completed DM01 tests.", "completed tests", "none"),
    ("R02", "Reported within 28 days", "Share of exams reported in 28 days.", "<= 28", "exams"),
    ("R04", "Unreported backlog", "Exams without a verified report.", "unreported", "none"),
    ("R05", "Backlog over 28 days", "Share of the backlog over 28 days.", "> 28 days", "R04"),
    ("R06", "Outsourced reports", "Reports written by a supplier.", "outsourced", "reports"),
    ("R08", "Cross-site reporting", "Reported by another party.", "cross-site", "network reports"),
    ("R11", "Out-of-hours reporting", "Verified 20:00-08:00 or weekend.", "those", "reports"),
    ("R12", "Reporting hours at home", "Share of rostered hours at home.", "at home", "rostered"),
    ("R13", "Reports outside rostered sessions", "No session under way.", "outside", "reports"),
    ("P01", "Vacant posts", "Share of the posts that nobody holds.", "vacant", "posts"),
    ("U01", "Exams per staffed hour", "Exams over staffed hours.", "exams", "staffed hours"),
    ("U02", "Scanner utilisation", "Occupied minutes inside staffed time.", "occupied", "staffed"),
    ("C04", "Images opened from a record", "Opened for each 1,000.", "views", "thousand exams"),
    ("C06", "Failed image launches", "Launches that showed no image.", "failed", "launches"),
    ("Q01", "Valid NHS number", "Records with a valid NHS number.", "valid", "carrying one"),
    ("Q03", "Dates out of order", "Rows breaking the order of dates.", "breaking", "both dates"),
    ("Q04", "Unmapped exam code", "Rows whose code has no modality.", "unmapped", "rows"),
    ("Q05", "Images found", "Exams with a matching study.", "matched", "expected"),
    ("Q08", "Data latency", "Hours until it had arrived.", "hours", "events"),
    ("Q10", "Doses found", "CT exams with a dose report.", "with one", "CT with images"),
]
COUNTS = {"T01", "W01", "W03", "W04", "R04"}
WORSE = {"W01", "W02", "W03", "R04", "R05", "R06", "C06", "Q03", "Q04"}


def metric_rows(parts: pl.DataFrame) -> pl.DataFrame:
    rolled = roll_up(parts, ["period"])
    frames = []
    for metric, (top, bottom) in METRIC_PARTS.items():
        scale = 60.0 if metric == "U01" else 1.0
        frame = rolled.select(
            pl.lit(metric).alias("metric_id"),
            "org_level",
            "org_code",
            "modality_group",
            pl.col("period").alias("period_start_on"),
            pl.col(top).cast(pl.Float64).alias("numerator"),
            (pl.lit(None) if bottom is None else pl.col(bottom) / scale)
            .cast(pl.Float64)
            .alias("denominator"),
        )
        value = pl.col("numerator") if bottom is None else rate("numerator", "denominator")
        frames.append(frame.with_columns(value.alias("value")))
    everything = pl.concat(frames)
    # The last month is not mature for the 28-day cohort: no value, and no zero either.
    young = (pl.col("metric_id") == "R02") & (pl.col("period_start_on") == LAST_MONTH)
    return everything.with_columns(
        pl.when(young).then(None).otherwise(pl.col("value")).alias("value")
    )


def throughput_daily(parts: pl.DataFrame) -> pl.DataFrame:
    rng = np.random.default_rng(11)
    days = pl.date_range(date(2025, 4, 1), date(2026, 3, 31), "1d", eager=True).to_list()
    base = parts.filter(pl.col("period") == LAST_MONTH)
    rows = []
    for row in base.iter_rows(named=True):
        weekday = rng.poisson(row["exams"] / 24, len(days))
        for day, exams in zip(days, weekday, strict=True):
            quiet = 0.4 if day.weekday() > 4 else 1.0
            done = int(exams * quiet)
            rows.append(
                (
                    day,
                    row["party"],
                    row["trust"],
                    row["modality_group"],
                    exams,
                    done,
                    int(done * 0.97),
                    int(exams * 0.07),
                    int(exams * 0.04),
                )
            )
    names = ["day_on", "party", "trust", "modality_group", "request_count", "exam_count"]
    names += ["report_count", "dna_count", "cancelled_count"]
    return roll_up(pl.DataFrame(rows, schema=names, orient="row"), ["day_on"])


def waiting_monthly(parts: pl.DataFrame) -> pl.DataFrame:
    tests = parts.filter(pl.col("modality_group").is_in(list(DM01))).with_columns(
        pl.col("period").dt.month_end().alias("census_on"),
        (pl.col("tests") * 0.55).cast(pl.Int64).alias("activity_waiting_list_count"),
        (pl.col("tests") * 0.1).cast(pl.Int64).alias("activity_planned_count"),
        (pl.col("tests") * 0.35).cast(pl.Int64).alias("activity_unscheduled_count"),
    )
    rolled = roll_up(tests, ["census_on"])
    return rolled.with_columns(rate("six_plus", "waiting").alias("waiting_6_plus_rate")).select(
        "org_level",
        "org_code",
        pl.col("modality_group").replace(DM01).alias("dm01_test"),
        "modality_group",
        "census_on",
        *BANDS,
        pl.col("waiting").alias("waiting_list_count"),
        pl.col("six_plus").alias("waiting_6_plus_count"),
        pl.col("thirteen_plus").alias("waiting_13_plus_count"),
        "waiting_6_plus_rate",
        "activity_waiting_list_count",
        "activity_planned_count",
        "activity_unscheduled_count",
    )


def published_monthly(waits: pl.DataFrame) -> pl.DataFrame:
    """The waits of trusts and network as if published, and the country in the last month."""
    told = waits.filter(pl.col("org_level").is_in(["trust", "network"]))
    country = told.filter(
        (pl.col("org_level") == "network") & (pl.col("census_on") == pl.col("census_on").max())
    ).with_columns(org_level=pl.lit("country"), org_code=pl.lit("ENGLAND"))
    return pl.concat([told, country]).with_columns(
        source=pl.when(pl.col("census_on") == pl.col("census_on").max())
        .then(pl.lit("extract"))
        .otherwise(pl.lit("seed")),
        provider_count=pl.lit(7, pl.Int64),
    )


def turnaround_monthly(parts: pl.DataFrame) -> pl.DataFrame:
    rolled = roll_up(parts, ["period"]).with_columns(pl.col("period").alias("acquired_month_on"))
    mature = pl.col("acquired_month_on") < LAST_MONTH
    one = rolled.select(
        "org_level",
        "org_code",
        "modality_group",
        pl.lit("All").alias("priority_group"),
        "acquired_month_on",
        pl.col("exams").alias("acquired_count"),
        pl.col("reports").alias("reported_count"),
        (pl.col("exams") - pl.col("reports")).alias("open_count"),
        pl.col("within").alias("reported_within_28_days_count"),
        pl.when(mature).then(rate("within", "exams")).alias("within_28_days_rate"),
        mature.alias("is_mature"),
        pl.col("backlog").alias("backlog_count"),
        pl.col("old_backlog").alias("backlog_over_28_days_count"),
    )
    return one


def survival(parts: pl.DataFrame) -> pl.DataFrame:
    rolled = roll_up(parts, ["period"])
    young = pl.col("period") == LAST_MONTH
    return rolled.select(
        "org_level",
        "org_code",
        "modality_group",
        pl.col("period").alias("acquired_month_on"),
        pl.col("exams").alias("exam_count"),
        (pl.col("exams") - pl.col("reports")).alias("open_count"),
        (30.0 + pl.col("exams") % 17).alias("p50_hours"),
        pl.when(young).then(None).otherwise(210.0 + pl.col("exams") % 61).alias("p90_hours"),
        pl.lit(True).alias("p50_reached"),
        (~young).alias("p90_reached"),
    )


GROUPS = {
    "deprivation_quintile": ["1 most deprived", "2", "3", "4", "5 least deprived", "Unknown"],
    "ethnic_group": [
        "White",
        "Mixed",
        "Asian or Asian British",
        "Black or Black British",
        "Other ethnic groups",
        "Not stated or not known",
    ],
}


def equity(parts: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Each list in six groups of which the first waits longest; the mixed group is withheld."""
    rolled = roll_up(parts, ["period"]).filter(pl.col("org_level") != "party")
    groups = pl.DataFrame(
        [
            (kind, name, order, order < 6, kind == "ethnic_group" and order == 2)
            for kind, names in GROUPS.items()
            for order, name in enumerate(names, 1)
        ],
        schema=["patient_group_kind", "patient_group", "group_order", "is_group_known", "gone"],
        orient="row",
    )
    rows = rolled.join(groups, how="cross").with_columns(
        period_start_on="period",
        waiting=(pl.col("waiting") // 6).cast(pl.Float64),
        late=(pl.col("waiting") // 6 // (9 + pl.col("group_order"))).cast(pl.Float64),
        exams=pl.col("exams") // 6,
    )
    is_quintile = (pl.col("patient_group_kind") == "deprivation_quintile") & (
        pl.col("group_order") < 6
    )
    shown = ~pl.col("gone")
    keys = ["org_level", "org_code", "modality_group", "patient_group_kind", "patient_group"]
    keys += ["group_order", "is_group_known", "period_start_on"]

    def told(value: pl.Expr, size: pl.Expr, reference: str, step: float) -> list[pl.Expr]:
        gap = pl.when(is_quintile & shown).then((5 - pl.col("group_order")) * step)
        return [
            pl.when(shown).then(size).alias("denominator"),
            pl.when(shown).then(value).alias("value"),
            pl.lit(5 / 6).alias("known_rate"),
            gap.alias("gap_to_least_deprived"),
            pl.when(is_quintile).then(size).alias(reference),
            pl.col("gone").alias("is_withheld"),
        ]

    order, late = pl.col("group_order"), pl.col("late")
    listed = rows.filter(pl.col("waiting") > 0)
    least = "least_deprived_denominator"
    waits = listed.select(
        pl.lit("W02").alias("metric_id"),
        *keys,
        pl.when(shown).then(late).alias("numerator"),
        *told(0.2 - order * 0.01, pl.col("waiting"), least, 0.01),
    )
    days = listed.select(
        pl.lit("W05").alias("metric_id"),
        *keys,
        pl.lit(None, pl.Float64).alias("numerator"),
        *told(30.0 - order, pl.col("waiting"), least, 1.0),
    )
    reports = rows.select(
        pl.lit("R01").alias("metric_id"), *keys, *told(40.0 - order, pl.col("exams"), least, 1.0)
    )
    network = rolled.filter((pl.col("org_level") == "network") & (pl.col("waiting") > 0))
    spread = network.join(pl.DataFrame({"metric_id": ["W02", "W05", "R01"]}), how="cross").select(
        "metric_id",
        "modality_group",
        pl.col("period").alias("period_start_on"),
        trust_count=7,
        left_out_count=1,
        lowest=0.04,
        lower_quartile=0.06,
        upper_quartile=0.09,
        highest=0.12,
        gap=0.08,
        quartile_gap=0.03,
        lowest_trust_code=pl.lit("RMC"),
        lowest_size=310.0,
        highest_trust_code=pl.lit("R0A"),
        highest_size=900.0,
    )
    return {
        "marts.rpt_equity_monthly": pl.concat([waits, days]),
        "statistics.turnaround_by_patient_group": reports,
        "statistics.trust_spread": spread,
    }


def revisions(metrics: pl.DataFrame) -> pl.DataFrame:
    """Exams of Bolton that came too late for January, and so for the network."""
    key = ["metric_id", "org_level", "org_code", "modality_group", "period_start_on"]
    changed = metrics.filter(
        (pl.col("metric_id") == "T01")
        & pl.col("org_code").is_in(["RMC", "NETWORK"])
        & (pl.col("org_level") != "trust")
        & (pl.col("period_start_on") == date(2026, 1, 1))
    )
    first, changed_at = AS_AT - timedelta(days=30), AS_AT + timedelta(hours=8)
    return changed.select(
        *key,
        (pl.col("numerator") - 7).alias("first_numerator"),
        pl.col("denominator").alias("first_denominator"),
        (pl.col("value") - 7).alias("first_value"),
        pl.lit("20260301T060000Z").alias("first_build_id"),
        pl.lit(first).alias("first_published_at"),
        (pl.col("numerator") - 2).alias("previous_numerator"),
        pl.col("denominator").alias("previous_denominator"),
        (pl.col("value") - 2).alias("previous_value"),
        "numerator",
        "denominator",
        "value",
        pl.lit(True).alias("is_published"),
        pl.lit(7.0).alias("change_since_first"),
        pl.lit(2.0).alias("change_since_previous"),
        pl.lit(2, dtype=pl.Int64).alias("revision_count"),
        pl.lit("20260401T060000Z").alias("changed_in_build_id"),
        pl.lit(changed_at).alias("changed_at"),
    )


def utilisation_weekly() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    groups = {m["dicom_modality"]: m["modality_group"] for m in seed("national/modalities.csv")}
    sites = {s["site_code"]: s["party_code"] for s in seed("network/sites.csv")}
    rows = []
    for week in range(12):
        for scanner in seed("network/scanner_register.csv"):
            party = sites[scanner["site_code"]]
            staffed = float(rng.choice([2400, 2880, 3360]))
            occupied = staffed * float(rng.uniform(0.45, 0.86))
            group = groups[scanner["dicom_modality"]]
            exams = int(occupied / {"CT": 14, "MRI": 26}.get(group, 13))
            # a single image does not say how long it took
            tells_end = group != "Ultrasound"
            rows.append(
                {
                    "week_start_on": LIVE_FROM + timedelta(weeks=week),
                    "party": party,
                    "trust": trust_shares(party, LIVE_FROM)[0][0],
                    "modality_group": group,
                    "station_name": scanner["station_name"],
                    "site_code": scanner["site_code"],
                    "staffed_minutes": staffed,
                    "occupied_minutes": occupied * 1.06,
                    "occupied_in_staffed_minutes": occupied,
                    "acquisition_minutes": occupied * 0.52 * tells_end,
                    "occupied_outside_staffed_minutes": occupied * 0.06,
                    "opening_minutes": staffed * 1.2,
                    "exam_count": exams,
                    "series_count": exams * 4,
                    "series_with_end_count": exams * 3 * tells_end,
                    "efficiency_occupied_minutes": occupied * 1.06 * tells_end,
                }
            )
    parts = pl.DataFrame(rows)
    rolled = roll_up(parts, ["week_start_on", "station_name", "site_code"])
    totals = roll_up(parts.drop("station_name", "site_code"), ["week_start_on"]).with_columns(
        pl.lit("All").alias("station_name"), pl.lit(None, dtype=pl.String).alias("site_code")
    )
    one = rolled.filter(pl.col("modality_group") != "All")
    # A scanner that sent no images in one week: staffed time is known, the shares are not.
    gap = (pl.col("station_name") == "RMC01CT1") & (pl.col("week_start_on") == date(2026, 2, 2))
    return (
        pl.concat([one, totals.select(one.columns)])
        .with_columns(
            rate("occupied_in_staffed_minutes", "staffed_minutes").alias("utilisation_rate"),
            pl.when(pl.col("efficiency_occupied_minutes") > 0)
            .then(rate("acquisition_minutes", "efficiency_occupied_minutes"))
            .alias("acquisition_efficiency_rate"),
            (pl.col("exam_count") / pl.col("staffed_minutes") * 60).alias("exams_per_staffed_hour"),
            rate("series_with_end_count", "series_count").alias("coverage_rate"),
        )
        .with_columns(
            pl.when(gap).then(None).otherwise(pl.col(c)).alias(c)
            for c in ("utilisation_rate", "acquisition_efficiency_rate")
        )
    )


def device_clocks() -> pl.DataFrame:
    """Two weeks of three scanners: one right, one an hour behind since the second, one unknown."""
    states = [
        ("right", 12.0, "days", 40, 0),
        ("dst_not_put_forward", 3601.5, "days", 40, 55),
        ("too_few", None, "too_few", 3, 0),
    ]
    rows = []
    for week in (date(2026, 3, 23), date(2026, 3, 30)):
        for scanner, state in zip(seed("network/scanner_register.csv"), states, strict=False):
            name = scanner["station_name"]
            is_first = week == date(2026, 3, 23)
            clock, offset, method, studies, corrected = states[0] if is_first else state
            rows.append(
                {
                    "device_key": f"serial:{scanner['device_serial_number']}",
                    "week_start_on": week,
                    "station_name": name,
                    "site_code": scanner["site_code"],
                    "party_code": "RMC",
                    "modality_group": "CT",
                    "clock_state": clock,
                    "offset_seconds": offset,
                    "spread_seconds": None if offset is None else 20.0,
                    "route_seconds": 45.0,
                    "method": method,
                    "study_count": studies,
                    "step_count": int(corrected > 0),
                    "is_proven_fast": False,
                    "is_corrected": corrected > 0,
                    "series_count": 60,
                    "corrected_series_count": corrected,
                    "corrected_rate": corrected / 60,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def gaps_weekly(weekly: pl.DataFrame) -> pl.DataFrame:
    """The staffed minutes of each row of the weekly use, divided up; what is left is idle."""
    shares = {
        "changeover": 0.08,
        "late_start": 0.03,
        "early_finish": 0.05,
        "planned_downtime": 0.0,
        "unplanned_downtime": 0.01,
        "quality_assurance": 0.02,
        "not_staffed": 0.0,
        "no_rota_known": 0.0,
    }
    staffed, occupied = pl.col("staffed_minutes"), pl.col("occupied_in_staffed_minutes")
    free = staffed - occupied
    return weekly.select(
        "org_level",
        "org_code",
        "modality_group",
        "station_name",
        "site_code",
        "week_start_on",
        pl.lit("staffed").alias("time_basis"),
        staffed.alias("total_minutes"),
        occupied.alias("occupied_minutes"),
        (free * (1 - sum(shares.values()))).alias("idle_minutes"),
        *((free * share).alias(f"{name}_minutes") for name, share in shares.items()),
        pl.lit(5).alias("day_count"),
        pl.lit(5).alias("rota_known_day_count"),
        pl.lit(3).alias("downtime_known_day_count"),
    )


def of_every_month(weekly: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The given rows for every organisation and modality group of the weekly use, by month."""
    keys = weekly.filter(pl.col("station_name") == "All").select(
        "org_level",
        "org_code",
        "modality_group",
        "station_name",
        month_on=pl.col("week_start_on").dt.month_start(),
    )
    return keys.unique().join(rows, how="cross").with_columns(site_code=pl.lit("All"))


def conventions_monthly(weekly: pl.DataFrame) -> pl.DataFrame:
    known = pl.DataFrame(seed("national/utilisation_conventions.csv")).with_columns(
        pl.col("sort_order").cast(pl.Int64),
        is_at_most_one=pl.col("is_at_most_one") == "true",
        denominator_minutes=pl.lit(6000.0),
        numerator_minutes=pl.col("sort_order").cast(pl.Float64) * 900,
        day_count=pl.lit(20),
        undefined_day_count=pl.lit(1),
    )
    rates = known.with_columns(
        rate("numerator_minutes", "denominator_minutes").alias("utilisation_rate")
    )
    return of_every_month(weekly, rates.drop("source", "source_status"))


def bridges_monthly(weekly: pl.DataFrame) -> pl.DataFrame:
    steps = [
        (1, 1, "from", "Exams inside the opening hours", 1230.0),
        (1, 2, "step", "Buffers inside the opening hours", 400.0),
        (1, 3, "to", "Used", 1630.0),
    ]
    names = ["bridge_no", "step_no", "step_kind", "step_name", "step_minutes"]
    return of_every_month(weekly, pl.DataFrame(steps, schema=names, orient="row"))


def series_ends_monthly(weekly: pl.DataFrame) -> pl.DataFrame:
    rows = [("acquisition", 90, 120, 0.75), ("none", 30, 120, 0.25)]
    names = ["end_method", "series_count", "all_series_count", "series_rate"]
    ends = of_every_month(weekly, pl.DataFrame(rows, schema=names, orient="row"))
    return ends.drop("station_name", "site_code")


def reconciliation_monthly(weekly: pl.DataFrame) -> pl.DataFrame:
    """Every finding of the seed; no images are known of ultrasound."""
    findings = pl.DataFrame(seed("national/reconciliation_findings.csv")).select(
        "finding",
        pl.col("sort_order").cast(pl.Int64),
        "finding_name",
        "judged_name",
        "metric_id",
        "why",
        band_no=pl.lit(0),
        band=pl.lit("All"),
        ris_exam_count=pl.lit(120),
    )
    unknown = pl.col("modality_group") == "Ultrasound"
    count = pl.col("sort_order") * 2
    return of_every_month(weekly, findings).with_columns(
        covered_exam_count=pl.when(unknown).then(0).otherwise(110),
        image_coverage=pl.when(unknown)
        .then(pl.lit("no images known"))
        .otherwise(pl.lit("part of the month or units")),
        finding_count=pl.when(~unknown).then(count),
        judged_count=pl.when(~unknown).then(110),
        finding_rate=pl.when(~unknown).then(count / 110),
    )


def cross_site(parts: pl.DataFrame) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    rows = []
    for row in parts.iter_rows(named=True):
        others = [p for p in SIZE if p != row["party"]]
        split = rng.multinomial(row["crossed"], np.ones(len(others)) / len(others))
        cells = dict(zip(others, split.tolist(), strict=True))
        cells[row["party"]] = row["in_network"] - row["crossed"]
        cells["ZZT01"] = row["outsourced"]
        for reader, count in cells.items():
            inside = reader != "ZZT01"
            rows.append(
                {
                    "month_on": row["period"],
                    "party": row["party"],
                    "trust": row["trust"],
                    "modality_group": row["modality_group"],
                    "reported_org_code": reader,
                    "report_count": count,
                    "network_report_count": count if inside else 0,
                    "cross_site_count": count if inside and reader != row["party"] else 0,
                    "outsourced_count": 0 if inside else count,
                }
            )
    base = pl.DataFrame(rows)
    both = pl.concat([base, base.with_columns(pl.lit("All").alias("reported_org_code"))])
    rolled = roll_up(both, ["month_on", "reported_org_code"]).filter(pl.col("org_level") != "trust")
    return rolled.with_columns(
        rate("cross_site_count", "network_report_count").alias("cross_site_rate"),
        rate("outsourced_count", "report_count").alias("outsourced_rate"),
    ).rename({"org_level": "acquired_org_level", "org_code": "acquired_org_code"})


def cross_site_by_year(monthly: pl.DataFrame) -> pl.DataFrame:
    of, counts = ["acquired_org_level", "acquired_org_code", "reported_org_code"], [
        name for name in monthly.columns if name.endswith("_count")
    ]  # fmt: skip
    april = pl.date(pl.col("month_on").dt.offset_by("-3mo").dt.year(), 4, 1)
    years = (
        monthly.filter(modality_group="All")
        .with_columns(year_on=april)
        .with_columns(
            last_month_on=pl.col("month_on").max().over("year_on"),
            month_count=pl.col("month_on").n_unique().over("year_on"),
        )
        .group_by(*of, "year_on", "last_month_on", "month_count", maintain_order=True)
        .agg(pl.col(counts).sum())
    )
    return years.with_columns(
        rate("cross_site_count", "network_report_count").alias("cross_site_rate"),
        rate("outsourced_count", "report_count").alias("outsourced_rate"),
    )


BENEFITS = [
    ("B01", "Cross-site reporting", "NCRB", "Reports shared across sites", "R08", None, "increase"),
    (
        "B02",
        "Less outsourced reporting",
        "CRB",
        "Fewer reports bought in",
        "R06",
        410e3,
        "decrease",
    ),
    ("B05", "Fewer repeat examinations", "NCRB", "Earlier images to hand", None, 95e3, "decrease"),
    (
        "B06",
        "Old archives switched off",
        "CRB",
        "Eight archives become one",
        None,
        640e3,
        "decrease",
    ),
    ("B07", "Faster inpatient reports", "NCRB", "Shorter stays", None, 180e3, "decrease"),
    ("B10", "Out-of-hours work spread", "SB", "Fairer rotas", "R11", None, "decrease"),
    (
        "B12",
        "Fewer reports over 28 days",
        "SB",
        "No one waits for a result",
        "R02",
        None,
        "increase",
    ),
    ("B13", "Images opened in the record", "NCRB", "One click", "Q05", None, "increase"),
    ("B15", "Discs and couriers avoided", "CRB", "Images move by wire", None, 38e3, "decrease"),
]
WITHOUT_BASELINE = {"B13"}
# Feeds that a line rests on and that no party has sent.
MISSING = {
    "B05": "hl7 or ris_extract",
    "B06": "storage; contract_lines",
    "B07": "admissions",
}


def moved(change: float, improvement: str) -> str:
    if change == 0:
        return "no change"
    return "as promised" if (change > 0) == (improvement == "increase") else "against the promise"


def reached(value: float, target: float, improvement: str) -> bool:
    return value >= target if improvement == "increase" else value <= target


def overview(summary: pl.DataFrame) -> pl.DataFrame:
    met, moves = summary["is_target_met"], summary["movement"].to_list()
    return pl.DataFrame(
        {
            "scope_code": ["NETWORK"],
            "line_count": [summary.height],
            "measured_count": [int(summary["is_measured"].sum())],
            "as_promised_count": [moves.count("as promised")],
            "against_promise_count": [moves.count("against the promise")],
            "no_change_count": [moves.count("no change")],
            "no_baseline_count": [moves.count("no baseline")],
            "no_evidence_count": [summary["evidence_status"].to_list().count("no evidence")],
            "no_metric_count": [summary["evidence_status"].to_list().count("no metric yet")],
            "target_judged_count": [met.count()],
            "target_met_count": [int(met.sum())],
        }
    )


def benefits(metrics: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    network = metrics.filter(
        (pl.col("org_level") == "network") & (pl.col("modality_group") == "All")
    )
    rows, monthly = [], []
    for benefit, title, kind, promise, metric, planned, improvement in BENEFITS:
        series = network.filter(
            (pl.col("metric_id") == (metric or "")) & pl.col("value").is_not_null()
        ).sort("period_start_on")
        known = metric is not None
        has_baseline = known and benefit not in WITHOUT_BASELINE
        first = float(series["value"][:6].mean()) if has_baseline else None
        last = float(series["value"][-1]) if known else None
        change = last - first if has_baseline else None
        missing = MISSING.get(benefit)
        evidence = "measured" if known else "no evidence" if missing else "no metric yet"
        target = {"R08": 0.05, "R06": 0.01}.get(metric or "")
        cost_status = None if planned is None else "illustrative"
        shared = {
            "benefit_id": benefit,
            "title": title,
            "benefit_class": kind,
            "measure_metric_id": metric,
            "unit": "rate" if known else None,
            "improvement": improvement,
            "metric_baseline_value": first,
            "is_measured": has_baseline,
            "unit_cost_source_status": cost_status,
        }
        rows.append(
            shared
            | {
                "description": promise + ".",
                "category": "reporting",
                "promise": promise,
                "owner_role": "Programme director",
                "target_value": target,
                "target_on": date(2026, 4, 1),
                "baseline_from": date(2020, 4, 1),
                "baseline_to": date(2020, 9, 30),
                "metric_latest_value": last,
                "metric_latest_on": series["period_start_on"][-1] if known else None,
                "metric_change": change,
                "evidence_status": evidence,
                "evidence": f"{evidence}: {missing} missing" if missing else evidence,
                "needed_feeds": missing or "hl7 or ris_extract",
                "missing_feeds": missing,
                "movement": "not measured"
                if not known
                else "no baseline"
                if change is None
                else moved(change, improvement),
                "is_target_met": reached(last, target, improvement) if known and target else None,
                "planned_value_gbp_per_year": planned,
                "optimism_rate": None if kind == "UB" else 0.2,
                "optimism_source": "benefit register" if kind == "CRB" else "no general value",
                "optimism_source_status": "synthetic" if kind == "CRB" else "illustrative",
                "planned_adjusted_gbp_per_year": None if planned is None else 0.8 * planned,
                "double_count_group": "B01_B02" if benefit in {"B01", "B02"} else None,
                "source_status": "synthetic",
                "status": "open",
            }
        )
        for month in months():
            monthly.append(
                shared
                | {
                    "period_start_on": month,
                    "org_level": "network",
                    "org_code": "NETWORK",
                    "metric_value": last,
                    "metric_change": change,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None), pl.DataFrame(
        monthly, infer_schema_length=None
    )


def ledger(summary: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The first line realised, the second shadowed by it, the others without evidence."""
    lines = summary.select("benefit_id", "title", "benefit_class").with_row_index("number")
    is_first, is_second = pl.col("number") == 0, pl.col("number") == 1
    pounds = {
        "planned_to_date": 50_000.0,
        "planned_compared": 9000.0,
        "planned_adjusted_compared": 7200.0,
        "realised_to_date": 1034.4,
    }
    pounds |= {"realised_low": -85.2, "realised_high": 2153.7}
    told = lines.select(
        "benefit_id",
        "title",
        "benefit_class",
        ~is_second.alias("is_counted"),
        pl.when(pl.col("benefit_id").is_in(["B06", "B07"]))
        .then(180_000.0)
        .alias("forecast_to_date_gbp"),
        *[
            pl.when(is_first).then(value).otherwise(None).alias(f"{name}_gbp")
            for name, value in pounds.items()
        ],
        pl.when(is_first).then(date(2021, 1, 1)).alias("realised_from_on"),
        pl.when(is_first).then(date(2021, 12, 1)).alias("realised_until_on"),
        pl.when(is_first).then(pl.lit("B")).otherwise(pl.lit("no evidence")).alias("evidence"),
        pl.when(is_first).then(pl.lit("consistent with improvement")).alias("verdict"),
        pl.when(~is_first).then(pl.lit("RMC has 7 months before go-live")).alias("empty_because"),
        pl.when(is_second).then(pl.col("benefit_id").first()).alias("shadowed_by"),
        price_year=2024,
    )
    flows, costs = benefit_flows()
    names = {"party_code": "party", "month_on": "month"}
    counted = ("pv_costs", "pv_benefits", "npsv", "bcr", "discounted_payback_year")
    found = point_measures(flows.rename(names), costs.rename(names), counted)
    values = {"npsv_p10": -400_000.0, "npsv_p90": 90_000.0, "npsv_above_zero_rate": 0.21}
    is_told = found.filter(pl.col("measure") == "npsv").select(
        "basis", "class_selection", pl.col("value").is_not_null()
    )
    simulated = [
        (basis, classes, measure, "rate" if measure.endswith("rate") else "GBP",
         value if told else None, None if told else NOT_TOLD)
        for basis, classes, told in is_told.iter_rows()
        for measure, value in values.items()
    ]  # fmt: skip
    cases = [*found.rows(), *simulated]
    appraisal = pl.DataFrame(cases, found.schema, orient="row").with_columns(
        optimism_bias=0.0,
        schedule=pl.lit("standard"),
        first_year=2020,
        last_year=2021,
        last_month_on=date(2021, 12, 1),
        price_year=2024,
        rates_vintage=pl.lit("Green Book 2022"),
        benefit_ids=pl.lit("B01"),
        told_month_count=9,
        benefit_month_count=24,
    )
    return {
        "statistics.benefit_ledger": told,
        "statistics.appraisal": appraisal,
        "statistics.realised_benefits": flows,
        "statistics.appraisal_sensitivities": pl.DataFrame(
            [
                ("tornado", "realised, then forecast", "all monetised", 0.0, line, low, high)
                for line, low, high in (("B01 realised", 300_000.0, 900_000.0),)
            ],
            [
                "sensitivity",
                "basis",
                "class_selection",
                "optimism_bias",
                "variant",
                "npsv_low_gbp",
                "npsv_high_gbp",
            ],
            orient="row",
        ),
        "statistics.programme_costs_monthly": costs,
    }


def benefit_flows() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Benefits and costs of one party by month of 2021: B01 measured, B06 and B07 forecast.

    Realised is 850,000 of 1,000,000 in the first financial year; B07 rests on no unit value.
    """
    schema = {"benefit_id": pl.String, "benefit_class": pl.String, "month_on": pl.Date,
              "unit_value_gbp": pl.Float64, "forecast_gbp": pl.Float64, "realised_gbp": pl.Float64}  # fmt: skip
    rows = [
        (line, kind, date(2021, month, 1), value, forecast, realised if month == 2 else None)
        for line, kind, value, forecast, realised in (
            ("B01", "NCRB", 10.0, None, 850_000.0),
            ("B06", "CRB", 10.0, 60_000.0, None),
            ("B07", "NCRB", None, 15_000.0, None),
        )
        for month in range(1, 13)
    ]
    unit_value = pl.col("unit_value_gbp")
    flows = pl.DataFrame(rows, schema, orient="row").with_columns(
        party_code=pl.lit("RMC"),
        measure_metric_id=pl.lit(None, pl.String),
        is_counted=True,
        unit_value_low_gbp=unit_value,
        unit_value_high_gbp=unit_value,
    )
    costs = pl.DataFrame(
        [("P01", "RMC", date(2021, 1, 1), 1_000_000.0), ("P01", "RMC", date(2021, 10, 1), 1e5)],
        ["cost_id", "party_code", "month_on", "cost_gbp"],
        orient="row",
    )
    return flows, costs


def events() -> pl.DataFrame:
    rows = []
    kinds = ("archive", "viewing", "network_reporting")
    for party, day in ARCHIVE.items():
        for step, kind in enumerate(kinds):
            on = date.fromisoformat(day) + timedelta(days=30 * step)
            status = "verified" if party == "RW6" and step == 0 else "synthetic"
            label = f"{kind.replace('_', ' ').capitalize()} go-live"
            rows.append((party, f"go_live_{kind}", on, None, label, "go_lives feed", status, None))
    for event in seed("network/programme_events.csv"):
        ends = date.fromisoformat(event["ends_on"]) if event["ends_on"] else None
        on = date.fromisoformat(event["event_on"])
        rows.append(
            (
                event["scope_code"],
                event["event_type"],
                on,
                ends,
                event["label"],
                event["source"],
                event["source_status"],
                event["metric_ids"] or None,
            )
        )
    outage = ("RW6", "outage", date(2026, 2, 3), date(2026, 2, 4), "Image system down for 18 hours")
    rows.append((*outage, "downtime feed", "delivered", None))
    names = ["scope_code", "event_type", "event_on", "ends_on", "label", "source", "source_status"]
    names.append("metric_ids")
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None).with_columns(
        pl.concat_str("scope_code", "event_type", pl.col("event_on").cast(pl.String)).alias(
            "event_key"
        )
    )


WAYS_IN = {"own_record": 0.5, "shared_record": 0.2, "gp": 0.1, "meeting": 0.05}
WAYS_IN |= {"archive_viewer": 0.15, "Unknown": 0.0, "All": 1.0}
FIRST_AUDITED, SILENT = date(2025, 10, 1), "RMP"


def staff() -> dict[str, pl.DataFrame]:
    """Output of two teams of the network, of which the smaller has a week left out; protections."""
    weeks = pl.date_range(date(2025, 4, 7), date(2026, 3, 23), "1w", eager=True).to_list()
    teams = [
        ("network", "NETWORK", team, week, team != "plain_film" or n != 3, 20.0 + n % 5)
        for team in ("All", "cross_sectional", "plain_film")
        for n, week in enumerate(weeks)
    ]
    keys = ["org_level", "org_code", "team", "week_start_on", "is_shown", "figure"]
    shown = pl.when("is_shown")
    output = pl.DataFrame(teams, schema=keys, orient="row").select(
        *keys[:-1],
        shown.then(pl.lit(12, pl.Int64)).alias("session_count"),
        shown.then(48.0).alias("rostered_hours"),
        shown.then("figure").alias("minutes_per_rostered_hour"),
    )
    balance = pl.DataFrame(
        [(party, "All", LAST_MONTH, 40, 30, 120.0 - 60.0 * n) for n, party in enumerate(SIZE)],
        schema=["party_code", "modality_group", "month_on", "given_report_count",
                "received_report_count", "balance_minutes"],
        orient="row",
    )  # fmt: skip
    least = {"rota_readers": 5, "survey_answers": 11}
    protections = pl.DataFrame(seed("national/staff_protections.csv")).with_columns(
        pl.col("sort_order").cast(pl.Int32),
        pl.col("people").replace("", None),
        least_people_count=pl.col("protection").replace_strict(least, default=None),
    )
    return {
        "rpt_reporting_output_weekly": output,
        "rpt_reporting_balance_monthly": balance,
        "dim_staff_protection": protections,
    }


def image_access_monthly() -> pl.DataFrame:
    """Half a year of views by party; one party sends no audit messages, one knows no times."""
    known = pl.DataFrame(seed("national/image_access_measures.csv"))
    rows = []
    audited = [month for month in months() if month >= FIRST_AUDITED]
    for n, month in enumerate(audited):
        parties = [party for party in SIZE if party != SILENT]
        for way, share in WAYS_IN.items():
            of_party = []
            for party in parties:
                views = int(900 * SIZE[party] * share) + 3 * n * (share > 0)
                timed = 0 if party == "RRF" else views
                of_party.append(
                    {
                        "views": (views, None),
                        "views_per_thousand_exams": (views, 2.0 * SIZE[party]),
                        "other_party_views": (views // 5, views),
                        "acquirer_known": (views, views),
                        "failed_launches": (views // 25, views + views // 25),
                        "first_image_seconds": (timed * 3.5, timed),
                        "slow_first_images": (timed // 20, timed),
                        "first_image_timed": (timed, views),
                        "viewing_people": (views // 9 if views > 45 else None, None),
                        "transfers": (40 + n, None),
                    }
                )
            told = [("party", party, found) for party, found in zip(parties, of_party, strict=True)]
            whole = {
                measure: (
                    sum(found[measure][0] or 0 for found in of_party),
                    None if bottom is None else sum(found[measure][1] for found in of_party),
                )
                for measure, (_, bottom) in of_party[0].items()
            }
            for level, code, found in [*told, ("network", "NETWORK", whole)]:
                for measure, (top, bottom) in found.items():
                    if measure == "transfers" and way != "All":
                        continue
                    value = top if bottom is None else (top / bottom if bottom else None)
                    rows.append((measure, level, code, way, month, top, bottom, value))
    names = ["measure", "org_level", "org_code", "access_context", "month_on", "numerator"]
    names += ["denominator", "value"]
    kinds = dict.fromkeys(("numerator", "denominator", "value"), pl.Float64)
    return (
        pl.DataFrame(
            [(*row[:5], *(None if x is None else float(x) for x in row[5:])) for row in rows],
            schema=names,
            schema_overrides=kinds,
            orient="row",
        )
        .join(known, on="measure")
        .with_columns(
            pl.col("sort_order").cast(pl.Int64),
            audited_party_count=pl.when(pl.col("org_level") == "network").then(7).otherwise(1),
        )
    )


def evidence() -> pl.DataFrame:
    """Every party has what B01 needs; one has nothing for B09 and lacks the audit for B13."""
    rows = []
    for party in seed("network/programme_parties.csv"):
        code = party["party_code"]
        held = "hl7, ris_extract"
        is_silent = code == "RMP"
        rows += [
            (code, "benefit", "B01", "Cross-site reporting share", "hl7 or ris_extract; go_lives",
             f"{held}; go_lives", None, "available"),
            (code, "benefit", "B09", "Meeting preparation time", "meeting_lists",
             None if is_silent else "meeting_lists", "meeting_lists" if is_silent else None,
             "no evidence" if is_silent else "available"),
            (code, "benefit", "B13", "Images opened in the patient record",
             "hl7 or ris_extract; image_access", held if is_silent else f"{held}; image_access",
             "image_access" if is_silent else None, "partly" if is_silent else "available"),
            (code, "metric", "W02", "Waiting six weeks and more", "hl7 or ris_extract",
             None if is_silent else held, "hl7 or ris_extract" if is_silent else None,
             "no evidence" if is_silent else "available"),
        ]  # fmt: skip
    names = [
        "party_code", "subject_kind", "subject_id", "subject_name", "needed_feeds", "held_feeds",
        "missing_feeds", "evidence_status",
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def feeds(as_at: datetime) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    fresh, reconciled, rejects = [], [], []
    live = [f for f in seed("network/feeds.csv")]
    for number, feed in enumerate(live):
        kind = feed["feed_id"].rsplit("_", 1)[0] if feed["party_code"] else feed["feed_id"]
        silent = timedelta(days=9) if feed["feed_id"] == "hl7_RMP" else timedelta(0)
        instant = as_at - silent
        if kind == "ris_extract":
            instant = datetime(2026, 1, 6, 23, 50, tzinfo=UTC)
        rejected = number % 4 if kind in {"hl7", "ris_extract"} else 0
        received = 4000 + number * 37
        fresh.append(
            {
                "party_code": feed["party_code"] or "NETWORK",
                "feed_id": feed["feed_id"],
                "feed_kind": kind,
                "as_at": instant,
                "as_at_local": instant.replace(tzinfo=None),
                "last_received_at": instant,
                "tells_of_exams": kind in ("ris_extract", "hl7", "dicom"),
                "file_count": 12,
                "quarantined_file_count": 0,
            }
        )
        reconciled.append(
            {
                "feed_kind": kind,
                "feed_id": feed["feed_id"],
                "rows_received": received,
                "rows_landed": received - rejected,
                "rows_rejected": rejected,
                "rows_written": received * 3,
                "file_count": 12,
                "quarantined_file_count": 0,
                "is_reconciled": True,
            }
        )
        if rejected:
            rejects.append(
                {
                    "feed_kind": kind,
                    "feed_id": feed["feed_id"],
                    "file_name": f"{feed['feed_id']}.csv",
                    "rule": "verified_before_completed" if number % 2 else "missing_accession",
                    "reason_example": "=report 02/01/2026 before exam 03/01/2026",
                    "scope": "row",
                    "reject_count": rejected,
                }
            )
    return pl.DataFrame(fresh), pl.DataFrame(reconciled), pl.DataFrame(rejects)


def quality_monthly(parts: pl.DataFrame) -> pl.DataFrame:
    rolled = roll_up(parts, ["period"]).filter(pl.col("modality_group") == "All")
    frames = []
    for metric, rule, top, bottom in (
        ("Q01", "nhs_number_invalid", "disorder", "exams"),
        ("Q03", "report_before_exam", "disorder", "exams"),
        ("Q04", "exam_code_unmapped", "unmapped", "exams"),
        ("Q05", "no_images_found", "disorder", "imaged"),
        ("Q10", "no_dose_report", "disorder", "imaged"),
    ):
        frames.append(
            rolled.select(
                "org_level",
                "org_code",
                pl.lit(metric).alias("metric_id"),
                pl.lit(rule).alias("rule"),
                pl.col("period").alias("period_start_on"),
                pl.col(top).alias("failing_count"),
                pl.col(bottom).alias("checked_count"),
                rate(top, bottom).alias("failing_rate"),
            )
        )
    return pl.concat(frames)


def dimensions() -> dict[str, pl.DataFrame]:
    parties = pl.DataFrame(seed("network/programme_parties.csv")).with_columns(
        pl.col("sort_order").cast(pl.Int64)
    )
    day = pl.col("valid_from", "valid_to").str.to_date(strict=False)
    trusts = (
        pl.DataFrame(seed("network/trusts.csv"))
        .with_columns(day)
        .with_columns(pl.col("valid_to").is_null().alias("is_current"))
    )
    named = trusts.sort("valid_to", nulls_last=True).unique("trust_code", keep="last")
    organisations = pl.concat(
        [
            pl.DataFrame([("network", "NETWORK", "Greater Manchester", 0)], orient="row"),
            pl.DataFrame(
                [
                    ("party", p["party_code"], p["party_name"], p["sort_order"])
                    for p in parties.iter_rows(named=True)
                ],
                orient="row",
            ),
            pl.DataFrame(
                [
                    ("trust", t["trust_code"], t["trust_name"], n)
                    for n, t in enumerate(named.sort("trust_name").iter_rows(named=True), 1)
                ],
                orient="row",
            ),
        ]
    )
    organisations.columns = ["org_level", "org_code", "org_name", "sort_order"]
    sites = pl.DataFrame(seed("network/sites.csv")).select(
        "site_code",
        "site_name",
        "party_code",
        pl.col("party_code").replace({"RW6": "RM3"}).alias("current_trust_code"),
        "source_status",
    )
    return {
        "dim_party": parties.select(
            "party_code", "party_name", "short_name", "sort_order", "source_status"
        ),
        "dim_reporting_organisation": reporting_organisations(parties),
        "dim_trust": trusts.select(
            "trust_code", "trust_name", "short_name", "valid_from", "valid_to", "is_current"
        ),
        "dim_organisation": organisations,
        "dim_site": sites,
        "dim_event": events(),
        "dim_target": seeded(),
    }


def catalogue_metrics() -> pl.DataFrame:
    rows = []
    for metric, name, definition, numerator, denominator in METRICS:
        unit = "count" if metric in COUNTS else UNITS.get(metric, "rate")
        rows.append(
            {
                "metric_id": metric,
                "name": name,
                "definition": definition,
                "numerator": numerator,
                "denominator": denominator,
                "unit": unit,
                "improvement": "decrease" if metric in WORSE else "increase",
                "clock": "month of the event, local date",
                "exclusions": "Cancelled requests.",
                "owner": "Imaging analytics",
                "source": "NHS England DM01 guidance" if metric.startswith("W") else "Own design",
                "source_status": "verified" if metric.startswith("W") else "design",
                "semi_additive": metric in {"W01", "W03", "R04"},
            }
        )
    return pl.DataFrame(rows)


def tables() -> dict[str, pl.DataFrame]:
    """Every table of the published file, as schema.table -> frame."""
    parts = monthly_parts()
    metrics = metric_rows(parts)
    summary, monthly = benefits(metrics)
    fresh, reconciled, rejects = feeds(AS_AT)
    weekly, shared = utilisation_weekly(), cross_site(parts)
    marts = dimensions() | {
        "rpt_throughput_daily": throughput_daily(parts),
        "rpt_waiting_times_monthly": waiting_monthly(parts),
        "rpt_published_waits_monthly": published_monthly(waiting_monthly(parts)),
        "rpt_report_turnaround_monthly": turnaround_monthly(parts),
        "rpt_scanner_utilisation_weekly": weekly,
        "rpt_station_gaps_weekly": gaps_weekly(weekly),
        "rpt_utilisation_conventions_monthly": conventions_monthly(weekly),
        "rpt_series_ends_monthly": series_ends_monthly(weekly),
        "rpt_utilisation_bridges_monthly": bridges_monthly(weekly),
        "rpt_ris_dicom_reconciliation_monthly": reconciliation_monthly(weekly),
        "rpt_cross_site_reporting_monthly": shared,
        "rpt_cross_site_reporting_yearly": cross_site_by_year(shared),
        "rpt_image_access_monthly": image_access_monthly(),
        "rpt_metrics_monthly": metrics,
        "rpt_benefits_monthly": monthly,
        "rpt_benefits_summary": summary,
        "rpt_benefits_overview": overview(summary),
        "rpt_data_quality_monthly": quality_monthly(parts),
        "rpt_feed_freshness": fresh.with_columns(
            is_late=pl.coalesce(
                pl.col("as_at") < pl.col("as_at").max().over("feed_kind") - timedelta(days=1),
                pl.lit(True),
            )
        ),
        "rpt_feed_metric_matrix": evidence(),
        "rpt_device_clocks_weekly": device_clocks(),
        "rpt_reconciliation": reconciled,
        "rpt_rejects": rejects,
    }
    marts |= staff()
    found = {f"marts.{name}": frame for name, frame in marts.items()}
    found["statistics.turnaround_survival"] = survival(parts)
    estimates = as_metric(found["statistics.turnaround_survival"])
    found["statistics.metric_estimates"] = estimates.select(
        name for name, *_ in METRIC_ESTIMATES["columns"]
    )
    found["statistics.metric_revisions"] = revisions(metrics)
    found |= control_charts(metrics)
    found |= go_live_effects()
    found |= equity(parts)
    found |= ledger(marts["rpt_benefits_summary"])
    return found


def go_live_effects() -> dict[str, pl.DataFrame]:
    """One measure with an effect, whose last party cannot be compared, and one without an estimate."""
    parties = [(code, date.fromisoformat(day).replace(day=1)) for code, day in ARCHIVE.items()]
    effects = pl.DataFrame(
        [
            {"metric_id": "W02", "go_live_type": "archive", "improvement": "decrease", "unit": "rate",
             "is_logged": False, "verdict": "consistent with improvement", "change": -0.04,
             "change_low": -0.06, "change_high": -0.02, "change_unit": "rate",
             "promised_change": 0.05, "detectable_change": 0.03, "p_randomisation": 0.0004,
             "p_adjusted": 0.0008, "ri_count": 16, "order_count": 40320, "n_effect_cells": 60,
             "n_untreated_cells": 300, "party_count": 8, "comparator": None,
             "first_month_on": date(2018, 4, 1), "last_month_on": date(2022, 3, 1),
             "shock_months": "kept", "missing_month_count": 0, "left_out_parties": None,
             "not_estimated_because": None,
             "cannot_tell": "From April 2022 on every party is live.",
             "co_interventions": "2021-10 RW6: a merger"},
            {"metric_id": "R08", "go_live_type": "network_reporting", "improvement": "increase",
             "unit": "rate", "not_estimated_because": "RMC has 7 months before go-live"},
        ]
    )  # fmt: skip
    key = {"metric_id": pl.lit("W02"), "go_live_type": pl.lit("archive")}
    since = pl.DataFrame(
        [
            {"months_since": month, "change": told, "change_low": told - 0.02,
             "change_high": told + 0.02, "party_count": 7, "n_effect_cells": 7}
            for month in range(-12, 12)
            for told in [0.001 if month < 0 else -0.004 * min(month, 10)]
        ]
    )  # fmt: skip
    own = pl.DataFrame(
        [
            {"party_code": code, "live_from_on": day, "change": -0.03 - 0.002 * place,
             "n_effect_cells": 12, "months_before": 32 + place}
            for place, (code, day) in enumerate(parties)
        ]
    ).with_columns(
        pl.when(pl.col("party_code") == "R0A").then(None).otherwise(pl.col("change")).alias("change"),
        pl.when(pl.col("party_code") == "R0A").then(0).otherwise(12).alias("n_effect_cells"),
    )  # fmt: skip
    checks = pl.DataFrame(
        [
            *({"check_name": "leave one out", "variant": code, "change": -0.04, "change_low": -0.07,
               "change_high": -0.01, "n_effect_cells": 50, "note": None} for code, _ in parties),
            {"check_name": "placebo", "variant": "go-live a year earlier", "change": None,
             "change_low": None, "change_high": None, "n_effect_cells": 0,
             "note": "too few months before it"},
        ]
    )  # fmt: skip
    return {
        "statistics.go_live_effects": effects,
        "statistics.go_live_effects_by_month_since": since.with_columns(**key),
        "statistics.go_live_effects_by_party": own.with_columns(**key),
        "statistics.go_live_effects_checks": checks.with_columns(**key),
    }


def control_charts(metrics: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Limits a fifth from the mean; the last month of a series is above them."""
    series = ["metric_id", "org_level", "org_code", "modality_group"]
    is_last = pl.col("period_start_on") == pl.col("period_start_on").max().over(series)
    points = metrics.drop_nulls("value").select(
        *series,
        "period_start_on",
        "value",
        mean=pl.col("value").mean().over(series),
        lpl=pl.col("value").mean().over(series) * 0.8,
        upl=pl.col("value").mean().over(series) * 1.2,
        special_cause_type=pl.when(is_last)
        .then(pl.lit("Above UCL"))
        .otherwise(pl.lit("Common Cause")),
        point_type=pl.when(is_last)
        .then(pl.lit("special_cause_concern"))
        .otherwise(pl.lit("common_cause")),
    )
    charts = (
        points.group_by(series)
        .agg(
            pl.col("period_start_on").min().alias("limits_from_on"),
            pl.col("period_start_on").max().alias("last_month_on"),
        )
        .with_columns(
            variation_icon=pl.lit("concern_high"),
            variation_text=pl.lit("Special cause, concerning: values higher"),
            assurance_icon=pl.lit(None, pl.String),
            assurance_text=pl.lit("No target"),
            rebase_reason=pl.lit(None, pl.String),
            note=pl.lit("Trial limits: fewer than 13 points since they begin"),
        )
    )
    return {"statistics.spc_points": points, "statistics.spc_charts": charts}


def reporting_organisations(parties: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        [
            parties.select(
                pl.col("party_code").alias("reporting_org_code"),
                pl.col("short_name").alias("reporting_org_name"),
                organisation_type=pl.lit("network"),
                party_code="party_code",
                source_status=pl.lit("verified"),
            ),
            pl.DataFrame(
                {
                    "reporting_org_code": ["ZZT01"],
                    "reporting_org_name": ["Teleradiology supplier (invented)"],
                    "organisation_type": ["outsource"],
                    "party_code": [None],
                    "source_status": ["synthetic"],
                },
                schema_overrides={"party_code": pl.String},
            ),
        ]
    )


def catalogue_tables(found: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    described, columns = [], []
    for name, frame in found.items():
        schema, table = name.split(".")
        text = f"One row per key of {table}, made for tests."
        described.append((schema, table, text, "see description", frame.height))
        for position, (column, kind) in enumerate(frame.schema.items(), 1):
            text = f"What {column} holds."
            columns.append((schema, table, column, str(kind), text, unit_of(column), position))
    names = ["table_schema", "table_name"]
    return {
        "catalogue.metrics": catalogue_metrics(),
        "catalogue.tables": pl.DataFrame(
            described, schema=[*names, "description", "grain", "row_count"], orient="row"
        ),
        "catalogue.columns": pl.DataFrame(
            columns,
            schema=[*names, "column_name", "data_type", "description", "unit", "position"],
            orient="row",
        ),
    }


def write_build(
    folder: Path,
    *,
    build_id: str = "20260401T060000Z",
    created_at: datetime = datetime(2026, 4, 1, 6, 0, tzinfo=UTC),
    is_synthetic: bool = True,
    found: dict[str, pl.DataFrame] | None = None,
) -> Path:
    """Write one build and point the manifest at it; returns the DuckDB file."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"demo_{build_id}.duckdb"
    content = found or tables()
    build = pl.DataFrame(
        {
            "build_id": [build_id],
            "created_at": [created_at],
            "audience": ["demo"],
            "is_synthetic": [is_synthetic],
            "suppression": ["none"],
            "network_name": ["Greater Manchester"],
        }
    )
    everything = content | catalogue_tables(content) | {"catalogue.build": build}
    con = duckdb.connect(str(target))
    for schema in ("marts", "statistics", "catalogue"):
        con.execute(f"create schema {schema}")
    for name, frame in everything.items():
        con.register("incoming", frame)
        con.execute(f"create table {name} as select * from incoming")
        con.unregister("incoming")
    con.close()
    as_at = content["marts.rpt_feed_freshness"].select(
        "party_code", "feed_id", "feed_kind", pl.col("as_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    manifest = {
        "schema_version": 1,
        "build_id": build_id,
        "created_at": created_at.isoformat(),
        "inputs_fingerprint": "made-for-tests",
        "tables": {},
        "audiences": {
            "demo": {
                "file": target.name,
                "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
                "bytes": target.stat().st_size,
                "suppressed": False,
            }
        },
        "as_at": as_at.to_dicts(),
        "gate": {"passed": True, "checked_at": created_at.isoformat(), "checks": 214},
        "previous_builds": [],
    }
    write_json(folder / "manifest.json", manifest)
    write_gate(folder, passed=True, checked_at=created_at)
    write_json(folder / "custody.json", CUSTODY)
    return target


# As the harvest writes it: one place with a date, one group that waits, one statement.
CUSTODY = {
    "schema_version": 1,
    "written_at": "2026-04-01T06:00:00+00:00",
    "time_zone": "Europe/London",
    "places": [
        {
            "place": "inbox",
            "holds": "deliveries with identities, as they came",
            "kept": "7 days after landing",
            "setting": "IMAGING_INBOX_RETENTION_DAYS",
            "items": 12,
            "next_due_at": "2026-04-03T06:00:00+00:00",
            "next_due_items": 4,
        }
    ],
    "quarantine": [
        {
            "feed_kind": "hl7",
            "rule": "message_is_for_production",
            "scope": "row",
            "state": "open",
            "entries": 2,
            "records": 3,
            "oldest_delivered_on": "2026-03-20",
            "oldest_days": 12,
        }
    ],
    "positions": seed("network/governance_positions.csv"),
}


def write_gate(folder: Path, *, passed: bool, checked_at: datetime) -> None:
    failures = [
        {
            "contract": "inbound/ris_extract",
            "rule": "verified_before_completed",
            "file_name": "ris_extract_RMC.csv",
            "count": 214,
            "rejects_path": "var/landing/rejects/ris_extract_RMC.parquet",
            "message": "214 rows verified before they were completed",
        }
    ]
    write_json(
        folder / "gate.json",
        {
            "passed": passed,
            "checked_at": checked_at.isoformat(),
            "run_id": "run-2",
            "failures": [] if passed else failures,
        },
    )


def write_json(path: Path, content: dict) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    import sys

    write_build(Path(sys.argv[1]))
