"""How far apart trusts are; a failure here blames, or praises, a trust for a handful of patients."""

from datetime import date

import polars as pl
import pytest

from pipelines.statistics.spread import LEAST_SIZE, between_trusts
from pipelines.statistics.tables import TRUST_SPREAD

MONTH = date(2026, 3, 1)


def values(*trusts: tuple[str, float | None, float]) -> pl.DataFrame:
    """One row per trust: code, value, patients."""
    return pl.DataFrame(
        [("W02", "All", MONTH, *trust) for trust in trusts],
        schema={
            "metric_id": pl.String,
            "modality_group": pl.String,
            "period_start_on": pl.Date,
            "trust_code": pl.String,
            "value": pl.Float64,
            "size": pl.Float64,
        },
        orient="row",
    )


def test_the_ends_and_the_middle_half_are_told_with_their_trusts():
    """Failing means that a board reads another gap, or another trust, than there is."""
    found = between_trusts(
        values(("A", 0.1, 40), ("B", 0.5, 300), ("C", 0.2, 50), ("D", 0.3, 60), ("E", 0.4, 70))
    )
    row = found.row(0, named=True)
    assert (row["trust_count"], row["left_out_count"]) == (5, 0)
    assert (row["lowest_trust_code"], row["lowest_size"]) == ("A", 40)
    assert (row["highest_trust_code"], row["highest_size"]) == ("B", 300)
    told = [row[n] for n in ("lowest", "lower_quartile", "upper_quartile", "highest")]
    assert told == pytest.approx([0.1, 0.2, 0.4, 0.5])
    assert (row["gap"], row["quartile_gap"]) == pytest.approx((0.4, 0.2))


def test_a_trust_of_a_few_patients_is_at_neither_end():
    """Failing means that one late patient makes a trust the worst of the network."""
    found = between_trusts(
        values(("A", 1.0, LEAST_SIZE - 1), ("B", 0.5, LEAST_SIZE), ("C", 0.2, 90), ("D", None, 90))
    )
    row = found.row(0, named=True)
    assert (row["trust_count"], row["left_out_count"], row["highest"]) == (2, 2, 0.5)
    assert row["lower_quartile"] is row["quartile_gap"] is None, "no middle half of two trusts"


def test_one_trust_is_no_spread():
    """Failing means that a network whose trusts cannot be compared looks perfectly even."""
    assert between_trusts(values(("A", 0.1, 90), ("B", 0.9, 2))).is_empty()
    assert between_trusts(values()).is_empty()


def test_the_spread_has_the_columns_that_are_described():
    """Failing means that the data dictionary describes another table."""
    found = between_trusts(values(("A", 0.1, 40), ("B", 0.5, 300)))
    assert found.columns == [name for name, *_ in TRUST_SPREAD["columns"]]
