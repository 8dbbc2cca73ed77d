"""One row per organisation or team and month or week: evenings, shares, posts and survey scores."""

from dashboards.components import staff_figures as draw
from dashboards.data.queries import catalogue, metrics, staff
from dashboards.page import MONTHLY, current_page

OUTPUT = "marts.rpt_reporting_output_weekly"
BALANCE = "marts.rpt_reporting_balance_monthly"

page = current_page()
chosen = (page.build, page.filters)
registry = {row["metric_id"]: row for row in catalogue.metrics(page.build).rows(named=True)}


def over_time_and_peers(name: str, note: str) -> None:
    """A metric by month with its control chart, beside the organisations in its latest month."""
    if name not in registry:
        return
    measure, rows = registry[name], metrics.peers_latest(*chosen, name)
    page.beside(
        (page.metric(measure, page.filters.org_name), [name], MONTHLY),
        (draw.peers(rows, measure, note), [name], MONTHLY),
    )


page.section(
    "Is work moving into evenings and weekends?",
    "Reports by the hour of their first verification, and those outside every rostered session.",
)
over_time_and_peers("R11", draw.BY_SITE)
over_time_and_peers("R13", draw.BY_EMPLOYER)

page.section(
    "Is it shared fairly?", "Between organisations and between teams, never between people."
)
over_time_and_peers("R09", draw.BY_EMPLOYER)
rule = page.text(OUTPUT, "is_shown")
drawn = draw.teams(staff.output_by_team(*chosen), page.filters.org_name, rule)
for place, one in zip(page.tiles(len(drawn)), drawn, strict=False):
    with place:
        page.figure(one, metrics=["R09"], source=OUTPUT)
page.figure(draw.balance(staff.balance(*chosen)), source=BALANCE)
over_time_and_peers("R07", draw.BY_EMPLOYER)

page.section(
    "Are posts filled, and how is work and life?", "From workforce returns and the survey."
)
over_time_and_peers("P01", draw.BY_POSTS)
over_time_and_peers("P02", draw.BY_ANSWERS)

page.section("Is my home reporting counted against me?", draw.NOT_COUNTED)
over_time_and_peers("R12", draw.BY_EMPLOYER)

page.section("What this page cannot show", "Each sentence fails a test when it is not true.")
page.figure(
    draw.protections(staff.protections(page.build)),
    source="marts.dim_staff_protection",
    filtered_by=(),
)
