with accesses as (
    select
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

spans as (
    select
        party_code,
        min(day_on) as first_day_on,
        max(day_on) as last_day_on
    from accesses
    group by party_code
)

-- Silence of a few days at either end of a month is no gap; a month that the audit entered or
-- left halfway would pass for one with little use.
select
    spans.party_code,
    months.month_on
from spans
inner join months
    on
        spans.first_day_on <= {{ add_days('months.month_on', var('audit_silence_days')) }}
        and {{ add_days('spans.last_day_on', var('audit_silence_days')) }} >= months.census_on
