{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_waiting_list_exams': 'exam_key',
    },
}}) }}

-- who is on the list at some census (int_waiting_list_censuses), or came and went between two
with exams as (
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        clock_start_on,
        removed_on,
        is_tested
    from {{ ref('int_waiting_list_exams') }}
    -- a request dated after its own end never waited: no census has it either
    where coalesce(removed_on, date '9999-12-31') >= clock_start_on
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

-- a site that changes hands takes its list along
handed_over as (
    select
        exams.exam_key,
        exams.site_code,
        exams.party_code,
        exams.dm01_test,
        site_owners.valid_from as handed_over_on
    from exams
    inner join site_owners
        on
            exams.site_code = site_owners.site_code
            and exams.party_code = site_owners.party_code
            and exams.clock_start_on < site_owners.valid_from
            and coalesce(exams.removed_on, date '9999-12-31') >= site_owners.valid_from
),

moves as (
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        'request' as move_kind,
        clock_start_on as moved_on,
        clock_start_on as owned_on
    from exams
    union all
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        case when is_tested then 'test' else 'removal' end as move_kind,
        removed_on as moved_on,
        removed_on as owned_on
    from exams
    where removed_on is not null
    union all
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        'handed_in' as move_kind,
        handed_over_on as moved_on,
        handed_over_on as owned_on
    from handed_over
    union all
    select
        exam_key,
        site_code,
        party_code,
        dm01_test,
        'handed_out' as move_kind,
        handed_over_on as moved_on,
        {{ add_days('handed_over_on', -1) }} as owned_on
    from handed_over
)

select
    moves.exam_key,
    moves.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    moves.dm01_test,
    moves.move_kind,
    moves.moved_on
from moves
{{ left_join_owners('moves', 'moves.owned_on') }}
