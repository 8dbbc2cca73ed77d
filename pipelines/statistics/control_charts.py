"""A control chart of every monthly series: limits anew at go-live, target, icons, and why not.

Each series is judged by `spc.judge`; here is what surrounds it: where limits begin anew, which
target is held against them, and when too few points say nothing yet.
"""

import polars as pl

from pipelines.statistics import spc

SERIES = ("metric_id", "org_level", "org_code", "modality_group")
MONTH = "period_start_on"
# Of fewer points since the limits began, no icon says anything.
LEAST_FOR_ICONS = 8
# A target of these scopes holds for every modality; that of CDC is for one kind of site only.
SCOPES_OF_ALL = ("national", "local", "all")

VARIATION_TEXTS = {
    "common_cause": "Common cause: no significant change",
    "improvement_high": "Special cause, improving: values higher",
    "improvement_low": "Special cause, improving: values lower",
    "concern_high": "Special cause, concerning: values higher",
    "concern_low": "Special cause, concerning: values lower",
    "neutral_high": "Special cause, values higher, no good direction",
    "neutral_low": "Special cause, values lower, no good direction",
}
ASSURANCE_TEXTS = {
    "pass": "Target consistently met",
    "fail": "Target consistently missed",
    "inconsistent": "Hit and miss: the target is met in some months",
}
TOO_FEW = f"Insufficient data: fewer than {LEAST_FOR_ICONS} points since the limits begin"
TRIAL = f"Trial limits: fewer than {spc.SHORT_GROUP} points since they begin"
NO_LIMITS = "Insufficient data: the values give no limits"
NO_TARGET, NO_DIRECTION = "No target", "No good direction"

POINTS = (
    *SERIES,
    MONTH,
    "value",
    "rebase_group",
    "mean",
    "lpl",
    "upl",
    "near_lpl",
    "near_upl",
    "outside_limits",
    "relative_to_mean",
    "close_to_limits",
    "special_cause_type",
    "special_cause_flag",
    "point_type",
    "short_group_warning",
    "missing_before",
)
CHARTS = (
    *SERIES,
    "improvement",
    "point_count",
    "missing_count",
    "first_month_on",
    "last_month_on",
    "is_current",
    "latest_value",
    "latest_special_cause_type",
    "limits_from_on",
    "limits_point_count",
    "mean",
    "lpl",
    "upl",
    "rebased_on",
    "rebase_event_on",
    "rebase_reason",
    "has_icons",
    "has_trial_limits",
    "note",
    "variation_icon",
    "variation_text",
    "comparator",
    "target_value",
    "target_scope",
    "target_source",
    "target_source_status",
    "assurance_type",
    "assurance_icon",
    "assurance_text",
)


def control_charts(
    values: pl.DataFrame,
    go_lives: pl.DataFrame,
    trust_parties: pl.DataFrame,
    targets: pl.DataFrame,
    metrics: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Points (columns POINTS) and charts (CHARTS, one per series), both in order of their keys.

    `values` has one row per series and month: SERIES, period_start_on (first of the month), value
    (in the unit of the metric; null or NaN is a missing month). `go_lives` has party_code,
    event_on, label; `trust_parties` trust_code, party_code; `targets` the columns of dim_target;
    `metrics` metric_id and improvement. A month without a row is missing, never 0. Columns are
    described in pipelines/statistics/tables.py. Raises ValueError on a metric that `metrics` lacks,
    two values of a month, or one that is infinite.
    """
    told = values.with_columns(pl.col("value").fill_nan(None)).drop_nulls("value")
    told = told.sort(*SERIES, MONTH)
    _check(told, metrics)
    ends = told.group_by(SERIES).agg(
        pl.col(MONTH).min().alias("first_month_on"), pl.col(MONTH).max().alias("last_month_on")
    )
    series = ends.join(rebases(ends, go_lives, trust_parties), on=SERIES, how="left").join(
        metrics.select("metric_id", "improvement"), on="metric_id"
    )
    ours = told.join(series, on=SERIES, maintain_order="left").with_columns(
        (pl.col(MONTH) >= pl.col("rebased_on"))
        .fill_null(False)
        .cast(pl.Int64)
        .alias("rebase_group"),
        pl.col("improvement")
        .replace_strict(spc.DIRECTIONS, return_dtype=pl.Int8)
        .alias("direction"),
        _months_missing().over(SERIES).fill_null(0).alias("missing_before"),
    )
    judged = spc.judge(ours, SERIES)
    charts = _charts(judged, chosen_targets(ends, targets))
    return judged.select(POINTS), charts


def _check(told: pl.DataFrame, metrics: pl.DataFrame) -> None:
    unknown = told.join(metrics, on="metric_id", how="anti")["metric_id"].unique().sort()
    if len(unknown):
        raise ValueError(
            f"{', '.join(unknown)}: not in the metric registry; add it to rpt_metrics_monthly.yml"
        )
    twice = told.filter(told.select(*SERIES, MONTH).is_duplicated())
    if len(twice):
        raise ValueError(f"{twice.select(*SERIES, MONTH).row(0)} has two values")
    infinite = told.filter(pl.col("value").is_infinite())
    if len(infinite):
        metric, level, org, modality, month = infinite.select(*SERIES, MONTH).row(0)
        raise ValueError(
            f"{metric} of {level} {org}, {modality}, {month:%B %Y}: the value is infinite; a figure that is "
            "not known has to be null: mend the model that makes it, then `imaging run --force`"
        )


def _months_missing() -> pl.Expr:
    """Months between a point and the one before it."""
    number = pl.col(MONTH).dt.year().cast(pl.Int64) * 12 + pl.col(MONTH).dt.month()
    return number - number.shift() - 1


def rebases(
    ends: pl.DataFrame, go_lives: pl.DataFrame, trust_parties: pl.DataFrame
) -> pl.DataFrame:
    """Of each series that begins anew: SERIES, rebased_on, rebase_event_on, rebase_reason.

    `ends` has SERIES, first_month_on and last_month_on. It is the first month that is whole after
    the last go-live of the party that has such a month in the series; a trust follows its party,
    the network has no go-live. A go-live on the first of a month makes that month whole. A series
    that begins later has nothing to be kept apart from.
    """
    begun = (
        pl.when(pl.col("event_on").dt.day() == 1)
        .then("event_on")
        .otherwise(pl.col("event_on").dt.truncate("1mo").dt.offset_by("1mo"))
    )
    party = go_lives.select(
        "party_code", "event_on", "label", begun.cast(pl.Date).alias("rebased_on")
    )
    places = pl.concat(
        [
            party.select(
                pl.lit("party").alias("org_level"), pl.col("party_code").alias("org_code"), "*"
            ),
            party.join(trust_parties, on="party_code").select(
                pl.lit("trust").alias("org_level"),
                pl.col("trust_code").alias("org_code"),
                pl.col(party.columns),
            ),
        ]
    )
    month = pl.col("rebased_on")
    return (
        ends.join(places, on=("org_level", "org_code"))
        .filter((month > pl.col("first_month_on")) & (month <= pl.col("last_month_on")))
        .group_by(*SERIES, "event_on", "rebased_on")
        .agg(pl.col("label").sort().str.join("; ").alias("rebase_reason"))
        .sort("event_on")
        .group_by(SERIES)
        .last()
        .select(*SERIES, "rebased_on", pl.col("event_on").alias("rebase_event_on"), "rebase_reason")
    )


def chosen_targets(ends: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """Of each series with a target: SERIES, comparator, target_value, scope, source and its status.

    Of those in force at the end of the series' last month the one with the lowest `preference`.
    """
    last_day = pl.col("last_month_on").dt.month_end()
    is_own = pl.col("scope") == pl.col("modality_group")
    return (
        ends.join(targets, on="metric_id")
        .filter(
            (is_own | pl.col("scope").is_in(SCOPES_OF_ALL))
            & (pl.col("valid_from") <= last_day).fill_null(True)
            & (pl.col("valid_to") >= last_day).fill_null(True)
        )
        .sort("preference")
        .group_by(SERIES, maintain_order=True)
        .first()
        .select(
            *SERIES,
            "comparator",
            "target_value",
            pl.col("scope").alias("target_scope"),
            pl.col("source").alias("target_source"),
            pl.col("source_status").alias("target_source_status"),
        )
    )


def _charts(judged: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """One row per series: its last point, and what may be said of it."""
    has_icons = pl.col("limits_point_count") >= LEAST_FOR_ICONS
    is_trial = pl.col("limits_point_count") < spc.SHORT_GROUP
    has_assurance = has_icons & pl.col("upl").is_not_null()
    last = (
        judged.group_by(SERIES, maintain_order=True)
        .agg(
            pl.all().exclude(MONTH, "value", "special_cause_type", "missing_before").last(),
            pl.col("value").last().alias("latest_value"),
            pl.col("special_cause_type").last(),
            pl.len().cast(pl.Int64).alias("point_count"),
            pl.col("missing_before").sum().alias("missing_count"),
            pl.col(MONTH)
            .filter(pl.col("rebase_group") == pl.col("rebase_group").last())
            .first()
            .alias("limits_from_on"),
        )
        .rename({"group_point_count": "limits_point_count"})
        .join(targets, on=SERIES, how="left", maintain_order="left")
    )
    icons = last.with_columns(
        (pl.col("last_month_on") == pl.col("last_month_on").max().over("metric_id")).alias(
            "is_current"
        ),
        has_icons.alias("has_icons"),
        is_trial.alias("has_trial_limits"),
        pl.when(~has_icons)
        .then(pl.lit(TOO_FEW))
        .when(pl.col("upl").is_null())
        .then(pl.lit(NO_LIMITS))
        .when(is_trial)
        .then(pl.lit(TRIAL))
        .alias("note"),
        pl.when(has_icons).then(spc.variation_icon()).alias("variation_icon"),
        pl.when(has_assurance).then(spc.assurance_type()).alias("assurance_type"),
    ).with_columns(
        pl.col("assurance_type").replace_strict(spc.ASSURANCE_ICONS).alias("assurance_icon")
    )
    return icons.with_columns(
        pl.col("variation_icon")
        .replace_strict(VARIATION_TEXTS)
        .fill_null(TOO_FEW)
        .alias("variation_text"),
        pl.when(pl.col("target_value").is_null())
        .then(pl.lit(NO_TARGET))
        .when(pl.col("direction") == 0)
        .then(pl.lit(NO_DIRECTION))
        .when(pl.col("assurance_icon").is_null())
        .then(pl.col("note"))
        .otherwise(pl.col("assurance_icon").replace_strict(ASSURANCE_TEXTS))
        .alias("assurance_text"),
        pl.col("special_cause_type").alias("latest_special_cause_type"),
    ).select(CHARTS)
