-- What an analyst asks by name instead of joining: views and table macros of a published file.
-- They read the published tables only, so what is suppressed there is suppressed here. Their words
-- are in analyst.py, which runs this file. Parameters of a macro hide columns of the same name:
-- every column below is qualified. An older DuckDB reads the file too, so nothing newer than 1.1
-- stands here (no if(): it came later).

create view main.metric_months as
with series as (
    select
        months.metric_id,
        months.org_level,
        months.org_code,
        months.modality_group,
        months.period_start_on,
        months.numerator,
        months.denominator,
        months.value
    from marts.rpt_metrics_monthly as months
    union all
    -- an estimate over every exam of the group, kept beside the series
    select
        estimates.metric_id,
        estimates.org_level,
        estimates.org_code,
        estimates.modality_group,
        estimates.period_start_on,
        null as numerator,
        estimates.denominator,
        estimates.value
    from statistics.metric_estimates as estimates
),

groups as (
    select distinct
        series.metric_id,
        series.modality_group,
        series.period_start_on
    from series
),

targets as (
    select
        groups.metric_id,
        groups.modality_group,
        groups.period_start_on,
        aims.comparator,
        aims.target_value,
        aims.source_status
    from groups
    inner join marts.dim_target as aims
        on
            groups.metric_id = aims.metric_id
            and aims.scope in ('national', 'local', 'all', groups.modality_group)
            and coalesce(aims.valid_from, date '1900-01-01') <= last_day(groups.period_start_on)
            and coalesce(aims.valid_to, date '2999-12-31') >= last_day(groups.period_start_on)
    qualify
        row_number() over (
            partition by groups.metric_id, groups.modality_group, groups.period_start_on
            order by aims.preference
        ) = 1
)

select
    series.metric_id,
    registry.name as metric_name,
    series.org_level,
    series.org_code,
    organisations.org_name,
    series.modality_group,
    series.period_start_on,
    series.numerator,
    series.denominator,
    series.value,
    registry.denominator = 'none' as is_count,
    registry.unit,
    registry.improvement,
    registry.over_time,
    targets.comparator,
    targets.target_value,
    targets.source_status as target_source_status
from series
inner join catalogue.metrics as registry on series.metric_id = registry.metric_id
left join marts.dim_organisation as organisations
    on series.org_level = organisations.org_level and series.org_code = organisations.org_code
left join targets
    on
        series.metric_id = targets.metric_id
        and series.modality_group = targets.modality_group
        and series.period_start_on = targets.period_start_on;

create view main.metrics as
with told as (
    select
        series.metric_id,
        min(series.period_start_on) as first_month_on,
        max(series.period_start_on) as last_month_on,
        string_agg(distinct series.org_level, ', ' order by series.org_level) as org_levels
    from main.metric_months as series
    group by series.metric_id
)

select
    registry.metric_id,
    registry.name,
    registry.definition,
    registry.numerator,
    registry.denominator,
    registry.unit,
    registry.improvement,
    registry.over_time,
    registry.clock,
    registry.exclusions,
    registry.source,
    registry.source_status,
    told.org_levels,
    told.first_month_on,
    told.last_month_on
from catalogue.metrics as registry
left join told on registry.metric_id = told.metric_id
order by registry.metric_id;

create macro main.metric_detail(id, grain := 'month', "by" := 'trust') as table
with words as (
    select
        upper(trim(cast(id as varchar))) as metric_id,
        lower(trim(cast(grain as varchar))) as grain_name,
        lower(trim(cast("by" as varchar))) as cut_name
),

-- every check stands in the column that the rest joins on: none can be optimised away
asked as (
    select
        words.grain_name,
        words.cut_name,
        case
            when
                coalesce(
                    words.grain_name not in ('month', 'quarter', 'year', 'financial_year'), true
                )
                then error(
                    'metric(): grain ' || coalesce('''' || words.grain_name || '''', 'null')
                    || ' is none of month, quarter, year (January to December),'
                    || ' financial_year (April to March)'
                )
            when
                coalesce(
                    words.cut_name not in (
                        'trust', 'party', 'network', 'modality', 'trust_modality', 'party_modality'
                    ),
                    true
                )
                then error(
                    'metric(): by ' || coalesce('''' || words.cut_name || '''', 'null')
                    || ' is none of trust, party, network, modality, trust_modality,'
                    || ' party_modality'
                )
            when not exists (
                select known.metric_id
                from catalogue.metrics as known
                where known.metric_id = words.metric_id
            )
                then error(
                    'metric(): id ' || coalesce('''' || words.metric_id || '''', 'null')
                    || ' is none of '
                    || (
                        select string_agg(known.metric_id, ', ' order by known.metric_id)
                        from catalogue.metrics as known
                    )
                    || '; what each is: from metrics'
                )
            else words.metric_id
        end as metric_id
    from words
),

months as (
    select
        series.*,
        asked.grain_name,
        asked.cut_name like '%modality' as has_groups,
        case asked.grain_name when 'month' then 1 when 'quarter' then 3 else 12 end
            as period_month_count,
        cast(
            case asked.grain_name
                when 'month' then series.period_start_on
                when 'quarter' then date_trunc('quarter', series.period_start_on)
                when 'year' then date_trunc('year', series.period_start_on)
                else
                    date_trunc('year', series.period_start_on - interval 3 month)
                    + interval 3 month
            end as date
        ) as period_on
    from asked
    inner join main.metric_months as series
        on
            asked.metric_id = series.metric_id
            and case
                when asked.cut_name = 'modality' then 'network'
                else split_part(asked.cut_name, '_', 1)
            end = series.org_level
),

-- an organisation told of a month where it has a row over all modalities
told as (
    select
        months.org_code,
        months.period_on,
        count(distinct months.period_start_on) as month_count
    from months
    where months.modality_group = 'All'
    group by months.org_code, months.period_on
),

summed as (
    select
        months.metric_id,
        months.metric_name,
        months.org_level,
        months.org_code,
        months.org_name,
        months.modality_group,
        months.period_on,
        months.unit,
        months.improvement,
        months.over_time,
        months.is_count,
        months.grain_name,
        months.period_month_count,
        max(months.period_start_on) as last_month_on,
        -- a month whose figure is not shown leaves no sum of the others
        case when count(months.numerator) = count(*) then sum(months.numerator) end
            as numerator_sum,
        case when count(months.denominator) = count(*) then sum(months.denominator) end
            as denominator_sum,
        arg_max(
            {
                'numerator': months.numerator,
                'denominator': months.denominator,
                'value': months.value,
                'comparator': months.comparator,
                'target_value': months.target_value,
                'source_status': months.target_source_status
            },
            months.period_start_on
        ) as last_month
    from months
    where
        months.has_groups = (months.modality_group <> 'All')
    group by all
),

judged as (
    select
        summed.*,
        coalesce(told.month_count, 0) as month_count,
        case
            when summed.grain_name = 'month'
                then case when summed.last_month.value is null then 'this month has no value' end
            when summed.over_time = 'none'
                then 'a percentile cannot be made of months: ask for grain := ''month'''
            when summed.over_time = 'last'
                then case
                    when
                        summed.last_month.value is null
                        or summed.last_month_on
                        < summed.period_on + to_months(summed.period_month_count - 1)
                        then 'the last month of the period has no value'
                end
            when summed.is_count and coalesce(told.month_count, 0) < summed.period_month_count
                then
                    coalesce(told.month_count, 0) || ' of ' || summed.period_month_count
                    || ' months are told: their sum would be too small'
            when
                summed.numerator_sum is null
                or (not summed.is_count and summed.denominator_sum is null)
                then 'a month of the period has no numerator or denominator'
        end as empty_because
    from summed
    left join told on summed.org_code = told.org_code and summed.period_on = told.period_on
),

figures as (
    select
        judged.*,
        case
            when judged.grain_name = 'month' then judged.last_month.numerator
            when judged.empty_because is not null then null
            when judged.over_time = 'last' then judged.last_month.numerator
            else judged.numerator_sum
        end as numerator,
        case
            when judged.grain_name = 'month' then judged.last_month.denominator
            when judged.empty_because is not null then null
            when judged.over_time = 'last' then judged.last_month.denominator
            when not judged.is_count then judged.denominator_sum
        end as denominator,
        -- a target of a monthly count is none of three months, but for 0
        judged.grain_name = 'month'
        or judged.over_time <> 'sum'
        or not judged.is_count
        or judged.last_month.target_value = 0 as has_target
    from judged
)

select
    figures.metric_id,
    figures.metric_name,
    figures.org_level,
    figures.org_code as trust_code,
    figures.org_name,
    figures.modality_group as modality,
    figures.period_on as period_start,
    figures.numerator,
    figures.denominator,
    case
        when figures.empty_because is not null then null
        when figures.grain_name = 'month' or figures.over_time = 'last'
            then figures.last_month.value
        when figures.is_count then figures.numerator
        when figures.denominator > 0 then figures.numerator / figures.denominator
    end as value,
    figures.unit,
    figures.improvement,
    figures.over_time,
    case when figures.has_target then figures.last_month.comparator end as comparator,
    case when figures.has_target then figures.last_month.target_value end as target,
    case when figures.has_target then figures.last_month.source_status end as source_status,
    figures.month_count,
    figures.period_month_count,
    figures.empty_because
from figures
order by figures.org_code, figures.modality_group, figures.period_on;

create macro main.metric(id, grain := 'month', "by" := 'trust') as table
select
    detail.metric_id,
    detail.trust_code,
    detail.modality,
    detail.period_start,
    detail.numerator,
    detail.denominator,
    detail.value,
    detail.target,
    detail.source_status
from main.metric_detail(id, grain := grain, "by" := "by") as detail
order by detail.trust_code, detail.modality, detail.period_start;
