with exams as (
    select
        exam_key,
        station_name
    from {{ ref('int_exams_folded') }}
),

performed as (
    select
        exam_key,
        {{ month_of('performed_on') }} as month_on
    from {{ ref('int_exams_classified') }}
    where is_completed
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

scanner_register as (
    select
        station_name,
        site_code,
        dicom_modality
    from {{ ref('scanner_register') }}
),

modalities as (
    select
        dicom_modality,
        modality_group
    from {{ ref('modalities') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

mobile_units as (
    select distinct station_name
    from {{ ref('device_overrides') }}
    where reason = 'mobile' and station_name is not null
)

select
    scanner_register.station_name,
    min(sites.party_code) as party_code,
    coalesce(min(site_owners.trust_code), 'Unknown') as trust_code,
    coalesce(min(modalities.modality_group), 'Unknown') as modality_group,
    performed.month_on,
    bool_or(mobile_units.station_name is not null) as is_mobile,
    count(*) as exam_count
from performed
inner join months on performed.month_on = months.month_on
inner join exams on performed.exam_key = exams.exam_key
inner join scanner_register on exams.station_name = scanner_register.station_name
inner join sites on scanner_register.site_code = sites.site_code
left join modalities on scanner_register.dicom_modality = modalities.dicom_modality
left join mobile_units on scanner_register.station_name = mobile_units.station_name
-- whoever owns the site at the beginning of the month has its scanners for the month
{{ left_join_owners('sites', 'performed.month_on') }}
group by scanner_register.station_name, performed.month_on
