"""How much of what the board's pages show is hidden from it, counted on a published file.

    python -m benchmarks.hidden_cells var/published network

A cell is a figure of a row that a page asks for and that the rule of small counts may hide: counts,
ratios and figures of disclosure.toml. Cells of tables that are told as they are do not count, or
they would make the share look small. Every organisation a reader may choose is asked for, over all
months.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.dashboard_queries import CHOSEN_BY_PAGE, every_query
from dashboards.contents import ENTRIES
from dashboards.data.filters import ALL_MONTHS, Filters, month_bounds
from dashboards.data.published import WITHHELD, Build, current_build
from dashboards.data.queries import organisations
from pipelines.publishing.disclosure import Disclosure

VIEWS = Path(__file__).parents[1] / "dashboards" / "views"
AIM = 0.2


def measure(published: Path, audience: str = "network") -> pl.DataFrame:
    """One row per page of the board and its query: view, query, cells, hidden, share (0 to 1).

    Raises FileNotFoundError where nothing is published.
    """
    build = current_build(published, audience)
    if build is None:
        raise FileNotFoundError(f"{published} holds no published build")
    readers, queries = list(_readers(build)), every_query()
    may_hide, rows = _hideable(), []
    for entry in (one for one in ENTRIES if one.reader == "Board"):
        for name in queries_of(entry.view):
            found = [_cells(frame, may_hide) for frame in _asked(queries[name], build, readers)]
            rows.append((entry.view, name, *map(sum, zip(*found, strict=True))))
    told = pl.DataFrame(rows, ["view", "query", "cells", "hidden"], orient="row")
    return told.with_columns(share=pl.col("hidden") / pl.col("cells"))


def share(told: pl.DataFrame) -> float:
    """The hidden cells of all rows of measure() over all its cells, 0 to 1."""
    cells, hidden = told.select(pl.col("cells", "hidden").sum()).row(0)
    return hidden / cells if cells else 0.0


def queries_of(view: str) -> list[str]:
    """The stored queries a view asks, as "module.function", in the order of their names."""
    tree = ast.parse((VIEWS / f"{view}.py").read_text(encoding="utf-8"))
    known = every_query()
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return sorted(called & set(known))


def _readers(build: Build) -> Iterator[Filters]:
    for row in organisations.choices(build).iter_rows(named=True):
        level, code, name = row["org_level"], row["org_code"], row["org_name"]
        if months := organisations.months(build, level, code):
            yield Filters(level, code, name, "All", *month_bounds(months, ALL_MONTHS))


def _asked(
    query: Callable[..., pl.DataFrame], build: Build, readers: list[Filters]
) -> Iterator[pl.DataFrame]:
    names = list(inspect.signature(query).parameters)[1:]
    for reader in readers if "filters" in names else readers[:1]:
        known: dict[str, Any] = CHOSEN_BY_PAGE | {"filters": reader}
        yield query(build, **{name: known[name] for name in names})


def _hideable() -> frozenset[str]:
    """Names of the columns that the rule may empty."""
    disclosure = Disclosure.load()
    found: set[str] = set()
    for spec in disclosure.counts.values():
        found |= {*spec["counts"], *spec.get("ratios", {}), *spec.get("figures", {})}
    for rules in disclosure.follows.values():
        for rule in rules:
            found |= {*rule["empties"], *rule.get("takes", ()), *rule.get("whole", ())}
    return frozenset(found)


def _cells(frame: pl.DataFrame, may_hide: frozenset[str]) -> tuple[int, int]:
    if WITHHELD not in frame.columns:
        return 0, 0
    names = [name for name in frame.columns if name in may_hide]
    told = frame[WITHHELD].fill_null("").str.split(", ")
    hidden = sum(int(told.list.contains(name).sum()) for name in names)
    shown = sum(frame[name].count() for name in names)
    return shown + hidden, hidden


if __name__ == "__main__":
    told = measure(Path(sys.argv[1]), *sys.argv[2:3])
    for row in told.filter(pl.col("cells") > 0).iter_rows(named=True):
        print(f"{row['view']} {row['query']}: {row['hidden']:,} of {row['cells']:,} hidden "
              f"({row['share']:.1%})")  # fmt: skip
    print(f"hidden_share_of_the_board {share(told):.3f} (aim: at most {AIM})")
