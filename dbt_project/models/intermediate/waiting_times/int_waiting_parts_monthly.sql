{%- set parts = [
    'request', 'test', 'removal', 'handed_in', 'handed_out',
    'planned', 'overdue', 'clearing', 'recent_test',
    'appointment', 'reset', 'hospital_cancellation', 'suspected_cancer', 'in_time',
] -%}

with moves as (
    select
        party_code,
        trust_code,
        dm01_test,
        move_kind,
        {{ month_of('moved_on') }} as month_on
    from {{ ref('int_waiting_list_moves') }}
),

planned_censuses as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_overdue
    from {{ ref('int_planned_censuses') }}
),

clearances as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        waiting_count,
        test_count
    from {{ ref('int_list_clearances_monthly') }}
),

appointments as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_reset,
        is_cancelled_by_hospital
    from {{ ref('int_appointments_offered') }}
),

suspected_cancer_exams as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_within
    from {{ ref('int_suspected_cancer_exams') }}
),

dm01_tests as (
    select
        dm01_test,
        modality_group
    from {{ ref('dm01_tests') }}
),

months as (
    select
        month_on,
        is_complete
    from {{ ref('int_months') }}
    where is_complete
),

trust_closures as (
    select
        trust_code,
        closed_on
    from {{ ref('int_trust_closures') }}
),

counted as (
    select
        moves.party_code,
        moves.trust_code,
        dm01_tests.modality_group,
        moves.month_on,
        moves.move_kind as part,
        1 as amount
    from moves
    inner join dm01_tests on moves.dm01_test = dm01_tests.dm01_test
    inner join months on moves.month_on = months.month_on
    {%- for rows, part, amount in [
        ('planned_censuses', 'planned', '1'),
        ('planned_censuses', 'overdue', 'cast(is_overdue as integer)'),
        ('clearances', 'clearing', 'waiting_count'),
        ('clearances', 'recent_test', 'test_count'),
        ('appointments', 'appointment', '1'),
        ('appointments', 'reset', 'cast(is_reset as integer)'),
        ('appointments', 'hospital_cancellation', 'cast(is_cancelled_by_hospital as integer)'),
        ('suspected_cancer_exams', 'suspected_cancer', '1'),
        ('suspected_cancer_exams', 'in_time', 'cast(is_within as integer)'),
    ] %}
        union all
        select
            party_code,
            trust_code,
            modality_group,
            month_on,
            '{{ part }}' as part,
            {{ amount }} as amount
        from {{ rows }}
    {%- endfor %}
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        {%- for part in parts %}
            cast(sum(amount) filter (where part = '{{ part }}') as bigint) as {{ part }}_count
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from counted
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

with_a_list as (
    select
        org_level,
        org_code,
        modality_group,
        month_on
    from rolled_up
    where coalesce(request_count, test_count, removal_count, handed_in_count) is not null
),

-- a month in which nobody came and nobody went is one of 0
list_months as (
    {{ every_month('with_a_list', 'months', 'trust_closures', ['modality_group']) }}
),

keyed as (
    select
        org_level,
        org_code,
        modality_group,
        month_on
    from rolled_up
    union
    select
        org_level,
        org_code,
        modality_group,
        month_on
    from list_months
)

select
    keyed.org_level,
    keyed.org_code,
    keyed.modality_group,
    keyed.month_on,
    {%- for part in parts[:5] %}
        case when list_months.month_on is not null then coalesce(rolled_up.{{ part }}_count, 0) end
            as {{ part }}_count,
    {%- endfor %}
    {%- for part in parts[5:] %}
        rolled_up.{{ part }}_count{% if not loop.last %},{% endif %}
    {%- endfor %}
from keyed
left join rolled_up
    on
        keyed.org_level = rolled_up.org_level
        and keyed.org_code = rolled_up.org_code
        and keyed.modality_group = rolled_up.modality_group
        and keyed.month_on = rolled_up.month_on
left join list_months
    on
        keyed.org_level = list_months.org_level
        and keyed.org_code = list_months.org_code
        and keyed.modality_group = list_months.modality_group
        and keyed.month_on = list_months.month_on
