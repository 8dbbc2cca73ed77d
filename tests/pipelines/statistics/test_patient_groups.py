"""Turnaround by groups of patients; a failure here says that the wrong patients wait."""

from datetime import date

import polars as pl

from pipelines.statistics.patient_groups import turnaround_by_patient_group
from pipelines.statistics.tables import TURNAROUND_BY_PATIENT_GROUP

QUINTILES = ("1 most deprived", "5 least deprived", "Unknown")


def exams(*rows: tuple[str, float, bool]) -> pl.DataFrame:
    """One row per exam of a CT scanner of Bolton: patient group, hours, whether reported."""
    return pl.DataFrame(
        [
            ("RMC", "CT", "deprivation_quintile", group, 1, group != "Unknown", *rest)
            for group, *rest in rows
        ],
        schema={
            "trust_code": pl.String,
            "modality_group": pl.String,
            "patient_group_kind": pl.String,
            "patient_group": pl.String,
            "group_order": pl.Int32,
            "is_group_known": pl.Boolean,
            "hours": pl.Float64,
            "is_reported": pl.Boolean,
        },
        orient="row",
    ).with_columns(acquired_month_on=date(2026, 3, 1))


def test_the_most_deprived_stand_against_the_least_with_open_reports_kept():
    """Failing means that a gap is taken between other groups, or leaves out who still waits."""
    most, least, unknown = QUINTILES
    found = turnaround_by_patient_group(
        exams(
            (most, 10, True),
            (most, 90, False),
            (most, 20, True),
            (least, 8, True),
            (unknown, 1, True),
        )
    )
    assert found.columns == [name for name, *_ in TURNAROUND_BY_PATIENT_GROUP["columns"]]
    network = found.filter((pl.col("org_level") == "network") & (pl.col("modality_group") == "All"))
    rows = {row["patient_group"]: row for row in network.iter_rows(named=True)}
    assert (rows[most]["denominator"], rows[most]["open_count"]) == (3, 1)
    assert (rows[most]["value"], rows[most]["p90_hours"]) == (20, None)
    assert (rows[most]["gap_to_least_deprived"], rows[most]["least_deprived_denominator"]) == (
        12,
        1,
    )
    assert set(found["metric_id"]) == {"R01"}
    assert rows[least]["gap_to_least_deprived"] == 0
    assert rows[unknown]["gap_to_least_deprived"] is None
    assert {row["known_rate"] for row in rows.values()} == {0.8}
    assert set(found["org_level"]) == {"network", "trust"}, "parties overlap with trusts"


def test_a_month_without_exams_has_no_groups():
    """Failing means that the first build of a network breaks."""
    assert turnaround_by_patient_group(exams()).is_empty()
