"""The metric registry, read from dbt's manifest: text and display rules, computes nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

REGISTRY_MODEL = "rpt_metrics_monthly"


@dataclass(frozen=True)
class Metric:
    """One metric as defined in the registry (rpt_metrics_monthly.yml, meta.metrics).

    A metric with is_percentile has no numerator and cannot be added up at all. One that is
    semi_additive adds up over trusts and modalities, never over time. `rows`, of a metric whose
    denominator counts exams or reports: the mart, its columns of party and day, `where` for which of
    its rows, and in words what the denominator leaves out of them (`left_out`).
    """

    metric_id: str
    name: str
    definition: str
    numerator: str
    denominator: str
    unit: str
    improvement: str
    clock: str
    exclusions: str
    owner: str
    source: str
    source_status: str
    semi_additive: bool
    is_percentile: bool = False
    rows: Mapping[str, str] | None = None

    @property
    def is_money(self) -> bool:
        """True where the unit is pounds, alone or for each of something."""
        return self.unit.startswith("GBP")

    @property
    def over_time(self) -> str:
        """How months become a longer period: their `sum`, the `last` of them, or `none` at all."""
        if self.is_percentile:
            return "none"
        return "last" if self.semi_additive else "sum"

    @property
    def rows_sql(self) -> str | None:
        """SQL that lists the exams or reports of a month; {party} and {month} are to be filled in."""
        if self.rows is None:
            return None
        kept = f" and {self.rows['where']}" if "where" in self.rows else ""
        return (
            f"select exam_key from marts.{self.rows['table']} "
            f"where {self.rows['party']} = '{{party}}' "
            f"and date_trunc('month', {self.rows['month']}) = date '{{month}}'{kept}"
        )


def read_registry(manifest: Path) -> list[Metric]:
    """Metrics of the registry, in its order.

    Raises KeyError when the manifest has no registry model, TypeError when an entry lacks a field.
    """
    nodes = json.loads(manifest.read_text())["nodes"]
    model = next(n for n in nodes.values() if n["name"] == REGISTRY_MODEL)
    names = {field.name for field in fields(Metric)}
    return [
        Metric(**{key: value for key, value in entry.items() if key in names})
        for entry in model["config"]["meta"]["metrics"]
    ]
