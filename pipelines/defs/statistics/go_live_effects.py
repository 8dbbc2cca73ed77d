"""The effect of go-lives on the metrics of the benefit register, over the marts."""

from collections.abc import Iterator

import dagster as dg
import duckdb
import numpy as np

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import each_materialized, specs, store_each
from pipelines.journal import Journal
from pipelines.statistics.effect_panel import Measure
from pipelines.statistics.effect_tables import GO_LIVE_EFFECT_TABLES
from pipelines.statistics.staged_effects import Calendar, staged_effects

# Orders are drawn only where there are more than nine parties.
SEED = 20261127
# Two lines of the register may measure the same: the larger promise is the one to be seen.
MEASURES = """
    select
        benefits.measure_metric_id as metric_id,
        benefits.go_live_type,
        benefits.improvement,
        benefits.unit,
        promises.metric_baseline_value as baseline,
        promises.target_value as target
    from staging.stg_finance__benefits as benefits
    left join marts.rpt_benefits_summary as promises on benefits.benefit_id = promises.benefit_id
    where benefits.measure_metric_id is not null and benefits.go_live_type is not null
    -- of several lines with one measure the one that promises most
    qualify
        row_number() over (
            partition by benefits.measure_metric_id, benefits.go_live_type
            order by
                abs(promises.target_value - promises.metric_baseline_value) desc nulls last,
                benefits.benefit_id
        ) = 1
    order by all
"""
# Outside the network only the national return is published, and of it the whole country.
VALUES = """
    select
        metrics.metric_id,
        metrics.org_code as party_code,
        metrics.period_start_on as month_on,
        metrics.value,
        false as is_outside
    from marts.rpt_metrics_monthly as metrics
    inner join marts.dim_party as parties on metrics.org_code = parties.party_code
    where metrics.org_level = 'party' and metrics.modality_group = 'All'
    union all
    select
        measured.metric_id,
        'rest of England' as party_code,
        cast(date_trunc('month', country.census_on) as date) as month_on,
        case measured.metric_id
            when 'W01' then country.waiting_list_count - network.waiting_list_count
            when 'W02'
                then
                    (country.waiting_6_plus_count - network.waiting_6_plus_count)
                    / nullif(country.waiting_list_count - network.waiting_list_count, 0)
            when 'W03' then country.waiting_13_plus_count - network.waiting_13_plus_count
        end as value,
        true as is_outside
    from marts.rpt_published_waits_monthly as country
    inner join marts.rpt_published_waits_monthly as network
        on
            country.census_on = network.census_on
            and country.dm01_test = network.dm01_test
            and network.org_level = 'network'
    cross join (values ('W01'), ('W02'), ('W03')) as measured (metric_id)
    where country.org_level = 'country' and country.dm01_test = 'All'
"""
GO_LIVES = """
    select
        scope_code as party_code,
        replace(event_type, 'go_live_', '') as go_live_type,
        event_on as go_live_on
    from marts.dim_event
    where event_type like 'go_live_%'
"""
SHOCKS = """
    select event_on as from_on, ends_on as to_on, label
    from marts.dim_event
    where event_type = 'external' and scope_code = 'NETWORK' and ends_on is not null
"""
EVENTS = """
    select event_on, scope_code, label, metric_ids
    from marts.dim_event
    where
        event_type not like 'go_live_%'
        -- an outage of the image system is what a go-live may change, not what else happened
        and event_type <> 'outage'
        and (event_type <> 'external' or scope_code <> 'NETWORK' or ends_on is null)
"""


READ = (
    ("staging", "stg_finance__benefits"),
    ("marts", "dim_event"),
    ("marts", "dim_party"),
    ("marts", "rpt_benefits_summary"),
    ("marts", "rpt_metrics_monthly"),
    ("marts", "rpt_published_waits_monthly"),
)


@dg.multi_asset(specs=specs(GO_LIVE_EFFECT_TABLES, READ))
def go_live_effects(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> Iterator[dg.MaterializeResult]:
    """Read the register, its metrics and the calendar, estimate, store."""
    yield from each_materialized(pipeline, journal, "go_live_effects", store_go_live_effects)


def store_go_live_effects(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Write the five tables of the effect of go-lives of an open warehouse; returns their rows."""
    rows = connection.sql(MEASURES).pl().iter_rows(named=True)
    calendar = Calendar(*(connection.sql(query).pl() for query in (GO_LIVES, SHOCKS, EVENTS)))
    found = staged_effects(
        [Measure(**row) for row in rows],
        connection.sql(VALUES).pl(),
        calendar,
        np.random.default_rng(SEED),
    )
    frames = (found.effects, found.monthly, found.checks, found.by_month_since, found.by_party)
    return store_each(connection, GO_LIVE_EFFECT_TABLES, frames)
