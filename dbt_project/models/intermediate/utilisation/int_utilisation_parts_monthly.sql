{%- set parts = {
    'slots': ['attended_slot_count', 'available_slot_count'],
    'attendances': ['missed_count', 'attended_or_missed_count'],
    'cancellations': ['short_notice_count', 'booked_count'],
    'opening': ['opening_seconds', 'opening_days'],
    'scanners': [
        'scanner_exam_count', 'scanner_months', 'mobile_exam_count', 'mobile_unit_months'
    ],
    'sessions': ['first_delay_seconds', 'idle_seconds', 'used_session_count'],
} -%}
with diary_slots as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        slot_status
    from {{ ref('int_diary_slots') }}
    where is_month_told
),

appointments as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        outcome,
        given_up_by,
        notice_hours,
        is_attendance_told,
        is_cancellation_told
    from {{ ref('int_appointments') }}
),

station_access as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        opening_seconds,
        opening_days,
        used_session_count,
        first_delay_seconds,
        idle_seconds
    from {{ ref('int_station_access_monthly') }}
),

scanner_months as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_mobile,
        exam_count,
        min(month_on) over (partition by party_code) as first_month_on
    from {{ ref('int_scanner_months') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

slots as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        count(*) filter (where slot_status = 'attended') as attended_slot_count,
        count(*) as available_slot_count
    from diary_slots
    -- blocked slots could not be used; of one that still stands as booked nobody told the outcome
    where slot_status in ('attended', 'did_not_attend', 'cancelled', 'free')
    group by party_code, trust_code, modality_group, month_on
),

attendances as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        count(*) filter (where outcome = 'did_not_attend') as missed_count,
        count(*) as attended_or_missed_count
    from appointments
    where is_attendance_told and outcome in ('attended', 'did_not_attend')
    group by party_code, trust_code, modality_group, month_on
),

cancellations as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        count(*) filter (
            where
            outcome = 'cancelled'
            and given_up_by = 'hospital'
            and notice_hours < {{ var('short_notice_hours') }}
        ) as short_notice_count,
        count(*) as booked_count
    from appointments
    where
        is_cancellation_told
        and not (outcome = 'cancelled' and coalesce(given_up_by, '') = 'patient')
    group by party_code, trust_code, modality_group, month_on
),

opening as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        opening_seconds,
        opening_days
    from station_access
    where opening_days > 0
),

-- the twelve months that end with a month; a scanner counts for the months in which it was used
scanners as (
    select
        scanner_months.party_code,
        scanner_months.trust_code,
        scanner_months.modality_group,
        months.month_on,
        sum(scanner_months.exam_count) filter (where not scanner_months.is_mobile)
            as scanner_exam_count,
        count(*) filter (where not scanner_months.is_mobile) as scanner_months,
        sum(scanner_months.exam_count) filter (where scanner_months.is_mobile)
            as mobile_exam_count,
        count(*) filter (where scanner_months.is_mobile) as mobile_unit_months
    from months
    inner join scanner_months
        on
            months.month_on >= scanner_months.month_on
            and months.month_on < scanner_months.month_on + interval '12 months'
            and months.month_on >= scanner_months.first_month_on + interval '11 months'
    group by
        scanner_months.party_code,
        scanner_months.trust_code,
        scanner_months.modality_group,
        months.month_on
),

sessions as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        first_delay_seconds,
        idle_seconds,
        used_session_count
    from station_access
    where used_session_count > 0
),

-- what a source does not tell stays empty, so that a month without its feed has no figure
together as (
    {%- for source in parts %}
        select
            party_code,
            trust_code,
            modality_group,
            month_on,
            {%- for other, names in parts.items() %}
                {%- set last_source = loop.last %}
                {%- for name in names %}
                    cast({{ name if other == source else 'null' }} as double)
                        as {{ name }}
                    {%- if not (last_source and loop.last) %},{% endif %}
                {%- endfor %}
            {%- endfor %}
        from {{ source }}
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}
)

select
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    month_on,
    sum(attended_slot_count) as attended_slot_count,
    sum(available_slot_count) as available_slot_count,
    sum(missed_count) as missed_count,
    sum(attended_or_missed_count) as attended_or_missed_count,
    sum(short_notice_count) as short_notice_count,
    sum(booked_count) as booked_count,
    -- whole numbers are added up before they are divided: fractions depend on the order of adding
    sum(opening_seconds) / 3600 as opening_hours,
    sum(opening_days) / 7 as opening_weeks,
    sum(scanner_exam_count) as scanner_exam_count,
    sum(scanner_months) / 12 as scanner_years,
    sum(mobile_exam_count) as mobile_exam_count,
    sum(mobile_unit_months) / 12 as mobile_unit_years,
    {{ minutes('sum(first_delay_seconds)') }} as first_delay_minutes,
    {{ minutes('sum(idle_seconds)') }} as idle_gap_minutes,
    sum(used_session_count) as used_session_count
from together
{{ roll_up(['month_on'], or_all=['modality_group']) }}
