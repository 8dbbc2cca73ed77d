{%- set attributes = [
    'station_name', 'seen_station_name', 'ae_title', 'manufacturer', 'manufacturer_model_name',
    'software_versions', 'institution_name', 'dicom_modality'
] -%}
{%- set fingerprint = "concat_ws('|', coalesce("
    ~ (attributes | reject('equalto', 'dicom_modality') | join(", ''), coalesce(")) ~ ", ''))" -%}
with series as (
    select
        device_key,
        device_rung,
        {{ attributes | join(',\n        ') }},
        {{ local_date('started_at') }} as day_on,
        -- series that begin together have an order of their own, so that none is picked by chance
        row_number() over (
            partition by device_key
            order by started_at, series_instance_uid
        ) as series_no
    from {{ ref('int_dicom_series_raw') }}
    where is_timed and device_key is not null and not is_migrated
),

-- what the last series of a day told; a day that does not tell something changes nothing
days as (
    select
        device_key,
        min(device_rung) as device_rung,
        day_on,
        count(*) as series_count,
        {%- for attribute in attributes %}
            max_by(
                {{ attribute }}, case when {{ attribute }} is not null then series_no end
            ) as {{ attribute }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from series
    group by device_key, day_on
),

carried as (
    select
        device_key,
        device_rung,
        day_on,
        series_count,
        {%- for attribute in attributes %}
            max_by({{ attribute }}, case when {{ attribute }} is not null then day_on end) over (
                partition by device_key
                order by day_on
                rows between unbounded preceding and current row
            ) as {{ attribute }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from days
),

-- a PET-CT tells two modalities, and that is no change
compared as (
    select
        device_key,
        device_rung,
        day_on,
        series_count,
        {{ attributes | join(',\n        ') }},
        {{ fingerprint }} = lag({{ fingerprint }}) over (partition by device_key order by day_on)
            as is_as_before
    from carried
),

numbered as (
    select
        device_key,
        device_rung,
        day_on,
        series_count,
        {{ attributes | join(',\n        ') }},
        sum(case when is_as_before then 0 else 1 end) over (
            partition by device_key
            order by day_on
            rows between unbounded preceding and current row
        ) as period_no
    from compared
),

periods as (
    select
        device_key,
        min(device_rung) as device_rung,
        period_no,
        min(day_on) as valid_from,
        max(day_on) as last_seen_on,
        sum(series_count) as series_count,
        {%- for attribute in attributes %}
            max_by({{ attribute }}, day_on) as {{ attribute }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from numbered
    group by device_key, period_no
)

select
    device_key,
    device_rung,
    cast(period_no as bigint) as period_no,
    valid_from,
    cast(
        lead(valid_from) over (partition by device_key order by period_no)
        - interval '1 day' as date
    ) as valid_to,
    last_seen_on,
    cast(series_count as bigint) as series_count,
    {{ attributes | join(',\n    ') }}
from periods
