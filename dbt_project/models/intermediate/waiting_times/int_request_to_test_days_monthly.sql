{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_exams_classified': month_of('performed_on'),
    },
}}) }}

with exams as (
    select
        party_code,
        trust_code,
        modality_group,
        {{ month_of('performed_on') }} as month_on,
        activity_category,
        dm01_wait_days,
        unadjusted_wait_days
    from {{ ref('int_exams_classified') }}
    -- The return alone: walk-in plain film, done the day it is asked for, would pull waits to 0.
    -- All parties, not only those of int_waiting_list_exams: who tells only of exams that were done
    -- tells how long those took.
    where is_completed and dm01_test is not null
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

-- the date of a planned test was agreed, so nobody waited for it; whoever came unplanned is
-- shown apart, because most are scanned the same day and would hide the list
waited as (
    select
        exams.party_code,
        exams.trust_code,
        exams.modality_group,
        exams.month_on,
        case when exams.activity_category = 'waiting_list' then exams.dm01_wait_days end
            as listed_days,
        case when exams.activity_category = 'waiting_list' then exams.unadjusted_wait_days end
            as unadjusted_days,
        case when exams.activity_category = 'unscheduled' then exams.unadjusted_wait_days end
            as unscheduled_days
    from exams
    inner join months on exams.month_on = months.month_on
)

select
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    month_on,
    {%- for group in ['listed', 'unadjusted', 'unscheduled'] %}
        count({{ group }}_days) as {{ group }}_count,
        {%- for name, share in [('median', 0.5), ('p90', 0.9)] %}
            case
                when count({{ group }}_days) >= {{ var('percentile_min_count') }}
                    then percentile_cont({{ share }}) within group (order by {{ group }}_days)
            end as {{ group }}_{{ name }}_days{% if not loop.last %},{% endif %}
        {%- endfor %}
        {%- if not loop.last %},{% endif %}
    {%- endfor %}
from waited
{{ roll_up(['month_on'], or_all=['modality_group']) }}
