with recursive ris_events as (
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from {{ ref('stg_ris__events') }}
),

reports as (
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from {{ ref('stg_reporting__reports') }}
),

renumberings as (
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

events as (
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from ris_events
    union all
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from reports
),

-- An appointment message knows only the filler number. Any message that shows both
-- numbers tells which exam that filler number means.
fillers as (
    select
        issuer_ods || '|F|' || filler_id || '|' || cast(coalesce(obr_set, 1) as string)
            as alias_key,
        min(exam_key) as exam_key
    from events
    where accession is not null and filler_id is not null
    group by alias_key
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
    fillers.alias_key,
    coalesce(ends.end_key, fillers.exam_key) as exam_key,
    'filler_seen_with_accession' as why,
    null as changed_at,
    false as is_in_circle
from fillers
left join ends on fillers.exam_key = ends.old_key
union all
select
    links.old_key as alias_key,
    ends.end_key as exam_key,
    case
        when links.is_of_another_patient then 'moved_patient'
        else 'accession_changed'
    end as why,
    links.changed_at,
    circles.old_key is not null as is_in_circle
from links
inner join ends on links.old_key = ends.old_key
left join circles on links.old_key = circles.old_key
-- one accession number of a circle stands for itself
where links.old_key <> ends.end_key
