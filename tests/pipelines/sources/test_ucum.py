"""Units of dose and time, as reports write them."""

from decimal import Decimal

import pytest

from pipelines.sources.ucum import factor


@pytest.mark.parametrize(
    ("unit", "wanted", "expected"),
    [
        ("mGy", "mGy", "1"),
        ("Gy", "mGy", "1000"),
        ("uGy", "mGy", "0.001"),
        ("mGy.cm", "mGy.cm", "1"),
        ("Gy.cm", "mGy.cm", "1000"),
        ("mGy.m", "mGy.cm", "100"),
        ("cm.mGy", "mGy.cm", "1"),
        ("Gy.m2", "Gy.m2", "1"),
        ("dGy.cm2", "Gy.m2", "0.00001"),
        ("cGy.cm2", "Gy.m2", "0.000001"),
        ("uGy.m2", "Gy.m2", "0.000001"),
        ("Gy.cm2", "Gy.m2", "0.0001"),
        ("ms", "s", "0.001"),
        ("min", "s", "60"),
        ("h", "s", "3600"),
        ("{events}", "1", "1"),
        ("1", "1", "1"),
    ],
)
def test_a_unit_is_converted_exactly(unit: str, wanted: str, expected: str):
    """Failing means that a dose is wrong by a power of ten."""
    assert factor(unit, wanted) == Decimal(expected)


@pytest.mark.parametrize(
    "unit",
    [
        "",
        "mGycm",
        "mGy*cm",
        "mGy/cm",
        "mgy.cm",
        "mSv",
        "mGy.cm2",
        "Gy",
        "cm",
        "xGy.cm",
        "mGy..cm",
        "1",
    ],
)
def test_what_is_not_a_unit_of_dose_length_product_is_not_guessed(unit: str):
    """Failing means that a number of unknown size passes for a dose."""
    assert factor(unit, "mGy.cm") is None
