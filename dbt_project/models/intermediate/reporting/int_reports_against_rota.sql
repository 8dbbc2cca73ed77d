with reports as (
    select
        exam_key,
        reported_party_code,
        modality_group,
        team,
        verified_at,
        verified_on,
        month_on
    from {{ ref('int_network_reports') }}
    where not is_verified_date_only
),

session_days as (
    select
        party_code,
        team,
        pay_type,
        started_at,
        ended_at,
        day_on
    from {{ ref('int_reporting_session_days') }}
)

select
    reports.exam_key,
    reports.reported_party_code,
    reports.modality_group,
    reports.month_on,
    count(session_days.day_on) as session_count,
    -- nobody says in which of the sessions it was written: it counts in equal parts for all
    {{ ratio(
        "count(*) filter (where session_days.pay_type in ('WLI', 'insourced'))",
        'count(session_days.day_on)'
    ) }} as extra_paid_part
from reports
left join session_days
    on
        reports.reported_party_code = session_days.party_code
        and reports.team = session_days.team
        and reports.verified_on = session_days.day_on
        and reports.verified_at >= session_days.started_at
        and reports.verified_at < session_days.ended_at
group by
    reports.exam_key,
    reports.reported_party_code,
    reports.modality_group,
    reports.month_on
