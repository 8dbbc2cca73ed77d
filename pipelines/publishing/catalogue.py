"""Catalogue tables of a published file: what each table, column and metric means."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.metrics import Metric

PUBLIC_SCHEMAS = ("marts",)
# The unit that the end of a column's name says (CONTRIBUTING.md), longest ending first.
UNITS = {
    "_gbp_per_year": "GBP per year",
    "_hours_per_week": "hours per week",
    "_mgy_cm": "mGy.cm",
    "_at_local": "local wall clock",
    "_gy_m2": "Gy.m2",
    "_minutes": "minutes",
    "_seconds": "seconds",
    "_hours": "hours",
    "_weeks": "weeks",
    "_count": "count",
    "_days": "days",
    "_rate": "share, 0 to 1",
    "_gbp": "GBP",
    "_mgy": "mGy",
    "_at": "UTC instant",
    "_on": "local date",
    "_tb": "TB",
}


def public_models(manifest: Path) -> list[dict[str, Any]]:
    """Models of the dbt manifest that readers may see (access public), by name."""
    nodes = json.loads(manifest.read_text())["nodes"].values()
    models = [n for n in nodes if n["resource_type"] == "model" and n["access"] == "public"]
    return sorted(models, key=lambda node: node["name"])


def table_rows(models: list[dict], statistics: list[dict], counts: dict[str, int]) -> pl.DataFrame:
    """One row per published table: schema, name, description, grain, row count."""
    rows = [
        {
            "table_schema": node["schema"],
            "table_name": node["name"],
            "description": node["description"],
            "grain": str(node["config"]["meta"].get("grain", "")),
            "row_count": counts[f"{node['schema']}.{node['name']}"],
        }
        for node in models
    ]
    rows += [
        {
            "table_schema": "statistics",
            "table_name": table["name"],
            "description": table["description"],
            "grain": table["grain"],
            "row_count": counts[f"statistics.{table['name']}"],
        }
        for table in statistics
    ]
    return pl.DataFrame(rows)


def unit_of(column_name: str) -> str:
    """Unit of a published column by the end of its name; no text where the name tells none."""
    return next((unit for end, unit in UNITS.items() if column_name.endswith(end)), "")


def column_rows(models: list[dict], statistics: list[dict]) -> pl.DataFrame:
    """One row per published column: table, name, type, description, unit, position from 1."""
    rows = []
    for node in models:
        for position, column in enumerate(node["columns"].values(), start=1):
            rows.append(
                {
                    "table_schema": node["schema"],
                    "table_name": node["name"],
                    "column_name": column["name"],
                    "data_type": column["data_type"] or "",
                    "description": column["description"],
                    "unit": unit_of(column["name"]),
                    "position": position,
                }
            )
    for table in statistics:
        for position, (name, data_type, description) in enumerate(table["columns"], start=1):
            rows.append(
                {
                    "table_schema": "statistics",
                    "table_name": table["name"],
                    "column_name": name,
                    "data_type": data_type,
                    "description": description,
                    "unit": unit_of(name),
                    "position": position,
                }
            )
    return pl.DataFrame(rows)


def metric_rows(metrics: list[Metric]) -> pl.DataFrame:
    """One row per metric of the registry, with how its months become a longer period.

    rows_sql and rows_left_out are null where the metric is not counted in exams or reports.
    """
    told = [
        {name: value for name, value in metric.__dict__.items() if name != "rows"}
        | {
            "over_time": metric.over_time,
            "rows_sql": metric.rows_sql,
            "rows_left_out": (metric.rows or {}).get("left_out"),
        }
        for metric in metrics
    ]
    texts = {"rows_sql": pl.String, "rows_left_out": pl.String}
    return pl.DataFrame(told, schema_overrides=texts, infer_schema_length=None)
