"""The published waits of Greater Manchester in the seed: the known totals, and the rules they keep."""

import polars as pl
import pytest

from tests.warehouse.conftest import PROJECT

SEED = PROJECT / "seeds" / "network" / "dm01_published.csv"
BANDS = [f"wl_band_{band:02d}" for band in range(14)]


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    return pl.read_csv(SEED, try_parse_dates=True).with_columns(
        waiting=pl.sum_horizontal(BANDS),
        late=pl.sum_horizontal(BANDS[6:]),
        tests=pl.sum_horizontal("act_waiting_list", "act_planned", "act_unscheduled"),
    )


def test_the_seed_holds_the_published_totals(published):
    """Failure: a figure of the national comparison was lost or changed on its way here."""
    sums = published.select(
        pl.len(), *(pl.col(name).sum() for name in ("waiting", "late", "wl_band_13", "tests"))
    ).row(0)
    assert sums == (1_088, 1_836_162, 305_248, 77_928, 3_371_144)


def test_the_network_at_the_end_of_march_2026_is_as_published(tiny):
    """Failure: the network's published share waiting six weeks is not 2,623 of 54,196."""
    rows = tiny.rows(
        "select dm01_test, waiting_list_count, waiting_6_plus_count, waiting_13_plus_count "
        "from marts.rpt_published_waits_monthly where org_level = 'network' "
        "and census_on = '2026-03-31' and dm01_test in ('All', 'MRI') order by dm01_test"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("All", 54_196, 2_623, 547),
        ("MRI", 20_597, 1_182, 356),
    ]


def test_a_month_that_was_not_reported_has_no_row(tiny):
    """Failure: a trust that did not report barium enemas is shown with a list of 0."""
    rows = tiny.rows(
        "select census_on from marts.rpt_published_waits_monthly where org_code = 'RBV' "
        "and dm01_test = 'BARIUM_ENEMA' and census_on in ('2023-04-30', '2023-05-31')"
    )
    assert [str(row["census_on"]) for row in rows] == ["2023-05-31"]


def test_no_country_is_made_of_the_network_alone(tiny):
    """Failure: seven trusts are called England."""
    assert not tiny.rows(
        "select 1 from marts.rpt_published_waits_monthly where org_level = 'country'"
    )
