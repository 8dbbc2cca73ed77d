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
),

ended as (
    select
        device_key,
        study_uid,
        dicom_modality,
        station_name,
        party_code,
        started_at,
        ended_at,
        archive_received_at,
        ended_at = max(ended_at) over (partition by device_key, study_uid) as is_last
    from series
),

-- of series that end together the one counts that the archive had first
studies as (
    select
        device_key,
        study_uid,
        min(dicom_modality) as dicom_modality,
        min(station_name) as station_name,
        min(party_code) as party_code,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        min(archive_received_at) filter (where is_last) as received_at
    from ended
    group by device_key, study_uid
)

select
    device_key,
    study_uid,
    dicom_modality,
    station_name,
    party_code,
    started_at,
    {{ local_date('started_at') }} as day_on,
    ended_at,
    received_at,
    {{ seconds_between('ended_at', 'received_at') }} as delay_seconds
from studies
