"""The page for staff: teams and organisations, what is left out, and what cannot be shown."""

import polars as pl
import pytest

from dashboards.components import staff_figures
from dashboards.data.filters import Filters
from dashboards.data.published import current_build
from dashboards.data.queries import staff
from tests.dashboards.published_build import FIRST_MONTH, LAST_MONTH

NETWORK = Filters("network", "NETWORK", "Greater Manchester", "All", FIRST_MONTH, LAST_MONTH)


@pytest.fixture
def build(published):
    return current_build(published, "demo")


def test_a_week_of_too_few_readers_is_a_gap_with_its_reason(build):
    """Failing means that a small team is drawn, or that its gap looks like missing data."""
    cross, plain = staff_figures.teams(staff.output_by_team(build, NETWORK), "network", "too few.")
    assert "cross sectional" in cross.title and "plain film" in plain.title
    assert cross.table["minutes_per_rostered_hour"].null_count() == 0
    left_out = plain.table.filter(pl.col("minutes_per_rostered_hour").is_null())
    assert left_out["is_shown"].to_list() == [False]
    assert left_out["session_count"].to_list() == [None]
    assert plain.notes[-1] == "A gap is a week that is left out: too few."


def test_the_page_says_what_it_cannot_show_with_its_smallest_groups(open_view, build):
    """Failing means that a reader of the page cannot tell who is protected, or from what size."""
    page = open_view("staff")
    assert not page.exception
    written = " ".join(str(block.value) for block in page.get("html"))
    for row in staff.protections(build).iter_rows(named=True):
        assert row["statement"].split("(")[0] in written
    assert "5 readers at once" in written and "11 answers" in written and "unverified" in written


def test_hours_at_home_stand_without_a_target(open_view):
    """Failing means that the page judges where somebody works."""
    page = open_view("staff")
    headers = [header.value for header in page.header]
    assert any(title.startswith("Reporting hours at home, ") for title in headers)
    assert not [c.value for c in page.caption if "Target" in c.value and "line" in c.value]
