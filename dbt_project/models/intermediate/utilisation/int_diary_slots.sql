with booking_slots as (
    select
        party_code,
        diary_on,
        site_code,
        resource,
        modality_group,
        slot_started_at_local,
        cast(slot_started_at_local as date) as slot_on,
        slot_status
    from {{ ref('stg_operations__booking_slots') }}
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
),

diaries as (
    select distinct
        party_code,
        diary_on,
        {{ add_days('diary_on', -7 * var('diary_weeks_back')) }} as first_day_on
    from booking_slots
),

bounds as (
    select
        min(first_day_on) as first_day_on,
        max(diary_on) as last_day_on
    from diaries
),

days as (
    {{ date_spine('first_day_on', 'last_day_on', 'day', 'bounds') }}
),

-- a slot's fate is known from the newest diary that looks back on its day; what an older one said
-- may since have been withdrawn
days_told as (
    select
        diaries.party_code,
        days.day_on,
        max(diaries.diary_on) as diary_on
    from days
    inner join diaries
        on diaries.first_day_on <= days.day_on and diaries.diary_on > days.day_on
    group by diaries.party_code, days.day_on
),

months_told as (
    select
        days_told.party_code,
        months.month_on
    from days_told
    inner join months on days_told.day_on between months.month_on and months.census_on
    group by days_told.party_code, months.month_on, months.census_on
    having count(*) = {{ days_between('months.month_on', 'months.census_on') }} + 1
)

select
    booking_slots.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    booking_slots.resource,
    booking_slots.modality_group,
    booking_slots.slot_started_at_local,
    {{ month_of('booking_slots.slot_on') }} as month_on,
    booking_slots.slot_status,
    months_told.party_code is not null as is_month_told
from booking_slots
inner join days_told
    on
        booking_slots.party_code = days_told.party_code
        and booking_slots.slot_on = days_told.day_on
        and booking_slots.diary_on = days_told.diary_on
left join months_told
    on
        booking_slots.party_code = months_told.party_code
        and {{ month_of('booking_slots.slot_on') }} = months_told.month_on
{{ left_join_owners('booking_slots', 'booking_slots.slot_on') }}
