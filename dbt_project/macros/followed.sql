{% macro followed(links) -%}
    walked as (
        select
            old_key,
            new_key as at_key,
            1 as step
        from {{ links }}
        union all
        select
            walked.old_key,
            {{ links }}.new_key as at_key,
            walked.step + 1 as step
        from walked
        inner join {{ links }} on walked.at_key = {{ links }}.old_key
        -- a number that comes back to itself goes in a circle; one beside a circle would never end
        where walked.at_key <> walked.old_key and walked.step < 50
    ),

    circles as (
        select
            walked.old_key,
            {{ links }}.new_key as end_key
        from walked
        inner join {{ links }} on walked.at_key = {{ links }}.old_key
        inner join walked as returned
            on
                walked.old_key = returned.old_key
                and returned.old_key = returned.at_key
        -- of a circle the latest change says what stands
        qualify row_number() over (
            partition by walked.old_key
            order by {{ links }}.changed_at desc nulls last, {{ links }}.old_key
        ) = 1
    ),

    ends as (
        select
            walked.old_key,
            coalesce(circles.end_key, walked.at_key) as end_key
        from walked
        left join circles on walked.at_key = circles.old_key
        qualify row_number() over (partition by walked.old_key order by walked.step desc) = 1
    )
{%- endmacro %}
