-- Failure: a benefit is called cash-releasing although no line of the finance feeds falls by it.
select benefit_id
from {{ ref('benefit_lines') }}
where benefit_class = 'CRB' and ledger_line is null
