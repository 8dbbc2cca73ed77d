with periods as (
    select
        device_key,
        device_rung,
        valid_from,
        valid_to,
        last_seen_on,
        series_count,
        station_name,
        seen_station_name,
        ae_title,
        manufacturer,
        manufacturer_model_name,
        software_versions,
        institution_name,
        dicom_modality
    from {{ ref('int_device_periods') }}
),

scanner_register as (
    select
        station_name,
        site_code,
        dicom_modality,
        room
    from {{ ref('scanner_register') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
)

select
    periods.device_key,
    periods.valid_from,
    periods.valid_to,
    periods.valid_to is null as is_current,
    periods.device_rung,
    coalesce(periods.station_name, 'Unknown') as station_name,
    coalesce(scanner_register.site_code, 'Unknown') as site_code,
    coalesce(sites.party_code, 'Unknown') as party_code,
    scanner_register.room,
    coalesce(scanner_register.dicom_modality, periods.dicom_modality) as dicom_modality,
    periods.seen_station_name,
    periods.ae_title,
    periods.manufacturer,
    periods.manufacturer_model_name,
    periods.software_versions,
    periods.institution_name,
    periods.last_seen_on,
    periods.series_count
from periods
left join scanner_register on periods.station_name = scanner_register.station_name
left join sites on scanner_register.site_code = sites.site_code
