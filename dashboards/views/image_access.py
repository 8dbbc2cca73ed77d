"""One row per organisation, way in and month: images opened, what failed, how long it took."""

from dashboards.components import access_figures as draw
from dashboards.components import quality_figures
from dashboards.data.queries import image_access, metrics, quality
from dashboards.page import current_page

VIEWS, METRICS = "marts.rpt_image_access_monthly", "marts.rpt_metrics_monthly"
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
explained = {"source": VIEWS, "registry": told}

ways = image_access.views_by_context(*chosen)
page.figure(draw.views_by_context(ways, where, events, missing), metrics=["views"], **explained)
for name in (name for name in BESIDE_PEERS if name in measures):
    monthly = image_access.by_month(*chosen, name)
    peers = image_access.peers_latest(*chosen, name)
    left, right = page.columns()
    with left:
        drawn = draw.over_time(monthly, measures[name], where, events, missing)
        page.figure(drawn, metrics=[name], **explained)
    with right:
        page.figure(draw.peers(peers, measures[name], missing), metrics=[name], **explained)
page.figure(
    draw.contexts(image_access.contexts_latest(*chosen), where, missing),
    metrics=[
        "views", "other_party_views", "failed_launches", "first_image_seconds",
        "slow_first_images", "first_image_timed", "viewing_people",
    ],
    **explained,
)  # fmt: skip
left, right = page.columns()
with left:
    opened = metrics.by_month(*chosen, "C04")
    drawn = draw.opened_from_records(opened, page.where, events, missing)
    page.figure(drawn, metrics=["C04"], source=METRICS)
with right:
    sent = image_access.by_month(*chosen, "transfers")
    drawn = draw.transfers(sent, where, events, missing)
    page.figure(drawn, metrics=["transfers"], **explained)

page.section("How counted", "What each measure means, how sure that is, and what is missing.")
page.figure(draw.counted(told), filtered_by=(), **explained)
gaps = quality_figures.evidence(lacking, title="Feeds missing for image access, whole network")
page.figure(gaps, source=NEEDS)
