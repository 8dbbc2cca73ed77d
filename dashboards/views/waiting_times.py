"""One row per organisation, test and month end: who waits, for how long, and for the report."""

from dashboards.components import equity_figures as groups
from dashboards.components import turnaround_figures as reports
from dashboards.components import waiting_figures as waits
from dashboards.data.queries import equity, metrics, turnaround, waiting_times
from dashboards.page import current_page

LIST, METRICS = "marts.rpt_waiting_times_monthly", "marts.rpt_metrics_monthly"
PUBLISHED = "marts.rpt_published_waits_monthly"
COHORTS = "marts.rpt_report_turnaround_monthly"
SURVIVAL, SPREAD = "statistics.turnaround_survival", "statistics.trust_spread"

page = current_page()
chosen = (page.build, page.filters)
listed = waiting_times.by_month(*chosen, page.dm01_test)
published = waiting_times.published_by_month(*chosen, page.dm01_test)
bands = waiting_times.bands_latest(*chosen, page.dm01_test)
peers = waiting_times.peers_latest(*chosen, page.dm01_test)
cohorts, curve = turnaround.by_month(*chosen), turnaround.survival_by_month(*chosen)
report_peers, overdue = turnaround.peers_latest(*chosen), metrics.by_month(*chosen, "R05")
limits, within, none_late = page.targets("W02"), page.targets("R02"), page.targets("R05")
test, where, events = page.where_tested, page.where, page.events

left, right = page.columns()
with left:
    page.figure(waits.share(listed, test, events, limits), metrics=["W02"], source=LIST)
with right:
    page.figure(waits.peers(peers, page.test, limits), metrics=["W02"], source=LIST)
left, right = page.columns()
with left:
    page.figure(waits.size(listed, test, events), metrics=["W01", "W02", "W03"], source=LIST)
with right:
    page.figure(waits.bands(bands, test), metrics=["W01"], source=LIST)
page.figure(waits.streams(listed, test, events), metrics=["W04"], source=LIST)
page.figure(waits.published(published, test, events, limits), source=PUBLISHED)
left, right = page.columns()
with left:
    page.figure(reports.percentiles(curve, where, events), metrics=["R01"], source=SURVIVAL)
with right:
    page.figure(reports.peers(report_peers, page.modality), metrics=["R01"], source=SURVIVAL)
left, right = page.columns()
with left:
    page.figure(
        reports.within_28_days(cohorts, where, events, within), metrics=["R02"], source=COHORTS
    )
with right:
    page.figure(reports.backlog(cohorts, where, events), metrics=["R04", "R05"], source=COHORTS)
page.figure(reports.overdue(overdue, where, events, none_late), metrics=["R05"], source=METRICS)
page.section(
    "Who waits longer",
    "The same figures by deprivation of where patients live, by ethnic group, and between trusts.",
)
for one in groups.MEASURES:
    for place, kind in zip(page.columns(), groups.KINDS, strict=True):
        rows = equity.latest(*chosen, one.metric_id, kind)
        with place:
            page.figure(groups.bars(rows, one, kind, where), metrics=one.metrics, source=one.source)
    trusts = equity.spread_by_month(*chosen, one.metric_id)
    page.figure(groups.spread(trusts, one, page.modality), metrics=one.metrics, source=SPREAD)
