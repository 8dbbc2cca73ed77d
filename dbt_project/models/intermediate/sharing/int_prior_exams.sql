{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_comparable_exams': exams_of_the_same_person(),
        'int_exam_aliases': {
            'touches':
                'select exam_key from {this} where prior_exam_key in ('
                'select alias_key from {changes} union all select exam_key from {changes})',
        },
    },
}}) }}

with exams as (
    select
        exam_key,
        person_key,
        party_code,
        trust_code,
        modality_group,
        body_region,
        completed_at,
        reported_at,
        reported_at_local
    from {{ ref('int_comparable_exams') }}
),

archive_go_lives as (
    select
        party_code,
        min(go_live_on) as live_on
    from {{ ref('stg_reference__go_lives') }}
    where go_live_type = 'archive'
    group by party_code
),

told as (
    select count(*) > 0 as has_go_lives
    from archive_go_lives
),

exam_aliases as (
    select
        alias_key,
        exam_key
    from {{ ref('int_exam_aliases') }}
),

-- images may be sent under an accession number that was given up since
transfers as (
    select
        coalesce(exam_aliases.exam_key, told_transfers.exam_key) as exam_key,
        told_transfers.to_party_code as party_code,
        min(told_transfers.images_arrived_at) as images_arrived_at
    from {{ ref('stg_operations__image_transfers') }} as told_transfers
    left join exam_aliases on told_transfers.exam_key = exam_aliases.alias_key
    where told_transfers.images_arrived_at is not null
    group by
        coalesce(exam_aliases.exam_key, told_transfers.exam_key), told_transfers.to_party_code
),

transfer_months as (
    select
        party_code,
        month_on
    from {{ ref('int_transfer_months') }}
),

-- of the same body region, whatever the modality: the latest elsewhere
priors as (
    select
        later.exam_key,
        earlier.exam_key as prior_exam_key,
        earlier.party_code as prior_party_code
    from exams as later
    inner join exams as earlier
        on
            later.person_key = earlier.person_key
            and later.body_region = earlier.body_region
            and later.party_code <> earlier.party_code
            and later.completed_at > earlier.completed_at
    where later.reported_at is not null
    qualify row_number() over (
        partition by later.exam_key
        order by earlier.completed_at desc, earlier.exam_key
    ) = 1
)

select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    {{ month_of('exams.reported_at_local') }} as month_on,
    priors.prior_exam_key,
    priors.prior_party_code,
    case
        when
            cast(exams.reported_at_local as date) >= own_archive.live_on
            and cast(exams.reported_at_local as date) >= prior_archive.live_on
            then true
        when transfers.images_arrived_at <= exams.reported_at then true
        -- who does not tell of transfers may have sent the images
        when transfer_months.party_code is not null then false
    end as is_viewable
from priors
inner join exams on priors.exam_key = exams.exam_key
inner join told on told.has_go_lives
left join archive_go_lives as own_archive on exams.party_code = own_archive.party_code
left join archive_go_lives as prior_archive
    on priors.prior_party_code = prior_archive.party_code
left join transfers
    on
        priors.prior_exam_key = transfers.exam_key
        and exams.party_code = transfers.party_code
left join transfer_months
    on
        priors.prior_party_code = transfer_months.party_code
        and {{ month_of('exams.reported_at_local') }} = transfer_months.month_on
