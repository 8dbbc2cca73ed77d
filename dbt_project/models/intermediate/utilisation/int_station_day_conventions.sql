{%- set kinds = ['exam', 'busy', 'encounter', 'kept', 'opening'] -%}
{%- set day = 'station_name, day_on' -%}
with scanner_register as (
    select station_name
    from {{ ref('scanner_register') }}
),

operating_days as (
    select
        day_on,
        week_start_on,
        starts_at,
        ends_at
    from {{ ref('int_operating_days') }}
),

scans as (
    select
        station_name,
        patient_key,
        scan_no,
        started_at,
        ended_at
    from {{ ref('int_station_scans') }}
    where not is_quality_assurance
),

opening_hours as (
    select
        station_name,
        day_on,
        opens_at,
        closes_at
    from {{ ref('int_station_opening_hours') }}
),

windows as (
    select
        station_name,
        day_on,
        opens_at,
        closes_at
    from {{ ref('int_station_windows') }}
),

-- an exam belongs to the day of its start, whole, even over midnight
exams as (
    select
        scans.station_name,
        operating_days.day_on,
        scans.patient_key,
        scans.scan_no,
        scans.started_at,
        scans.ended_at
    from scans
    inner join operating_days
        on
            scans.started_at >= operating_days.starts_at
            and scans.started_at < operating_days.ends_at
),

window_bounds as (
    select
        station_name,
        day_on,
        min(opens_at) as opens_at,
        max(closes_at) as closes_at
    from windows
    group by station_name, day_on
),

-- convention open_extend drops exams wholly outside the opening hours
kept_exams as (
    select
        exams.station_name,
        exams.day_on,
        exams.started_at,
        exams.ended_at
    from exams
    inner join window_bounds
        on exams.station_name = window_bounds.station_name and exams.day_on = window_bounds.day_on
    where exams.ended_at > window_bounds.opens_at and exams.started_at < window_bounds.closes_at
),

-- convention first_last: exams of one patient less than the gap apart are one encounter
exams_of_patients as (
    select
        station_name,
        day_on,
        patient_key,
        scan_no,
        started_at,
        ended_at,
        max(ended_at) over (
            partition by {{ day }}, patient_key
            order by started_at, ended_at, scan_no
            rows between unbounded preceding and 1 preceding
        ) as earlier_ended_at
    from exams
),

numbered_exams as (
    select
        station_name,
        day_on,
        patient_key,
        started_at,
        ended_at,
        sum(
            case
                when
                    {{ seconds_between('earlier_ended_at', 'started_at') }}
                    < 60 * {{ var('encounter_gap_minutes') }}
                    then 0
                else 1
            end
        ) over (
            partition by {{ day }}, patient_key
            order by started_at, ended_at, scan_no
            rows between unbounded preceding and current row
        ) as encounter_no
    from exams_of_patients
),

encounters as (
    select
        station_name,
        day_on,
        patient_key,
        encounter_no,
        min(started_at) as started_at,
        max(ended_at) as ended_at
    from numbered_exams
    group by station_name, day_on, patient_key, encounter_no
),

intervals as (
    select
        station_name,
        day_on,
        'exam' as interval_kind,
        started_at,
        ended_at
    from exams
    union all
    select
        station_name,
        day_on,
        'busy' as interval_kind,
        started_at - interval '{{ var("buffer_before_minutes") }} minutes' as started_at,
        ended_at + interval '{{ var("buffer_after_minutes") }} minutes' as ended_at
    from exams
    union all
    select
        station_name,
        day_on,
        'encounter' as interval_kind,
        started_at,
        ended_at
    from encounters
    union all
    select
        station_name,
        day_on,
        'kept' as interval_kind,
        started_at,
        ended_at
    from kept_exams
    union all
    select
        station_name,
        day_on,
        'opening' as interval_kind,
        opens_at as started_at,
        closes_at as ended_at
    from windows
),

edges as (
    select
        station_name,
        day_on,
        interval_kind,
        started_at as changes_at,
        1 as step
    from intervals
    union all
    select
        station_name,
        day_on,
        interval_kind,
        ended_at as changes_at,
        -1 as step
    from intervals
),

changes as (
    select
        station_name,
        day_on,
        changes_at,
        {%- for kind in kinds %}
            coalesce(sum(step) filter (where interval_kind = '{{ kind }}'), 0) as {{ kind }}_step
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from edges
    group by station_name, day_on, changes_at
),

pieces as (
    select
        station_name,
        day_on,
        changes_at as started_at,
        lead(changes_at) over by_time as ended_at,
        {%- for kind in kinds %}
            sum({{ kind }}_step) over by_time as {{ kind }}_depth
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from changes
    window by_time as (partition by {{ day }} order by changes_at)
),

exam_totals as (
    select
        station_name,
        day_on,
        count(*) as exam_count,
        min(started_at) as first_started_at,
        max(ended_at) as last_ended_at,
        sum({{ seconds_between('started_at', 'ended_at') }}) as exam_seconds
    from exams
    group by station_name, day_on
),

encounter_totals as (
    select
        station_name,
        day_on,
        sum({{ seconds_between('started_at', 'ended_at') }}) as encounter_seconds
    from encounters
    group by station_name, day_on
),

kept_in_order as (
    select
        station_name,
        day_on,
        started_at,
        ended_at,
        max(ended_at) over (
            partition by {{ day }}
            order by started_at, ended_at
            rows between unbounded preceding and 1 preceding
        ) as earlier_ended_at
    from kept_exams
),

kept_totals as (
    select
        station_name,
        day_on,
        min(started_at) as first_kept_at,
        max(ended_at) as last_kept_at,
        coalesce(
            sum(
                least(
                    {{ seconds_between('earlier_ended_at', 'started_at') }},
                    60 * {{ var('buffer_before_minutes') + var('buffer_after_minutes') }}
                )
            ) filter (where started_at > earlier_ended_at),
            0
        ) as buffer_between_seconds
    from kept_in_order
    group by station_name, day_on
),

-- convention mean_formula: how long one patient takes to follow another
exams_in_order as (
    select
        station_name,
        day_on,
        patient_key,
        started_at,
        lag(patient_key) over (
            partition by {{ day }}
            order by started_at, ended_at, patient_key, scan_no
        ) as previous_patient_key,
        max(ended_at) over (
            partition by {{ day }}
            order by started_at, ended_at, patient_key, scan_no
            rows between unbounded preceding and 1 preceding
        ) as earlier_ended_at
    from exams
),

exam_changes as (
    select
        station_name,
        day_on,
        greatest(0, {{ seconds_between('earlier_ended_at', 'started_at') }}) as change_seconds
    from exams_in_order
    where patient_key <> previous_patient_key
),

change_totals as (
    select
        station_name,
        day_on,
        sum(change_seconds) as change_seconds,
        count(*) as change_count
    from exam_changes
    where change_seconds <= 60 * {{ var('change_cap_minutes') }}
    group by station_name, day_on
),

-- a scanner is planned for as long as its longest day of the week
planned_weeks as (
    select
        opening_hours.station_name,
        operating_days.week_start_on,
        max({{ seconds_between('opening_hours.opens_at', 'opening_hours.closes_at') }})
            as planned_seconds
    from opening_hours
    inner join operating_days on opening_hours.day_on = operating_days.day_on
    group by opening_hours.station_name, operating_days.week_start_on
),

station_days as (
    select
        scanner_register.station_name,
        operating_days.day_on,
        planned_weeks.planned_seconds
    from scanner_register
    cross join operating_days
    left join planned_weeks
        on
            scanner_register.station_name = planned_weeks.station_name
            and operating_days.week_start_on = planned_weeks.week_start_on
),

dated as (
    select
        station_days.station_name,
        station_days.day_on,
        station_days.planned_seconds,
        window_bounds.opens_at,
        window_bounds.closes_at,
        coalesce(exam_totals.exam_count, 0) as exam_count,
        exam_totals.first_started_at,
        exam_totals.last_ended_at,
        coalesce(exam_totals.exam_seconds, 0) as exam_seconds,
        coalesce(encounter_totals.encounter_seconds, 0) as encounter_seconds,
        kept_totals.first_kept_at,
        kept_totals.last_kept_at,
        kept_totals.buffer_between_seconds,
        coalesce(change_totals.change_seconds, 0) as change_seconds,
        coalesce(change_totals.change_count, 0) as change_count
    from station_days
    left join window_bounds
        on
            station_days.station_name = window_bounds.station_name
            and station_days.day_on = window_bounds.day_on
    left join exam_totals
        on
            station_days.station_name = exam_totals.station_name
            and station_days.day_on = exam_totals.day_on
    left join encounter_totals
        on
            station_days.station_name = encounter_totals.station_name
            and station_days.day_on = encounter_totals.day_on
    left join kept_totals
        on
            station_days.station_name = kept_totals.station_name
            and station_days.day_on = kept_totals.day_on
    left join change_totals
        on
            station_days.station_name = change_totals.station_name
            and station_days.day_on = change_totals.day_on
),

measured as (
    select
        station_name,
        day_on,
        started_at,
        ended_at,
        exam_depth,
        busy_depth > 0 as is_busy,
        encounter_depth,
        kept_depth > 0 as is_kept,
        opening_depth > 0 as is_open,
        {{ seconds_between('started_at', 'ended_at') }} as piece_seconds
    from pieces
    where ended_at is not null
),

placed_pieces as (
    select
        measured.station_name,
        measured.day_on,
        measured.exam_depth,
        measured.is_busy,
        measured.encounter_depth,
        measured.is_kept,
        measured.is_open,
        measured.piece_seconds,
        measured.ended_at <= dated.first_started_at as is_before_first,
        measured.started_at >= dated.last_ended_at as is_after_last,
        measured.started_at >= dated.opens_at and measured.ended_at <= dated.closes_at
            as is_between_edges
    from measured
    inner join dated
        on measured.station_name = dated.station_name and measured.day_on = dated.day_on
),

totals as (
    select
        station_name,
        day_on,
        sum(piece_seconds) filter (where is_open) as opening_seconds,
        sum(piece_seconds) filter (where exam_depth > 0) as union_seconds,
        sum(piece_seconds) filter (where exam_depth > 0 and is_open) as core_seconds,
        sum(piece_seconds) filter (where exam_depth > 0 and not is_open) as outside_seconds,
        sum(piece_seconds * (exam_depth - 1)) filter (where exam_depth > 1)
            as duplicate_seconds,
        sum(piece_seconds) filter (where is_busy and is_open) as used_seconds,
        sum(piece_seconds) filter (where is_busy and is_open and exam_depth = 0)
            as buffer_seconds,
        sum(piece_seconds) filter (where encounter_depth > 0 and exam_depth = 0)
            as merge_seconds,
        sum(piece_seconds * (encounter_depth - 1)) filter (where encounter_depth > 1)
            as overlap_seconds,
        sum(piece_seconds) filter (where is_kept) as kept_seconds,
        sum(piece_seconds) filter (where is_kept and not is_open) as kept_outside_seconds,
        sum(piece_seconds) filter (where is_open and is_before_first) as open_before_seconds,
        sum(piece_seconds) filter (where is_open and is_after_last) as open_after_seconds,
        sum(piece_seconds) filter (
            where not is_open and not is_before_first and not is_after_last
        ) as span_outside_seconds,
        sum(piece_seconds) filter (where not is_open and is_between_edges)
            as between_windows_seconds
    from placed_pieces
    group by station_name, day_on
),

extended as (
    select
        station_name,
        day_on,
        {{ seconds_between('first_started_at', 'last_ended_at') }} as span_seconds,
        {{ seconds_between(
            'least(opens_at, first_kept_at)', 'greatest(closes_at, last_kept_at)'
        ) }} as stretched_seconds,
        greatest(0, {{ seconds_between('first_kept_at', 'opens_at') }}) as stretch_before_seconds,
        greatest(0, {{ seconds_between('closes_at', 'last_kept_at') }}) as stretch_after_seconds,
        -- an edge gap shorter than two buffers is shared half and half
        buffer_between_seconds
        + least(
            greatest(0, {{ seconds_between('opens_at', 'first_kept_at') }}) / 2,
            60 * {{ var('buffer_before_minutes') }}
        )
        + least(
            greatest(0, {{ seconds_between('last_kept_at', 'closes_at') }}) / 2,
            60 * {{ var('buffer_after_minutes') }}
        ) as extended_buffer_seconds
    from dated
)

select
    dated.station_name,
    dated.day_on,
    dated.exam_count,
    {{ minutes('coalesce(totals.opening_seconds, 0)') }} as opening_minutes,
    {{ minutes('dated.planned_seconds') }} as planned_minutes,
    {{ minutes('dated.exam_seconds') }} as exam_minutes,
    {{ minutes('coalesce(totals.union_seconds, 0)') }} as union_minutes,
    {{ minutes('coalesce(totals.core_seconds, 0)') }} as core_minutes,
    {{ minutes('coalesce(totals.outside_seconds, 0)') }} as outside_minutes,
    {{ minutes('coalesce(totals.duplicate_seconds, 0)') }} as duplicate_minutes,
    {{ minutes('coalesce(totals.merge_seconds, 0)') }} as merge_minutes,
    {{ minutes('coalesce(totals.overlap_seconds, 0)') }} as overlap_minutes,
    -- first_last
    {{ minutes('dated.encounter_seconds') }} as encounter_minutes,
    {{ minutes('extended.span_seconds') }} as span_minutes,
    {{ minutes('coalesce(totals.open_before_seconds, 0)') }} as open_before_minutes,
    {{ minutes('coalesce(totals.open_after_seconds, 0)') }} as open_after_minutes,
    {{ minutes('coalesce(totals.span_outside_seconds, 0)') }} as span_outside_minutes,
    -- open_clip
    {{ minutes('coalesce(totals.used_seconds, 0)') }} as used_minutes,
    {{ minutes('coalesce(totals.buffer_seconds, 0)') }} as buffer_minutes,
    {{ minutes('coalesce(totals.opening_seconds, 0) - coalesce(totals.used_seconds, 0)') }}
        as clip_idle_minutes,
    -- open_extend; empty without an exam that touches the opening hours
    case
        when dated.first_kept_at is not null
            then {{ minutes('coalesce(totals.kept_seconds, 0)') }}
    end as kept_minutes,
    {{ minutes('coalesce(totals.kept_outside_seconds, 0)') }} as kept_outside_minutes,
    {{ minutes('extended.extended_buffer_seconds') }} as extended_buffer_minutes,
    case
        when dated.first_kept_at is not null
            then {{ minutes('least(extended.stretched_seconds, 86400)') }}
    end as extended_minutes,
    case
        when dated.first_kept_at is not null
            then
                {{ minutes('least(extended.stretched_seconds, 86400)') }}
                - {{ minutes('coalesce(totals.kept_seconds, 0)') }}
                - {{ minutes('extended.extended_buffer_seconds') }}
    end as extended_idle_minutes,
    {{ minutes('coalesce(totals.between_windows_seconds, 0)') }} as between_windows_minutes,
    {{ minutes('extended.stretch_before_seconds') }} as stretch_before_minutes,
    {{ minutes('extended.stretch_after_seconds') }} as stretch_after_minutes,
    {{ minutes('greatest(0, extended.stretched_seconds - 86400)') }} as beyond_a_day_minutes,
    -- mean_formula: count times (mean exam + mean change)
    dated.exam_count
    * coalesce({{ minutes('dated.change_seconds') }} / nullif(dated.change_count, 0), 0)
        as change_minutes,
    case
        when dated.exam_count = 0 then 0
        else
            dated.exam_count * (
                {{ minutes('dated.exam_seconds') }} / dated.exam_count
                + coalesce(
                    {{ minutes('dated.change_seconds') }} / nullif(dated.change_count, 0), 0
                )
            )
    end as mean_formula_minutes,
    -- fixed_week: a fifth of it on each day from Monday to Friday
    case
        when {{ iso_weekday('dated.day_on') }} <= 5 then 12.0 * {{ var('fixed_week_hours') }}
        else 0.0
    end as fixed_minutes
from dated
inner join extended
    on dated.station_name = extended.station_name and dated.day_on = extended.day_on
left join totals
    on dated.station_name = totals.station_name and dated.day_on = totals.day_on
