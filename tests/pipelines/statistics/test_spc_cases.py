"""Control charts against the R package NHSRplotthedots 0.2.2; a failure here is a wrong chart.

spc_cases.json (its `meta` says how it was made) has 26 series with what the package found: series
of its vignettes and tests (MIT), of the open attendances of NHSRdatasets 0.3.3 (CC0), and
synthetic ones. The icons are those of the calculation; what pages withhold is not in it.
"""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipelines.statistics import spc

CASES = json.loads((Path(__file__).parent / "spc_cases.json").read_text())
NUMBERS = ("mean", "lpl", "upl", "near_lpl", "near_upl")
FLAGS = (
    "rebase_group",
    "outside_limits",
    "relative_to_mean",
    "close_to_limits",
    "special_cause_type",
    "special_cause_flag",
    "point_type",
    "short_group_warning",
)


def days(texts: list[str] | None) -> list[date]:
    return [date.fromisoformat(text) for text in texts or ()]


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["id"])
def test_a_chart_is_that_of_the_published_package(case):
    """Failing means that a board sees another signal than the national method gives."""
    given, expected = case["input"], case["expected"]
    chart = spc.analyse(
        given["y"],
        days(given["x"]),
        improvement=given["improvement_direction"],
        target=given["target"],
        rebase=days(given["rebase"]),
        fix_after_n_points=given["fix_after_n_points"],
        screen_outliers=given["screen_outliers"],
    )
    assert chart.points["date"].to_list() == days(expected["x"])
    for name in NUMBERS:
        found = chart.points[name].to_list()
        assert [v is None for v in found] == [v is None for v in expected[name]], name
        pairs = [(f, e) for f, e in zip(found, expected[name], strict=True) if e is not None]
        assert [f for f, _ in pairs] == pytest.approx([e for _, e in pairs], rel=1e-9, abs=1e-9)
    for name in FLAGS:
        assert chart.points[name].to_list() == expected[name], name
    for name in ("variation_icon", "assurance_type", "assurance_icon"):
        assert getattr(chart, name) == expected[name], name


@pytest.mark.parametrize("case", CASES["unit"]["seven_point_trend"], ids=str)
def test_a_trend_is_completed_where_the_package_completes_it(case):
    """Failing means that a trend is seen a month early, or late."""
    values = np.array(case["in"], dtype=float)
    assert spc.trend_completed(values, np.arange(len(values))).tolist() == case["out"]


@pytest.mark.parametrize("case", CASES["unit"]["two_in_three"], ids=str)
def test_two_in_three_are_those_of_the_package(case):
    """Failing means that two points near their limit are overlooked, or one alone is a signal."""
    close, side = np.array(case["close"], dtype=bool), np.array(case["rtm"])
    windows = spc.two_in_three(close, side, np.arange(len(side)))
    assert windows.astype(int).tolist() == case["out"]
    assert (windows & close).astype(int).tolist() == case["part"]
