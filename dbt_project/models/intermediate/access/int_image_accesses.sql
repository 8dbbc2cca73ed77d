{{ config(meta={'kept': {
    'by': 'event_id',
    'inputs': {
        'stg_access__image_accesses': 'event_id',
        'int_exams_folded': {
            'touches':
                'select event_id from {stg_access__image_accesses} '
                'where exam_key in (select exam_key from {changes}) '
                'or study_uid in (select study_uid from {changes})',
            'only':
                '(exam_key in '
                '(select exam_key from {stg_access__image_accesses} where event_id in {keys}) '
                'or study_uid in '
                '(select study_uid from {stg_access__image_accesses} where event_id in {keys}))',
        },
        'int_exams_classified': {
            'touches':
                'select event_id from {stg_access__image_accesses} '
                'where exam_key in (select exam_key from {changes}) '
                'or study_uid in (select study_uid from {int_exams_folded} '
                'where exam_key in (select exam_key from {changes}))',
        },
    },
}}) }}

-- The same message sent again is one access.
with accesses as (
    select
        event_id,
        event_type,
        issuer_ods,
        exam_key,
        study_uid,
        event_at,
        event_at_local,
        person_key,
        person_org_code,
        source_ae_title,
        destination_ae_title,
        audit_source_id,
        audit_site_code,
        event_code,
        action_code,
        instance_count,
        first_image_seconds
    from {{ ref('stg_access__image_accesses') }}
    where event_at is not null
    qualify row_number() over (
        partition by event_id
        order by asserted_at desc nulls last, content_sha
    ) = 1
),

audit_sources as (
    select
        audit_source_id,
        party_code,
        access_context
    from {{ ref('audit_sources') }}
),

parties as (
    select party_code
    from {{ ref('programme_parties') }}
),

application_entities as (
    select
        ae_title,
        party_code,
        system_kind
    from {{ ref('application_entities') }}
),

exams as (
    select
        folded.exam_key,
        folded.study_uid,
        classified.party_code,
        classified.trust_code,
        classified.modality_group
    from {{ ref('int_exams_folded') }} as folded
    inner join {{ ref('int_exams_classified') }} as classified
        on folded.exam_key = classified.exam_key
),

-- two exams of one scan share a study; the access is of both, and counts once
studies as (
    select
        study_uid,
        min(exam_key) as exam_key
    from exams
    where study_uid is not null
    group by study_uid
),

issuers as (
    select
        issuer_ods,
        min(party_code) as party_code
    from {{ ref('feeds') }}
    where issuer_ods is not null and party_code is not null
    group by issuer_ods
),

-- the organisation of the person is a party, or a practice that uses a party's viewer
placed as (
    select
        accesses.event_id,
        accesses.event_type,
        accesses.issuer_ods,
        coalesce(studies.exam_key, accesses.exam_key) as exam_key,
        accesses.study_uid,
        accesses.event_at,
        accesses.event_at_local,
        accesses.person_key,
        accesses.person_org_code,
        accesses.source_ae_title,
        accesses.destination_ae_title,
        accesses.audit_source_id,
        accesses.event_code,
        accesses.action_code,
        accesses.instance_count,
        accesses.first_image_seconds,
        coalesce(audit_sources.access_context, 'Unknown') as access_context,
        coalesce(audit_sources.party_code, hosts.party_code, 'Unknown') as audited_party_code,
        coalesce(
            employers.party_code, audit_sources.party_code, hosts.party_code, 'Unknown'
        ) as viewing_party_code
    from accesses
    left join audit_sources on accesses.audit_source_id = audit_sources.audit_source_id
    left join parties as hosts on accesses.audit_site_code = hosts.party_code
    left join parties as employers on accesses.person_org_code = employers.party_code
    left join studies on accesses.study_uid = studies.study_uid
)

select
    placed.event_id,
    placed.event_type,
    exams.exam_key,
    placed.study_uid,
    coalesce(placed.study_uid, placed.exam_key) as subject_key,
    placed.event_at,
    placed.event_at_local,
    placed.person_key,
    placed.person_org_code,
    placed.audit_source_id,
    placed.access_context,
    placed.audited_party_code,
    placed.viewing_party_code,
    coalesce(exams.party_code, issuers.party_code, 'Unknown') as acquired_party_code,
    coalesce(exams.trust_code, 'Unknown') as acquired_trust_code,
    coalesce(exams.modality_group, 'Unknown') as modality_group,
    case
        when exams.exam_key is not null then 'exam'
        when issuers.party_code is not null then 'patient_number'
        else 'none'
    end as acquirer_source,
    placed.instance_count,
    placed.first_image_seconds,
    coalesce(senders.party_code, 'Unknown') as source_party_code,
    coalesce(receivers.party_code, 'Unknown') as destination_party_code,
    placed.source_ae_title,
    placed.destination_ae_title,
    case
        when placed.event_type = 'images_viewed' then 'view'
        when placed.event_type = 'image_view_failed' then 'failed_launch'
        when placed.event_type = 'images_exported' then 'export'
        when placed.event_code = '110112' then 'query'
        -- whether begun or never ended, only what arrived is a transfer
        when placed.event_code <> '110104' then 'housekeeping'
        when receivers.system_kind in ('prefetch', 'backup', 'migration') then receivers.system_kind
        when senders.system_kind in ('backup', 'migration') then senders.system_kind
        when senders.party_code <> receivers.party_code then 'transfer'
        when placed.source_ae_title = placed.destination_ae_title then 'housekeeping'
        when receivers.system_kind = 'viewer' then 'sent_to_viewer'
        when placed.action_code in ('C', 'U') then 'storing'
        else 'routing'
    end as access_class
from placed
left join exams on placed.exam_key = exams.exam_key
left join issuers on placed.issuer_ods = issuers.issuer_ods
left join application_entities as senders on placed.source_ae_title = senders.ae_title
left join application_entities as receivers on placed.destination_ae_title = receivers.ae_title
