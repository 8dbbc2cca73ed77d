with series as (
    select
        device_key,
        study_uid,
        dicom_modality,
        station_name,
        party_code,
        started_at,
        coalesce(ended_at, started_at) as ended_at,
        archive_received_at
    from {{ ref('int_dicom_series_raw') }}
    where
        is_timed
        and not is_migrated
        and archive_received_at is not null
        -- a plate of CR is read later than it was exposed; a maker and model can be two machines
        and dicom_modality <> 'CR'
        and device_rung <> 'model'
)

select
    device_key,
    study_uid,
    min(dicom_modality) as dicom_modality,
    min(station_name) as station_name,
    min(party_code) as party_code,
    min(started_at) as started_at,
    {{ local_date('min(started_at)') }} as day_on,
    max(ended_at) as ended_at,
    max_by(archive_received_at, ended_at) as received_at,
    {{ seconds_between('max(ended_at)', 'max_by(archive_received_at, ended_at)') }}
        as delay_seconds
from series
group by device_key, study_uid
