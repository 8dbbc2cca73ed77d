-- Failure: an irradiation event is lost, or counts in more than one study: doses are wrong.
with told as (
    select count(distinct irradiation_event_uid) as event_count
    from {{ ref('stg_dicom__dose_events') }}
),

counted as (
    select coalesce(sum(event_count), 0) as event_count
    from {{ ref('int_study_doses') }}
)

select
    told.event_count as told_count,
    counted.event_count as counted_count
from told
cross join counted
where told.event_count <> counted.event_count
