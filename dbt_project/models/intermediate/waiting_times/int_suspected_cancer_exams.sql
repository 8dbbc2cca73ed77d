with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        clock_start_on,
        {{ days_between('clock_start_on', 'cast(first_verified_at_local as date)') }}
            as reported_days,
        case
            when started_at is null and not is_completed and not is_reported
                then {{ days_between('clock_start_on', 'cancelled_on') }}
        end as withdrawn_days
    from {{ ref('int_exams_classified') }}
    where priority_group = 'suspected_cancer' and not is_reported_before_end
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
),

data_as_at as (
    select {{ local_date('complete_until') }} as complete_until_on
    from {{ ref('int_data_as_at') }}
),

parties_without_list as (
    select party_code
    from {{ ref('int_parties_without_list') }}
),

suspected_cancer_limits as (
    select
        limit_days,
        coalesce(valid_from, date '1900-01-01') as valid_from,
        coalesce(valid_to, date '9999-12-31') as valid_to
    from {{ ref('suspected_cancer_limits') }}
),

-- a month is judged when its youngest request has had its days
limits as (
    select
        months.month_on,
        max(suspected_cancer_limits.limit_days) as longest_limit_days
    from months
    inner join suspected_cancer_limits
        on
            months.month_on <= suspected_cancer_limits.valid_to
            and months.census_on >= suspected_cancer_limits.valid_from
    group by months.month_on
),

mature_months as (
    select
        months.month_on,
        months.census_on
    from months
    inner join limits on months.month_on = limits.month_on
    cross join data_as_at
    where
        {{ days_between('months.census_on', 'data_as_at.complete_until_on') }}
        > limits.longest_limit_days
)

select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    mature_months.month_on,
    suspected_cancer_limits.limit_days,
    coalesce(exams.reported_days <= suspected_cancer_limits.limit_days, false) as is_within
from exams
inner join mature_months
    on exams.clock_start_on between mature_months.month_on and mature_months.census_on
inner join suspected_cancer_limits
    on
        exams.clock_start_on
        between suspected_cancer_limits.valid_from and suspected_cancer_limits.valid_to
-- who tells only of exams that were done leaves out whoever still waits
left join parties_without_list on exams.party_code = parties_without_list.party_code
where
    parties_without_list.party_code is null
    -- a report dated before its request is an error of the source
    and coalesce(exams.reported_days, 0) >= 0
    -- whoever withdrew in time needed no report; later the limit had been missed
    and coalesce(exams.withdrawn_days > suspected_cancer_limits.limit_days, true)
