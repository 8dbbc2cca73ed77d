with benefits as (
    select
        benefit_id,
        measure_metric_id
    from {{ ref('stg_finance__benefits') }}
),

beneficiaries as (
    select
        benefit_id,
        party_code
    from {{ ref('int_benefit_beneficiaries') }}
),

needs_met as (
    select
        party_code,
        subject_kind,
        subject_id,
        need_group,
        needed,
        is_met
    from {{ ref('int_feed_needs_met') }}
),

defined as (
    select distinct subject_id as metric_id
    from needs_met
    where subject_kind = 'metric'
),

-- what the metric of a line needs; while it has none, what the line itself will need
subjects as (
    select
        benefits.benefit_id,
        defined.metric_id is not null as is_metric_defined,
        case when defined.metric_id is not null then 'metric' else 'benefit' end as subject_kind,
        coalesce(defined.metric_id, benefits.benefit_id) as subject_id
    from benefits
    left join defined on benefits.measure_metric_id = defined.metric_id
),

-- one party with the feed is enough to measure something
groups as (
    select
        subjects.benefit_id,
        needs_met.need_group,
        needs_met.needed,
        bool_or(needs_met.is_met) as is_met
    from subjects
    inner join beneficiaries on subjects.benefit_id = beneficiaries.benefit_id
    inner join needs_met
        on
            beneficiaries.party_code = needs_met.party_code
            and subjects.subject_kind = needs_met.subject_kind
            and subjects.subject_id = needs_met.subject_id
    group by subjects.benefit_id, needs_met.need_group, needs_met.needed
),

feeds as (
    select
        benefit_id,
        {{ listed('needed', "'; '", 'need_group') }} as needed_feeds,
        {{ listed('needed', "'; '", 'need_group', where='not is_met') }} as missing_feeds
    from groups
    group by benefit_id
)

select
    subjects.benefit_id,
    subjects.is_metric_defined,
    feeds.needed_feeds,
    feeds.missing_feeds
from subjects
left join feeds on subjects.benefit_id = feeds.benefit_id
