"""The whole way: a number computed from the synthetic truth stands on the page.

The number is computed by tests/truth.py with polars alone; the page shows what the pipelines
harvested, dbt counted and publication copied.
"""

from datetime import date

import pytest
from playwright.sync_api import expect

from dashboards.sqllab import broker
from dashboards.sqllab.desk import SCHEMAS
from dashboards.sqllab.saved import starters
from tests import truth

VIEWS = {
    "": "Benefits summary",
    "go_live_effect": "Effect of go-live",
    "throughput": "Throughput",
    "waiting_times": "Waiting times",
    "scanner_utilisation": "Scanner utilisation",
    "image_access": "Image access",
    "what_if": "What if",
    "staff": "Staff",
    "data_quality": "Data quality",
    "metric_dictionary": "Metric dictionary",
    "sql_workbench": "SQL workbench",
    "steward": "Stewardship",
}


@pytest.fixture(scope="module")
def demo_server(demo, start):
    return start(demo.published)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_opens_on_the_demo_build(page, demo_server, view):
    """A page that breaks on real output of the pipelines is no page."""
    page.goto(f"{demo_server.url}/{view}")
    expect(page.get_by_role("heading", level=1, name=VIEWS[view])).to_be_visible()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_typed_sql_gives_the_number_of_the_truth(page, demo, demo_server):
    """An analyst who asks for what a page shows must be told the same."""
    performed = truth.performed_by_party_and_month(demo.path / "truth")
    march = performed.filter(performed["month"] == date(2026, 3, 1))["exams"].sum()
    page.goto(f"{demo_server.url}/sql_workbench")
    page.get_by_label("SQL", exact=True).fill(
        "from metric('T01', grain := 'month', by := 'network') where modality = 'All' "
        f"and period_start = date '2026-03-01' and numerator = {march}"
    )
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("1 row, the whole answer")).to_be_visible()
    page.get_by_label("SQL", exact=True).fill("select * from read_csv('/etc/passwd')")
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("refused: ").first).to_be_visible()


# What a reader would pick where a saved query of the product has no first value.
PICKED = {
    "trust": "RMC",
    "from_month": date(2025, 4, 1),
    "to_month": date(2026, 3, 1),
    "month": date(2026, 3, 1),
    "modality": "CT",
    "since_on": date(2024, 4, 1),
}


def test_every_query_to_begin_with_has_an_answer(demo):
    """A starter that is refused, or finds nothing, teaches a reader that the page is broken."""
    found = {}
    for query in starters():
        values = {one.name: one.default or PICKED[one.name] for one in query.parameters}
        answer = broker.run(
            query.sql, published_file=demo.published_file(), schemas=SCHEMAS, parameters=values
        )
        found[query.name] = (
            answer.frame.height if isinstance(answer, broker.QueryResult) else answer
        )
    assert all(isinstance(rows, int) and rows for rows in found.values()), found


def test_exams_performed_on_the_page_are_those_of_the_truth(page, demo, demo_server):
    """The first number a trust manager would check by hand."""
    performed = truth.performed_by_party_and_month(demo.path / "truth")
    march = performed.filter(performed["month"] == date(2026, 3, 1))["exams"].sum()
    page.goto(f"{demo_server.url}/throughput")
    expect(page.get_by_text(f"Exams performed: {march:,} in March 2026")).to_be_visible()


def test_the_waiting_list_on_the_page_is_that_of_the_truth(page, demo, demo_server):
    """Clock, resets, bands and censuses, all the way to the sentence a board reads."""
    waited = truth.waiting_list(demo.path / "truth", date(2026, 3, 31))["waited"]
    page.goto(f"{demo_server.url}/waiting_times")
    expect(
        page.get_by_text(f"Requests on the list: {len(waited):,} at 31 March 2026")
    ).to_be_visible()
    share = (waited >= 42).sum() / len(waited)
    sentence = f"Share of the list waiting 6 weeks or more: {share:.1%} at 31 March 2026"
    expect(page.get_by_text(sentence)).to_be_visible()
