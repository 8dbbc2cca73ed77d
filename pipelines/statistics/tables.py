"""Result tables of the statistics stage: name, grain and columns with type and meaning."""

from typing import Any

from pipelines.statistics.effect_tables import GO_LIVE_EFFECT_TABLES
from pipelines.statistics.ledger_tables import LEDGER_TABLES
from pipelines.statistics.spread import LEAST_SIZE, LEAST_TRUSTS

TURNAROUND_SURVIVAL: dict[str, Any] = {
    "name": "turnaround_survival",
    "description": "One row per organisation, modality group and month of acquisition: percentiles "
    "of the time from exam end to first verified report, open reports kept (Kaplan-Meier). It is "
    "metric R01 of the registry.",
    "grain": "org_level, org_code, modality_group, acquired_month_on",
    "columns": [
        ("org_level", "VARCHAR", "network, party or trust."),
        ("org_code", "VARCHAR", "NETWORK, party code or trust code."),
        ("modality_group", "VARCHAR", "Modality group, or All."),
        ("acquired_month_on", "DATE", "First day of the month the exams were acquired in."),
        ("exam_count", "BIGINT", "Exams acquired in the month."),
        ("open_count", "BIGINT", "Of these, without a verified report at the data's as-at."),
        ("p50_hours", "DOUBLE", "Median turnaround in hours; null where not reached."),
        ("p90_hours", "DOUBLE", "90th percentile in hours; null where not reached."),
        ("p50_reached", "BOOLEAN", "At least half of the exams are reported."),
        ("p90_reached", "BOOLEAN", "At least nine in ten are reported."),
    ],
}

METRIC_ESTIMATES: dict[str, Any] = {
    "name": "metric_estimates",
    "description": "One row per metric that is an estimate over exams (R01), organisation, modality "
    "group and complete month: what rpt_metrics_monthly has of the others. How it is made: "
    "statistics.turnaround_survival.",
    "grain": "metric_id, org_level, org_code, modality_group, period_start_on",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("org_level", "VARCHAR", "network, party or trust."),
        ("org_code", "VARCHAR", "NETWORK, party code or trust code."),
        ("modality_group", "VARCHAR", "Modality group, or All."),
        ("period_start_on", "DATE", "First day of the month; of R01 that of the acquisition."),
        ("denominator", "BIGINT", "Exams that the estimate is over."),
        ("value", "DOUBLE", "The metric, of R01 the median in hours; null where not reached."),
    ],
}

TURNAROUND_BY_PATIENT_GROUP: dict[str, Any] = {
    "name": "turnaround_by_patient_group",
    "description": "One row per network or trust, modality group, patient group and month of "
    "acquisition: the percentiles of statistics.turnaround_survival (R01) by deprivation quintile "
    "and ethnic group. Readers get no figures of a group too small to be told (is_withheld).",
    "grain": "org_level, org_code, modality_group, patient_group_kind, patient_group, "
    "period_start_on",
    "small_numbers": {
        "size": "denominator",
        "within": ["patient_group_kind", "period_start_on"],
        "figures": [
            "denominator",
            "open_count",
            "value",
            "p90_hours",
            "p50_reached",
            "p90_reached",
            "gap_to_least_deprived",
        ],
        "against_least_deprived": ["gap_to_least_deprived", "least_deprived_denominator"],
    },
    "columns": [
        ("metric_id", "VARCHAR", "R01."),
        ("org_level", "VARCHAR", "network or trust; parties overlap with trusts."),
        ("org_code", "VARCHAR", "NETWORK or trust code."),
        ("modality_group", "VARCHAR", "Modality group, or All."),
        ("patient_group_kind", "VARCHAR", "deprivation_quintile or ethnic_group."),
        ("period_start_on", "DATE", "First day of the month the exams were acquired in."),
        ("patient_group", "VARCHAR", "Quintile or ethnic group, as in rpt_equity_monthly."),
        ("group_order", "INTEGER", "Place of the group among those of its kind, from 1."),
        ("is_group_known", "BOOLEAN", "False for the group of those whose group is not known."),
        ("denominator", "BIGINT", "Exams acquired in the month; null where withheld."),
        ("open_count", "BIGINT", "Of these, without a verified report at the data's as-at."),
        ("value", "DOUBLE", "Median turnaround in hours; null where not reached or withheld."),
        ("p90_hours", "DOUBLE", "90th percentile in hours; null where not reached or withheld."),
        ("p50_reached", "BOOLEAN", "At least half of the exams are reported."),
        ("p90_reached", "BOOLEAN", "At least nine in ten are reported."),
        (
            "known_rate",
            "DOUBLE",
            "Share of the organisation's exams whose group is known, the same in each row of a "
            "kind; null where the group that is not known is withheld.",
        ),
        (
            "gap_to_least_deprived",
            "DOUBLE",
            "Median less that of the least deprived quintile, in hours; null for ethnic groups, "
            "and where either is not told.",
        ),
        (
            "least_deprived_denominator",
            "BIGINT",
            "Exams of the least deprived quintile; null for ethnic groups and where withheld.",
        ),
        (
            "is_withheld",
            "BOOLEAN",
            "True where readers of this file may not see the group: it is smaller than the seed "
            "audiences allows, or without it a smaller one could be had by subtraction.",
        ),
    ],
}

TRUST_SPREAD: dict[str, Any] = {
    "name": "trust_spread",
    "description": "One row per metric (W02, W05, W05P90, and R01 by its median), modality group "
    f"and month: how far apart the trusts are. A trust of fewer than {LEAST_SIZE} patients or exams "
    "is left out: a few of them would move it from one end to the other.",
    "grain": "metric_id, modality_group, period_start_on",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("modality_group", "VARCHAR", "Modality group, or All."),
        ("period_start_on", "DATE", "First day of the month."),
        ("trust_count", "BIGINT", "Trusts that are compared; two at least."),
        ("left_out_count", "BIGINT", "Trusts left out: too few patients or exams, or no value."),
        ("lowest", "DOUBLE", "Value of the trust with the lowest one, in the unit of the metric."),
        (
            "lower_quartile",
            "DOUBLE",
            "A quarter of the trusts are at or below it; interpolated, null for fewer than "
            f"{LEAST_TRUSTS} trusts.",
        ),
        ("upper_quartile", "DOUBLE", "A quarter of the trusts are at or above it; likewise."),
        ("highest", "DOUBLE", "Value of the trust with the highest one."),
        ("gap", "DOUBLE", "Highest less lowest."),
        ("quartile_gap", "DOUBLE", "Upper less lower quartile: the middle half of the trusts."),
        ("lowest_trust_code", "VARCHAR", "Trust with the lowest value; of several the first code."),
        ("lowest_size", "DOUBLE", "Patients or exams its value stands on."),
        (
            "highest_trust_code",
            "VARCHAR",
            "Trust with the highest value; of several the last code.",
        ),
        ("highest_size", "DOUBLE", "Patients or exams its value stands on."),
    ],
}

_SERIES_COLUMNS = [
    ("metric_id", "VARCHAR", "Metric of the registry; R01 by its median."),
    ("org_level", "VARCHAR", "network, party or trust."),
    ("org_code", "VARCHAR", "NETWORK, party code or trust code; never Unknown."),
    ("modality_group", "VARCHAR", "Modality group, or All; never Unknown."),
]

SPC_POINTS: dict[str, Any] = {
    "name": "spc_points",
    "description": "One row per metric, organisation, modality group and month: the point of a "
    "control chart (XmR, Making Data Count) with its limits. Values and limits are in the unit of "
    "the metric. A missing month has no row and is never 0; the current month is not told. A chart "
    "describes: that a programme caused a change, it cannot show.",
    "grain": "metric_id, org_level, org_code, modality_group, period_start_on",
    "columns": [
        *_SERIES_COLUMNS,
        ("period_start_on", "DATE", "First day of the month."),
        ("value", "DOUBLE", "Value of the metric, as in rpt_metrics_monthly or p50_hours."),
        ("rebase_group", "BIGINT", "0, and 1 from the month on that limits begin anew in."),
        ("mean", "DOUBLE", "Mean of the values of the group."),
        (
            "lpl",
            "DOUBLE",
            "Lower process limit: mean less 2.66 mean moving ranges; null where the values give "
            "none. Not clipped: it may be negative.",
        ),
        ("upl", "DOUBLE", "Upper process limit; likewise, a share may exceed 1."),
        ("near_lpl", "DOUBLE", "Two thirds of the way from the mean to lpl."),
        ("near_upl", "DOUBLE", "Two thirds of the way from the mean to upl."),
        ("outside_limits", "BOOLEAN", "Above upl or below lpl; null without limits."),
        ("relative_to_mean", "TINYINT", "-1 below the mean, 0 on it, 1 above it."),
        ("close_to_limits", "BOOLEAN", "Inside the limits and beyond near_lpl or near_upl."),
        (
            "special_cause_type",
            "VARCHAR",
            "Common Cause, or the rule that is broken: Above UCL, Below LCL, 7 Point Trend "
            "(Increasing or Decreasing), 2 in 3 Above or Below CL, 7 Points Above or Below CL.",
        ),
        ("special_cause_flag", "BOOLEAN", "Any other than Common Cause."),
        (
            "point_type",
            "VARCHAR",
            "common_cause, special_cause_improvement, special_cause_concern, or, without a good "
            "direction, special_cause_neutral_high or special_cause_neutral_low.",
        ),
        ("short_group_warning", "BOOLEAN", "Fewer than 13 points have made these limits."),
        ("missing_before", "BIGINT", "Months without a value since the point before."),
    ],
}

SPC_CHARTS: dict[str, Any] = {
    "name": "spc_charts",
    "description": "One row per metric, organisation and modality group: what the last point of its "
    "control chart says (variation), whether its limits keep a target (assurance), and why limits "
    "begin anew. Icons are those of Making Data Count; show the text beside them.",
    "grain": "metric_id, org_level, org_code, modality_group",
    "columns": [
        *_SERIES_COLUMNS,
        ("improvement", "VARCHAR", "Good direction: increase, decrease or neutral."),
        ("point_count", "BIGINT", "Months with a value."),
        ("missing_count", "BIGINT", "Months without one between the first and the last."),
        ("first_month_on", "DATE", "Month of the first point."),
        ("last_month_on", "DATE", "Month of the last point, which the icons speak of."),
        (
            "is_current",
            "BOOLEAN",
            "The last point is of the newest month any organisation has of the metric.",
        ),
        ("latest_value", "DOUBLE", "Value of the last point, in the unit of the metric."),
        ("latest_special_cause_type", "VARCHAR", "special_cause_type of the last point."),
        ("limits_from_on", "DATE", "First month of the limits that hold now."),
        ("limits_point_count", "BIGINT", "Points these limits are made of."),
        ("mean", "DOUBLE", "Mean that holds now, in the unit of the metric."),
        ("lpl", "DOUBLE", "Lower process limit that holds now; null where there is none."),
        ("upl", "DOUBLE", "Upper process limit that holds now; null where there is none."),
        (
            "rebased_on",
            "DATE",
            "Month that begins new limits: the first whole one after the last go-live of the party; "
            "null where none does. The network never does.",
        ),
        ("rebase_event_on", "DATE", "Day of that go-live."),
        ("rebase_reason", "VARCHAR", "Which go-live it is: the reason to print under the chart."),
        ("has_icons", "BOOLEAN", "At least 8 points since the limits begin."),
        ("has_trial_limits", "BOOLEAN", "Fewer than 13 points since the limits begin."),
        (
            "note",
            "VARCHAR",
            "What is to be said of a short series or trial limits; null if nothing.",
        ),
        (
            "variation_icon",
            "VARCHAR",
            "common_cause, improvement_high, improvement_low, concern_high, concern_low, "
            "neutral_high or neutral_low; null where has_icons is false.",
        ),
        ("variation_text", "VARCHAR", "The icon in words, or why there is none."),
        ("comparator", "VARCHAR", "less_than, at_most or at_least the target; null without one."),
        (
            "target_value",
            "DOUBLE",
            "Target held against the limits, in the unit of the metric: in force in the last month; "
            "that of the modality, else a verified one, else the newest.",
        ),
        ("target_scope", "VARCHAR", "Scope of the target: national, local, all, or the modality."),
        ("target_source", "VARCHAR", "Where the target comes from."),
        (
            "target_source_status",
            "VARCHAR",
            "verified, from_memory or design; show others than verified as unverified.",
        ),
        (
            "assurance_type",
            "VARCHAR",
            "consistent_pass, consistent_fail or inconsistent; null without target, good direction, "
            "limits or icons.",
        ),
        ("assurance_icon", "VARCHAR", "pass, fail or inconsistent; null likewise."),
        ("assurance_text", "VARCHAR", "The icon in words, or why there is none."),
    ],
}

METRIC_REVISIONS: dict[str, Any] = {
    "name": "metric_revisions",
    "description": "One row per metric, organisation, modality group and month whose figures "
    "changed after they had been published: what was published first, before the last change, and "
    "now. Late deliveries change a month, and so does a new definition.",
    "grain": "metric_id, org_level, org_code, modality_group, period_start_on",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("org_level", "VARCHAR", "network, party or trust."),
        ("org_code", "VARCHAR", "NETWORK, party code or trust code."),
        ("modality_group", "VARCHAR", "Modality group, or All."),
        ("period_start_on", "DATE", "First day of the month."),
        (
            "first_numerator",
            "DOUBLE",
            "Numerator in the first publication of this metric and month; null where the row was "
            "not in it.",
        ),
        ("first_denominator", "DOUBLE", "Denominator then; null for a count."),
        ("first_value", "DOUBLE", "Value then."),
        (
            "first_build_id",
            "VARCHAR",
            "Build that first published this metric and month, for whichever organisation.",
        ),
        ("first_published_at", "TIMESTAMPTZ", "When that was (UTC)."),
        (
            "previous_numerator",
            "DOUBLE",
            "Numerator as published before the last change; null where the row was not.",
        ),
        ("previous_denominator", "DOUBLE", "Denominator then; null for a count."),
        ("previous_value", "DOUBLE", "Value then."),
        ("numerator", "DOUBLE", "Numerator now; null where the row is no longer published."),
        ("denominator", "DOUBLE", "Denominator now; null for a count."),
        ("value", "DOUBLE", "Value now."),
        ("is_published", "BOOLEAN", "The row is still published."),
        ("change_since_first", "DOUBLE", "Value now less the first one; null where either is."),
        ("change_since_previous", "DOUBLE", "Value now less the previous one."),
        ("revision_count", "BIGINT", "How often the published figures changed."),
        ("changed_in_build_id", "VARCHAR", "Build that changed them last."),
        ("changed_at", "TIMESTAMPTZ", "When that build was published (UTC)."),
    ],
}

STATISTICS_TABLES = [
    TURNAROUND_SURVIVAL,
    METRIC_ESTIMATES,
    TURNAROUND_BY_PATIENT_GROUP,
    TRUST_SPREAD,
    *GO_LIVE_EFFECT_TABLES,
    SPC_POINTS,
    SPC_CHARTS,
    *LEDGER_TABLES,
    METRIC_REVISIONS,
]
