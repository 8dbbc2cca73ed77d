{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_exams_classified': month_of('performed_on'),
        'int_exams_folded': {
            'touches':
                'select ' ~ month_of('performed_on') ~ ' from {int_exams_classified} '
                'where exam_key in (select exam_key from {changes})',
        },
    },
}}) }}

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

scanners as (
    select
        station_name,
        party_code,
        trust_code,
        modality_group,
        valid_from,
        valid_to
    from {{ ref('int_scanners') }}
),

mobile_units as (
    select distinct station_name
    from {{ ref('device_overrides') }}
    where reason = 'mobile' and station_name is not null
),

-- Counted before the owner is looked up, which is found by month: else every exam may meet every
-- scanner there is in its month.
station_months as (
    select
        exams.station_name,
        performed.month_on,
        count(*) as exam_count
    from performed
    inner join exams on performed.exam_key = exams.exam_key
    group by exams.station_name, performed.month_on
)

select
    scanners.station_name,
    min(scanners.party_code) as party_code,
    min(scanners.trust_code) as trust_code,
    min(scanners.modality_group) as modality_group,
    station_months.month_on,
    bool_or(mobile_units.station_name is not null) as is_mobile,
    cast(sum(station_months.exam_count) as bigint) as exam_count
from station_months
inner join months on station_months.month_on = months.month_on
-- whoever owns the site at the beginning of the month has its scanners for the month
inner join scanners
    on
        station_months.station_name = scanners.station_name
        and station_months.month_on between scanners.valid_from and scanners.valid_to
left join mobile_units on scanners.station_name = mobile_units.station_name
group by scanners.station_name, station_months.month_on
