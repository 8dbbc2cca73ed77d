"""Result tables of the statistics stage: name, grain and columns with type and meaning."""

from typing import Any

TURNAROUND_SURVIVAL: dict[str, Any] = {
    "name": "turnaround_survival",
    "description": "One row per organisation, modality group and month of acquisition: percentiles "
    "of the time from exam end to first verified report, open reports kept (Kaplan-Meier).",
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

STATISTICS_TABLES = [TURNAROUND_SURVIVAL]
