{%- set edges = var('difference_band_edges') -%}
{%- set band_labels = ['All', 'under ' ~ edges[0] ~ ' min'] -%}
{%- for upper in edges[1:] -%}
    {%- do band_labels.append(edges[loop.index0] ~ ' to ' ~ upper ~ ' min') -%}
{%- endfor -%}
{%- do band_labels.append(edges[-1] ~ ' min and more') -%}
{%- set seen = 'is_covered and has_images' -%}
{%- set cases = [
    ('exam_without_images', 0, 'is_covered and is_in_ris', 'not has_images'),
    ('booking_without_outcome', 0, 'is_covered and is_booked', 'is_booking_without_outcome'),
    ('exam_known_from_images_only', 0, seen, 'not is_in_ris'),
    ('linked_by_accession', 0, seen, "link_method = 'accession'"),
    ('linked_by_patient_device_time', 0, seen, "link_method = 'patient_device_time'"),
    ('linked_against_number', 0, seen, 'is_link_against_number'),
    (
        'modality_disagreement',
        0,
        'is_covered and is_modality_compared',
        'not is_modality_equal'
    )
] -%}
{%- for side in ['start', 'end'] -%}
    {%- set minutes = side ~ '_difference_minutes' -%}
    {%- for no in range(1, edges | length + 2) -%}
        {%- do cases.append((
            side ~ '_difference',
            no,
            'is_covered and ' ~ minutes ~ ' is not null',
            (minutes ~ ' >= ' ~ edges[no - 2] if no > 1 else 'true')
            ~ ' and '
            ~ (minutes ~ ' < ' ~ edges[no - 1] if no <= edges | length else 'true')
        )) -%}
    {%- endfor -%}
{%- endfor -%}
with findings as (
    select
        finding,
        sort_order,
        finding_name,
        judged_name,
        metric_id,
        why,
        has_bands
    from {{ ref('reconciliation_findings') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

exams as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_covered,
        is_in_ris,
        is_booked,
        is_booking_without_outcome,
        has_images,
        link_method,
        is_link_against_number,
        is_modality_compared,
        is_modality_equal,
        start_difference_minutes,
        end_difference_minutes
    from {{ ref('int_exams_against_images') }}
),

scans as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        exam_count
    from {{ ref('int_scans_against_exams') }}
),

-- what is judged, and what of it is a finding; only where images are known at all
judged as (
    {{ reconciled(cases, 'exams') }}
    union all
    {{ reconciled([('scan_without_exam', 0, 'true', 'exam_count = 0')], 'scans') }}
    union all
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        'several_exams_in_one_scan' as finding,
        0 as band_no,
        sum(exam_count) - count(*) as finding_count,
        sum(exam_count) as judged_count
    from scans
    where exam_count > 0
    group by party_code, trust_code, modality_group, month_on
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        finding,
        band_no,
        sum(finding_count) as finding_count,
        sum(judged_count) as judged_count
    from judged
    {{ roll_up(['month_on', 'finding', 'band_no'], or_all=['modality_group']) }}
),

exams_in_ris as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        count(*) as ris_exam_count,
        count(*) filter (where is_covered) as covered_exam_count
    from exams
    where is_in_ris
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

bands as (
    {%- for no in range(0, edges | length + 2) %}
        select
            {{ no }} as band_no,
            '{{ band_labels[no] }}' as band,
            {{ 'false' if no == 0 else 'true' }} as is_band
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

expected as (
    select
        exams_in_ris.org_level,
        exams_in_ris.org_code,
        exams_in_ris.modality_group,
        exams_in_ris.month_on,
        exams_in_ris.ris_exam_count,
        exams_in_ris.covered_exam_count,
        findings.finding,
        findings.sort_order,
        findings.finding_name,
        findings.judged_name,
        findings.metric_id,
        findings.why,
        bands.band_no,
        bands.band
    from exams_in_ris
    cross join findings
    inner join bands on findings.has_bands = bands.is_band
)

select
    expected.org_level,
    expected.org_code,
    expected.modality_group,
    expected.month_on,
    expected.finding,
    expected.sort_order,
    expected.finding_name,
    expected.judged_name,
    expected.metric_id,
    expected.why,
    expected.band_no,
    expected.band,
    cast(expected.ris_exam_count as bigint) as ris_exam_count,
    cast(expected.covered_exam_count as bigint) as covered_exam_count,
    case
        when expected.covered_exam_count = 0 then 'no images known'
        when expected.covered_exam_count < expected.ris_exam_count then 'part of the month or units'
        else 'all exams'
    end as image_coverage,
    -- never 0 where no image is known
    case
        when expected.covered_exam_count > 0
            then cast(coalesce(rolled_up.finding_count, 0) as bigint)
    end as finding_count,
    case
        when expected.covered_exam_count > 0
            then cast(coalesce(rolled_up.judged_count, 0) as bigint)
    end as judged_count,
    case
        when expected.covered_exam_count > 0
            then {{ ratio('rolled_up.finding_count', 'rolled_up.judged_count') }}
    end as finding_rate
from expected
inner join months on expected.month_on = months.month_on
left join rolled_up
    on
        expected.org_level = rolled_up.org_level
        and expected.org_code = rolled_up.org_code
        and expected.modality_group = rolled_up.modality_group
        and expected.month_on = rolled_up.month_on
        and expected.finding = rolled_up.finding
        and expected.band_no = rolled_up.band_no
