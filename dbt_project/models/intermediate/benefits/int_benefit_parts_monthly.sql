{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_exams_classified': month_of('performed_on'),
    },
}}) }}

{%- set parts = [
    'outsourced_spend_gbp', 'outsourced_report_count', 'held_tb', 'image_system_cost_gbp',
    'image_system_exam_count', 'media_cost_gbp', 'media_thousand_exams',
    'contract_cost_gbp', 'contract_exam_count', 'vacant_wte', 'establishment_wte',
    'survey_score_sum', 'survey_answer_count', 'bed_days', 'discharge_count',
] -%}
with exams as (
    select
        party_code,
        {{ month_of('performed_on') }} as month_on,
        count(*) as exam_count
    from {{ ref('int_exams_classified') }}
    where performed_on is not null
    group by party_code, {{ month_of('performed_on') }}
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

invoice_lines as (
    select
        party_code,
        month_on,
        coalesce(modality_group, 'Unknown') as modality_group,
        quantity,
        amount_gbp
    from {{ ref('stg_finance__invoice_lines') }}
    where service = 'outsourced_report'
),

storage as (
    select
        party_code,
        month_on,
        sum(held_tb) as held_tb,
        sum(amount_gbp) as amount_gbp
    from {{ ref('stg_finance__storage') }}
    group by party_code, month_on
),

contract_lines as (
    select
        party_code,
        month_on,
        sum(amount_gbp) filter (
            where line_type in ('local_pacs_support', 'regional_contract')
        ) as system_gbp,
        sum(quantity) filter (
            where line_type in ('local_pacs_support', 'regional_contract')
        ) as system_exam_count,
        sum(amount_gbp) filter (where line_type = 'migration') as migration_gbp,
        -- the month has its contract lines: a line that is not among them cost nothing
        coalesce(sum(amount_gbp) filter (where line_type in ('disc', 'courier')), 0) as media_gbp
    from {{ ref('stg_finance__contract_lines') }}
    group by party_code, month_on
),

staff_months as (
    select
        party_code,
        month_on,
        establishment_wte,
        -- people beyond the posts of one group fill no post of another
        greatest(vacancy_wte, 0) as vacant_wte
    from {{ ref('stg_workforce__staff_months') }}
    where establishment_wte is not null and vacancy_wte is not null
),

survey_scores as (
    select
        scores.party_code,
        scores.month_on,
        scores.score,
        scores.respondents_count
    from {{ ref('stg_workforce__survey_scores') }} as scores
    inner join {{ ref('staff_survey_questions') }} as questions
        on scores.question = questions.question
    where
        questions.is_work_life
        and scores.score is not null
        and scores.respondents_count >= questions.smallest_group_count
),

stays as (
    select
        party_code,
        month_on,
        bed_days
    from {{ ref('stg_operations__admissions') }}
    where bed_days >= 0
),

-- what systems cost is only told where both bills of the month are
system_costs as (
    select
        storage.party_code,
        storage.month_on,
        storage.amount_gbp + contract_lines.system_gbp + coalesce(contract_lines.migration_gbp, 0)
            as amount_gbp,
        exams.exam_count
    from storage
    inner join contract_lines
        on
            storage.party_code = contract_lines.party_code
            and storage.month_on = contract_lines.month_on
    inner join exams
        on
            storage.party_code = exams.party_code
            and storage.month_on = exams.month_on
    where contract_lines.system_gbp is not null
),

media_costs as (
    select
        contract_lines.party_code,
        contract_lines.month_on,
        contract_lines.media_gbp,
        exams.exam_count
    from contract_lines
    inner join exams
        on
            contract_lines.party_code = exams.party_code
            and contract_lines.month_on = exams.month_on
),

told as (
    {%- set figures = [
        ['invoice_lines', 'outsourced_spend_gbp', 'amount_gbp'],
        ['invoice_lines', 'outsourced_report_count', 'quantity'],
        ['storage', 'held_tb', 'held_tb'],
        ['system_costs', 'image_system_cost_gbp', 'amount_gbp'],
        ['system_costs', 'image_system_exam_count', 'exam_count'],
        ['media_costs', 'media_cost_gbp', 'media_gbp'],
        ['media_costs', 'media_thousand_exams', 'exam_count / 1000'],
        ['contract_lines', 'contract_cost_gbp', 'system_gbp'],
        ['contract_lines', 'contract_exam_count', 'system_exam_count'],
        ['staff_months', 'vacant_wte', 'vacant_wte'],
        ['staff_months', 'establishment_wte', 'establishment_wte'],
        ['survey_scores', 'survey_score_sum', 'score * respondents_count'],
        ['survey_scores', 'survey_answer_count', 'respondents_count'],
        ['stays', 'bed_days', 'bed_days'],
        ['stays', 'discharge_count', '1'],
    ] %}
    {%- for source, part, amount in figures %}
        select
            party_code,
            {{ 'modality_group' if source == 'invoice_lines' else "'All'" }} as modality_group,
            month_on,
            '{{ part }}' as part,
            -- decimals: a sum of floats depends on the order of adding up
            cast({{ amount }} as decimal(18, 6)) as amount
        from {{ source }}
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

placed as (
    select
        told.party_code,
        coalesce(party_trusts.trust_code, 'Unknown') as trust_code,
        nullif(told.modality_group, 'All') as modality_group,
        told.month_on,
        told.part,
        told.amount
    from told
    inner join months on told.month_on = months.month_on
    left join party_trusts
        on
            told.party_code = party_trusts.party_code
            and told.month_on between party_trusts.valid_from and party_trusts.valid_to
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        {%- for part in parts %}
            cast(sum(amount) filter (where part = '{{ part }}') as double) as {{ part }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from placed
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
)

select
    org_level,
    org_code,
    modality_group,
    month_on,
    {{ parts | join(',\n    ') }}
from rolled_up
-- what is of no one modality stands under All only
where modality_group is not null
