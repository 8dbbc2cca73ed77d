"""One row per organisation, modality and month or day: exams asked for, done and reported."""

from dashboards.components import throughput_figures as draw
from dashboards.data.queries import metrics, throughput
from dashboards.page import MONTHLY, current_page

DAILY = "marts.rpt_throughput_daily"

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
