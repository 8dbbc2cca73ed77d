"""The gate before publication: the statistics hold what the marts gave them."""

import dagster as dg
import duckdb

from pipelines.defs.resources import Pipeline
from pipelines.gate import GateFailure
from pipelines.statistics.tables import METRIC_REVISIONS, STATISTICS_TABLES
from pipelines.warehouse import read_stamp, write_stamp


@dg.asset(
    key=["gate", "warehouse_audit"],
    group_name="gate",
    description="Points in = points out between marts and statistics; then the build is stamped.",
    owners=["team:imaging-analytics"],
    kinds={"python"},
    deps=[
        *(
            dg.AssetKey(["statistics", table["name"]])
            for table in STATISTICS_TABLES
            if table is not METRIC_REVISIONS
        ),
    ],
)
def warehouse_audit(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Compare, record the verdict, and say that the warehouse is complete."""
    settings = pipeline.settings
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
        found = points_in_points_out(connection)
    pipeline.record("warehouse_audit", found, context.run_id)
    if found:
        raise dg.Failure("; ".join(failure.message for failure in found))
    begun = built_inputs(pipeline)
    write_stamp(
        settings.build_stamp,
        begun["inputs_fingerprint"],
        pipeline.now(),
        begun["known_until"],
    )
    return dg.MaterializeResult(metadata={"failures": 0})


def built_inputs(pipeline: Pipeline) -> dict[str, str]:
    """The note of inputs the whole build began with; raises dg.Failure when they are no longer what lands.

    A build of some models only, or one that new deliveries overtook, is not a complete build.
    """
    begun = read_stamp(pipeline.settings.building_note)
    if begun is None:
        raise dg.Failure("only a part of the warehouse was built; run `imaging build`")
    if begun["inputs_fingerprint"] != pipeline.inputs_fingerprint():
        raise dg.Failure("something landed during the build; run `imaging run` again")
    return begun


def points_in_points_out(connection: duckdb.DuckDBPyConnection) -> list[GateFailure]:
    """Failures where statistics count other exams than the turnaround mart, or chart other months.

    A chart has one point for each value of the marts, of organisations and modalities that are
    known.
    """
    return _exams(connection) + values_that_are_no_number(connection) + differing_charts(connection)


def values_that_are_no_number(connection: duckdb.DuckDBPyConnection) -> list[GateFailure]:
    """Failures where a monthly value is nan or infinite, by metric: a chart would leave it out."""
    return [
        GateFailure(
            contract="rpt_metrics_monthly",
            rule="values_are_numbers",
            file_name="",
            count=count,
            rejects_path="",
            message=f"{metric}: {count} monthly values are no number (nan or infinite), the first is {where}; "
            "a figure that is not known has to be null: mend the model that makes it, then "
            "`imaging run --force`",
        )
        for metric, count, where in connection.execute(NO_NUMBER).fetchall()
    ]


def differing_charts(connection: duckdb.DuckDBPyConnection) -> list[GateFailure]:
    """Failures where spc_points has other months or values than marts and estimates, by metric."""
    return [
        GateFailure(
            contract="spc_points",
            rule="points_in_are_points_out",
            file_name="",
            count=differing,
            rejects_path="",
            message=f"{metric}: {differing} months of the marts and of spc_points differ, the first is "
            f"{where}; run `imaging run --force`, and if it still differs, mend what "
            "pipelines/defs/statistics/spc.py reads",
        )
        for metric, differing, where in connection.execute(CHARTED).fetchall()
    ]


def _exams(connection: duckdb.DuckDBPyConnection) -> list[GateFailure]:
    return [
        GateFailure(
            contract=table,
            rule="points_in_are_points_out",
            file_name="",
            count=abs(marts - statistics),
            rejects_path="",
            message=f"{level} {code} {modality}: marts count {marts} exams, {table} {statistics}",
        )
        for table, size, rows, levels in COUNTED
        for level, code, modality, marts, statistics in connection.execute(
            COUNTS.format(table=table, size=size, rows=rows, levels=levels)
        ).fetchall()
    ]


# Statistics, the column that counts exams, which of their rows hold every exam once, and the levels
# they have.
COUNTED = (
    ("turnaround_survival", "exam_count", "true", "true"),
    *(
        (
            "turnaround_by_patient_group",
            "denominator",
            f"patient_group_kind = '{kind}'",
            "org_level <> 'party'",
        )
        for kind in ("deprivation_quintile", "ethnic_group")
    ),
)
COUNTS = """
    select
        org_level,
        org_code,
        modality_group,
        coalesce(marts.exam_count, 0) as marts_count,
        coalesce(estimates.exam_count, 0) as statistics_count
    from (
        select org_level, org_code, modality_group, sum(acquired_count) as exam_count
        from marts.rpt_report_turnaround_monthly
        where priority_group = 'All' and {levels}
        group by all
    ) as marts
    full outer join (
        select org_level, org_code, modality_group, sum({size}) as exam_count
        from statistics.{table}
        where {rows}
        group by all
    ) as estimates using (org_level, org_code, modality_group)
    where coalesce(marts.exam_count, 0) <> coalesce(estimates.exam_count, 0)
"""
# What is to be charted, said anew: a check that read by the query of the charts would agree with it
# where it is wrong.
TOLD = """
    select metric_id, org_level, org_code, modality_group, period_start_on, value
    from marts.rpt_metrics_monthly
    union all
    select 'R01', org_level, org_code, modality_group, acquired_month_on, p50_hours
    from statistics.turnaround_survival
    inner join (select max(period_start_on) as until_on from marts.rpt_metrics_monthly)
        on acquired_month_on <= until_on
"""
KNOWN = "'Unknown' not in (org_code, modality_group)"
WHERE = "concat(org_level, ' ', org_code, ', ', modality_group, ', ', {month})".format(
    month="strftime(period_start_on, '%B %Y')"
)
FIRST = f"arg_min({WHERE}, strftime(period_start_on, '%Y-%m') || {WHERE})"
NO_NUMBER = f"""
    select metric_id, count(*) as value_count, {FIRST} as first_at
    from ({TOLD})
    where not isfinite(value)
    group by metric_id
    order by metric_id
"""
# One row per metric with a difference: how many, and where the first is.
CHARTED = f"""
    with sides as (
        select *, 1 as told, 0 as charted from ({TOLD}) where {KNOWN} and isfinite(value)
        union all
        select metric_id, org_level, org_code, modality_group, period_start_on, value, 0, 1
        from statistics.spc_points
    ),
    months as (
        select * exclude (told, charted), sum(told) as told, sum(charted) as charted
        from sides
        group by all
    )
    select metric_id, count(*) as differing_count, {FIRST} as first_at
    from months
    where told <> charted
    group by metric_id
    order by metric_id
"""
