"""One row per feed, rule or quality metric: what arrived, what was refused, how good it is."""

from dashboards.components import gate_panel
from dashboards.components import quality_figures as draw
from dashboards.data.queries import catalogue, quality
from dashboards.page import MONTHLY, current_page

CLOCKS = "marts.rpt_device_clocks_weekly"

page = current_page()
gate = page.build.gate
gate_panel.show(
    passed=gate.passed,
    checked_at=gate.checked_at,
    checks=page.build.checks,
    failures=gate.failures,
)
page.figure(
    draw.reconciliation(quality.reconciliation(page.build)), source="marts.rpt_reconciliation"
)
page.figure(draw.rejects(quality.rejects(page.build)), source="marts.rpt_rejects")
measures = catalogue.metrics_of(page.build, "Q").rows(named=True)
for row, column in zip(measures, page.tiles(len(measures)), strict=True):
    with column:
        drawn = page.metric(row, page.filters.org_name)
        page.figure(drawn, metrics=[row["metric_id"]], source=MONTHLY)
page.figure(
    draw.failing(quality.failing_by_month(page.build, page.filters), page.filters.org_name),
    metrics=["Q01", "Q02", "Q03", "Q04", "Q05", "Q06", "Q07", "Q10"],
    source="marts.rpt_data_quality_monthly",
)
states = page.text(CLOCKS, "clock_state")
page.figure(draw.device_clocks(quality.device_clocks(page.build), states), source=CLOCKS)
page.figure(
    draw.late_changes(quality.late_changes(page.build, page.filters), page.filters.org_name),
    source="statistics.metric_revisions",
)
page.figure(draw.freshness(quality.freshness(page.build)), source="marts.rpt_feed_freshness")
page.figure(draw.evidence(quality.evidence(page.build)), source="marts.rpt_feed_metric_matrix")
