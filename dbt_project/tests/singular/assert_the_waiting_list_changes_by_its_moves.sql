-- Failure: patients appear on a waiting list, or leave it, without a request, a test, a removal or
-- a site that changed hands; net demand (W08) is not the change of the list (W01).
select *
from {{ ref('rpt_waiting_list_moves_monthly') }}
where
    closing_count
    <> coalesce(opening_count, 0)
    + request_count + handed_in_count - removal_count - test_count - handed_out_count
