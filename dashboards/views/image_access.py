"""One row per organisation, way in and month: images opened, what failed, how long it took."""

from functools import partial

from dashboards.components import access_figures as draw
from dashboards.components import quality_figures
from dashboards.data.queries import catalogue, image_access, metrics, quality
from dashboards.page import MONTHLY, current_page

VIEWS = "marts.rpt_image_access_monthly"
NEEDS = "marts.rpt_feed_metric_matrix"
BESIDE_PEERS = (
    "views_per_thousand_exams", "other_party_views", "failed_launches", "first_image_seconds",
)  # fmt: skip

page = current_page()
chosen = (page.build, page.filters)
where, events = page.filters.org_name, page.events
told = image_access.measures(page.build)
measures = {row["metric_id"]: row for row in told.rows(named=True)}
lacking = quality.evidence(page.build, draw.FEED)
missing = draw.missing(lacking, page.filters.org_level, page.filters.org_code)
show = partial(page.figure, source=VIEWS, registry=told)

ways = image_access.views_by_context(*chosen)
drawn = draw.views_by_context(ways, measures.get("views"), where, events, missing)
show(drawn, metrics=["views"])
for name in (name for name in BESIDE_PEERS if name in measures):
    monthly = image_access.by_month(*chosen, name)
    peers = image_access.peers_latest(*chosen, name)
    left, right = page.columns()
    with left:
        drawn = draw.over_time(monthly, measures[name], where, events, missing)
        show(drawn, metrics=[name])
    with right:
        show(draw.peers(peers, measures[name], missing), metrics=[name])
show(
    draw.contexts(image_access.contexts_latest(*chosen), where, missing),
    metrics=[
        "views", "other_party_views", "failed_launches", "first_image_seconds",
        "slow_first_images", "first_image_timed", "viewing_people",
    ],
)  # fmt: skip
left, right = page.columns()
with left:
    opened = metrics.by_month(*chosen, "C04")
    text = catalogue.metrics(page.build, "C04").row(0, named=True)
    drawn = draw.opened_from_records(opened, text, page.where, events, missing)
    page.figure(page.charted(drawn, "C04", column="value"), metrics=["C04"], source=MONTHLY)
with right:
    sent = image_access.by_month(*chosen, "transfers")
    drawn = draw.transfers(sent, measures.get("transfers"), where, events, missing)
    show(drawn, metrics=["transfers"])
page.any_metric("C", {"C04"})

page.section("How counted", "What each measure means, how sure that is, and what is missing.")
show(draw.counted(told), filtered_by=())
gaps = quality_figures.evidence(lacking, title="Feeds missing for image access, whole network")
page.figure(gaps, source=NEEDS)
