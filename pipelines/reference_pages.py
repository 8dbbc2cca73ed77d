"""The generated pages of docs/reference: settings, commands, metrics, data dictionary."""

import json
from pathlib import Path
from typing import Any

from pipelines.contracts import Contract, Rule
from pipelines.metrics import Metric
from pipelines.publishing.analyst import QUERIES
from pipelines.publishing.catalogue import public_models
from pipelines.statistics.tables import STATISTICS_TABLES

NOTICE = "<!-- Written by `imaging docs`; edit the source it names, not this page. -->\n\n"


def settings_page(sections: dict[str, list[tuple[str, object, str]]], prefix: str) -> str:
    """One row per setting: variable, default, meaning; a section per package."""
    parts = ["# Settings\n", NOTICE.rstrip()]
    for title, settings in sections.items():
        parts += [f"\n## {title}\n", "| Variable | Default | Meaning |", "|---|---|---|"]
        for name, default, text in settings:
            shown = "" if default is None else _portable(default)
            parts.append(f"| `{prefix}{name.upper()}` | {shown} | {text} |")
    return "\n".join(parts) + "\n"


def _portable(value: object) -> str:
    """A default as a reader finds it: paths relative to the project or the home folder."""
    if not isinstance(value, Path):
        return f"`{value}`"
    root = Path(__file__).resolve().parent.parent
    if value.is_relative_to(root):
        return f"`{value.relative_to(root)}`"
    return f"`~/{value.relative_to(Path.home())}`"


def cli_page(commands: list[dict[str, Any]]) -> str:
    """One section per verb: help text and options (pipelines/cli.py)."""
    parts = ["# Commands\n", NOTICE]
    for command in commands:
        parts.append(f"## imaging {command['name']}\n\n{command['help']}\n")
        if command["options"]:
            parts.append("| Option | Meaning |\n|---|---|")
            parts += [f"| `{name}` | {text} |" for name, text in command["options"]]
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def metrics_page(metrics: list[Metric]) -> str:
    """One section per metric of the registry (rpt_metrics_monthly.yml)."""
    parts = ["# Metric dictionary\n", NOTICE]
    for metric in metrics:
        parts.append(f"## {metric.metric_id} {metric.name}\n\n{metric.definition}\n")
        parts.append("| | |\n|---|---|")
        adds = "over trusts and modalities, never over time" if metric.semi_additive else "yes"
        adds = "never: a percentile" if metric.is_percentile else adds
        rows = {
            "Numerator": metric.numerator,
            "Denominator": metric.denominator or "none (a count)",
            "Unit": metric.unit,
            "Good direction": metric.improvement,
            "Clock": metric.clock,
            "Exclusions": metric.exclusions or "none",
            "Can be added up": adds,
            "Owner": metric.owner,
            "Source": f"{metric.source} ({metric.source_status})",
        }
        parts += [f"| {name} | {text} |" for name, text in rows.items()]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def data_dictionary_page(manifest: Path) -> str:
    """One section per published table, view and table macro with its columns."""
    parts = ["# Data dictionary of the published file\n", NOTICE]
    for node in public_models(manifest):
        parts += _table(
            f"{node['schema']}.{node['name']}",
            str(node["description"]),
            [(c["name"], c["data_type"] or "", c["description"]) for c in node["columns"].values()],
        )
    for table in STATISTICS_TABLES:
        parts += _table(f"statistics.{table['name']}", table["description"], table["columns"])
    for query in QUERIES:
        parts += _table(query["call"], query["description"], query["columns"])
    return "\n".join(parts).rstrip() + "\n"


def _table(name: str, description: str, columns: list[tuple[str, str, str]]) -> list[str]:
    lines = [f"## {name}\n\n{' '.join(description.split())}\n", "| Column | Type | Meaning |"]
    lines.append("|---|---|---|")
    lines += [f"| {c} | {kind} | {' '.join(text.split())} |" for c, kind, text in columns]
    return [*lines, ""]


def contracts_page(contracts: dict[str, Contract]) -> str:
    """One section per inbound feed with its columns and rules (data_contracts/inbound)."""
    parts = ["# Inbound feeds and their rules\n", NOTICE]
    for contract in contracts.values():
        parts += _table(
            contract.name,
            f"Contract `{contract.path.name}`, version {contract.version}.",
            [(c.name, c.logical_type, c.description) for c in contract.columns],
        )
        parts.append("| Rule | What it asks | Refuses a file beyond |\n|---|---|---|")
        for rule in contract.rules:
            parts.append(f"| {rule.name} | {rule.description} | {_limit(rule)} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _limit(rule: Rule) -> str:
    """How often a rule may be broken before a file is refused."""
    if rule.level == "warn":
        return "only warns"
    if rule.level == "file":
        return "at once"
    return f"{rule.tolerance_percent:g} % or {rule.tolerance_rows} records"


def published_contract(node: dict[str, Any]) -> dict[str, Any]:
    """The ODCS document of one published mart, from its dbt description and columns."""
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"imaging-network-warehouse.published.{node['name']}",
        "name": node["name"],
        "version": "1.0.0",
        "status": "active",
        "domain": "imaging",
        "description": {
            "purpose": " ".join(node["description"].split()),
            "limitations": "Management information, not for clinical decisions.",
        },
        "team": {"name": "imaging-analytics"},
        "schema": [
            {
                "name": node["name"],
                "logicalType": "object",
                "physicalType": "table",
                "properties": [
                    {
                        "name": column["name"],
                        "logicalType": LOGICAL.get(str(column["data_type"]).lower(), "string"),
                        "physicalType": str(column["data_type"]).upper(),
                        "description": " ".join(column["description"].split()),
                    }
                    for column in node["columns"].values()
                ],
            }
        ],
    }


LOGICAL = {
    "bigint": "integer",
    "integer": "integer",
    "smallint": "integer",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
    "timestamp with time zone": "timestamp",
}


def read_models(manifest: Path) -> list[dict[str, Any]]:
    """Public models of the manifest."""
    return json.loads(json.dumps(public_models(manifest)))
