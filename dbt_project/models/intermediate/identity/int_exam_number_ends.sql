with recursive renumberings as (
    select
        old_key,
        new_key,
        old_patient_key,
        new_patient_key,
        changed_at
    from {{ ref('int_exam_renumberings') }}
),

patient_merges as (
    select
        loser_key,
        standing_key
    from {{ ref('int_patient_merges') }}
),

fillers as (
    select
        alias_key,
        exam_key
    from {{ ref('int_exam_fillers') }}
),

links as (
    select
        coalesce(old_fillers.exam_key, renumberings.old_key) as old_key,
        coalesce(new_fillers.exam_key, renumberings.new_key) as new_key,
        coalesce(was.standing_key, renumberings.old_patient_key)
        <> coalesce(becomes.standing_key, renumberings.new_patient_key) as is_of_another_patient,
        renumberings.changed_at
    from renumberings
    left join fillers as old_fillers on renumberings.old_key = old_fillers.alias_key
    left join fillers as new_fillers on renumberings.new_key = new_fillers.alias_key
    left join patient_merges as was on renumberings.old_patient_key = was.loser_key
    left join patient_merges as becomes on renumberings.new_patient_key = becomes.loser_key
    where
        coalesce(old_fillers.exam_key, renumberings.old_key)
        <> coalesce(new_fillers.exam_key, renumberings.new_key)
    qualify row_number() over (
        partition by coalesce(old_fillers.exam_key, renumberings.old_key)
        order by renumberings.changed_at desc nulls last, renumberings.new_key
    ) = 1
),

{{ followed('links') }}

select
    links.old_key,
    ends.end_key,
    links.is_of_another_patient,
    links.changed_at,
    circles.old_key is not null as is_in_circle
from links
inner join ends on links.old_key = ends.old_key
left join circles on links.old_key = circles.old_key
