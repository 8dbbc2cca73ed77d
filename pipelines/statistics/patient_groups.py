"""Report turnaround (R01) by deprivation quintile and ethnic group of the patient."""

import polars as pl

from pipelines.statistics.roll_up import rolled_up
from pipelines.statistics.turnaround import as_metric, survival_by_group

EVERYBODY = (
    "org_level",
    "org_code",
    "modality_group",
    "patient_group_kind",
    "acquired_month_on",
)
GROUP = ("patient_group", "group_order", "is_group_known")
# Parties and trusts overlap, so that one would tell what is withheld of the other.
LEVELS = ("network", "trust")
LEAST_DEPRIVED = "5 least deprived"


def turnaround_by_patient_group(exams: pl.DataFrame) -> pl.DataFrame:
    """One row per network or trust, modality group, patient group and month of acquisition.

    `exams` has one row per exam and kind of group: trust_code, modality_group,
    patient_group_kind, the columns of GROUP, acquired_month_on, `hours` (to the report, or waited
    so far) and `is_reported`. The result has EVERYBODY, GROUP, what survival_by_group finds as metric
    R01 (`as_metric`), the share of exams whose group is known, and the median less that of the least
    deprived quintile with the number of its exams; `is_withheld` is False here. Columns are described
    in pipelines/statistics/tables.py.
    """
    found = survival_by_group(rolled_up(exams, LEVELS), (*EVERYBODY, *GROUP))
    known, count = pl.col("is_group_known"), pl.col("exam_count")
    least = pl.when(pl.col("patient_group") == LEAST_DEPRIVED)
    told = found.with_columns(
        (
            pl.when(known).then(count).otherwise(0).sum().over(EVERYBODY)
            / count.sum().over(EVERYBODY)
        ).alias("known_rate"),
        pl.when(known)
        .then(pl.col("p50_hours") - least.then("p50_hours").max().over(EVERYBODY))
        .alias("gap_to_least_deprived"),
        pl.when(known)
        .then(least.then("exam_count").max().over(EVERYBODY))
        .alias("least_deprived_denominator"),
        pl.lit(False).alias("is_withheld"),
    )
    return as_metric(told)
