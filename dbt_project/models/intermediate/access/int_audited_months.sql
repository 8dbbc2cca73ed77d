with accesses as (
    select distinct
        audited_party_code as party_code,
        cast(event_at_local as date) as day_on
    from {{ ref('int_image_accesses') }}
    where audited_party_code <> 'Unknown'
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
),

-- each month by its own days: what came years before or after, by a wrong clock too, covers nothing
days as (
    select
        accesses.party_code,
        accesses.day_on,
        months.month_on,
        months.census_on,
        lag(accesses.day_on) over (
            partition by accesses.party_code, months.month_on
            order by accesses.day_on
        ) as previous_day_on
    from accesses
    inner join months
        on accesses.day_on between months.month_on and months.census_on
)

-- Silence of a few days is no gap, be it at either end of a month or within it; a month that the
-- audit entered, left or missed in part would pass for one with little use.
select
    party_code,
    month_on
from days
group by party_code, month_on, census_on
having
    min(day_on) <= {{ add_days('month_on', var('audit_silence_days')) }}
    and {{ add_days('max(day_on)', var('audit_silence_days')) }} >= census_on
    and coalesce(
        bool_and(
            {{ add_days('day_on', -1) }}
            <= {{ add_days('previous_day_on', var('audit_silence_days')) }}
        ),
        true
    )
