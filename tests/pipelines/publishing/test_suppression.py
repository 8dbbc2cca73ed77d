"""Hidden counts: a failure here means that a reader gets one back with a subtraction."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.publishing.suppression import (
    Limits,
    Margin,
    column_lines,
    hidden_cells,
    row_lines,
)

BOARD = Limits(lowest=1, highest=4, base=5, needs_secondary=True)
KEYS = ("org_level", "org_code", "modality", "month")
MARGINS = (
    Margin(("org_level", "org_code"), pl.col("org_level") == "network", is_held=True),
    Margin(("modality",), pl.col("modality") == "All"),
)


def table(counts: dict[tuple[str, str, str], int]) -> pl.DataFrame:
    """Rows of organisation, modality and month with the totals that are published beside them."""
    orgs, modalities, months = (sorted({key[n] for key in counts}) for n in range(3))
    rows = [
        {
            "org_level": "network" if org == "NETWORK" else "trust",
            "org_code": org,
            "modality": modality,
            "month": month,
            "size": sum(
                count
                for (at, of, when), count in counts.items()
                if org in (at, "NETWORK") and modality in (of, "All") and when == month
            ),
        }
        for org, modality, month in product([*orgs, "NETWORK"], [*modalities, "All"], months)
    ]
    return pl.DataFrame(rows)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    orgs = "ABCDEF"[: draw(st.integers(1, 6))]
    modalities = ("CT", "MRI", "US", "XR")[: draw(st.integers(1, 4))]
    places = list(product(orgs, modalities, ("1", "2")))
    sizes = st.one_of(st.integers(0, 6), st.integers(0, 200))
    return table(dict(zip(places, draw(st.tuples(*[sizes] * len(places))), strict=True)))


def lines_of(rows: pl.DataFrame) -> Iterator[tuple[bool, list[int], int]]:
    """By hand: whether parts are held, the numbers of the rows that are parts, and of the total."""
    told = [*rows.with_row_index("n").iter_rows(named=True)]
    for total in told:
        if total["org_code"] == "NETWORK":
            same = ("modality", "month")
            parts = [r for r in told if r["org_code"] != "NETWORK"]
            yield True, [r["n"] for r in parts if all(r[k] == total[k] for k in same)], total["n"]
        if total["modality"] == "All":
            same = ("org_code", "month")
            parts = [r for r in told if r["modality"] != "All"]
            yield False, [r["n"] for r in parts if all(r[k] == total[k] for k in same)], total["n"]


def got_back(
    sizes: list[int], hidden: np.ndarray, parts: list[int], total: int, known: int | None
) -> list[int]:
    """Cells of a line whose count follows from what is shown and from one that a reader holds.

    A hidden count is 1 or more: a nought is shown.
    """
    unknown = [n for n in parts if hidden[n] and n != known]
    if hidden[total]:
        # who sees every part has the total; a lone holder of all that is counted has it anyway
        counted = [n for n in parts if sizes[n]]
        return [total] if not unknown and counted != [known] and sizes[total] else []
    left = sum(sizes[n] for n in unknown)
    if len(unknown) == 1 or left == len(unknown):
        return unknown
    return unknown if 0 < left <= BOARD.highest else []


@settings(max_examples=40, deadline=None)
@given(tables())
def test_no_subtraction_from_a_total_gives_a_hidden_count_back(rows: pl.DataFrame):
    """Failing means that a board member, or a trust that knows its own count, reads a small one."""
    sizes = rows["size"].to_list()
    hidden = hidden_cells(np.array(sizes, dtype=float), row_lines(rows, KEYS, MARGINS), BOARD)
    small = {n for n, size in enumerate(sizes) if 1 <= size <= 4}
    assert small <= {n for n in range(len(sizes)) if hidden[n]}
    assert not any(hidden[n] for n, size in enumerate(sizes) if size == 0)
    if not small:
        assert not hidden.any(), "nothing small, nothing hidden"
    for is_held, parts, total in lines_of(rows):
        readers = [None, *(n for n in parts if is_held)]
        for known in readers:
            assert got_back(sizes, hidden, parts, total, known) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=5, max_size=5), min_size=1, max_size=4))
def test_columns_that_add_up_protect_each_other(rows: list[list[int]]):
    """Failing means that a band of the waiting list is the list less the other bands."""
    names = ("a", "b", "c", "d", "list", "long")
    columns = {name: [row[n] for row in rows] for n, name in enumerate("abcd")}
    columns["list"] = [sum(row[:4]) for row in rows]
    columns["long"] = [row[2] + row[3] for row in rows]
    sizes = [columns[name][n] for name in names for n in range(len(rows))]
    adds_up = (("list", ("a", "b", "c", "d")), ("long", ("c", "d")))
    lines = column_lines(len(rows), names, adds_up)
    hidden = hidden_cells(np.array(sizes, dtype=float), lines, BOARD)
    for total, parts in adds_up:
        for n in range(len(rows)):
            cells = [names.index(name) * len(rows) + n for name in (*parts, total)]
            assert got_back(sizes, hidden, cells[:-1], cells[-1], None) == []


def test_a_count_told_twice_is_hidden_twice():
    """Failing means that a party shows what its trust, which is the same place, hides."""
    sizes = np.array([30.0, 9.0, 3.0, 9.0, 21.0])
    lines = column_lines(1, ("total", "a", "b"), [("total", ("a", "b"))])
    hidden = hidden_cells(sizes, lines, BOARD, np.array([0, 1, 2, 1, 4]))
    assert hidden.tolist() == [False, True, True, True, False]


def test_a_difference_that_balances_another_takes_its_total_along():
    """Failing means that a trust reads the net demand of the only other one off a total of nought."""
    counts = table({("A", "CT", "1"): 3, ("B", "CT", "1"): 3})
    signed = pl.col("size") * pl.when(pl.col("org_code") == "B").then(-1).otherwise(1)
    is_network = pl.col("org_code") == "NETWORK"
    sizes = counts.select(pl.when(is_network).then(0).otherwise(signed)).to_series().to_numpy()
    assert hidden_cells(sizes.astype(float), row_lines(counts, KEYS, MARGINS), BOARD).all()


def test_differences_and_minutes_are_hidden_by_their_size():
    """Failing means that a net demand of minus three, or half an hour's fraction, is told."""
    told = BOARD.is_small(np.array([-3.0, 0.0, 0.4, 4.5, 5.0, 1.0]))
    assert told.tolist() == [True, False, True, True, False, True]


def test_counts_are_rounded_to_the_nearest_multiple():
    """Failing means that a rounded count is no multiple of its base, or leans to one side."""
    counts = pl.DataFrame({"n": [0, 5, 7, 8, 12, -7, -8, 1003]})
    told = counts.select(BOARD.rounded(pl.col("n")))["n"].to_list()
    assert told == [0, 5, 5, 10, 10, -5, -10, 1005]


@pytest.mark.parametrize("limits", [(0, 4, 5), (5, 4, 5), (1, 4, 0)])
def test_limits_that_hide_nothing_are_refused(limits: tuple[int, int, int]):
    """Failing means that a slip in the seed publishes every small number."""
    with pytest.raises(ValueError, match=r"audiences\.csv"):
        Limits(*limits, needs_secondary=True)
