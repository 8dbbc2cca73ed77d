"""What analysts ask a published file by name: views, table macros, and a comment on everything.

The SQL is in analyst.sql. It reads tables of the same file only, so it shows what they show: of a
suppressed file, suppressed figures.
"""

from pathlib import Path
from typing import Any

import polars as pl

from pipelines.publishing.catalogue import unit_of

SQL = Path(__file__).with_name("analyst.sql")

_METRIC = ("metric_id", "VARCHAR", "Metric of the registry.")
_NUMERATOR = (
    "numerator",
    "DOUBLE",
    "Numerator or count; of a longer period the sum of its months, or the last month of a stock.",
)
_DENOMINATOR = ("denominator", "DOUBLE", "Denominator, likewise; null for a count.")
_UNIT = ("unit", "VARCHAR", "Unit of the value.")
_IMPROVEMENT = ("improvement", "VARCHAR", "Good direction: increase, decrease or neutral.")
_OVER_TIME = (
    "over_time",
    "VARCHAR",
    "How months become a longer period: sum (flows; a ratio from summed parts), last (stocks, such "
    "as a waiting list: never add them up over time) or none (percentiles).",
)
_TRUST = (
    "trust_code",
    "VARCHAR",
    "Trust code; of other cuts the party code, or NETWORK. Unknown where the site or its owner is "
    "not known.",
)
_MODALITY = ("modality", "VARCHAR", "Modality group, or All.")
_PERIOD = ("period_start", "DATE", "First day of the period.")
_VALUE = (
    "value",
    "DOUBLE",
    "The count, or numerator over denominator, in the unit of the metric (main.metrics); null "
    "where the months do not make the period. metric_detail says why.",
)
_TARGET = (
    "target",
    "DOUBLE",
    "Of the targets in force on the last day of the last month that is told, the one with the "
    "lowest preference; null where none is. All of them: marts.dim_target.",
)
_TARGET_STATUS = (
    "source_status",
    "VARCHAR",
    "How certain the target is: verified, from_memory or design; show others than verified as "
    "unverified.",
)
_CALL = "(id, grain := 'month', by := 'trust')"
_CHOICES = (
    "grain: month, quarter, year (January to December) or financial_year (April to March). by: "
    "trust, party, network (each over all modalities), modality (of the network), trust_modality "
    "or party_modality. Anything else is an error that names the choices."
)

QUERIES: list[dict[str, Any]] = [
    {
        "name": "metrics",
        "kind": "view",
        "call": "from metrics",
        "description": "One row per metric of the registry: what it means, its unit, how its "
        "months become a longer period, and which levels and months this file holds.",
        "columns": [
            _METRIC,
            ("name", "VARCHAR", "Name."),
            ("definition", "VARCHAR", "What it says, in a sentence."),
            ("numerator", "VARCHAR", "What the numerator, or the count, counts."),
            ("denominator", "VARCHAR", "What the denominator counts; none for a count."),
            _UNIT,
            _IMPROVEMENT,
            _OVER_TIME,
            ("clock", "VARCHAR", "Which time decides about the month."),
            ("exclusions", "VARCHAR", "What is left out."),
            ("source", "VARCHAR", "Where the definition comes from."),
            ("source_status", "VARCHAR", "How certain that source is."),
            ("org_levels", "VARCHAR", "Levels with a row in this file; null where no feed tells."),
            ("first_month_on", "DATE", "First month with a row."),
            ("last_month_on", "DATE", "Last month with a row."),
        ],
    },
    {
        "name": "metric_months",
        "kind": "view",
        "call": "from metric_months",
        "description": "One row per metric, organisation, modality group and month, with names, "
        "unit and the target of the month: marts.rpt_metrics_monthly, and the median of "
        "statistics.metric_estimates (R01). Holds every level and All beside each modality: "
        "choose one of each.",
        "columns": [
            _METRIC,
            ("metric_name", "VARCHAR", "Name of the metric."),
            ("org_level", "VARCHAR", "network, party or trust."),
            ("org_code", "VARCHAR", "NETWORK, party code or trust code."),
            ("org_name", "VARCHAR", "Short name of the organisation."),
            ("modality_group", "VARCHAR", "Modality group, or All."),
            ("period_start_on", "DATE", "First day of the month."),
            ("numerator", "DOUBLE", "Numerator or count; null for a percentile."),
            ("denominator", "DOUBLE", "Denominator; null for a count."),
            ("value", "DOUBLE", "The count, the ratio or the percentile, in the unit beside it."),
            ("is_count", "BOOLEAN", "The metric has no denominator."),
            _UNIT,
            _IMPROVEMENT,
            _OVER_TIME,
            ("comparator", "VARCHAR", "less_than, at_most or at_least the target."),
            ("target_value", "DOUBLE", _TARGET[2].replace("the last month that is told", "it")),
            ("target_source_status", "VARCHAR", _TARGET_STATUS[2]),
        ],
    },
    {
        "name": "metric",
        "kind": "table macro",
        "call": f"from metric{_CALL}",
        "description": "One row per organisation, modality and period of one metric. Ratios are "
        f"quotients of summed parts; a stock is that of the last month. {_CHOICES}",
        "columns": [
            _METRIC,
            _TRUST,
            _MODALITY,
            _PERIOD,
            _NUMERATOR,
            _DENOMINATOR,
            _VALUE,
            _TARGET,
            _TARGET_STATUS,
        ],
    },
    {
        "name": "metric_detail",
        "kind": "table macro",
        "call": f"from metric_detail{_CALL}",
        "description": "The rows of metric(), with names, unit, comparator, the months that are "
        f"told and, of a row without a value, why. {_CHOICES}",
        "columns": [
            _METRIC,
            ("metric_name", "VARCHAR", "Name of the metric."),
            ("org_level", "VARCHAR", "network, party or trust."),
            _TRUST,
            ("org_name", "VARCHAR", "Short name of the organisation."),
            _MODALITY,
            _PERIOD,
            _NUMERATOR,
            _DENOMINATOR,
            (_VALUE[0], _VALUE[1], _VALUE[2].replace(" metric_detail says why.", "")),
            _UNIT,
            _IMPROVEMENT,
            _OVER_TIME,
            ("comparator", "VARCHAR", "less_than, at_most or at_least the target."),
            _TARGET,
            _TARGET_STATUS,
            ("month_count", "BIGINT", "Months of the period of which the organisation told."),
            ("period_month_count", "INTEGER", "Months of the period: 1, 3 or 12."),
            ("empty_because", "VARCHAR", "Why there is no value; null where there is one."),
        ],
    },
]

# The catalogue describes the other tables; here it is described itself.
CATALOGUE: dict[str, tuple[str, dict[str, str]]] = {
    "tables": (
        "One row per published table.",
        {
            "table_schema": "Schema: marts or statistics.",
            "table_name": "Table.",
            "description": "What one row is.",
            "grain": "Columns that identify a row.",
            "row_count": "Rows.",
        },
    ),
    "columns": (
        "One row per column of the published tables, and of what main holds.",
        {
            "table_schema": "Schema: marts, statistics, or main for views and table macros.",
            "table_name": "Table, view or table macro.",
            "column_name": "Column.",
            "data_type": "Type.",
            "description": "What it holds.",
            "unit": "Unit, where the name of the column tells it.",
            "position": "Place in the table, from 1.",
        },
    ),
    "metrics": (
        "One row per metric: the registry.",
        {
            "metric_id": "Metric.",
            "name": "Name.",
            "definition": "What it says, in a sentence.",
            "numerator": "What the numerator, or the count, counts.",
            "denominator": "What the denominator counts; none for a count.",
            "unit": "Unit of the value.",
            "improvement": _IMPROVEMENT[2],
            "clock": "Which time decides about the month.",
            "exclusions": "What is left out.",
            "owner": "Who answers for the definition.",
            "source": "Where the definition comes from.",
            "source_status": "How certain that source is.",
            "semi_additive": "Adds up over trusts and modalities, never over time.",
            "is_percentile": "Adds up over nothing.",
            "over_time": _OVER_TIME[2],
            "rows_sql": "SQL that lists the exams or reports that the denominator counts in a month, "
            "{party} and {month} to be filled in; null where it counts something else.",
            "rows_left_out": "What the denominator leaves out of these rows; or null.",
        },
    ),
    "queries": (
        "One row per view and table macro of main.",
        {
            "name": "View or table macro.",
            "kind": "view or table macro.",
            "call": "How to ask it.",
            "description": "What one row is, and which choices there are.",
        },
    ),
    "build": (
        "One row: this build.",
        {
            "build_id": "Id of the build; cite it.",
            "created_at": "When it was published (UTC).",
            "audience": "For whom the file is.",
            "is_synthetic": "The data are invented.",
            "network_name": "Network.",
            "suppression": "Which small numbers are hidden.",
        },
    ),
}


def query_rows() -> pl.DataFrame:
    """One row per view and table macro: name, kind, call, description."""
    return pl.DataFrame(QUERIES).select("name", "kind", "call", "description")


def query_columns() -> pl.DataFrame:
    """One row per column that a view or table macro returns, as catalogue.column_rows has them."""
    rows = [
        {
            "table_schema": "main",
            "table_name": query["name"],
            "column_name": name,
            "data_type": data_type,
            "description": description,
            "unit": unit_of(name),
            "position": position,
        }
        for query in QUERIES
        for position, (name, data_type, description) in enumerate(query["columns"], start=1)
    ]
    return pl.DataFrame(rows)


def statements(tables: pl.DataFrame, columns: pl.DataFrame) -> list[str]:
    """SQL that adds the views, the table macros and every comment to a file with its tables.

    `tables` and `columns` are those of catalogue.table_rows and column_rows. DuckDB raises when one
    of them names what the file does not have.
    """
    made = [SQL.read_text(), *comments(tables, columns)]
    for table, (description, described) in CATALOGUE.items():
        made.append(_comment("table", f"catalogue.{table}", description))
        made += [
            _comment("column", f'catalogue.{table}."{name}"', words)
            for name, words in described.items()
        ]
    for query in QUERIES:
        kind = "macro table" if query["kind"] == "table macro" else query["kind"]
        made.append(_comment(kind, f"main.{query['name']}", query["description"]))
        if query["kind"] == "view":
            made += [
                _comment("column", f'main.{query["name"]}."{name}"', words)
                for name, _, words in query["columns"]
            ]
    return made


def comments(tables: pl.DataFrame, columns: pl.DataFrame) -> list[str]:
    """SQL that adds the comments of tables and their columns, described as for statements."""
    made = []
    for table in tables.iter_rows(named=True):
        words = f"{table['description']} Grain: {table['grain'] or 'see description'}."
        made.append(_comment("table", f"{table['table_schema']}.{table['table_name']}", words))
    for column in columns.iter_rows(named=True):
        unit = f" Unit: {column['unit']}." if column["unit"] else ""
        name = f'{column["table_schema"]}.{column["table_name"]}."{column["column_name"]}"'
        made.append(_comment("column", name, column["description"] + unit))
    return made


def _comment(kind: str, name: str, words: str) -> str:
    quoted = " ".join(words.split()).replace("'", "''")
    return f"comment on {kind} {name} is '{quoted}'"
