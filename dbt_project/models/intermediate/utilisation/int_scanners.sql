with scanner_register as (
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
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

-- a period begins with the first day of all, with an owner, and after the last day of one
starts as (
    select
        site_code,
        date '1900-01-01' as starts_on
    from sites
    union
    select
        site_code,
        valid_from as starts_on
    from site_owners
    union
    select
        site_code,
        {{ add_days('valid_to', 1) }} as starts_on
    from site_owners
    where valid_to < date '9999-12-31'
),

periods as (
    select
        site_code,
        starts_on as valid_from,
        lead(starts_on) over (partition by site_code order by starts_on) as next_starts_on
    from starts
),

owned as (
    select
        periods.site_code,
        coalesce(site_owners.trust_code, 'Unknown') as trust_code,
        periods.valid_from,
        coalesce({{ add_days('periods.next_starts_on', -1) }}, date '9999-12-31') as valid_to
    from periods
    left join site_owners
        on
            periods.site_code = site_owners.site_code
            and periods.valid_from between site_owners.valid_from and site_owners.valid_to
)

select
    scanner_register.station_name,
    scanner_register.site_code,
    sites.party_code,
    owned.trust_code,
    coalesce(modalities.modality_group, 'Unknown') as modality_group,
    owned.valid_from,
    owned.valid_to
from scanner_register
inner join sites on scanner_register.site_code = sites.site_code
inner join owned on scanner_register.site_code = owned.site_code
left join modalities on scanner_register.dicom_modality = modalities.dicom_modality
