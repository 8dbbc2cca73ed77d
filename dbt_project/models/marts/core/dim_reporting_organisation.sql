with reporting_organisations as (
    select
        reporting_org_code,
        reporting_org_name,
        organisation_type,
        party_code,
        source_status
    from {{ ref('reporting_organisations') }}
)

select
    reporting_org_code,
    reporting_org_name,
    organisation_type,
    party_code,
    source_status
from reporting_organisations
