"""Result tables of the effect of go-lives: name, grain and columns with type and meaning."""

from typing import Any

# As a reader is shown an effect: exp(att) - 1 of a logged metric, else att as it is.
_CHANGES = [
    (
        "change",
        "DOUBLE",
        "att as a reader is shown it, in change_unit of statistics.go_live_effects: a logged one as "
        "a share of what would have been (0.105 is 10.5 % more), any other as it is.",
    ),
    ("change_low", "DOUBLE", "ci_low likewise."),
    ("change_high", "DOUBLE", "ci_high likewise."),
]

GO_LIVE_EFFECTS: dict[str, Any] = {
    "name": "go_live_effects",
    "description": "One row per metric of the benefit register and type of go-live: what the "
    "programme's parties show in the first twelve months after their go-live, less what they would "
    "have shown without it, with interval and verdict. Figures are null where "
    "not_estimated_because says why. How, and how often it is right: docs/go_live_effect.md.",
    "grain": "metric_id, go_live_type",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("go_live_type", "VARCHAR", "archive, viewing or network_reporting."),
        ("improvement", "VARCHAR", "Good direction in the register: increase or decrease."),
        ("unit", "VARCHAR", "Unit of the metric."),
        (
            "is_logged",
            "BOOLEAN",
            "True where the figures below are of the natural logarithm of the metric: 0.10 is "
            "10.5 % more. False: they are in its unit.",
        ),
        ("att", "DOUBLE", "Mean effect over the months after go-live that can be compared."),
        ("se", "DOUBLE", "Its standard error, clustered by party."),
        ("ci_low", "DOUBLE", "Lower end of its 95 % interval (t, parties less one)."),
        ("ci_high", "DOUBLE", "Upper end."),
        (
            "ri_low",
            "DOUBLE",
            "Least effect that the orders of the go-lives do not refuse at 5 %; null where they "
            "refuse none on that side.",
        ),
        ("ri_high", "DOUBLE", "Largest such effect; likewise."),
        (
            "p_randomisation",
            "DOUBLE",
            "Share of the orders of the go-lives with an effect at least as large.",
        ),
        (
            "p_adjusted",
            "DOUBLE",
            "The same after Holm over all estimated rows of this table; the verdict stands on it.",
        ),
        ("ri_count", "BIGINT", "Orders with an effect at least as large, the real one included."),
        ("order_count", "BIGINT", "Orders tried: all up to nine parties, else a seeded sample."),
        ("n_effect_cells", "BIGINT", "Months of parties after go-live that made the effect."),
        ("n_untreated_cells", "BIGINT", "Months of parties not live yet that it is compared with."),
        (
            "detectable",
            "DOUBLE",
            "Size an effect needs, to be seen in four of five such programmes.",
        ),
        (
            "promised",
            "DOUBLE",
            "Size the register promises: its target less the baseline, without sign, in the scale "
            "of att; null without target or baseline.",
        ),
        (
            "change_unit",
            "VARCHAR",
            "Unit of the columns of change: relative where is_logged, else that of the metric.",
        ),
        *_CHANGES,
        (
            "detectable_change",
            "DOUBLE",
            "detectable as a change in the good direction, without sign, in change_unit.",
        ),
        ("promised_change", "DOUBLE", "promised likewise; null without target or baseline."),
        (
            "verdict",
            "VARCHAR",
            "consistent with improvement, consistent with worsening, not shown, or could not have "
            "been seen.",
        ),
        ("party_count", "BIGINT", "Parties of the programme in the comparison."),
        ("comparator", "VARCHAR", "Whom outside the programme they are compared with; or null."),
        ("first_month_on", "DATE", "First month of the comparison."),
        ("last_month_on", "DATE", "Last month of the comparison."),
        ("shock_months", "VARCHAR", "Months of common shocks: left out, kept, or none."),
        (
            "missing_month_count",
            "BIGINT",
            "Months left out for all parties since one of them has no value. A comparator that lacks "
            "a month takes it from nobody who has another to be compared with: cannot_tell says which.",
        ),
        (
            "left_out_parties",
            "VARCHAR",
            "Parties without a value in at least half of the months, which are left out; or null.",
        ),
        (
            "not_estimated_because",
            "VARCHAR",
            "Why there is no estimate, in words; null where there is one.",
        ),
        ("cannot_tell", "VARCHAR", "What no method can tell from this calendar, in words."),
        (
            "co_interventions",
            "VARCHAR",
            "What else happened to the parties in the months compared, with its month; or null.",
        ),
    ],
}

GO_LIVE_EFFECTS_MONTHLY: dict[str, Any] = {
    "name": "go_live_effects_monthly",
    "description": "One row per metric, type of go-live, party and month after its go-live that "
    "can be compared: the metric, what it would have been, and the difference. The mean of the "
    "rows is the estimate of statistics.go_live_effects. ci_low and ci_high carry the interval of the "
    "estimate, moved to the month's effect; what the month varies by itself is month_spread, and "
    "statistics.realised_benefits has the interval with both.",
    "grain": "metric_id, go_live_type, party_code, month_on",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("go_live_type", "VARCHAR", "archive, viewing or network_reporting."),
        ("party_code", "VARCHAR", "Party of the programme."),
        ("month_on", "DATE", "First day of the month."),
        ("months_since", "BIGINT", "Months since the month of the go-live, which is 0."),
        ("value", "DOUBLE", "The metric, in its unit."),
        ("counterfactual", "DOUBLE", "What it would have been without the go-live."),
        ("effect", "DOUBLE", "Value less counterfactual, in the unit of the metric."),
        (
            "ci_low",
            "DOUBLE",
            "Effect less the reach of the estimate's 95 % interval, in the unit of the metric; of "
            "a logged metric the counterfactual is divided by that reach.",
        ),
        ("ci_high", "DOUBLE", "Effect plus that reach; likewise."),
        (
            "month_spread",
            "DOUBLE",
            "Standard deviation of a single month of the party around the fit of its months before "
            "go-live, in the scale of the estimate (is_logged): what a month varies by itself.",
        ),
    ],
}

GO_LIVE_EFFECTS_CHECKS: dict[str, Any] = {
    "name": "go_live_effects_checks",
    "description": "One row per metric, type of go-live, check and variant: what the estimate of "
    "statistics.go_live_effects would be if something were done otherwise.",
    "grain": "metric_id, go_live_type, check_name, variant",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("go_live_type", "VARCHAR", "archive, viewing or network_reporting."),
        (
            "check_name",
            "VARCHAR",
            "placebo, leave one out, horizon, trends, not yet live, shock months or comparator gaps "
            "(only where a comparator lacks a month).",
        ),
        ("variant", "VARCHAR", "What is done otherwise; for leave one out the party."),
        ("att", "DOUBLE", "The estimate then, in the scale of the estimate; or null, see note."),
        ("ci_low", "DOUBLE", "Lower end of its 95 % interval; null where none can be told."),
        ("ci_high", "DOUBLE", "Upper end; likewise."),
        *_CHANGES,
        ("n_effect_cells", "BIGINT", "Months of parties it stands on."),
        (
            "note",
            "VARCHAR",
            "Why there is no estimate, or which months a comparator lacks; or null.",
        ),
    ],
}

GO_LIVE_EFFECTS_BY_MONTH_SINCE: dict[str, Any] = {
    "name": "go_live_effects_by_month_since",
    "description": "One row per metric, type of go-live and month since go-live, for a plot: the "
    "mean effect of that month. Months below 0 are the placebo's, which pretends every go-live a "
    "year earlier. The months are of different parties.",
    "grain": "metric_id, go_live_type, months_since",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("go_live_type", "VARCHAR", "archive, viewing or network_reporting."),
        ("months_since", "BIGINT", "Months since the month of the go-live, which is 0."),
        ("party_count", "BIGINT", "Parties whose month can be compared."),
        ("att", "DOUBLE", "Mean effect of the month, in the scale of the estimate."),
        ("ci_low", "DOUBLE", "Lower end of its 95 % interval; null for fewer than three parties."),
        ("ci_high", "DOUBLE", "Upper end; likewise."),
        *_CHANGES,
        ("n_effect_cells", "BIGINT", "Months of parties it stands on."),
    ],
}

GO_LIVE_EFFECTS_BY_PARTY: dict[str, Any] = {
    "name": "go_live_effects_by_party",
    "description": "One row per metric, type of go-live and party of the programme in the comparison: "
    "its own share of the estimate. It has no interval: the party's only months after go-live are "
    "those that made it. What the estimate would be without the party stands in "
    "statistics.go_live_effects_checks (leave one out).",
    "grain": "metric_id, go_live_type, party_code",
    "columns": [
        ("metric_id", "VARCHAR", "Metric of the registry."),
        ("go_live_type", "VARCHAR", "archive, viewing or network_reporting."),
        ("party_code", "VARCHAR", "Party of the programme."),
        ("live_from_on", "DATE", "Month of its go-live, which counts as after."),
        (
            "att",
            "DOUBLE",
            "Mean effect over its months that can be compared, in the scale of the estimate; null "
            "where n_effect_cells is 0.",
        ),
        ("change", "DOUBLE", "The same in change_unit of statistics.go_live_effects."),
        (
            "n_effect_cells",
            "BIGINT",
            "Months that made it; 0 where nobody was left to compare with, as for the last party.",
        ),
        ("months_before", "BIGINT", "Months before its go-live that the comparison knows."),
    ],
}

GO_LIVE_EFFECT_TABLES = [
    GO_LIVE_EFFECTS,
    GO_LIVE_EFFECTS_MONTHLY,
    GO_LIVE_EFFECTS_CHECKS,
    GO_LIVE_EFFECTS_BY_MONTH_SINCE,
    GO_LIVE_EFFECTS_BY_PARTY,
]
