{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_repeat_exams': 'month_on',
        'int_prior_exams': 'month_on',
        'int_exams_classified': {
            'touches':
                'select month_on from (select ' ~ month_of('performed_on') ~ ' as month_on '
                'from {changes} union all '
                'select ' ~ month_of('told.requested_at_local') ~ ' '
                'from {stg_operations__image_transfers} as told '
                'left join {int_exam_aliases} as aliases on told.exam_key = aliases.alias_key '
                'where coalesce(aliases.exam_key, told.exam_key) in (select exam_key from {changes})'
                ') where month_on is not null',
            'only':
                '(' ~ month_of('performed_on') ~ ' in {keys} or exam_key in ('
                'select coalesce(aliases.exam_key, told.exam_key) '
                'from {stg_operations__image_transfers} as told '
                'left join {int_exam_aliases} as aliases on told.exam_key = aliases.alias_key))',
        },
        'int_exam_aliases': {
            'touches':
                'select ' ~ month_of('requested_at_local') ~ ' '
                'from {stg_operations__image_transfers} '
                'where exam_key in (select alias_key from {changes}) union all '
                'select ' ~ month_of('meeting_at_local') ~ ' from {stg_operations__meeting_cases} '
                'where exam_key in (select alias_key from {changes})',
        },
        'int_data_as_at': {
            'touches':
                'select month_on from {int_repeat_exams} '
                'where (select min(first_event_on) <> max(first_event_on) from {changes})',
        },
    },
}}) }}

{%- set repeat_windows = [7, 14, 28] -%}
{%- set parts = [
    'prior_known_count', 'prior_viewable_count',
    'repeat_7_count', 'repeat_7_checked_count', 'repeat_14_count', 'repeat_14_checked_count',
    'repeat_28_count', 'repeat_28_checked_count',
    'transfer_count', 'transfer_exam_count', 'meeting_case_count', 'meeting_case_with_images_count',
] -%}
with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        {{ month_of('performed_on') }} as month_on,
        performed_on
    from {{ ref('int_exams_classified') }}
),

party_trusts as (
    select
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_party_trusts') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

data_as_at as (
    select first_event_on
    from {{ ref('int_data_as_at') }}
),

repeats as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        days_after_exam_elsewhere
    from {{ ref('int_repeat_exams') }}
),

priors as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_viewable
    from {{ ref('int_prior_exams') }}
    where is_viewable is not null
),

exam_aliases as (
    select
        alias_key,
        exam_key
    from {{ ref('int_exam_aliases') }}
),

-- images may be sent, and cases listed, under an accession number that was given up since
transfers as (
    select
        told_transfers.from_party_code as party_code,
        coalesce(exam_aliases.exam_key, told_transfers.exam_key) as exam_key,
        {{ month_of('told_transfers.requested_at_local') }} as month_on
    from {{ ref('stg_operations__image_transfers') }} as told_transfers
    left join exam_aliases on told_transfers.exam_key = exam_aliases.alias_key
    where told_transfers.purpose in ('care', 'meeting')
),

transfer_months as (
    select
        party_code,
        month_on
    from {{ ref('int_transfer_months') }}
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
),

meeting_cases as (
    select
        feeds.party_code,
        {{ month_of('cases.meeting_at_local') }} as month_on,
        cases.meeting_id,
        coalesce(cases.nhs_key, exam_aliases.exam_key, cases.exam_key) as case_key,
        -- one exam without images spoils the case; one of which nothing is told leaves it open
        case
            when bool_or(not cases.is_image_available) then false
            when count(*) = count(cases.is_image_available) then true
        end as has_all_images
    from {{ ref('stg_operations__meeting_cases') }} as cases
    inner join feeds on cases.feed_id = feeds.feed_id
    left join exam_aliases on cases.exam_key = exam_aliases.alias_key
    group by
        feeds.party_code,
        {{ month_of('cases.meeting_at_local') }},
        cases.meeting_id,
        coalesce(cases.nhs_key, exam_aliases.exam_key, cases.exam_key)
),

-- where one party alone tells of exams, no other exam could be found
shared_months as (
    select month_on
    from repeats
    group by month_on
    having count(distinct party_code) > 1
),

-- a repeat of the first days would follow an exam before the data begin
repeat_parts as (
    {%- for days in repeat_windows %}
        select
            repeats.party_code,
            repeats.trust_code,
            repeats.modality_group,
            repeats.month_on,
            counted.part,
            counted.amount
        from repeats
        inner join shared_months on repeats.month_on = shared_months.month_on
        inner join data_as_at
            on repeats.month_on >= {{ add_days('data_as_at.first_event_on', days) }}
        {{ each_of('counted', ['part', 'amount'], [
            ["'repeat_" ~ days ~ "_checked_count'", '1'],
            [
                "'repeat_" ~ days ~ "_count'",
                'case when repeats.days_after_exam_elsewhere <= ' ~ days ~ ' then 1 else 0 end',
            ],
        ]) }}
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

prior_parts as (
    select
        priors.party_code,
        priors.trust_code,
        priors.modality_group,
        priors.month_on,
        counted.part,
        counted.amount
    from priors
    {{ each_of('counted', ['part', 'amount'], [
        ["'prior_known_count'", '1'],
        ["'prior_viewable_count'", 'case when priors.is_viewable then 1 else 0 end'],
    ]) }}
),

-- exams of told months without a transfer bring the 0
transfer_parts as (
    select
        exams.party_code,
        exams.trust_code,
        exams.modality_group,
        exams.month_on,
        counted.part,
        counted.amount
    from exams
    inner join transfer_months
        on
            exams.party_code = transfer_months.party_code
            and exams.month_on = transfer_months.month_on
    {{ each_of('counted', ['part', 'amount'], [
        ["'transfer_exam_count'", '1'], ["'transfer_count'", '0'],
    ]) }}
    union all
    select
        transfers.party_code,
        coalesce(exams.trust_code, party_trusts.trust_code, 'Unknown') as trust_code,
        coalesce(exams.modality_group, 'Unknown') as modality_group,
        transfers.month_on,
        counted.part,
        counted.amount
    from transfers
    {{ each_of('counted', ['part', 'amount'], [
        ["'transfer_count'", '1'], ["'transfer_exam_count'", '0'],
    ]) }}
    left join exams
        on
            transfers.exam_key = exams.exam_key
            and transfers.party_code = exams.party_code
    left join party_trusts
        on
            transfers.party_code = party_trusts.party_code
            and transfers.month_on between party_trusts.valid_from and party_trusts.valid_to
),

party_parts as (
    select
        meeting_cases.party_code,
        meeting_cases.month_on,
        counted.part,
        counted.amount
    from meeting_cases
    {{ each_of('counted', ['part', 'amount'], [
        ["'meeting_case_count'", '1'],
        [
            "'meeting_case_with_images_count'",
            'case when meeting_cases.has_all_images then 1 else 0 end',
        ],
    ]) }}
    where meeting_cases.has_all_images is not null
),

every_part as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        part,
        amount
    from repeat_parts
    union all
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        part,
        amount
    from prior_parts
    union all
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        part,
        amount
    from transfer_parts
    union all
    -- a case is of no one modality: it stands under All only
    select
        party_parts.party_code,
        coalesce(party_trusts.trust_code, 'Unknown') as trust_code,
        cast(null as string) as modality_group,
        party_parts.month_on,
        party_parts.part,
        party_parts.amount
    from party_parts
    left join party_trusts
        on
            party_parts.party_code = party_trusts.party_code
            and party_parts.month_on between party_trusts.valid_from and party_trusts.valid_to
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('every_part.modality_group') }} as modality_group,
        every_part.month_on,
        {%- for part in parts %}
            sum(every_part.amount) filter (where every_part.part = '{{ part }}') as {{ part }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from every_part
    inner join months on every_part.month_on = months.month_on
    {{ roll_up(['every_part.month_on'], or_all=['every_part.modality_group']) }}
)

select
    org_level,
    org_code,
    modality_group,
    month_on,
    {{ parts | join(',\n    ') }}
from rolled_up
where modality_group is not null
