"""The benefit ledger and the appraisal of the programme, over register, effects and marts."""

from collections.abc import Iterator, Sequence
from functools import partial

import dagster as dg
import duckdb
import numpy as np

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import each_materialized, specs, store_each
from pipelines.journal import Journal
from pipelines.metrics import Metric, read_registry
from pipelines.statistics.appraisal_cases import appraised
from pipelines.statistics.ledger import Evidence, ledger_of
from pipelines.statistics.ledger_tables import LEDGER_TABLES
from pipelines.warehouse import manifest_path

SEED = 20261127
REGISTER = """
    select
        benefits.* exclude (beneficiary_code, arrived_at, optimism_rate),
        benefits.beneficiary_code as beneficiary,
        optimism.optimism_rate
    from staging.stg_finance__benefits as benefits
    left join intermediate.int_benefit_optimism as optimism using (benefit_id)
    order by benefits.benefit_id
"""
# The error of the mean effect has as many degrees of freedom as there are parties and comparators, less one.
EFFECTS = """
    select
        monthly.metric_id,
        monthly.go_live_type,
        monthly.party_code as party,
        monthly.month_on as month,
        monthly.value,
        monthly.effect,
        monthly.month_spread,
        estimates.is_logged,
        estimates.se,
        estimates.party_count
        + coalesce(len(string_split(estimates.comparator, ', ')), 0)
        - 1 as degrees,
        estimates.verdict
    from statistics.go_live_effects_monthly as monthly
    inner join statistics.go_live_effects as estimates using (metric_id, go_live_type)
"""
# A count has no denominator: its effect is in units already.
VOLUMES = """
    select
        metric_id,
        org_code as party,
        period_start_on as month,
        coalesce(denominator, 1) as volume
    from marts.rpt_metrics_monthly
    where
        org_level = 'party'
        and modality_group = 'All'
        and metric_id in (select measure_metric_id from staging.stg_finance__benefits)
"""
GO_LIVES = """
    select
        scope_code as party,
        replace(event_type, 'go_live_', '') as go_live_type,
        event_on as go_live_on
    from marts.dim_event
    where event_type like 'go_live_%' and scope_code in (select party_code from marts.dim_party)
"""
COSTS = "select * from seeds.programme_costs order by cost_id"
PARTIES = "select party_code from marts.dim_party order by party_code"
PRICES = "select year, price_index from seeds.gdp_deflator order by year"
UNTIL = "select max(month_on) from intermediate.int_months where is_complete"


READ = (
    ("intermediate", "int_benefit_optimism"),
    ("intermediate", "int_months"),
    ("marts", "dim_event"),
    ("marts", "dim_party"),
    ("marts", "rpt_metrics_monthly"),
    ("seeds", "gdp_deflator"),
    ("seeds", "programme_costs"),
    ("staging", "stg_finance__benefits"),
    ("statistics", "go_live_effects"),
    ("statistics", "go_live_effects_monthly"),
)


@dg.multi_asset(specs=specs(LEDGER_TABLES, READ))
def benefit_ledger(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> Iterator[dg.MaterializeResult]:
    """Read register, effects, volumes and costs, value, appraise, store."""
    registry = read_registry(manifest_path(pipeline.settings.dbt_project))
    compute = partial(store_benefit_ledger, registry=registry)
    yield from each_materialized(pipeline, journal, "benefit_ledger", compute)


def store_benefit_ledger(
    connection: duckdb.DuckDBPyConnection, registry: Sequence[Metric]
) -> dict[str, int]:
    """Write the tables of the benefit ledger and the appraisal of an open warehouse.

    Reads the stored effects of go-lives. Returns the rows of each table, by its name.
    """
    generator = np.random.default_rng(SEED)
    (until,) = connection.sql(UNTIL).fetchall()[0]
    evidence = Evidence(
        register=connection.sql(REGISTER).pl(),
        estimates=connection.sql("from statistics.go_live_effects").pl(),
        effects=connection.sql(EFFECTS).pl(),
        volumes=connection.sql(VOLUMES).pl(),
        go_lives=connection.sql(GO_LIVES).pl(),
        costs=connection.sql(COSTS).pl(),
        parties=connection.sql(PARTIES).pl()["party_code"],
        prices=dict(connection.sql(PRICES).fetchall()),
        until=until,
        money_metrics=frozenset(metric.metric_id for metric in registry if metric.is_money),
    )
    ledger = ledger_of(evidence, generator)
    case = appraised(
        ledger.by_month,
        ledger.costs,
        ledger.drawn,
        generator,
        price_year=evidence.price_year,
        unpriced=ledger.unpriced,
    )
    frames = (
        ledger.realised, ledger.lines, ledger.balance, case.flows, case.appraisal,
        case.sensitivities, ledger.paid,
    )  # fmt: skip
    return store_each(connection, LEDGER_TABLES, frames)
