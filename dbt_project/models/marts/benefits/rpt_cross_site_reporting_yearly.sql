with months as (
    select
        acquired_org_level,
        acquired_org_code,
        reported_org_code,
        month_on,
        report_count,
        network_report_count,
        cross_site_count,
        outsourced_count,
        outsourced_rate,
        make_date(
            cast(
                extract(year from month_on)
                - case when extract(month from month_on) < 4 then 1 else 0 end
                as int
            ),
            4,
            1
        ) as year_on
    from {{ ref('rpt_cross_site_reporting_monthly') }}
    where modality_group = 'All'
),

covered as (
    select
        year_on,
        max(month_on) as last_month_on,
        count(distinct month_on) as month_count
    from months
    group by year_on
),

years as (
    select
        acquired_org_level,
        acquired_org_code,
        reported_org_code,
        year_on,
        cast(sum(report_count) as bigint) as report_count,
        cast(sum(network_report_count) as bigint) as network_report_count,
        cast(sum(cross_site_count) as bigint) as cross_site_count,
        cast(sum(outsourced_count) as bigint) as outsourced_count,
        count(outsourced_rate) as known_month_count,
        count(*) as told_month_count
    from months
    group by acquired_org_level, acquired_org_code, reported_org_code, year_on
)

select
    years.acquired_org_level,
    years.acquired_org_code,
    years.reported_org_code,
    years.year_on,
    covered.last_month_on,
    covered.month_count,
    years.report_count,
    years.network_report_count,
    years.cross_site_count,
    {{ ratio('years.cross_site_count', 'years.network_report_count') }} as cross_site_rate,
    years.outsourced_count,
    -- a month in which no report names who wrote it would count as one without a supplier
    case
        when years.known_month_count = years.told_month_count
            then {{ ratio('years.outsourced_count', 'years.report_count') }}
    end as outsourced_rate
from years
inner join covered on years.year_on = covered.year_on
