-- Failure: a unit value of the benefit register has no price year, source or range, or a share is
-- none.
select benefit_id
from {{ ref('benefit_lines') }}
where
    (
        unit_value_gbp is not null
        and (
            price_base_year is null
            or value_source is null
            or value_source_status is null
            or units_per_effect is null
            or coalesce(unit_value_low_gbp > unit_value_gbp, true)
            or coalesce(unit_value_high_gbp < unit_value_gbp, true)
        )
    )
    or coalesce(attribution_rate not between 0 and 1, true)
    or coalesce(confidence_rate not between 0 and 1, true)
    or coalesce(optimism_rate not between 0 and 1, true)
    or coalesce(ramp_months < 0, true)
    or baseline_from > baseline_to
