{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_waiting_list_exams': 'exam_key',
        'int_clock_resets': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        clock_start_on,
        removed_on
    from {{ ref('int_waiting_list_exams') }}
),

clock_resets as (
    select
        exam_key,
        reset_on
    from {{ ref('int_clock_resets') }}
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
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

-- on the list at a census: requested by then, and not yet tested or removed
waiting as (
    select
        exams.exam_key,
        exams.site_code,
        exams.party_code,
        exams.dm01_test,
        exams.clock_start_on,
        months.month_on,
        months.census_on
    from exams
    inner join months
        on
            exams.clock_start_on <= months.census_on
            and coalesce(exams.removed_on, date '9999-12-31') > months.census_on
),

-- the clock as it stood that night: only resets that had happened by then
resets_so_far as (
    select
        waiting.exam_key,
        waiting.census_on,
        max(clock_resets.reset_on) as reset_on
    from waiting
    inner join clock_resets
        on
            waiting.exam_key = clock_resets.exam_key
            and waiting.census_on >= clock_resets.reset_on
            and waiting.clock_start_on <= clock_resets.reset_on
    group by waiting.exam_key, waiting.census_on
),

clocks as (
    select
        waiting.exam_key,
        waiting.site_code,
        waiting.party_code,
        waiting.dm01_test,
        waiting.month_on,
        waiting.census_on,
        coalesce(resets_so_far.reset_on, waiting.clock_start_on) as counted_from_on
    from waiting
    left join resets_so_far
        on
            waiting.exam_key = resets_so_far.exam_key
            and waiting.census_on = resets_so_far.census_on
),

clocked as (
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        month_on,
        census_on,
        cast({{ days_between('counted_from_on', 'census_on') }} as integer) as waited_days
    from clocks
)

select
    clocked.exam_key,
    clocked.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    clocked.dm01_test,
    clocked.month_on,
    clocked.census_on,
    clocked.waited_days,
    -- full weeks waited; the last band takes 13 weeks and more
    least(cast(floor(clocked.waited_days / 7) as integer), 13) as week_band
from clocked
{{ left_join_owners('clocked', 'clocked.census_on') }}
