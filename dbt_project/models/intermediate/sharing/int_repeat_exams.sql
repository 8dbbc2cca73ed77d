{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_comparable_exams': exams_of_the_same_person(),
    },
}}) }}

with exams as (
    select
        exam_key,
        person_key,
        party_code,
        trust_code,
        modality_group,
        exam_code,
        body_region,
        priority_group,
        performed_on,
        month_on,
        completed_at
    from {{ ref('int_comparable_exams') }}
),

exclusions as (
    select
        exclusion,
        earlier_exam_code,
        later_exam_code,
        later_priority_group
    from {{ ref('repeat_exclusions') }}
),

-- booked long before by a date of its own: no exam elsewhere brought it about or spared it
planned as (
    select later_priority_group as priority_group
    from exclusions
    where exclusion = 'planned_follow_up'
),

upgrades as (
    select
        earlier_exam_code,
        later_exam_code
    from exclusions
    where exclusion = 'contrast_upgrade'
),

-- the latest exam of the kind elsewhere tells how soon this one followed
earlier_elsewhere as (
    select
        later.exam_key,
        max(earlier.performed_on) as earlier_performed_on
    from exams as later
    inner join exams as earlier
        on
            later.person_key = earlier.person_key
            and later.modality_group = earlier.modality_group
            and later.body_region = earlier.body_region
            and later.party_code <> earlier.party_code
            and later.completed_at > earlier.completed_at
    left join upgrades
        on
            earlier.exam_code = upgrades.earlier_exam_code
            and later.exam_code = upgrades.later_exam_code
    where upgrades.later_exam_code is null
    group by later.exam_key
)

select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    exams.month_on,
    case
        when planned.priority_group is null
            then
                {{ days_between('earlier_elsewhere.earlier_performed_on', 'exams.performed_on') }}
    end as days_after_exam_elsewhere
from exams
left join earlier_elsewhere on exams.exam_key = earlier_elsewhere.exam_key
left join planned on exams.priority_group = planned.priority_group
