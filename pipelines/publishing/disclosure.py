"""How each published table is told to an audience whose small counts are hidden (disclosure.toml).

Frames in, frames out. Each told frame has the column `withheld` at its end: the columns of the row
that are empty because readers may not see them; null where none is. So nothing hidden is nought.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.publishing.suppression import (
    SCHEMA,
    Limits,
    Margin,
    column_lines,
    hidden_cells,
    row_lines,
)

FILE = Path(__file__).with_name("disclosure.toml")
METRICS, ESTIMATES = "marts.rpt_metrics_monthly", "statistics.metric_estimates"
WITHHELD = "withheld"
WITHHELD_TEXT = (
    "Columns of this row that are empty because this audience may not see them, by comma; null "
    "where none is. Empty is never nought. The rule: catalogue.build."
)
METRIC_KEYS = ("metric_id", "org_level", "org_code", "modality_group", "period_start_on")


@dataclass(frozen=True)
class Disclosure:
    """What disclosure.toml says, by table (`schema.name`)."""

    open: frozenset[str]
    empty: Mapping[str, str]
    rows: Mapping[str, str]
    counts: Mapping[str, Mapping[str, Any]]
    follows: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def load(cls, path: Path = FILE) -> "Disclosure":
        """Read the file; raises KeyError where one of its parts is missing."""
        told = tomllib.loads(path.read_text())
        return cls(
            frozenset(told["open"]), told["empty"], told["rows"], told["counts"], told["follows"]
        )

    @cached_property
    def named(self) -> frozenset[str]:
        """Every table the file names."""
        return self.open | set(self.empty) | set(self.rows) | set(self.counts) | set(self.follows)

    def own_column(self, table: str) -> str | None:
        """The column that says whose a row is; None where nobody owns rows of the table."""
        told = self.counts.get(table) or next(iter(self.follows.get(table, ())), {})
        return told.get("own", "org_code") or None if told else None

    def is_masked(self, table: str) -> bool:
        """Figures of the table are hidden, so that its rows say which."""
        return table in self.counts or table in self.follows or table in self.empty

    def tell(self, tables: Mapping[str, pl.DataFrame], limits: Limits) -> dict[str, pl.DataFrame]:
        """The masked tables as the audience may see them, each with `withheld`.

        `tables` are their rows, by `schema.name`; what follows the metrics needs these too.
        """
        told = {}
        for name, spec in self.counts.items():
            parts = spec.get("adds_up", {}).get("table")
            if name in tables and parts in tables:
                told |= self._tell_with_parts(tables, name, parts, limits)
        for name, spec in self.counts.items():
            if name in tables and name not in told:
                told[name] = tell_counts(tables[name], spec, limits)
        if METRICS in told:
            values = told_values(told[METRICS], told.get(ESTIMATES))
            for name, rules in self.follows.items():
                if name in tables:
                    frame = told.get(name, tables[name])
                    for rule in rules:
                        frame = follow(frame, rule, values)
                    told[name] = frame
        for name in self.empty:
            if name in tables:
                told[name] = _with_withheld(tables[name].clear(), {})
        return told

    def _tell_with_parts(
        self, tables: Mapping[str, pl.DataFrame], name: str, parts: str, limits: Limits
    ) -> dict[str, pl.DataFrame]:
        """Both tables of periods and their parts, hidden as one, each in its own rows and columns."""
        rule, spec = self.counts[name]["adds_up"], self.counts[parts]
        part, period = rule["part"], rule["period"]
        begins = tables[name].select(pl.col(period).unique().sort())
        fine = tables[parts].with_row_index("row").sort(part)
        fine = fine.join_asof(begins, left_on=part, right_on=period, coalesce=False).sort("row")
        whole = tables[name].with_columns(
            pl.col(period).alias(part), *(pl.lit(v).alias(k) for k, v in rule["alike"].items())
        )
        grain = "grain_of_the_row"
        both = pl.concat(
            [fine.with_columns(pl.lit(parts).alias(grain)),
             whole.with_columns(pl.lit(name).alias(grain))],
            how="diagonal_relaxed",
        )  # fmt: skip
        told = tell_counts(
            both,
            {**spec, "keys": [*spec["keys"], period, grain],
             "totals": {f"{grain} {part}": name, **spec["totals"]}},
            limits,
        )  # fmt: skip
        return {
            one: told.filter(pl.col(grain) == one).select(*tables[one].columns, WITHHELD)
            for one in (name, parts)
        }


def tell_counts(frame: pl.DataFrame, spec: Mapping[str, Any], limits: Limits) -> pl.DataFrame:
    """The rows of a table of counts as they may be told, in their order, with `withheld`.

    `spec` is its part of disclosure.toml. Counts are hidden or rounded, ratios made of the rounded
    parts, other figures emptied where a part is hidden. A null count stays null and is not named.
    """
    if "only" in spec:
        frame = frame.filter(pl.sql_expr(spec["only"]))
    counts = spec["counts"]
    about_people = frame.with_columns(_about_people(spec))["about people"]
    hidden = pl.DataFrame(
        dict(zip(counts, _hidden(frame, spec, limits, about_people.to_numpy()), strict=True))
    )
    rows = pl.concat(
        [
            frame,
            hidden.rename(lambda name: f"{name} hidden"),
            pl.DataFrame({"about people": about_people}),
        ],
        how="horizontal",
    )
    gone = {name: pl.col(f"{name} hidden") for name in counts}
    # a count that readers have for less than it is would be told by what it stands against
    for told in (spec.get("ratios", {}), spec.get("figures", {})):
        gone |= {
            name: pl.any_horizontal(pl.col(f"{part} hidden") for part in parts)
            for name, parts in told.items()
        }
    if beside := spec.get("beside"):
        gone |= _beside(spec, beside, gone)
    shown = rows.with_columns(
        pl.when(gone[name])
        .then(None)
        .when(pl.col("about people"))
        .then(limits.rounded(pl.col(name)).cast(frame.schema[name]))
        .otherwise(pl.col(name))
        .alias(name)
        for name in counts
    )
    shown = shown.with_columns(
        pl.when(gone[name]).then(None).otherwise(_ratio(name, parts)).alias(name)
        for name, parts in spec.get("ratios", {}).items()
    ).with_columns(
        pl.when(gone[name]).then(None).otherwise(pl.col(name)).alias(name)
        for name in gone
        if name not in counts and name not in spec.get("ratios", {})
    )
    flags = [gone[part].alias(flag) for flag, part in spec.get("flags", {}).items()]
    shown = shown.with_columns(flags)
    was = {name: frame[name].is_not_null() for name in gone}
    named = rows.select(gone[name].alias(name) for name in gone)
    lost = {name: named[name] & was[name] for name in gone}
    return _with_withheld(shown.select(frame.columns), lost)


def follow(frame: pl.DataFrame, rule: Mapping[str, Any], values: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table made of metrics, with what hidden ones would tell emptied.

    `values` are those of told_values. A row whose metric is told nowhere is taken as hidden.
    """
    if WITHHELD not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias(WITHHELD))
    keys = {
        key: pl.lit(name[1:]) if name.startswith("=") else pl.col(name)
        for key, name in rule["key"].items()
    }
    found = frame.select(**keys).join(values, on=METRIC_KEYS, how="left", maintain_order="left")
    has_key = frame.select(pl.all_horizontal(e.is_not_null() for e in keys.values())).to_series()
    is_hidden = (found["is_hidden"].fill_null(True) & has_key).alias("is hidden")
    lost = dict.fromkeys(rule["empties"], is_hidden)
    if "series" in rule:
        over = frame.select(rule["series"]["over"]).with_columns(is_hidden)
        any_hidden = over.select(pl.col("is hidden").any().over(rule["series"]["over"]))
        lost |= dict.fromkeys(rule["series"]["empties"], any_hidden.to_series())
    if "whole" in rule:
        series = METRIC_KEYS[:-1]
        months = values.group_by(series).agg(pl.col("is_hidden").any().alias("any"))
        joined = frame.select(**keys).join(months, on=series, how="left", maintain_order="left")
        lost |= dict.fromkeys(rule["whole"], joined["any"].fill_null(True))
    shown = frame.with_columns(
        pl.when(found["is_hidden"].is_null() | frame[name].is_null())
        .then(pl.col(name))
        .otherwise(found["value"])
        .alias(name)
        for name in rule.get("takes", ())
    )
    was = {name: frame[name].is_not_null() for name in lost}
    shown = shown.with_columns(
        pl.when(gone).then(None).otherwise(pl.col(name)).alias(name) for name, gone in lost.items()
    )
    return _with_withheld(shown, {name: gone & was[name] for name, gone in lost.items()})


def told_values(metrics: pl.DataFrame, estimates: pl.DataFrame | None) -> pl.DataFrame:
    """One row per metric, organisation, modality and month: the told value and `is_hidden`."""
    is_hidden = pl.col(WITHHELD).fill_null("").str.split(", ").list.contains("value")
    series = [metrics] if estimates is None else [metrics, estimates]
    return pl.concat([frame.select(*METRIC_KEYS, "value", is_hidden=is_hidden) for frame in series])


def _about_people(spec: Mapping[str, Any]) -> pl.Expr:
    exempt = [pl.col(name).is_in(list(of)) for name, of in spec.get("exempt", {}).items()]
    return (~pl.any_horizontal(exempt) if exempt else pl.lit(True)).alias("about people")


def _hidden(
    frame: pl.DataFrame, spec: Mapping[str, Any], limits: Limits, about_people: np.ndarray
) -> list[np.ndarray]:
    """For each count of the table, which rows hide it."""
    counts, height = spec["counts"], frame.height
    sizes = [
        np.where(about_people, frame[name].cast(pl.Float64).fill_null(0).to_numpy(), 0.0)
        for name in counts
    ]
    margins = _margins(spec)
    one = row_lines(frame, spec["keys"], margins)
    width = one["line"].n_unique()
    lines = [pl.DataFrame(schema=SCHEMA)]
    elsewhere = spec.get("elsewhere", {})
    for n, name in enumerate(counts):
        # what stands in every row of a line, as the whole that a share is of, adds up to nothing
        apart = [
            number
            for number, margin in enumerate(margins)
            if margin.is_told_elsewhere and name not in elsewhere[margin.along[0]]
        ]
        lines.append(
            one.filter(~pl.col("margin").is_in(apart)).with_columns(
                pl.col("margin") + n * len(margins),
                pl.col("line") + n * width,
                pl.col("cell") + n * height,
            )
        )
    lines.append(
        column_lines(
            height,
            counts,
            spec.get("columns", ()),
            first=width * len(counts),
            margin=len(margins) * len(counts),
        )
    )
    found = hidden_cells(
        np.concatenate(sizes), pl.concat(lines), limits, _twins(frame, spec, sizes)
    )
    return np.split(found, len(counts))


def _levels(spec: Mapping[str, Any]) -> list[str]:
    return spec.get("levels", ["org_level", "org_code"])


def _margins(spec: Mapping[str, Any]) -> list[Margin]:
    """What adds up: modalities and the like first, then organisations to the network."""
    held = spec.get("held", ())
    found = [
        Margin(tuple(along.split()), pl.col(along.split()[0]) == total, is_held=along in held)
        for along, total in spec.get("totals", {}).items()
    ]
    found += [
        Margin((along,), pl.lit(False), is_told_elsewhere=True)
        for along in spec.get("elsewhere", ())
    ]
    if levels := _levels(spec):
        level = pl.col(levels[0])
        found += [
            Margin(tuple(levels), level == "network", level.is_in(["network", parts]), is_held=True)
            for parts in ("party", "trust")
        ]
    return found


def _twins(
    frame: pl.DataFrame, spec: Mapping[str, Any], sizes: Sequence[np.ndarray]
) -> np.ndarray | None:
    """Numbers of cells that tell one count twice: of a trust, and of the party of the same code."""
    levels = _levels(spec)
    if not levels:
        return None
    keys = [name for name in spec["keys"] if name != levels[0]]
    found, first = [], 0
    for size in sizes:
        told = frame.select(keys).with_columns(pl.Series("size", size)).select(pl.struct(pl.all()))
        _, twin = np.unique(told.to_series().hash().to_numpy(), return_inverse=True)
        found.append(twin + first)
        first += len(twin)
    return np.concatenate(found)


def _ratio(name: str, parts: Sequence[str]) -> pl.Expr:
    """A count as it is told, a ratio of told parts, or a percentile, which is made of no parts."""
    above, below = (pl.col(part) for part in parts)
    return (
        pl.when(~pl.col("about people") | pl.col(name).is_null() | above.is_null())
        .then(pl.col(name))
        .when(below.is_null())
        .then(above.cast(pl.Float64))
        .otherwise(above / below)
    )


def _beside(
    spec: Mapping[str, Any], beside: Mapping[str, Any], gone: Mapping[str, pl.Expr]
) -> dict[str, pl.Expr]:
    """Figures against one row of the group, emptied in the whole group where that row is hidden."""
    (column, value), *_ = beside["row"].items()
    others = [name for name in spec["keys"] if name != column]
    flag = next(iter(spec["flags"].values()))
    there = ((pl.col(column) == value) & gone[flag]).any().over(others)
    return {name: there | gone.get(name, pl.lit(False)) for name in beside["columns"]}


def _with_withheld(frame: pl.DataFrame, lost: Mapping[str, pl.Series]) -> pl.DataFrame:
    """The frame with `withheld` naming what was lost, beside what it named before."""
    names = [pl.when(gone).then(pl.lit(name)) for name, gone in lost.items()]
    before = [pl.col(WITHHELD)] if WITHHELD in frame.columns else []
    said = pl.concat_str([*before, *names], separator=", ", ignore_nulls=True) if lost else None
    told = pl.lit(None, pl.String) if said is None else pl.when(said != "").then(said)
    return frame.with_columns(told.alias(WITHHELD))
