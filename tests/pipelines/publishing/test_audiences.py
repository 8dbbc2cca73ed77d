"""The seed audiences: a failure here lets an audience see what the seed was meant to hide."""

from datetime import date

import polars as pl
import pytest

from pipelines.network import Network
from pipelines.publishing.audiences import read_audiences
from pipelines.publishing.suppression import Limits
from tests.pipelines.conftest import ROOT

ON = date(2026, 4, 2)


@pytest.fixture(scope="module")
def seed() -> pl.DataFrame:
    return Network.load(ROOT / "dbt_project" / "seeds").audiences


def changed(seed: pl.DataFrame, name: str, **values: str | None) -> pl.DataFrame:
    is_it = pl.col("audience") == name
    return seed.with_columns(
        pl.when(is_it).then(pl.lit(value, pl.String)).otherwise(pl.col(column)).alias(column)
        for column, value in values.items()
    )


def test_every_trust_has_a_file_of_its_own_and_the_board_one_without_rows(seed: pl.DataFrame):
    """Failing means that a reader has no file, or one that was meant for others."""
    found = {audience.name: audience for audience in read_audiences(seed, ON)}
    assert found["network"].limits == Limits(1, 4, 5, needs_secondary=True)
    assert found["network"].row_tables == "none"
    assert found["demo"].limits is found["analyst"].limits is None
    trusts = Network.load(ROOT / "dbt_project" / "seeds").trusts
    current = set(trusts.filter(pl.col("valid_to").is_null())["trust_code"])
    own = {audience.ods_code for audience in found.values() if audience.kind == "trust"}
    assert own == current
    assert "RMC itself" in found["trust_rmc"].rule() and "1 to 4" in found["network"].rule()


def test_only_what_is_in_force_on_the_day_counts(seed: pl.DataFrame):
    """Failing means that an old rule is still used, or a future one already."""
    ended = changed(seed, "network", valid_to="2026-04-01")
    assert "network" not in {audience.name for audience in read_audiences(ended, ON)}
    with pytest.raises(ValueError, match="twice"):
        read_audiences(pl.concat([seed, seed]), ON)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("network", {"highest_hidden_count": None}, "has small counts hidden"),
        ("network", {"row_tables": "some"}, "row_tables one of"),
        ("network", {"row_tables": "own"}, "its own rows"),
        ("trust_rmc", {"ods_code": None}, "has an ods_code"),
        ("analyst", {"kind": "boss"}, "kind is one of"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(
    seed: pl.DataFrame, name: str, values: dict[str, str | None], message: str
):
    """Failing means that a slip in the seed publishes a file without suppression."""
    with pytest.raises(ValueError, match=message):
        read_audiences(changed(seed, name, **values), ON)
