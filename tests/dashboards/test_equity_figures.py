"""The sentence above a figure by group of patients: what a board member repeats."""

from datetime import date

import polars as pl
import pytest
from published_build import GROUPS

from dashboards.components import equity_figures

MEASURES = {one.metric_id: one for one in equity_figures.MEASURES}
QUINTILES = GROUPS["deprivation_quintile"]


def rows(*values: float | None, withheld: tuple[str, ...] = ()) -> pl.DataFrame:
    """One row per quintile with 20 to 25 patients; a gap where it and the fifth have a value."""
    told = [None if name in withheld else v for name, v in zip(QUINTILES, values, strict=True)]
    least = told[4]
    known = [name != "Unknown" for name in QUINTILES]
    gaps = [
        None if v is None or least is None or not k else v - least
        for v, k in zip(told, known, strict=True)
    ]
    return pl.DataFrame(
        {
            "period_start_on": [date(2026, 3, 1)] * 6,
            "patient_group": QUINTILES,
            "denominator": [None if n in withheld else 20 + k for k, n in enumerate(QUINTILES)],
            "value": told,
            "gap_to_least_deprived": gaps,
            "least_deprived_denominator": [None if least is None else 24] * 6,
            "known_rate": [None if "Unknown" in withheld else 0.9] * 6,
            "is_group_known": known,
            "is_withheld": [name in withheld for name in QUINTILES],
        },
        schema_overrides={"value": pl.Float64, "gap_to_least_deprived": pl.Float64},
    )


def said(frame: pl.DataFrame, metric_id: str = "W05") -> str:
    return equity_figures.bars(frame, MEASURES[metric_id], "deprivation_quintile", "GM").takeaway


@pytest.mark.parametrize(
    ("metric_id", "first", "told"),
    [
        ("W05", 24.0, "24 days of 20 tests; least deprived fifth: 21 days of 24 tests; the most "),
        ("R01", 24.0, "the most deprived 3 hours higher."),
        ("W05", 21.0, "21 days of 24 tests; no difference."),
        ("W05", 19.5, "the most deprived 1.5 days lower."),
        ("W02", 21.0045, "the most deprived 0.45 points higher."),
    ],
)
def test_the_gap_stands_between_the_most_and_the_least_deprived_with_both_sizes(
    metric_id, first, told
):
    """Failing means that a board is told of a gap of the wrong size, sign or unit."""
    assert told in said(rows(first, 30.0, 30.0, 30.0, 21.0, 99.0), metric_id)


@pytest.mark.parametrize("gone", [QUINTILES[0], QUINTILES[4]])
def test_without_one_end_no_gap_is_told(gone):
    """Failing means that the second fifth is called the most deprived, or a withheld one is told."""
    text = said(rows(24.0, 30.0, 29.0, 28.0, 21.0, 99.0, withheld=(gone, "3")))
    assert "fifth" not in text and "99" not in text
    assert text.startswith("From ") and "30 days of 21 tests (2) in March 2026." in text


def test_of_one_group_nothing_is_compared():
    """Failing means that a group is compared with itself."""
    frame = rows(24.0, 30.0, 29.0, 28.0, 21.0, 99.0, withheld=tuple(QUINTILES[1:]))
    assert said(frame) == "Fewer than two groups have a value that may be told."
    drawn = equity_figures.bars(frame, MEASURES["W05"], "deprivation_quintile", "GM")
    assert "For how many the deprivation quintile is known is withheld" in drawn.notes[0]
    assert equity_figures.WITHHELD in drawn.notes
