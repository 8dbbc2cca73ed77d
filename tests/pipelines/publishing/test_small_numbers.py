"""Small groups of patients: a failure here tells a reader who waits, though nobody meant to."""

from itertools import product

import polars as pl
import pytest

from pipelines.publishing.small_numbers import SmallNumbers, withhold
from pipelines.statistics.tables import STATISTICS_TABLES

SPEC = SmallNumbers(
    size="denominator",
    within=("metric_id", "period_start_on"),
    figures=("numerator", "denominator", "value", "gap_to_least_deprived"),
    against_least_deprived=("gap_to_least_deprived", "least_deprived_denominator"),
)
GROUPS = ("1 most deprived", "3", "5 least deprived", "Unknown")


def table(sizes: dict[tuple[str, str], tuple[int, ...]]) -> pl.DataFrame:
    """Rows of trusts and modalities given by the sizes of their GROUPS, with all their totals."""
    trusts, modalities = (sorted({key[n] for key in sizes}) for n in (0, 1))
    rows = []
    for trust, modality in product([*trusts, "NETWORK"], [*modalities, "All"]):
        inside = [
            found
            for (at, of), found in sizes.items()
            if trust in (at, "NETWORK") and modality in (of, "All")
        ]
        for n, group in enumerate(GROUPS):
            rows.append(
                {
                    "metric_id": "W02",
                    "org_level": "network" if trust == "NETWORK" else "trust",
                    "org_code": trust,
                    "modality_group": modality,
                    "patient_group": group,
                    "is_group_known": group != "Unknown",
                    "period_start_on": "2026-01-01",
                    "numerator": 1,
                    "denominator": sum(found[n] for found in inside),
                    "value": 0.1,
                    "known_rate": 0.9,
                    "gap_to_least_deprived": 0.01,
                    "least_deprived_denominator": 7,
                    "is_withheld": False,
                }
            )
    return pl.DataFrame(rows).filter(pl.col("denominator") > 0)


def withheld(frame: pl.DataFrame) -> set[tuple[str, str, str]]:
    hidden = frame.filter("is_withheld")
    return set(hidden.select("org_code", "modality_group", "patient_group").iter_rows())


def of(frame: pl.DataFrame, trust: str, group: str) -> dict:
    where = (pl.col("org_code") == trust) & (pl.col("patient_group") == group)
    return frame.filter(where & (pl.col("modality_group") == "All")).row(0, named=True)


def test_a_file_without_small_groups_is_told_as_it_is():
    """Failing means that readers miss figures that tell of nobody."""
    rows = table({("RMC", "CT"): (5, 6, 7, 8), ("RBV", "MRI"): (9, 9, 9, 9)})
    told = withhold(rows, SPEC, least=5)
    assert withheld(told) == set()
    assert told.sort(pl.all()).equals(rows.sort(pl.all()))


def test_a_small_group_goes_with_the_next_smallest_beside_it():
    """Failing means that the total of a trust less its other groups is the group that was hidden."""
    rows = table({("RMC", "CT"): (20, 3, 9, 12), ("RBV", "CT"): (30, 30, 30, 30)})
    told = withhold(rows, SPEC, least=5)
    hidden = {(trust, group) for trust, _, group in withheld(told)}
    # of RMC the group of 3 and the next, of 9; of RBV the same two, which the network would tell
    assert hidden == {(t, g) for t in ("RMC", "RBV") for g in ("3", "5 least deprived")}
    assert of(told, "RMC", "3")["value"] is of(told, "RMC", "3")["denominator"] is None
    assert of(told, "RMC", "1 most deprived")["denominator"] == 20
    assert of(told, "NETWORK", "3")["denominator"] == 33


def test_what_stands_against_a_withheld_group_goes_with_it():
    """Failing means that a gap, or the share that is known, tells what was withheld."""
    rows = table({("RMC", "CT"): (20, 30, 2, 3), ("RBV", "CT"): (30, 30, 30, 30)})
    told = withhold(rows, SPEC, least=5)
    shown = of(told, "RMC", "1 most deprived")
    assert not shown["is_withheld"] and shown["denominator"] == 20
    assert shown["gap_to_least_deprived"] is shown["least_deprived_denominator"] is None
    assert shown["known_rate"] is None
    assert of(told, "NETWORK", "1 most deprived")["known_rate"] == 0.9


def test_a_group_of_nobody_hides_nothing_and_nobody():
    """Failing means that a row is withheld to protect a group that has no patient."""
    rows = table({("RMC", "CT"): (20, 0, 9, 12), ("RBV", "CT"): (30, 30, 30, 30)})
    assert withheld(withhold(rows, SPEC, least=5)) == set()


def leaks(told: pl.DataFrame, exact: pl.DataFrame, least: int) -> list[tuple]:
    """Lines of a table whose total less what is shown is one row, or a number below `least`."""
    keys = ["org_level", "org_code", "modality_group", "patient_group"]
    rows = told.join(exact.select(*keys, size="denominator"), on=keys)
    found = []
    lines = (
        (["org_level", "org_code", "modality_group"], pl.lit(False)),
        (["org_level", "org_code", "patient_group"], pl.col("modality_group") == "All"),
        (["modality_group", "patient_group"], pl.col("org_level") == "network"),
    )
    for line, is_total in lines:
        for key, part in rows.group_by(line):
            total = part.filter(is_total)
            hidden = part.filter(~is_total & pl.col("is_withheld"))["size"].to_list()
            if total.height and total["is_withheld"][0]:
                if not hidden:
                    found.append(key)
            elif len(hidden) == 1 or 0 < sum(hidden) < least:
                found.append(key)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_line_of_trusts_modalities_or_groups_tells_a_small_group(seed):
    """Failing means that one subtraction brings back a group that was withheld."""
    numbers = pl.Series(range(1, 97)).shuffle(seed=seed).to_list()
    places = list(product(("R0A", "RBV", "RMC", "RRF"), ("CT", "MRI", "Ultrasound")))
    sizes = {
        place: tuple(n % 13 for n in numbers[4 * k : 4 * k + 4]) for k, place in enumerate(places)
    }
    rows = table(sizes)
    told = withhold(rows, SPEC, least=5)
    assert told.height == rows.height
    small = rows.filter(pl.col("denominator") < 5)
    assert withheld(small.with_columns(is_withheld=pl.lit(True))) <= withheld(told)
    assert leaks(told, rows, 5) == []
    # and something is left to show
    assert not told.filter(pl.col("org_level") == "network")["is_withheld"].all()


def test_every_statistic_by_patient_group_says_how_its_small_groups_are_withheld():
    """Failing means that a table by patient group is published as it stands in the warehouse."""
    by_group = [t for t in STATISTICS_TABLES if "patient_group" in {c[0] for c in t["columns"]}]
    assert by_group
    for found in by_group:
        spec = SmallNumbers.read(found["small_numbers"])
        named = {spec.size, *spec.within, *spec.figures, *spec.against_least_deprived}
        assert named <= {name for name, *_ in found["columns"]}


def test_a_smallest_group_of_nobody_is_refused():
    """Failing means that a slip in the seed tells every group."""
    with pytest.raises(ValueError, match="give 1 or more"):
        withhold(table({("RMC", "CT"): (1, 1, 1, 1)}), SPEC, least=0)
