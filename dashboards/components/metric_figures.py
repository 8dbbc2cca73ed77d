"""Any metric of the registry over time; one row per month."""

from __future__ import annotations

from typing import Any

import polars as pl

from dashboards.components import trend
from dashboards.components.figure import Figure


def over_time(
    frame: pl.DataFrame,
    measure: dict[str, Any],
    where: str,
    events: pl.DataFrame,
    targets: pl.DataFrame,
) -> Figure:
    """One metric; measure is its row of the registry: name, unit, semi_additive."""
    name = measure["name"]
    return trend.lines(
        frame,
        on="period_start_on",
        series={"value": name},
        unit=measure["unit"],
        title=f"{name}, {where}",
        what=name[:1].lower() + name[1:] if not name[:3].isupper() else name,
        timing="stock" if measure["semi_additive"] else "",
        events=events,
        targets=targets,
        from_zero=False,
    )
