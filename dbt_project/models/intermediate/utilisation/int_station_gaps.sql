{%- set kinds = [
    'staffed', 'opening', 'occupied', 'quality_assurance', 'planned_downtime', 'unplanned_downtime'
] -%}
{%- set piece = ['station_name', 'started_at', 'ended_at', 'is_staffed', 'is_opening'] -%}
with intervals as (
    select
        station_name,
        interval_kind,
        started_at,
        ended_at
    from {{ ref('int_station_intervals') }}
    where interval_kind <> 'acquisition'
),

operating_days as (
    select
        day_on,
        starts_at,
        ends_at
    from {{ ref('int_operating_days') }}
),

scanner_register as (
    select
        station_name,
        site_code
    from {{ ref('scanner_register') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

covered_days as (
    select
        party_code,
        day_on,
        is_rota_known
    from {{ ref('int_party_days_covered') }}
),

changes as (
    select
        intervals.station_name,
        edges.changes_at,
        {%- for kind in kinds %}
            coalesce(sum(edges.step) filter (where intervals.interval_kind = '{{ kind }}'), 0)
                as {{ kind }}_step
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from intervals
    {{ each_of('edges', ['changes_at', 'step'], [['started_at', 1], ['ended_at', -1]]) }}
    group by intervals.station_name, edges.changes_at
),

-- One piece between any two changes: what holds in it holds from its first to its last second.
pieces as (
    select
        station_name,
        changes_at as started_at,
        lead(changes_at) over by_time as ended_at,
        {%- for kind in kinds %}
            sum({{ kind }}_step) over by_time > 0 as is_{{ kind }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from changes
    window by_time as (partition by station_name order by changes_at)
),

-- Images are evidence, a downtime is a record: a scan during a downtime took place.
explained as (
    select
        {{ piece | join(',\n        ') }},
        case
            when is_occupied then 'occupied'
            when is_quality_assurance then 'quality_assurance'
            when is_planned_downtime then 'planned_downtime'
            when is_unplanned_downtime then 'unplanned_downtime'
            when is_staffed then 'unexplained'
            when is_opening then 'not_staffed'
            else 'closed'
        end as time_class
    from pieces
    where ended_at is not null
),

followed as (
    select
        {{ piece | join(',\n        ') }},
        time_class,
        coalesce(lag(is_staffed) over by_time, false) as was_staffed,
        lag(time_class) over by_time as time_class_before
    from explained
    window by_time as (partition by station_name order by started_at)
),

runs as (
    select
        {{ piece | join(',\n        ') }},
        time_class,
        sum(case when is_staffed = was_staffed then 0 else 1 end) over by_time as session_no,
        sum(
            case when is_staffed = was_staffed and time_class = time_class_before then 0 else 1 end
        ) over by_time as run_no
    from followed
    window by_time as (
        partition by station_name
        order by started_at
        rows between unbounded preceding and current row
    )
),

-- before midnight cuts it: a session at night does not finish early at 24:00
measured as (
    select
        {{ piece | join(',\n        ') }},
        time_class,
        min(case when time_class = 'occupied' then started_at end) over (
            partition by station_name, session_no
        ) as first_occupied_at,
        max(case when time_class = 'occupied' then ended_at end) over (
            partition by station_name, session_no
        ) as last_occupied_at,
        sum({{ seconds_between('started_at', 'ended_at') }}) over (
            partition by station_name, run_no
        ) as run_seconds
    from runs
),

classed as (
    select
        {{ piece | join(',\n        ') }},
        case
            when time_class <> 'unexplained' then time_class
            when first_occupied_at is null then 'idle'
            when ended_at <= first_occupied_at then 'late_start'
            when started_at >= last_occupied_at then 'early_finish'
            when run_seconds <= 60 * {{ var('changeover_up_to_minutes') }} then 'changeover'
            else 'idle'
        end as gap_class
    from measured
    where (is_staffed or is_opening) and time_class <> 'occupied'
),

day_pieces as (
    select
        classed.station_name,
        operating_days.day_on,
        classed.gap_class,
        classed.is_staffed,
        classed.is_opening,
        greatest(classed.started_at, operating_days.starts_at) as started_at,
        least(classed.ended_at, operating_days.ends_at) as ended_at
    from classed
    inner join operating_days
        on
            classed.started_at < operating_days.ends_at
            and classed.ended_at > operating_days.starts_at
)

select
    day_pieces.station_name,
    day_pieces.day_on,
    row_number() over (
        partition by day_pieces.station_name, day_pieces.day_on
        order by day_pieces.started_at
    ) as gap_no,
    case
        when
            day_pieces.gap_class = 'not_staffed'
            and not coalesce(covered_days.is_rota_known, false)
            then 'no_rota_known'
        else day_pieces.gap_class
    end as gap_class,
    day_pieces.is_staffed,
    day_pieces.is_opening,
    day_pieces.started_at,
    day_pieces.ended_at,
    {{ seconds_between('day_pieces.started_at', 'day_pieces.ended_at') }} as gap_seconds
from day_pieces
inner join scanner_register on day_pieces.station_name = scanner_register.station_name
inner join sites on scanner_register.site_code = sites.site_code
left join covered_days
    on sites.party_code = covered_days.party_code and day_pieces.day_on = covered_days.day_on
