with series as (
    select
        party_code,
        modality_group,
        {{ local_date('started_at') }} as started_on
    from {{ ref('int_dicom_series') }}
    where
        is_timed
        and party_code is not null
        and modality_group is not null
        -- an old study that was moved into the archive says nothing of the days it was made on
        and not is_migrated
)

select
    party_code,
    modality_group,
    min(started_on) as first_day_on,
    max(started_on) as last_day_on
from series
group by party_code, modality_group
