-- Failure: the matrix of who reports for whom does not add up to its totals.
with reporting as (
    select
        modality_group,
        month_on,
        report_count,
        case
            when acquired_org_level = 'network' and reported_org_code = 'All' then 'network'
            when reported_org_code = 'All' then 'party'
            when acquired_org_level = 'network' then 'reporter'
            else 'cell'
        end as part
    from {{ ref('rpt_cross_site_reporting_monthly') }}
),

totals as (
    select
        modality_group,
        month_on,
        sum(case when part = 'network' then report_count else 0 end) as network_total,
        sum(case when part = 'party' then report_count else 0 end) as party_total,
        sum(case when part = 'reporter' then report_count else 0 end) as reporter_total,
        sum(case when part = 'cell' then report_count else 0 end) as cell_total
    from reporting
    group by modality_group, month_on
)

select
    modality_group,
    month_on,
    network_total,
    party_total,
    reporter_total,
    cell_total
from totals
where
    network_total <> party_total
    or network_total <> reporter_total
    or network_total <> cell_total
