"""One row per organisation, modality and month or day: exams asked for, done and reported."""

from dashboards.components import network_map
from dashboards.components import throughput_figures as draw
from dashboards.data.queries import benefits, metrics, throughput
from dashboards.page import MONTHLY, current_page

DAILY = "marts.rpt_throughput_daily"
SHARED = "marts.rpt_cross_site_reporting_monthly"

page = current_page()
monthly = metrics.by_month(page.build, page.filters, "T01")
peers = metrics.peers_latest(page.build, page.filters, "T01")
daily = throughput.by_day(page.build, page.filters)

drawn = draw.exams_by_month(monthly, page.where, page.events)
page.beside(
    (page.charted(drawn, "T01", column="value"), ["T01"], MONTHLY),
    (draw.peers(peers, page.modality), ["T01"], MONTHLY),
)
page.figure(draw.flow_by_day(daily, page.where, page.events), metrics=["T01"], source=DAILY)
page.figure(draw.lost_by_day(daily, page.where, page.events), source=DAILY)
shared = network_map.shared(
    benefits.cross_site_by_month(page.build, page.filters),
    page.where,
    page.events_of("R08"),
    page.targets("R08"),
)
page.figure(page.charted(shared, "R08", column="cross_site_rate"), metrics=["R08"], source=SHARED)
