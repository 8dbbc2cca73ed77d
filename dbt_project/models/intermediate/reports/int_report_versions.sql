{{ config(meta={'kept': {
    'by': 'exam_key',
    'in_parts': True,
    'inputs': {
        'int_exam_events': 'exam_key',
        'stg_reporting__reports': {
            'touches':
                'select exam_key from {int_exam_events} '
                'where event_id in (select event_id from {changes})',
            'only': 'event_id in (select event_id from {int_exam_events} where exam_key in {keys})',
        },
    },
}}) }}

with exam_events as (
    select
        event_id,
        exam_key,
        event_type,
        event_rank,
        feed_id,
        event_at,
        event_at_local,
        actor_org_code,
        is_date_only
    from {{ ref('int_exam_events') }}
    where event_type in (
        'report_preliminary',
        'report_verified',
        'report_corrected',
        'report_addendum',
        'report_withdrawn'
    )
),

assertions as (
    select
        event_id,
        asserted_at,
        actor_role,
        -- readers before version 2 hashed a text as it was laid out, and not its lines
        case when report_lines is not null then result_hash end as result_hash,
        report_lines,
        word_count
    from {{ ref('stg_reporting__reports') }}
),

-- The earliest assertion: a report sent again must not come after those that followed it.
texts as (
    select
        event_id,
        min(asserted_at) as first_asserted_at,
        max(actor_role) as actor_role,
        max(result_hash) as result_hash,
        max(report_lines) as report_lines,
        max(word_count) as word_count
    from assertions
    group by event_id
),

told as (
    select
        exam_events.event_id,
        exam_events.exam_key,
        exam_events.event_type,
        exam_events.event_rank,
        exam_events.feed_id,
        exam_events.event_at,
        exam_events.event_at_local,
        exam_events.actor_org_code,
        exam_events.is_date_only,
        texts.first_asserted_at,
        texts.actor_role,
        texts.result_hash,
        texts.report_lines,
        texts.word_count,
        -- a day without a time counts as its end, as in the fold of exams
        case
            when exam_events.is_date_only then {{ add_seconds('exam_events.event_at', 86399) }}
            else exam_events.event_at
        end as ordered_at,
        row_number() over (
            partition by
                exam_events.exam_key,
                exam_events.event_type,
                date_trunc('minute', exam_events.event_at)
            order by
                texts.result_hash is null, exam_events.is_date_only,
                texts.first_asserted_at asc nulls last, exam_events.event_id
        ) as minute_no,
        sum(case when exam_events.is_date_only then 0 else 1 end) over (
            partition by
                exam_events.exam_key,
                exam_events.event_type,
                cast(exam_events.event_at_local as date)
        ) as timed_count
    from exam_events
    left join texts on exam_events.event_id = texts.event_id
),

-- An extract tells to the minute, or the day, what a message told with its text: one version.
versions as (
    select
        event_id,
        exam_key,
        event_type,
        feed_id,
        event_at,
        event_at_local,
        actor_org_code,
        actor_role,
        is_date_only,
        result_hash,
        report_lines,
        word_count,
        row_number() over (
            partition by exam_key
            order by
                ordered_at asc nulls last, event_rank asc,
                first_asserted_at asc nulls last, event_id asc
        ) as version_no,
        row_number() over (
            partition by exam_key, event_type
            order by ordered_at asc nulls last, first_asserted_at asc nulls last, event_id asc
        ) as same_type_no
    from told
    where
        result_hash is not null
        or (minute_no = 1 and (timed_count = 0 or not is_date_only))
),

-- Only what has a text can be compared, and only with the text before it.
compared as (
    select
        event_id,
        lag(result_hash) over (partition by exam_key order by version_no) as previous_hash,
        lag(report_lines) over (partition by exam_key order by version_no) as previous_lines
    from versions
    where
        result_hash is not null
        and event_type in ('report_verified', 'report_corrected', 'report_addendum')
)

select
    versions.event_id,
    versions.exam_key,
    versions.version_no,
    versions.event_type,
    case
        when versions.event_type = 'report_preliminary' then 'preliminary'
        when versions.event_type = 'report_addendum' then 'addendum'
        when versions.event_type = 'report_corrected' then 'corrected'
        when versions.event_type = 'report_withdrawn' then 'withdrawn'
        when versions.same_type_no = 1 then 'first_final'
        -- without two texts nothing says that the report changed
        when versions.result_hash is null or compared.previous_hash is null then 'reissue'
        when versions.result_hash = compared.previous_hash then 'reissue'
        when
            {{ holds_all_of('versions.report_lines', 'compared.previous_lines') }}
            then 'addendum'
        else 'corrected'
    end as version_kind,
    versions.event_type = 'report_verified'
    and versions.same_type_no > 1
    and versions.result_hash is not null
    and compared.previous_hash is not null as is_decided_by_text,
    versions.event_at as issued_at,
    versions.event_at_local as issued_at_local,
    versions.is_date_only,
    versions.feed_id,
    versions.actor_org_code as reporting_org_code,
    versions.actor_role as reporter_role,
    versions.word_count
from versions
left join compared on versions.event_id = compared.event_id
