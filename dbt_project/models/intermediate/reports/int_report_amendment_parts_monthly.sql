with versions as (
    select
        exam_key,
        version_kind,
        issued_at,
        issued_at_local,
        feed_id
    from {{ ref('int_report_versions') }}
),

exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group
    from {{ ref('int_exams_classified') }}
),

feeds as (
    select
        feed_id,
        coverage
    from {{ ref('feeds') }}
),

months as (
    select
        month_on,
        census_at
    from {{ ref('int_months') }}
),

data_as_at as (
    select complete_until
    from {{ ref('int_data_as_at') }}
),

-- A national submission tells when a report was verified and never that it was amended: of what it
-- alone tells no rate is known.
verified as (
    select
        versions.exam_key,
        min(versions.issued_at) filter (where versions.version_kind = 'first_final') as verified_at,
        min(versions.issued_at_local) filter (
            where versions.version_kind = 'first_final'
        ) as verified_at_local
    from versions
    left join feeds on versions.feed_id = feeds.feed_id
    group by versions.exam_key
    having
        count(*) filter (where versions.version_kind = 'first_final') > 0
        and count(*) filter (where coalesce(feeds.coverage, '') <> 'performed') > 0
),

amended as (
    select distinct verified.exam_key
    from verified
    inner join versions on verified.exam_key = versions.exam_key
    where
        versions.version_kind in ('addendum', 'corrected')
        and versions.issued_at >= verified.verified_at
        and versions.issued_at
        < {{ add_seconds('verified.verified_at', 86400 * var('amendment_limit_days')) }}
),

judged as (
    select
        exams.party_code,
        exams.trust_code,
        exams.modality_group,
        {{ month_of('verified.verified_at_local') }} as month_on,
        amended.exam_key is not null as is_amended
    from verified
    inner join exams on verified.exam_key = exams.exam_key
    left join amended on verified.exam_key = amended.exam_key
),

-- the youngest report of the month has had its days
mature_months as (
    select months.month_on
    from months
    cross join data_as_at
    where
        {{ seconds_between('months.census_at', 'data_as_at.complete_until') }}
        >= 86400 * {{ var('amendment_limit_days') }}
),

mature as (
    select
        judged.party_code,
        judged.trust_code,
        judged.modality_group,
        judged.month_on,
        judged.is_amended
    from judged
    inner join mature_months on judged.month_on = mature_months.month_on
)

select
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    month_on,
    count(*) as verified_report_count,
    count(*) filter (where is_amended) as amended_report_count
from mature
{{ roll_up(['month_on'], or_all=['modality_group']) }}
