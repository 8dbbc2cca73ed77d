with recursive reporting_rota as (
    select * from {{ source('landing', 'reporting_rota') }}
),

receipts as (
    select
        source_sha,
        nullif(replay_of, source_sha) as replay_of,
        file_name,
        arrived_at,
        landed_at
    from {{ ref('stg_landing__receipts') }}
    where feed_kind = 'reporting_rota'
),

-- Rejected rows that are replayed are a source of their own, and so is what that rejects: all are
-- of the file that was delivered, until it is read again and takes them along.
files as (
    select
        source_sha,
        source_sha as file_sha,
        file_name,
        arrived_at,
        landed_at
    from receipts
    where replay_of is null
    union all
    select
        receipts.source_sha,
        files.file_sha,
        files.file_name,
        files.arrived_at,
        files.landed_at
    from files
    inner join receipts
        on
            files.source_sha = receipts.replay_of
            and files.landed_at <= receipts.landed_at
)

select
    reporting_rota.party_code,
    reporting_rota.month_on,
    reporting_rota.team,
    reporting_rota.staff_group,
    reporting_rota.session_start_local as started_at_local,
    reporting_rota.session_end_local as ended_at_local,
    reporting_rota.session_start_utc as started_at,
    reporting_rota.session_end_utc as ended_at,
    reporting_rota.pay_type,
    reporting_rota.place,
    reporting_rota.source_sha,
    reporting_rota.row_no,
    reporting_rota.feed_id,
    reporting_rota.received_at as arrived_at
from reporting_rota
left join files on reporting_rota.source_sha = files.source_sha
-- Two readers of a team can have sessions that are alike: of a month the latest file counts whole.
-- Of two files of one day that is the one that was read last, by its own reading: a replay does not
-- make its file the later one.
qualify dense_rank() over (
    partition by reporting_rota.party_code, reporting_rota.month_on
    order by
        coalesce(files.arrived_at, reporting_rota.received_at) desc nulls last,
        files.landed_at desc nulls last,
        files.file_name desc,
        coalesce(files.file_sha, reporting_rota.source_sha)
) = 1
