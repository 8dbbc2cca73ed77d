with need_groups as (
    select
        party_code,
        subject_kind,
        subject_id,
        subject_name,
        need_group,
        needed,
        held,
        is_met
    from {{ ref('int_feed_needs_met') }}
)

select
    party_code,
    subject_kind,
    subject_id,
    subject_name,
    {{ listed('needed', "'; '", 'need_group') }} as needed_feeds,
    {{ listed('held', "'; '", 'need_group') }} as held_feeds,
    {{ listed('needed', "'; '", 'need_group', where='not is_met') }} as missing_feeds,
    case
        when bool_and(is_met) then 'available'
        when bool_or(is_met) then 'partly'
        else 'no evidence'
    end as evidence_status
from need_groups
group by party_code, subject_kind, subject_id, subject_name
