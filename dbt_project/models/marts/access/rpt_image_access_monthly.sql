with measures as (
    select
        measure,
        sort_order,
        measure_name,
        unit,
        improvement,
        numerator_name,
        denominator_name,
        definition,
        source,
        source_status
    from {{ ref('image_access_measures') }}
),

audited_months as (
    select
        party_code,
        month_on
    from {{ ref('int_audited_months') }}
),

views as (
    select
        views.person_key,
        views.viewing_party_code as party_code,
        views.access_context,
        views.month_on,
        views.is_failed,
        views.is_cross_party,
        views.first_image_seconds
    from {{ ref('int_image_views') }} as views
    inner join audited_months
        on
            views.viewing_party_code = audited_months.party_code
            and views.month_on = audited_months.month_on
),

transfers as (
    select
        transfers.destination_party_code as party_code,
        transfers.month_on
    from {{ ref('int_image_transfers') }} as transfers
    inner join audited_months
        on
            transfers.source_party_code = audited_months.party_code
            and transfers.month_on = audited_months.month_on
),

exams as (
    select
        party_code,
        month_on,
        sum(exam_count) as exam_count
    from {{ ref('int_record_views_monthly') }}
    group by party_code, month_on
),

-- every organisation and way in of an audited month has a row: a way nobody used is one of 0
organisations as (
    select
        party_code,
        month_on,
        'party' as org_level,
        party_code as org_code
    from audited_months
    union all
    select
        party_code,
        month_on,
        'network' as org_level,
        'NETWORK' as org_code
    from audited_months
),

contexts as (
    select distinct access_context
    from {{ ref('audit_sources') }}
    where access_context is not null
    union
    select access_context from views
    union
    select 'All' as access_context
),

frames as (
    select
        organisations.org_level,
        organisations.org_code,
        organisations.month_on,
        contexts.access_context,
        count(distinct organisations.party_code) as audited_party_count
    from organisations
    cross join contexts
    group by
        organisations.org_level,
        organisations.org_code,
        organisations.month_on,
        contexts.access_context
),

views_counted as (
    select
        case when grouping(party_code) = 0 then 'party' else 'network' end as org_level,
        case when grouping(party_code) = 0 then party_code else 'NETWORK' end as org_code,
        month_on,
        {{ or_all('access_context') }} as access_context,
        count(*) filter (where not is_failed) as view_count,
        count(*) filter (where is_failed) as failed_count,
        count(*) filter (where not is_failed and is_cross_party) as cross_party_count,
        count(*) filter (
            where not is_failed and is_cross_party is not null
        ) as acquirer_known_count,
        count(first_image_seconds) as timed_count,
        -- sums of fractions drift with their order: thousandths of a second do not
        sum(cast(first_image_seconds as decimal(18, 3))) as first_image_seconds,
        count(*) filter (
            where first_image_seconds > {{ var('slow_first_image_seconds') }}
        ) as slow_count,
        count(distinct case when not is_failed then person_key end) as people_count
    from views
    {{ roll_up(['month_on'], or_all=['access_context'], organisations=['party_code']) }}
),

exams_counted as (
    select
        organisations.org_level,
        organisations.org_code,
        organisations.month_on,
        coalesce(sum(exams.exam_count), 0) as exam_count
    from organisations
    left join exams
        on
            organisations.party_code = exams.party_code
            and organisations.month_on = exams.month_on
    group by organisations.org_level, organisations.org_code, organisations.month_on
),

transfers_counted as (
    select
        organisations.org_level,
        organisations.org_code,
        organisations.month_on,
        count(transfers.party_code) as transfer_count
    from organisations
    left join transfers
        on
            organisations.party_code = transfers.party_code
            and organisations.month_on = transfers.month_on
    group by organisations.org_level, organisations.org_code, organisations.month_on
),

counted as (
    select
        frames.org_level,
        frames.org_code,
        frames.access_context,
        frames.month_on,
        frames.audited_party_count,
        coalesce(views_counted.view_count, 0) as view_count,
        coalesce(views_counted.failed_count, 0) as failed_count,
        coalesce(views_counted.cross_party_count, 0) as cross_party_count,
        coalesce(views_counted.acquirer_known_count, 0) as acquirer_known_count,
        coalesce(views_counted.timed_count, 0) as timed_count,
        coalesce(views_counted.first_image_seconds, 0) as first_image_seconds,
        coalesce(views_counted.slow_count, 0) as slow_count,
        case
            when views_counted.people_count >= {{ var('min_people_count') }}
                then views_counted.people_count
        end as people_count,
        coalesce(exams_counted.exam_count, 0) as exam_count,
        coalesce(transfers_counted.transfer_count, 0) as transfer_count
    from frames
    left join views_counted
        on
            frames.org_level = views_counted.org_level
            and frames.org_code = views_counted.org_code
            and frames.month_on = views_counted.month_on
            and frames.access_context = views_counted.access_context
    left join exams_counted
        on
            frames.org_level = exams_counted.org_level
            and frames.org_code = exams_counted.org_code
            and frames.month_on = exams_counted.month_on
    left join transfers_counted
        on
            frames.org_level = transfers_counted.org_level
            and frames.org_code = transfers_counted.org_code
            and frames.month_on = transfers_counted.month_on
            and frames.access_context = 'All'
),

measured as (
    {%- set parts = {
        'views': ['view_count', 'null'],
        'views_per_thousand_exams': ['view_count', 'exam_count / 1000'],
        'other_party_views': ['cross_party_count', 'acquirer_known_count'],
        'acquirer_known': ['acquirer_known_count', 'view_count'],
        'failed_launches': ['failed_count', 'view_count + failed_count'],
        'first_image_seconds': ['first_image_seconds', 'timed_count'],
        'slow_first_images': ['slow_count', 'timed_count'],
        'first_image_timed': ['timed_count', 'view_count'],
        'viewing_people': ['people_count', 'null'],
        'transfers': ['transfer_count', 'null'],
    } %}
    {%- for measure, (numerator, denominator) in parts.items() %}
        select
            '{{ measure }}' as measure,
            org_level,
            org_code,
            access_context,
            month_on,
            audited_party_count,
            cast({{ numerator }} as double) as numerator,
            cast({{ denominator }} as double) as denominator
        from counted
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}
)

select
    measured.measure,
    measures.sort_order,
    measures.measure_name,
    measured.org_level,
    measured.org_code,
    measured.access_context,
    measured.month_on,
    measured.numerator,
    measured.denominator,
    case
        when measures.denominator_name = 'none' then measured.numerator
        else {{ ratio('measured.numerator', 'measured.denominator') }}
    end as value,
    measures.unit,
    measures.improvement,
    measures.numerator_name,
    measures.denominator_name,
    measures.definition,
    measures.source,
    measures.source_status,
    cast(measured.audited_party_count as bigint) as audited_party_count
from measured
inner join measures on measured.measure = measures.measure
-- systems send for nobody's record
where measured.measure <> 'transfers' or measured.access_context = 'All'
