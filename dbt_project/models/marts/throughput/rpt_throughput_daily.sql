{{ config(meta={'kept': {
    'by': 'day_on',
    'inputs': {
        'fct_exam': {
            'touches':
                'select day_on from (select unnest(['
                'clock_start_on, performed_on, cast(first_verified_at_local as date), cancelled_on'
                ']) as day_on from {changes} union all '
                'select cast(event_at_local as date) from {int_exam_events} '
                "where event_type = 'patient_dna' "
                'and exam_key in (select exam_key from {changes})) where day_on is not null',
            'only':
                '(clock_start_on in {keys} or performed_on in {keys} '
                'or cast(first_verified_at_local as date) in {keys} or cancelled_on in {keys} '
                'or exam_key in (select exam_key from {int_exam_events} '
                "where event_type = 'patient_dna' and cast(event_at_local as date) in {keys}))",
        },
        'int_exam_events': {
            'touches':
                'select cast(event_at_local as date) from {changes} '
                "where event_type = 'patient_dna' and event_at_local is not null",
            'only': "event_type = 'patient_dna' and cast(event_at_local as date) in {keys}",
        },
        'int_data_as_at': {
            'touches':
                'select cast(unnest(generate_series(min(as_at_on), max(as_at_on), '
                "interval '1 day')) as date) from {changes}",
        },
    },
}}) }}

with exams as (
    select
        exam_key,
        site_code,
        party_code,
        modality_group,
        clock_start_on as requested_on,
        performed_on,
        cast(first_verified_at_local as date) as verified_on,
        cancelled_on
    from {{ ref('fct_exam') }}
),

missed_appointments as (
    select distinct
        exam_key,
        cast(event_at_local as date) as missed_on
    from {{ ref('int_exam_events') }}
    where event_type = 'patient_dna' and event_at_local is not null
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

data_as_at as (
    select as_at_on
    from {{ ref('int_data_as_at') }}
),

occurrences as (
    select
        site_code,
        party_code,
        modality_group,
        requested_on as day_on,
        'request' as kind
    from exams
    union all
    select
        site_code,
        party_code,
        modality_group,
        performed_on as day_on,
        'exam' as kind
    from exams
    union all
    select
        site_code,
        party_code,
        modality_group,
        verified_on as day_on,
        'report' as kind
    from exams
    union all
    select
        site_code,
        party_code,
        modality_group,
        cancelled_on as day_on,
        'cancelled' as kind
    from exams
    where performed_on is null
    union all
    select
        exams.site_code,
        exams.party_code,
        exams.modality_group,
        missed_appointments.missed_on as day_on,
        'dna' as kind
    from missed_appointments
    inner join exams on missed_appointments.exam_key = exams.exam_key
),

per_site as (
    select
        site_code,
        party_code,
        modality_group,
        day_on,
        count(*) filter (where kind = 'request') as request_count,
        count(*) filter (where kind = 'exam') as exam_count,
        count(*) filter (where kind = 'report') as report_count,
        count(*) filter (where kind = 'dna') as dna_count,
        count(*) filter (where kind = 'cancelled') as cancelled_count
    from occurrences
    where day_on is not null
    group by site_code, party_code, modality_group, day_on
),

-- each count belongs to the trust that owned the site on its own day
owned as (
    select
        per_site.party_code,
        coalesce(site_owners.trust_code, 'Unknown') as trust_code,
        per_site.modality_group,
        per_site.day_on,
        per_site.request_count,
        per_site.exam_count,
        per_site.report_count,
        per_site.dna_count,
        per_site.cancelled_count
    from per_site
    inner join data_as_at on per_site.day_on <= data_as_at.as_at_on
    {{ left_join_owners('per_site', 'per_site.day_on') }}
)

select
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    day_on,
    cast(sum(request_count) as bigint) as request_count,
    cast(sum(exam_count) as bigint) as exam_count,
    cast(sum(report_count) as bigint) as report_count,
    cast(sum(dna_count) as bigint) as dna_count,
    cast(sum(cancelled_count) as bigint) as cancelled_count
from owned
{{ roll_up(['day_on'], or_all=['modality_group']) }}
