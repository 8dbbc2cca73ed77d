"""Which counts readers may not see, nor get back by subtracting what they see from a total.

Pure: sizes and what adds up go in, which cells are hidden comes out. The rule is that of a reader
who knows every figure that is shown exactly, so it does not rest on rounding, and who may be one of
the parts: an organisation knows its own count (docs/decisions/0020).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

SCHEMA = pl.Schema(
    {
        "margin": pl.Int64(),
        "line": pl.Int64(),
        "cell": pl.Int64(),
        "is_total": pl.Boolean(),
        "is_held": pl.Boolean(),
    }
)


@dataclass(frozen=True)
class Limits:
    """What an audience may see of a count: `lowest` to `highest` are hidden, others are rounded.

    `base` is what counts are rounded to (1 rounds nothing). `needs_secondary` hides further cells
    where a total would tell a hidden one. Raises ValueError on limits that hide nothing or round
    to less than one.
    """

    lowest: int
    highest: int
    base: int
    needs_secondary: bool

    def __post_init__(self) -> None:
        """Refuse limits that make no sense."""
        if not 1 <= self.lowest <= self.highest or self.base < 1:
            raise ValueError(
                f"counts of {self.lowest} to {self.highest} cannot be hidden and others rounded to "
                f"{self.base}; see seeds/network/audiences.csv"
            )

    def is_small(self, sizes: np.ndarray) -> np.ndarray:
        """True where a count must be hidden; minutes and differences by their size."""
        found = np.abs(sizes)
        return (found > self.lowest - 1) & (found < self.highest + 1)

    def rounded(self, counts: pl.Expr) -> pl.Expr:
        """Counts to the nearest multiple of the base, halves away from nought."""
        return ((counts.abs() / self.base + 0.5).floor() * self.base) * counts.sign()


@dataclass(frozen=True)
class Margin:
    """One way in which rows add up: along `along`, to the row where `is_total` holds.

    Rows of a line agree in every other key. Only rows where `among` holds take part. `is_held`: a
    part is known to somebody who reads the other figures, as an organisation knows its own.
    `is_told_elsewhere`: readers have the total, though it is no row here.
    """

    along: tuple[str, ...]
    is_total: pl.Expr
    among: pl.Expr = field(default_factory=lambda: pl.lit(True))
    is_held: bool = False
    is_told_elsewhere: bool = False


def row_lines(rows: pl.DataFrame, keys: Sequence[str], margins: Sequence[Margin]) -> pl.DataFrame:
    """One row per line and row number of `rows` (SCHEMA; `cell` is the number of the row).

    A line without a total row tells nothing and has no rows here.
    """
    found, first = [pl.DataFrame(schema=SCHEMA)], 0
    for number, margin in enumerate(margins):
        stay = [name for name in keys if name not in margin.along]
        lines = (
            rows.with_row_index("cell")
            .filter(margin.among)
            .select(*stay, "cell", margin.is_total.alias("is_total"))
            .group_by(stay if stay else pl.lit(0).alias("every"))
            .agg("cell", "is_total")
            .filter(
                pl.lit(margin.is_told_elsewhere)
                | (pl.col("is_total").list.any() & (pl.col("cell").list.len() > 1))
            )
            .with_row_index("line", offset=first)
        )
        first += lines.height
        told = lines.select("line", "cell", "is_total").explode("cell", "is_total")
        named = told.with_columns(margin=pl.lit(number), is_held=pl.lit(margin.is_held))
        found.append(named.select(list(SCHEMA)).cast(SCHEMA))
    return pl.concat(found)


def column_lines(
    rows: int,
    columns: Sequence[str],
    adds_up: Sequence[tuple[str, Sequence[str]]],
    *,
    first: int = 0,
    margin: int = 0,
) -> pl.DataFrame:
    """One row per line and cell (SCHEMA) of columns that add up within a row, as bands to a list.

    A cell is the place of its column in `columns` times `rows`, plus the number of its row; lines
    are numbered from `first`, margins from `margin`. Without a name, the total is no column but
    known.
    """
    found = [pl.DataFrame(schema=SCHEMA)]
    numbers = pl.int_range(rows, eager=True, dtype=pl.Int64)
    for number, (total, parts) in enumerate(adds_up):
        for name in (*([total] if total else []), *parts):
            found.append(
                pl.DataFrame(
                    {
                        "margin": [margin + number] * rows,
                        "line": numbers + first,
                        "cell": numbers + columns.index(name) * rows,
                        "is_total": [name == total] * rows,
                        "is_held": [False] * rows,
                    },
                    schema=SCHEMA,
                )
            )
        first += rows
    return pl.concat(found)


def hidden_cells(
    sizes: np.ndarray, lines: pl.DataFrame, limits: Limits, twins: np.ndarray | None = None
) -> np.ndarray:
    """True for each cell that readers may not see.

    `sizes` are the counts (nan where there is none), `lines` what adds up (SCHEMA). Cells of one
    number in `twins` are the same count told twice: they are hidden together.
    """
    sizes = np.abs(np.nan_to_num(sizes))
    hidden = _together(limits.is_small(sizes), twins)
    if not limits.needs_secondary:
        return hidden
    margins = [_Lines.of(lines, sizes) for lines in lines.partition_by("margin")]
    while True:
        before = hidden.sum()
        # one margin after the other: what one hides often protects the next
        for margin in margins:
            margin.protect(hidden, limits.highest + 1)
            hidden = _together(hidden, twins)
        if hidden.sum() == before:
            return hidden


@dataclass(frozen=True)
class _Lines:
    """The lines of one margin, member by member in the order of their sizes."""

    line: np.ndarray
    cell: np.ndarray
    size: np.ndarray
    is_total: np.ndarray
    is_held: np.ndarray
    # hidden members of each line when it was last found to tell nothing
    settled: np.ndarray

    @classmethod
    def of(cls, lines: pl.DataFrame, sizes: np.ndarray) -> "_Lines":
        cell = lines["cell"].to_numpy()
        line = (lines["line"] - lines["line"].min()).to_numpy()
        held = np.bincount(line, lines["is_held"].to_numpy()) > 0
        total = lines["is_total"].to_numpy()
        counts = np.flatnonzero(total | (sizes[cell] > 0))
        order = counts[np.lexsort((cell[counts], sizes[cell[counts]], line[counts]))]
        settled = np.zeros(len(held), dtype=np.int64)
        return cls(line[order], cell[order], sizes[cell[order]], total[order], held, settled)

    def protect(self, hidden: np.ndarray, least: int) -> None:
        """Hide of each line that tells the smallest part still shown; where none is, its total."""
        width = len(self.is_held)
        changed = np.bincount(self.line[hidden[self.cell]], minlength=width) != self.settled
        while changed.any():
            kept = np.flatnonzero(changed[self.line])
            line, cell, size = self.line[kept], self.cell[kept], self.size[kept]
            total, gone = self.is_total[kept], hidden[cell]
            lost, left = ~total & gone, ~total & ~gone
            tells = _tells(line[lost], size[lost], self.is_held, least)
            total_gone = np.bincount(line[total & gone], minlength=width) > 0
            lost_count = np.bincount(line[lost], minlength=width)
            has_left = np.bincount(line[left], minlength=width) > 0
            # of a hidden total one part must be hidden with it, of two that somebody holds both
            open_total = has_left & ((lost_count == 0) | (self.is_held & (lost_count == 1)))
            tells = np.where(total_gone, open_total, tells)
            parts = np.flatnonzero(tells[line] & left)
            parts = parts[np.unique(line[parts], return_index=True)[1]]
            stuck = tells & ~has_left & ~total_gone
            # a total of nought over hidden parts is one of differences
            totals = np.flatnonzero(stuck[line] & total)
            hidden[cell[parts]] = True
            hidden[cell[totals]] = True
            counted = np.bincount(line[hidden[cell]], minlength=width)
            self.settled[changed] = counted[changed]
            changed = np.zeros(width, dtype=bool)
            changed[line[parts]] = True
            changed[line[totals]] = True


def _together(hidden: np.ndarray, twins: np.ndarray | None) -> np.ndarray:
    if twins is None:
        return hidden
    return (np.bincount(twins, hidden) > 0)[twins]


def _tells(line: np.ndarray, size: np.ndarray, held: np.ndarray, least: int) -> np.ndarray:
    """True for lines whose total, less what is shown, tells one hidden part or a small number.

    Of several hidden parts the sum is told. Each is at least 1, so their sum must exceed their
    number. Where parts are held, whoever holds the largest takes it off first.
    """
    width = len(held)
    count, total = np.bincount(line, minlength=width), np.bincount(line, size, width)
    largest = np.zeros(width)
    np.maximum.at(largest, line, size)
    alone = np.where(held, count <= 2, count == 1)
    left = np.where(held, total - largest, total)
    unknown = np.where(held, count - 1, count)
    return (count > 0) & (alone | (left < np.maximum(least, unknown + 1)))
