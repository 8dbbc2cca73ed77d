with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        {{ month_of('coalesce(performed_on, clock_start_on)') }} as month_on,
        performed_on,
        modality_group,
        exam_code,
        requested_at,
        received_at,
        started_at,
        completed_at,
        first_verified_at,
        is_completed,
        is_reported,
        is_reported_before_end,
        has_images,
        nhs_number_valid
    from {{ ref('fct_exam') }}
    where coalesce(performed_on, clock_start_on) is not null
),

months as (
    select
        month_on,
        is_mature
    from {{ ref('int_months') }}
    where is_complete
),

extract_rows as (
    select
        exam_key,
        row_count
    from {{ ref('int_extract_rows') }}
),

images_compared as (
    select
        exam_key,
        is_modality_equal
    from {{ ref('int_exams_against_images') }}
    where is_covered and is_modality_compared
),

-- a party of which nobody tells reports does not lack them
reporting_parties as (
    select distinct party_code
    from exams
    where is_reported
),

exam_codes as (
    select exam_code
    from {{ ref('exam_codes') }}
),

series as (
    select
        party_code,
        modality_group,
        first_arrived_at
    from {{ ref('int_dicom_series') }}
),

-- images can be expected only from modalities and days whose headers are harvested
header_coverage as (
    select
        party_code,
        min({{ local_date('first_arrived_at') }}) as first_day_on,
        max({{ local_date('first_arrived_at') }}) as last_day_on
    from series
    group by party_code
),

exam_doses as (
    select exam_key
    from {{ ref('fct_exam_dose') }}
    where event_count > 0
),

-- a dose report can be expected only where image files are read one by one, and from the day
-- the first report of the network came
image_files as (
    select
        feed_id,
        delivered_on
    from {{ ref('stg_landing__receipts') }}
    where feed_kind = 'dicom' and rows_landed > 0
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
),

file_coverage as (
    select
        feeds.party_code,
        min(image_files.delivered_on) as first_day_on,
        max(image_files.delivered_on) as last_day_on
    from image_files
    inner join feeds on image_files.feed_id = feeds.feed_id
    group by feeds.party_code
),

dose_coverage as (
    select min({{ local_date('first_arrived_at') }}) as first_day_on
    from {{ ref('int_study_doses') }}
),

imaged_modalities as (
    select distinct modality_group
    from series
    where modality_group is not null
),

judged as (
    select
        exams.party_code,
        exams.trust_code,
        exams.month_on,
        exams.nhs_number_valid is not null as is_q01_checked,
        not exams.nhs_number_valid as is_q01_failing,
        exams.requested_at is not null and exams.received_at is not null as is_received_checked,
        exams.received_at < exams.requested_at as is_received_failing,
        exams.received_at is not null and exams.started_at is not null as is_started_checked,
        exams.started_at < exams.received_at as is_started_failing,
        exams.started_at is not null and exams.completed_at is not null as is_ended_checked,
        exams.completed_at < exams.started_at as is_ended_failing,
        exams.completed_at is not null and exams.first_verified_at is not null
            as is_reported_checked,
        exams.is_reported_before_end as is_reported_failing,
        true as is_q04_checked,
        exam_codes.exam_code is null as is_q04_failing,
        exams.is_completed
        and imaged_modalities.modality_group is not null
        and coalesce(
            exams.performed_on between header_coverage.first_day_on and header_coverage.last_day_on,
            false
        ) as is_q05_checked,
        not exams.has_images as is_q05_failing,
        exams.is_completed
        and exams.has_images
        and exams.modality_group = 'CT'
        and coalesce(
            exams.performed_on between file_coverage.first_day_on and file_coverage.last_day_on
            and exams.performed_on >= dose_coverage.first_day_on,
            false
        ) as is_q10_checked,
        exam_doses.exam_key is null as is_q10_failing
    from exams
    inner join months on exams.month_on = months.month_on
    left join exam_codes on exams.exam_code = exam_codes.exam_code
    left join header_coverage on exams.party_code = header_coverage.party_code
    left join exam_doses on exams.exam_key = exam_doses.exam_key
    left join file_coverage on exams.party_code = file_coverage.party_code
    cross join dose_coverage
    left join imaged_modalities on exams.modality_group = imaged_modalities.modality_group
),

compared as (
    select
        exams.party_code,
        exams.trust_code,
        exams.month_on,
        images_compared.exam_key is not null as is_q06_checked,
        not images_compared.is_modality_equal as is_q06_failing,
        exams.is_completed
        and months.is_mature
        and reporting_parties.party_code is not null as is_q07_checked,
        not exams.is_reported as is_q07_failing
    from exams
    inner join months on exams.month_on = months.month_on
    left join images_compared on exams.exam_key = images_compared.exam_key
    left join reporting_parties on exams.party_code = reporting_parties.party_code
),

repeated as (
    select
        exams.party_code,
        exams.trust_code,
        exams.month_on,
        'Q02' as metric_id,
        'accession_repeated_in_an_extract' as rule,
        sum(extract_rows.row_count) - count(*) as failing_count,
        sum(extract_rows.row_count) as checked_count
    from extract_rows
    inner join exams on extract_rows.exam_key = exams.exam_key
    inner join months on exams.month_on = months.month_on
    group by exams.party_code, exams.trust_code, exams.month_on
),

counted as (
    select
        party_code,
        trust_code,
        month_on,
        metric_id,
        rule,
        failing_count,
        checked_count
    from repeated
    union all
    {{ quality_rules(
        [
            ('Q01', 'nhs_number_not_valid', 'is_q01'),
            ('Q03', 'received_before_request', 'is_received'),
            ('Q03', 'exam_before_received', 'is_started'),
            ('Q03', 'end_before_start', 'is_ended'),
            ('Q03', 'report_before_exam_end', 'is_reported'),
            ('Q04', 'exam_code_not_mapped', 'is_q04'),
            ('Q05', 'no_matching_study', 'is_q05'),
            ('Q10', 'no_dose_report', 'is_q10')
        ],
        'judged'
    ) }}
    union all
    {{ quality_rules(
        [
            ('Q06', 'other_modality_in_images', 'is_q06'),
            ('Q07', 'no_report_date', 'is_q07')
        ],
        'compared'
    ) }}
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        metric_id,
        rule,
        month_on as period_start_on,
        cast(sum(failing_count) as bigint) as failing_count,
        cast(sum(checked_count) as bigint) as checked_count
    from counted
    {{ roll_up(['metric_id', 'rule', 'month_on']) }}
)

select
    org_level,
    org_code,
    metric_id,
    rule,
    period_start_on,
    failing_count,
    checked_count,
    {{ ratio('failing_count', 'checked_count') }} as failing_rate
from rolled_up
where checked_count > 0
