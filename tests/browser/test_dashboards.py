"""What only a browser shows: addresses, Back, live updates, files, narrow screens, keyboard."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlparse

import polars as pl
import published_build
import pytest
from axe_playwright_python.sync_playwright import Axe
from openpyxl import load_workbook
from playwright.sync_api import Page, expect

from dashboards.components import theme

VIEWS = {
    "benefits_summary": "Benefits summary",
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
WITHOUT_CHARTS = ("metric_dictionary", "sql_workbench", "steward", "what_if")
BOLTON = "Bolton NHS Foundation Trust (party)"
BOLTON_QUERY = "organisation=Bolton+NHS+Foundation+Trust+%28party%29"

# Findings inside Streamlit itself, which a page cannot change: (rule, part of the element found).
# 24 November 2026, Streamlit 1.67: a toast points to a label that it does not have.
ALLOWED = {("aria-dialog-name", 'data-testid="stToast"')}


def open_at(page: Page, url: str, title: str) -> None:
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    settle(page)


def settle(page: Page) -> None:
    """Wait until the script has run and every drawing is there."""
    app = page.get_by_test_id("stApp")
    # Twice: a first visitor's script starts a moment after the page says that none is running.
    for _ in range(2):
        expect(app).to_have_attribute("data-test-script-state", "notRunning")
        page.wait_for_timeout(300)
    if not page.url.partition("?")[0].endswith(WITHOUT_CHARTS):
        expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    expect(page.locator("[data-stale=true]")).to_have_count(0)
    charts = page.get_by_test_id("stPlotlyChart")
    for number in range(charts.count()):
        expect(charts.nth(number).locator(".main-svg").first).to_be_attached()


def assert_no_error(page: Page) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_text("Page not found")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def barriers(page: Page) -> list[str]:
    """What axe-core finds on the page, apart from what is allowed."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:200]}"
        for violation in found["violations"]
        for node in violation["nodes"]
        if not any(violation["id"] == rule and part in node["html"] for rule, part in ALLOWED)
    ]


def choose_theme(page: Page, name: str) -> None:
    """Pick Light or Dark in Streamlit's menu, as a reader does."""
    page.get_by_test_id("stMainMenu").get_by_role("button").click()
    page.get_by_test_id(f"stMainMenuItem-theme-{name}").click()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stMainMenuList")).to_have_count(0)
    settle(page)
    assert_drawn_in(page, theme.DARK if name == "Dark" else theme.LIGHT)


def assert_drawn_in(page: Page, palette: theme.Palette) -> None:
    """Streamlit's ground, our own styles and every drawing are of this theme."""
    ground = tuple(int(palette.background[place : place + 2], 16) for place in (1, 3, 5))
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", f"rgb{ground}")
    own = "() => getComputedStyle(document.documentElement).getPropertyValue('--background').trim()"
    page.wait_for_function(f"() => ({own})() === '{palette.background}'")
    for drawing in page.locator(".js-plotly-plot .main-svg:first-child").all():
        expect(drawing).to_have_css("background-color", f"rgb{ground}")


def choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_role("combobox", name=label)
    box.click()
    page.get_by_role("option", name=option, exact=True).click()
    settle(page)


@pytest.mark.parametrize("view", VIEWS)
def test_a_deep_link_opens_every_page_and_a_phone_needs_no_sideways_scrolling(page, server, view):
    """The visitor of a link from an e-mail must land on the page it names, also on the way to a meeting."""
    open_at(page, f"{server.url}/{view}", VIEWS[view])
    assert_no_error(page)
    charts = page.get_by_test_id("stPlotlyChart")
    described = page.locator("[role=figure][aria-label]")
    expect(described).to_have_count(charts.count())
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page)
    wide = page.evaluate(
        """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
            .map(element => element.scrollWidth)"""
    )
    assert max(wide) <= 390


def test_the_first_visitor_of_a_fresh_server_can_use_a_deep_link(page, start, server):
    """Navigation is only registered by a first run; the first visitor must not pay for that."""
    fresh = start(server.published)
    open_at(page, f"{fresh.url}/waiting_times?{BOLTON_QUERY}&test=CT", "Waiting times")
    assert_no_error(page)
    title = "Waiting 6 weeks or more, Bolton NHS Foundation Trust, CT"
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()


def test_the_bare_address_opens_the_board_page(page, server):
    """A reader who only knows the host must not be told that a page is missing."""
    open_at(page, server.url, "Benefits summary")
    assert_no_error(page)


def test_a_choice_is_in_the_address_and_back_returns_to_it(page, server):
    """Back that forgets the choice, or leaves the dashboards, loses the reader's place."""
    open_at(page, f"{server.url}/throughput", "Throughput")
    choose(page, "Organisation", BOLTON)
    heading = page.get_by_role("heading", name="Exams performed each month")
    expect(heading).to_contain_text("Bolton")
    assert parse_qs(urlparse(page.url).query)["organisation"] == [BOLTON]
    page.get_by_role("link", name="Waiting times").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Waiting times")
    settle(page)
    report = page.get_by_role("heading", name="Hours from exam to report, ")
    expect(report).to_contain_text("Bolton")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Throughput")
    settle(page)
    expect(heading).to_contain_text("Bolton")


def test_a_saved_view_brings_its_filters_back_over_others(page, server):
    """Failing means that a kept page opens with the filters of the page it is opened from."""
    open_at(page, f"{server.url}/throughput?modality=CT", "Throughput")
    page.get_by_text("Save or delete a view").click()
    page.get_by_label("Name of this view").fill("CT <b>of us</b>")
    page.get_by_role("button", name="Save this page with its filters").click()
    expect(page.get_by_role("link", name="CT <b>of us</b>")).to_be_visible()
    open_at(page, f"{server.url}/throughput?modality=MRI", "Throughput")
    page.get_by_role("link", name="CT <b>of us</b>").click()
    expect(
        page.get_by_role("heading", name=re.compile("Exams performed each month.*, CT"))
    ).to_be_visible()
    assert page.url.endswith("/throughput?modality=CT")
    page.get_by_text("Save or delete a view").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("link", name="CT <b>of us</b>")).to_have_count(0)


def test_a_new_build_is_shown_without_a_reload_and_choices_stay(page, start, tmp_path, tables):
    """A screen on the wall must not show last week for ever."""
    published_build.write_build(tmp_path, found=tables)
    own = start(tmp_path)
    open_at(page, f"{own.url}/throughput?{BOLTON_QUERY}", "Throughput")
    expect(page.get_by_text("build 20260401T060000Z")).to_be_visible()
    published_build.write_build(
        tmp_path,
        build_id="20260402T060000Z",
        created_at=datetime(2026, 4, 2, 6, 0, tzinfo=UTC),
        found=tables,
    )
    expect(
        page.get_by_text("level with each other").filter(has_text="20260402T060000Z")
    ).to_be_visible()
    expect(page.get_by_test_id("stToast")).to_contain_text("New build 20260402T060000Z")
    expect(page.get_by_role("heading", name="Exams performed each month")).to_contain_text("Bolton")
    published_build.write_gate(
        tmp_path, passed=False, checked_at=datetime(2026, 4, 3, 6, 0, tzinfo=UTC)
    )
    expect(page.get_by_text("A delivery was refused on 3 April 2026")).to_be_visible()
    assert_no_error(page)
    settle(page)
    assert not barriers(page)


def test_the_downloads_hold_the_rows_of_the_figure(page, server, tmp_path):
    """A file that differs from the screen puts two numbers into one meeting."""
    open_at(page, f"{server.url}/throughput?{BOLTON_QUERY}", "Throughput")
    settle(page)
    page.get_by_text("Show as table and download").first.click()
    for button, name in (("Download CSV", "rows.csv"), ("Download Excel", "rows.xlsx")):
        # A click while the page is still being drawn would be lost with the old button.
        settle(page)
        with page.expect_download() as download:
            page.get_by_role("button", name=button).first.click()
        download.value.save_as(tmp_path / name)
    text = (tmp_path / "rows.csv").read_text()
    assert text.startswith("# Exams performed each month, Bolton NHS Foundation Trust")
    for line in ("# Definition of T01", "# Organisation: Bolton", "# Build: ", "# As at: Bolton"):
        assert line in text
    rows = pl.read_csv(tmp_path / "rows.csv", comment_prefix="#")
    book = load_workbook(tmp_path / "rows.xlsx")
    assert rows.height == 12
    heading, *lines = book["Data"].iter_rows(values_only=True)
    assert list(heading) == rows.columns
    assert [line[heading.index("value")] for line in lines] == rows["value"].to_list()


def test_an_analyst_picks_values_draws_the_rows_and_takes_them_away(page, server, tmp_path):
    """An analyst who must edit SQL for each trust, or redraw it elsewhere, goes elsewhere at once."""
    open_at(page, f"{server.url}/sql_workbench", "SQL workbench")
    page.get_by_label("SQL", exact=True).fill(
        "select period_start_on, modality_group, value from marts.rpt_metrics_monthly "
        "where metric_id = 'T01' and org_level = 'trust' and org_code = $trust "
        "and period_start_on between $from_month and $to_month"
    )
    page.keyboard.press("Control+Enter")
    settle(page)
    for label, typed in (("$from_month", "January 2026"), ("$trust", "RMC")):
        page.get_by_role("combobox", name=label).click()
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        settle(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("15 rows, the whole answer")).to_be_visible()
    page.get_by_text("Draw these rows").click()
    drawing = page.get_by_role("figure", name="Line of value by period_start_on")
    expect(drawing.locator(".main-svg").first).to_be_attached()
    settle(page)
    found = barriers(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    download.value.save_as(tmp_path / "rows.csv")
    head = (tmp_path / "rows.csv").read_text()
    assert "# $trust: RMC\n# $from_month: 2026-01-01\n" in head
    assert pl.read_csv(tmp_path / "rows.csv", comment_prefix="#").height == 15
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("region", name="Plan of the query")).to_be_visible()
    choose_theme(page, "Dark")
    found += [f"dark: {barrier}" for barrier in barriers(page)]
    assert not found, "\n".join(found)


def test_the_register_ignores_the_filters_and_its_download_does_not_claim_them(
    page, server, tmp_path
):
    """A file headed 'Bolton' with the network's money in it is quoted as Bolton's money."""
    open_at(page, f"{server.url}/benefits_summary?{BOLTON_QUERY}", "Benefits summary")
    page.get_by_text("Download", exact=True).first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").first.click()
    download.value.save_as(tmp_path / "register.csv")
    text = (tmp_path / "register.csv").read_text()
    assert text.startswith("# Benefit register, whole network, all modalities")
    assert "# Organisation: whole network" in text
    assert "# Organisation: Bolton" not in text
    assert "# Modality: " not in text
    assert "# Months: " not in text


def test_who_reports_for_whom_keeps_its_width_on_a_phone(page, server):
    """Nine columns squeezed into 390 pixels are a block of colour, not a table."""
    page.set_viewport_size({"width": 390, "height": 844})
    open_at(page, f"{server.url}/benefits_summary", "Benefits summary")
    box = page.locator("[class*=st-key-wide_]")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    assert box.get_by_test_id("stPlotlyChart").evaluate("e => e.clientWidth") >= 640


def test_the_filters_are_reached_and_used_by_keyboard(page, server):
    """Who cannot use a mouse must be able to ask for another organisation."""
    open_at(page, f"{server.url}/throughput", "Throughput")
    organisation = page.get_by_role("combobox", name="Organisation")
    for _ in range(40):
        page.keyboard.press("Tab")
        if organisation.evaluate("element => element === document.activeElement"):
            break
    expect(organisation).to_be_focused()
    page.keyboard.type("Stockport")
    page.keyboard.press("Enter")
    settle(page)
    heading = page.get_by_role("heading", name="Exams performed each month")
    expect(heading).to_contain_text("Stockport")


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_that_is_ours(page, server, view):
    """A barrier on a public-sector page is against the law and shuts readers out, at night too."""
    open_at(page, f"{server.url}/{view}?{BOLTON_QUERY}", VIEWS[view])
    found = barriers(page)
    choose_theme(page, "Dark")
    found += [f"dark: {barrier}" for barrier in barriers(page)]
    assert not found, "\n".join(found)


def test_a_chosen_theme_holds_on_every_page_and_after_a_reload(page, server):
    """Who is blinded by white would choose again on each page, and then not come back."""
    open_at(page, f"{server.url}/throughput", "Throughput")
    choose_theme(page, "Dark")
    page.get_by_role("link", name="Image access").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Image access")
    settle(page)
    assert_drawn_in(page, theme.DARK)
    open_at(page, f"{server.url}/waiting_times", "Waiting times")
    assert_drawn_in(page, theme.DARK)
    choose_theme(page, "Light")
    open_at(page, f"{server.url}/throughput", "Throughput")
    assert_drawn_in(page, theme.LIGHT)
