with parties_without_list as (
    select party_code
    from {{ ref('int_parties_without_list') }}
),

-- who is on the list at some census (int_waiting_list_censuses), or came and went between two
exams as (
    select
        classified.exam_key,
        classified.site_code,
        classified.party_code,
        classified.dm01_test,
        classified.clock_start_on,
        classified.removed_on,
        classified.started_at is not null
        or classified.is_completed
        or classified.is_reported as is_tested
    from {{ ref('int_exams_classified') }} as classified
    left join parties_without_list on classified.party_code = parties_without_list.party_code
    where
        classified.activity_category = 'waiting_list'
        and classified.dm01_test is not null
        and parties_without_list.party_code is null
        -- a request dated after its own end never waited
        and coalesce(classified.removed_on, date '9999-12-31') >= classified.clock_start_on
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
left join site_owners
    on
        moves.site_code = site_owners.site_code
        and moves.party_code = site_owners.party_code
        and moves.owned_on between site_owners.valid_from and site_owners.valid_to
