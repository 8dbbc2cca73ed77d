with recursive identity_events as (
    select
        event_type,
        patient_key,
        prior_patient_key,
        event_at
    from {{ ref('stg_identity__events') }}
),

-- A number is given up once: of several merges the latest stands. Both numbers are hashed with
-- their issuer, and messages that name two authorities do not land.
links as (
    select
        prior_patient_key as old_key,
        patient_key as new_key,
        event_at as changed_at
    from identity_events
    where event_type = 'patient_merged' and prior_patient_key <> patient_key
    qualify row_number() over (
        partition by prior_patient_key
        order by event_at desc nulls last, patient_key
    ) = 1
),

{{ followed('links') }}

select
    links.old_key as loser_key,
    links.new_key as survivor_key,
    links.changed_at as merged_at,
    ends.end_key as standing_key,
    circles.old_key is not null as is_in_circle
from links
inner join ends on links.old_key = ends.old_key
left join circles on links.old_key = circles.old_key
