"""Result tables of the benefit ledger and the appraisal: name, grain and columns."""

from typing import Any

PRICES = ("price_year", "BIGINT", "Year of the prices of all pounds of the row.")
CASE = [
    (
        "basis",
        "VARCHAR",
        "realised: only what is realised, and the costs up to the last month of it. realised, then "
        "forecast: of each line, party and month the realised value, else the forecast. forecast: "
        "the register's forecast of every month.",
    ),
    (
        "class_selection",
        "VARCHAR",
        "cash only (CRB), cash and non-cash (CRB, NCRB) or all monetised (CRB, NCRB, SB).",
    ),
    ("optimism_bias", "DOUBLE", "Fraction that all costs are raised by; 0 is as budgeted."),
]

REALISED_BENEFITS: dict[str, Any] = {
    "name": "realised_benefits",
    "description": "One row per line of the benefit register, party and month after its go-live: "
    "the promise, the forecast, and what the effect of the go-live was worth. Realised is empty, "
    "never 0, where it cannot be told; empty_because says why. Never add up classes, or lines that "
    "do not count. How: docs/benefit_evidence.md.",
    "grain": "benefit_id, party_code, month_on",
    "columns": [
        ("benefit_id", "VARCHAR", "Line of the register."),
        ("party_code", "VARCHAR", "Party of the programme."),
        ("month_on", "DATE", "First day of the month."),
        ("benefit_class", "VARCHAR", "CRB, NCRB, SB or UB; never added up."),
        ("measure_metric_id", "VARCHAR", "Metric that shows it."),
        ("go_live_type", "VARCHAR", "Go-live that can cause it."),
        ("planned_gbp", "DOUBLE", "The plan of the month, ramped; empty without a plan in money."),
        ("planned_adjusted_gbp", "DOUBLE", "Plan x (1 - optimism)."),
        (
            "forecast_gbp",
            "DOUBLE",
            "Plan x attribution x confidence x (1 - optimism).",
        ),
        (
            "realised_gbp",
            "DOUBLE",
            "Attributed units x unit value x price factor; below 0 for a harm, empty where it cannot be "
            "told.",
        ),
        (
            "realised_low_gbp",
            "DOUBLE",
            "Lower end of the 95 % interval: of draws of the error of the mean effect, of what one month of "
            "one party varies by itself, and of the unit value.",
        ),
        ("realised_high_gbp", "DOUBLE", "Upper end."),
        ("empty_because", "VARCHAR", "Why realised is empty, in words; null where it is told."),
        (
            "evidence_grade",
            "VARCHAR",
            "A improvement shown and a unit value that finance approved, B improvement shown, C an "
            "effect with an interval, D neither.",
        ),
        ("verdict", "VARCHAR", "Verdict on the effect; null where there is none."),
        ("double_count_group", "VARCHAR", "Lines that may count the same benefit; or null."),
        ("is_counted", "BOOLEAN", "The line of its group that counts, or a line without a group."),
        ("effect", "DOUBLE", "The metric less what it would have been, in its unit."),
        (
            "ci_low",
            "DOUBLE",
            "Lower end of its 95 % interval, in which is what the month varies by itself.",
        ),
        ("ci_high", "DOUBLE", "Upper end."),
        ("volume", "DOUBLE", "Denominator of the metric in the month; 1 for a count."),
        (
            "units_of_effect",
            "DOUBLE",
            "Volume x units per effect x attribution; below 0 where less of the metric is better.",
        ),
        ("attributed_units", "DOUBLE", "Effect x units_of_effect: what is valued."),
        (
            "price_factor",
            "DOUBLE",
            "Of a metric in pounds (F05, F06, F07): from prices of the month's year to those of "
            "price_year, by the seed gdp_deflator; empty where it lacks the year. Else 1.",
        ),
        ("assumption_id", "VARCHAR", "Unit cost the value rests on."),
        ("unit_value_low_gbp", "DOUBLE", "Low value of a unit."),
        ("unit_value_gbp", "DOUBLE", "Value of a unit."),
        ("unit_value_high_gbp", "DOUBLE", "High value of a unit."),
        (
            "value_source_status",
            "VARCHAR",
            "Standing of the unit value: verified or local once finance approved it, else "
            "illustrative.",
        ),
        ("source_status", "VARCHAR", "Standing of the register's line."),
        ("register_version", "BIGINT", "Version of the register."),
        PRICES,
    ],
}

BENEFIT_LEDGER: dict[str, Any] = {
    "name": "benefit_ledger",
    "description": "One row per line of the benefit register: promise, plan, forecast and realised "
    "value to date, or why there is none. Realised covers only the months that can be compared; "
    "set it against planned_compared_gbp. Never add up classes, or lines that do not count.",
    "grain": "benefit_id",
    "columns": [
        ("benefit_id", "VARCHAR", "Line of the register."),
        ("title", "VARCHAR", "Short name."),
        ("promise", "VARCHAR", "Promise of the programme that it answers."),
        ("benefit_class", "VARCHAR", "CRB, NCRB, SB or UB; never added up."),
        ("owner_role", "VARCHAR", "Role that is accountable."),
        ("beneficiary_code", "VARCHAR", "NETWORK or a party code."),
        ("measure_metric_id", "VARCHAR", "Metric that shows it."),
        ("go_live_type", "VARCHAR", "Go-live that can cause it."),
        ("planned_to_date_gbp", "DOUBLE", "Plan of all months after go-live; empty without one."),
        ("planned_until_on", "DATE", "Last month of it."),
        ("forecast_to_date_gbp", "DOUBLE", "Forecast of these months."),
        ("planned_compared_gbp", "DOUBLE", "Plan of the months that realised covers."),
        (
            "optimism_rate",
            "DOUBLE",
            "Share of the plan that is taken off for optimism (rpt_benefits_summary says where it "
            "comes from); realised never reads it.",
        ),
        ("planned_adjusted_to_date_gbp", "DOUBLE", "planned_to_date_gbp x (1 - optimism_rate)."),
        ("planned_adjusted_compared_gbp", "DOUBLE", "planned_compared_gbp x (1 - optimism_rate)."),
        ("realised_to_date_gbp", "DOUBLE", "Realised; empty, never 0, where it cannot be told."),
        (
            "realised_low_gbp",
            "DOUBLE",
            "Lower end of the 95 % interval: one draw of the error of the mean effect for all months, "
            "and one for each of what it varies by itself.",
        ),
        ("realised_high_gbp", "DOUBLE", "Upper end."),
        ("realised_from_on", "DATE", "First month that realised covers."),
        ("realised_until_on", "DATE", "Last month of it."),
        ("realised_month_count", "BIGINT", "Months of parties that it covers."),
        ("attributed_units", "DOUBLE", "Units that are valued in them."),
        (
            "evidence",
            "VARCHAR",
            "Best grade that the line reached (A, B or C, see statistics.realised_benefits), or no "
            "evidence.",
        ),
        ("verdict", "VARCHAR", "Verdict on the effect; null where there is none."),
        (
            "empty_because",
            "VARCHAR",
            "Why nothing is realised, in words; null where it is told.",
        ),
        ("double_count_group", "VARCHAR", "Lines that may count the same benefit; or null."),
        ("is_counted", "BOOLEAN", "The line of its group that counts, or a line without a group."),
        ("shadowed_by", "VARCHAR", "The line that counts in its place; null where it counts."),
        ("assumption_id", "VARCHAR", "Unit cost the value rests on."),
        ("unit_value_gbp", "DOUBLE", "Value of a unit."),
        ("value_source", "VARCHAR", "Where the unit value comes from."),
        ("value_source_status", "VARCHAR", "Standing of the unit value."),
        ("ledger_line", "VARCHAR", "Feed and line of the ledger that falls; of CRB only."),
        ("register_version", "BIGINT", "Version of the register."),
        ("signed_off_by_role", "VARCHAR", "Role that signed it off."),
        ("signed_off_on", "DATE", "Day of the sign-off."),
        ("source_status", "VARCHAR", "Standing of the register's line."),
        PRICES,
    ],
}

BENEFIT_BALANCE: dict[str, Any] = {
    "name": "benefit_balance",
    "description": "One row per party and month: realised by class side by side, the costs, and "
    "cash-releasing less costs. Classes are never added; only lines that count are in it.",
    "grain": "party_code, month_on",
    "columns": [
        ("party_code", "VARCHAR", "Party of the programme."),
        ("month_on", "DATE", "First day of the month."),
        (
            "crb_gbp",
            "DOUBLE",
            "Realised, cash-releasing, of the lines that can be told; empty where none can.",
        ),
        ("ncrb_gbp", "DOUBLE", "Realised, non-cash-releasing; likewise."),
        ("sb_gbp", "DOUBLE", "Realised, societal; likewise."),
        (
            "cost_gbp",
            "DOUBLE",
            "Costs of the programme, the network's shared equally; empty where one of them is not "
            "valued.",
        ),
        (
            "net_cash_gbp",
            "DOUBLE",
            "crb_gbp less cost_gbp, only where it is whole: every cash-releasing line that counts is told "
            "in the month and every cost valued; else empty.",
        ),
        (
            "net_cash_empty_because",
            "VARCHAR",
            "Why the net is empty: which line has no value, which cost is not valued; null where the net "
            "is told.",
        ),
        PRICES,
    ],
}

APPRAISAL_FLOWS: dict[str, Any] = {
    "name": "appraisal_flows",
    "description": "One row per basis, line of benefit or cost, financial year and source: the "
    "flows that statistics.appraisal stands on, undiscounted and without optimism bias. A cost that is "
    "not valued has no row; the note of statistics.appraisal names it.",
    "grain": "basis, line_id, year, source",
    "columns": [
        CASE[0],
        ("line_id", "VARCHAR", "Line of the register or cost of the programme (cost P01)."),
        ("benefit_class", "VARCHAR", "CRB, NCRB or SB; null for a cost."),
        ("year", "BIGINT", "Financial year by its first calendar year: 2020 is 2020/21."),
        ("source", "VARCHAR", "realised, forecast or cost."),
        ("gbp", "DOUBLE", "Pounds of the year; a cost is above 0."),
        PRICES,
    ],
}

APPRAISAL: dict[str, Any] = {
    "name": "appraisal",
    "description": "One row per basis, selection of classes, optimism bias and measure of the "
    "investment appraisal to date. A present value over classes is a figure of the appraisal, not "
    "a sum of the ledger. Value is empty where note says why.",
    "grain": "basis, class_selection, optimism_bias, measure",
    "columns": [
        *CASE,
        (
            "measure",
            "VARCHAR",
            "pv_costs, pv_benefits, npsv, bcr (of cash only the cash-releasing ratio), eanc (net "
            "benefit a year), undiscounted_payback_year, discounted_payback_year, npsv_p10, "
            "npsv_p50, npsv_p90 or npsv_above_zero_rate (both of the simulation).",
        ),
        ("unit", "VARCHAR", "GBP, ratio, rate or financial year."),
        ("value", "DOUBLE", "The measure."),
        ("note", "VARCHAR", "Why value is empty; or null."),
        ("schedule", "VARCHAR", "Schedule of discount rates."),
        ("mitigation", "DOUBLE", "Fraction of the optimism bias that is mitigated."),
        ("first_year", "BIGINT", "Base year, not discounted: 2020 is 2020/21."),
        ("last_year", "BIGINT", "Last year."),
        ("last_month_on", "DATE", "Last month of costs and benefits."),
        ("benefit_ids", "VARCHAR", "Lines whose benefits are in it."),
        (
            "told_month_count",
            "BIGINT",
            "Months of a party, of every line that counts in the classes, whose benefit is in it.",
        ),
        (
            "benefit_month_count",
            "BIGINT",
            "All such months after go-live up to last_month_on: a month that is not told counts as no "
            "benefit, with its costs in full.",
        ),
        ("rates_vintage", "VARCHAR", "Edition of the discount rates."),
        PRICES,
    ],
}

APPRAISAL_SENSITIVITIES: dict[str, Any] = {
    "name": "appraisal_sensitivities",
    "description": "One row per basis, selection of classes, optimism bias, sensitivity and variant "
    "of the appraisal.",
    "grain": "basis, class_selection, optimism_bias, sensitivity, variant",
    "columns": [
        *CASE,
        (
            "sensitivity",
            "VARCHAR",
            "tornado (one line at the ends of its 95 % interval or range), switching value, or "
            "benefits (all of them).",
        ),
        ("variant", "VARCHAR", "The line and its source, or what is done to the benefits."),
        ("npsv_low_gbp", "DOUBLE", "Of the tornado: the lower net present social value."),
        ("npsv_high_gbp", "DOUBLE", "Of the tornado: the higher one."),
        (
            "switching_value",
            "DOUBLE",
            "What the line must be multiplied by for a net present social value of 0; null for a "
            "line that is worth nothing.",
        ),
        ("npsv_gbp", "DOUBLE", "Of benefits: the net present social value then."),
        ("bcr", "DOUBLE", "Of benefits: the ratio then; null without costs."),
        PRICES,
    ],
}

PROGRAMME_COSTS_MONTHLY: dict[str, Any] = {
    "name": "programme_costs_monthly",
    "description": "One row per cost of the programme, party and month up to the last complete one: "
    "the costs that statistics.appraisal stands on, without optimism bias. With "
    "statistics.realised_benefits they are all that the appraisal reads.",
    "grain": "cost_id, party_code, month_on",
    "columns": [
        ("cost_id", "VARCHAR", "Cost of the seed programme_costs."),
        (
            "party_code",
            "VARCHAR",
            "Party of the programme; the network's costs are shared equally.",
        ),
        ("month_on", "DATE", "First day of the month."),
        ("cost_gbp", "DOUBLE", "Pounds of the month, above 0."),
        PRICES,
    ],
}

LEDGER_TABLES = [
    REALISED_BENEFITS,
    BENEFIT_LEDGER,
    BENEFIT_BALANCE,
    APPRAISAL_FLOWS,
    APPRAISAL,
    APPRAISAL_SENSITIVITIES,
    PROGRAMME_COSTS_MONTHLY,
]
