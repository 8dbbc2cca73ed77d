"""What the truth tests compare, metric by metric: cells, the value of both sides, and how far apart they lie."""

import os
from dataclasses import dataclass

import duckdb
import polars as pl

WORDS = {"party_code": "party", "modality_group": "modality"}
Allowed = float | pl.Expr
PARTS = ("numerator", "denominator", "value")


@dataclass(frozen=True)
class Comparison:
    """One metric compared by one test.

    `cells` counts the keys (`by`) for which both sides have a value. `told` and `true` are the quotient of
    sums over these cells, of a count its sum, of a percentile the median cell; `apart` is the largest
    difference of a cell.
    """

    metric_id: str
    test: str
    by: str
    cells: int
    told: float | None
    true: float | None
    apart: float | None


# In the order of the tests that ran in this process.
COMPARED: list[Comparison] = []


def published_cells(
    connection: duckdb.DuckDBPyConnection,
    metric_id: str,
    level: str = "network",
    by_modality: bool = False,
) -> pl.DataFrame:
    """One row per organisation of a level and month of a metric: its parts and value.

    Of all modalities, or `by_modality` one row for each of them, without their sum.
    """
    return connection.sql(
        "select org_code as party_code, modality_group, period_start_on as month, "
        "numerator, denominator, value from marts.rpt_metrics_monthly where metric_id = ? "
        "and org_level = ? and (modality_group <> 'All') = ? order by all",
        params=[metric_id, level, by_modality],
    ).pl()


def apart(
    metric_id: str,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    by: list[str],
    allowed: Allowed | dict[str, Allowed] = 1e-9,
) -> pl.DataFrame:
    """The cells that differ by more than allowed, or that one side lacks; what was compared is kept.

    Both frames have the keys `by` and either numerator and denominator (empty of a count), or value.
    `allowed` may use any column of the true side, and be told for each part; a part that it does not
    name must be equal.
    """
    parts = [name for name in PARTS if name in expected.columns]
    others = [name for name in expected.columns if name not in (*by, *parts)]
    sides = [
        rows.select(*by, *kept, pl.col(parts).cast(pl.Float64))
        for rows, kept in ((expected, others), (found, []))
    ]
    both = sides[0].join(sides[1], on=by, how="full", suffix="_found", coalesce=True)
    _keep(metric_id, both, parts, by)
    limits = allowed if isinstance(allowed, dict) else dict.fromkeys(parts, allowed)
    wrong = [
        ((pl.col(name) - pl.col(f"{name}_found")).abs() > limits.get(name, 1e-9))
        | (pl.col(name).is_null() != pl.col(f"{name}_found").is_null())
        for name in parts
    ]
    return both.filter(pl.any_horizontal(wrong).fill_null(False)).sort(by)


def _keep(metric_id: str, both: pl.DataFrame, parts: list[str], by: list[str]) -> None:
    whole, cell = [], []
    is_count = "denominator" in parts and both["denominator"].null_count() == len(both)
    for end in ("", "_found"):
        if "value" in parts:
            cell.append(pl.col(f"value{end}"))
            whole.append(pl.col(f"value{end}").median())
        elif is_count:
            cell.append(pl.col(f"numerator{end}"))
            whole.append(pl.col(f"numerator{end}").sum())
        else:
            above, below = pl.col(f"numerator{end}"), pl.col(f"denominator{end}")
            cell.append(pl.when(below != 0).then(above / below))
            whole.append(above.sum() / below.sum())
    cells = both.filter(pl.all_horizontal(one.is_not_null() for one in cell))
    figures = cells.select(true=whole[0], told=whole[1], apart=(cell[0] - cell[1]).abs().max()).row(
        0, named=True
    )
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
    COMPARED.append(
        Comparison(
            metric_id, test, ", ".join(WORDS.get(key, key) for key in by), len(cells), **figures
        )
    )
