with dm01_extract as (
    select * from {{ source('landing', 'dm01_extract') }}
),

deliveries as (
    select
        month_on,
        source_sha,
        max(received_at) as received_at,
        max(landed_at) as landed_at
    from dm01_extract
    group by month_on, source_sha
),

-- a month is published whole: its newest delivery stands for it
newest as (
    select
        month_on,
        source_sha
    from deliveries
    qualify row_number() over (
        partition by month_on
        order by received_at desc nulls last, landed_at desc nulls last, source_sha asc
    ) = 1
)

select
    dm01_extract.month_on,
    dm01_extract.provider_code,
    dm01_extract.commissioner_code,
    dm01_extract.dm01_test,
    {%- for band in range(14) %}
        dm01_extract.band_{{ '%02d' % band }},
    {%- endfor %}
    dm01_extract.activity_waiting_list_count,
    dm01_extract.activity_planned_count,
    dm01_extract.activity_unscheduled_count,
    dm01_extract.feed_id,
    dm01_extract.received_at as arrived_at
from dm01_extract
inner join newest
    on
        dm01_extract.month_on = newest.month_on
        and dm01_extract.source_sha = newest.source_sha
