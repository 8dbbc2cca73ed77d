{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_folded': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        issuer_ods,
        site_code,
        station_name
    from {{ ref('int_exams_folded') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

scanner_register as (
    select
        station_name,
        site_code
    from {{ ref('scanner_register') }}
),

issuers as (
    select
        issuer_ods,
        min(party_code) as party_code
    from {{ ref('feeds') }}
    where issuer_ods is not null and party_code is not null
    group by issuer_ods
)

-- The site says the party. A request that has no site yet belongs to the party whose
-- system holds it.
select
    exams.exam_key,
    coalesce(named_site.site_code, station_site.site_code, 'Unknown') as site_code,
    coalesce(
        named_site.party_code, station_site.party_code, issuers.party_code, 'Unknown'
    ) as party_code,
    case
        when named_site.site_code is not null then 'site'
        when station_site.site_code is not null then 'station'
        when issuers.party_code is not null then 'issuer'
        else 'none'
    end as location_source
from exams
left join sites as named_site on exams.site_code = named_site.site_code
left join scanner_register on exams.station_name = scanner_register.station_name
left join sites as station_site on scanner_register.site_code = station_site.site_code
left join issuers on exams.issuer_ods = issuers.issuer_ods
