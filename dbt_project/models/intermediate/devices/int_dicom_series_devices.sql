{{ config(materialized='view') }}

with series as (
    select
        series_instance_uid,
        station_name,
        device_serial_number,
        ae_title,
        manufacturer,
        manufacturer_model_name,
        institution_name,
        started_at,
        first_arrived_at
    from {{ ref('int_dicom_series_merged') }}
),

scanner_register as (
    select
        station_name,
        device_serial_number,
        ae_title
    from {{ ref('scanner_register') }}
),

device_overrides as (
    select
        override_no,
        seen_serial_number,
        seen_station_name,
        seen_ae_title,
        seen_institution_name,
        valid_from,
        valid_to,
        device_key,
        station_name
    from {{ ref('device_overrides') }}
),

-- a serial number or AE title shared by two stations identifies neither
serial_numbers as (
    select
        device_serial_number,
        min(station_name) as station_name,
        count(*) as station_count
    from scanner_register
    where device_serial_number is not null
    group by device_serial_number
),

ae_titles as (
    select
        ae_title,
        min(station_name) as station_name
    from scanner_register
    group by ae_title
    having count(*) = 1
),

-- what somebody wrote down of a device wins over what the ladder would say
overridden as (
    select
        series.series_instance_uid,
        device_overrides.device_key,
        device_overrides.station_name
    from series
    inner join device_overrides
        on
            coalesce(
                device_overrides.seen_serial_number = series.device_serial_number,
                device_overrides.seen_serial_number is null
            )
            and coalesce(
                device_overrides.seen_station_name = series.station_name,
                device_overrides.seen_station_name is null
            )
            and coalesce(
                device_overrides.seen_ae_title = series.ae_title,
                device_overrides.seen_ae_title is null
            )
            and coalesce(
                device_overrides.seen_institution_name = series.institution_name,
                device_overrides.seen_institution_name is null
            )
            and {{ local_date('coalesce(series.started_at, series.first_arrived_at)') }}
            between coalesce(device_overrides.valid_from, date '1900-01-01')
            and coalesce(device_overrides.valid_to, date '9999-12-31')
    qualify row_number() over (
        partition by series.series_instance_uid
        order by device_overrides.override_no
    ) = 1
),

placed as (
    select
        series.series_instance_uid,
        series.station_name as seen_station_name,
        series.device_serial_number,
        series.ae_title,
        series.manufacturer,
        series.manufacturer_model_name,
        series.institution_name,
        coalesce(
            overridden.station_name,
            scanner_register.station_name,
            case when serial_numbers.station_count = 1 then serial_numbers.station_name end,
            ae_titles.station_name
        ) as station_name,
        overridden.device_key as override_device_key,
        case
            when overridden.device_key is not null then 'override'
            when
                series.device_serial_number is not null
                and coalesce(serial_numbers.station_count, 1) = 1
                then 'serial'
            when series.station_name is not null then 'station'
            when series.ae_title is not null then 'ae'
            when series.manufacturer is not null then 'model'
        end as device_rung
    from series
    left join overridden on series.series_instance_uid = overridden.series_instance_uid
    left join scanner_register on series.station_name = scanner_register.station_name
    left join serial_numbers
        on series.device_serial_number = serial_numbers.device_serial_number
    left join ae_titles on series.ae_title = ae_titles.ae_title
)

select
    series_instance_uid,
    station_name,
    case device_rung
        when 'override' then override_device_key
        when 'serial' then 'serial:' || device_serial_number
        when 'station' then 'station:' || seen_station_name
        when 'ae' then 'ae:' || ae_title
        when 'model'
            then
                'model:'
                || manufacturer
                || '|'
                || coalesce(manufacturer_model_name, '')
                || '|'
                || coalesce(institution_name, '')
    end as device_key,
    device_rung
from placed
