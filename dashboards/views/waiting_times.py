"""One row per organisation, test and month end: who waits, for how long, and for the report."""

from dashboards.components import equity_figures as groups
from dashboards.components import turnaround_figures as reports
from dashboards.components import waiting_figures as waits
from dashboards.data.queries import equity, metrics, turnaround, waiting_times
from dashboards.page import MONTHLY, current_page

LIST, PUBLISHED = "marts.rpt_waiting_times_monthly", "marts.rpt_published_waits_monthly"
COHORTS = "marts.rpt_report_turnaround_monthly"
SURVIVAL, SPREAD = "statistics.turnaround_survival", "statistics.trust_spread"
# What has a figure of its own above the choice of any other measure.
SHOWN = {"W01", "W02", "W03", "W04", "R01", "R02", "R04", "R05"}

page = current_page()
chosen, tested = (page.build, page.filters), {"modality_group": page.tested}
listed = waiting_times.by_month(*chosen, page.dm01_test)
published = waiting_times.published_by_month(*chosen, page.dm01_test)
bands = waiting_times.bands_latest(*chosen, page.dm01_test)
peers = waiting_times.peers_latest(*chosen, page.dm01_test)
cohorts, curve = turnaround.by_month(*chosen), turnaround.survival_by_month(*chosen)
report_peers, overdue = turnaround.peers_latest(*chosen), metrics.by_month(*chosen, "R05")
limits = page.targets("W02")
test, where, events = page.where_tested, page.where, page.events

share = waits.share(listed, test, page.events_of("W02"), limits)
share = page.charted(share, "W02", column="waiting_6_plus_rate", **tested)
page.beside((share, ["W02"], LIST), (waits.peers(peers, page.test, limits), ["W02"], LIST))
size = waits.size(listed, test, events)
size = page.charted(size, "W01", column="waiting_list_count", label="Waiting list", **tested)
page.beside((size, ["W01", "W02"], LIST), (waits.bands(bands, test), ["W01"], LIST))
longest = waits.longest(listed, test, events, page.targets("W03"))
longest = page.charted(longest, "W03", column="waiting_13_plus_count", **tested)
streams = page.charted(waits.streams(listed, test, events), "W04", label="All tests", **tested)
page.beside((longest, ["W03"], LIST), (streams, ["W04"], LIST))
page.figure(waits.published(published, test, events, limits), source=PUBLISHED)
hours = reports.percentiles(curve, where, page.events_of("R01"))
hours = page.charted(hours, "R01", column="p50_hours", label="Median")
page.beside(
    (hours, ["R01"], SURVIVAL), (reports.peers(report_peers, page.modality), ["R01"], SURVIVAL)
)
within = reports.within_28_days(cohorts, where, page.events_of("R02"), page.targets("R02"))
within = page.charted(within, "R02", column="within_28_days_rate")
pile = reports.backlog(cohorts, where, events)
pile = page.charted(pile, "R04", column="backlog_count", label="All without a report")
page.beside((within, ["R02"], COHORTS), (pile, ["R04", "R05"], COHORTS))
late = reports.overdue(overdue, where, page.events_of("R05"), page.targets("R05"))
late = page.charted(late, "R05", column="value")
page.figure(late, metrics=["R05"], source=MONTHLY)
page.any_metric("WR", SHOWN)
page.section(*groups.SECTION)
for one in groups.MEASURES:
    page.beside(*(
        (groups.bars(equity.latest(*chosen, one.metric_id, kind), one, kind, where), one.metrics,
         one.source) for kind in groups.KINDS
    ))  # fmt: skip
    trusts = equity.spread_by_month(*chosen, one.metric_id)
    drawn = groups.spread(trusts, one, page.modality, page.network_events)
    page.figure(drawn, metrics=one.metrics, source=SPREAD)
