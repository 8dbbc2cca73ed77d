with benefits as (
    select
        benefit_id,
        benefit_class,
        optimism_rate,
        source_status,
        -- a plan that nobody signed off takes what holds last
        coalesce(signed_off_on, date '9999-12-31') as planned_on
    from {{ ref('stg_finance__benefits') }}
),

biases as (
    select
        category,
        optimism_bias * (1 - mitigation) as optimism_rate,
        source,
        source_status,
        coalesce(valid_from, date '1900-01-01') as valid_from,
        coalesce(valid_to, date '9999-12-31') as valid_to
    from {{ ref('optimism_biases') }}
    where subject = 'benefit'
)

select
    benefits.benefit_id,
    coalesce(benefits.optimism_rate, biases.optimism_rate) as optimism_rate,
    case when benefits.optimism_rate is null then biases.source else 'benefit register' end
        as optimism_source,
    case
        when benefits.optimism_rate is null then biases.source_status
        else benefits.source_status
    end as optimism_source_status
from benefits
left join biases
    on
        benefits.benefit_class = biases.category
        and benefits.planned_on between biases.valid_from and biases.valid_to
