"""One row per organisation, modality and month or day: exams asked for, done and reported."""

from dashboards.components import control
from dashboards.components import throughput_figures as draw
from dashboards.data.queries import metrics, throughput
from dashboards.page import current_page

MONTHLY, DAILY = "marts.rpt_metrics_monthly", "marts.rpt_throughput_daily"

page = current_page()
monthly = metrics.by_month(page.build, page.filters, "T01")
peers = metrics.peers_latest(page.build, page.filters, "T01")
daily = throughput.by_day(page.build, page.filters)

left, right = page.columns()
with left:
    limits = metrics.control_chart(page.build, page.filters, "T01")
    drawn = draw.exams_by_month(monthly, page.where, page.events)
    page.figure(control.with_limits(drawn, limits), metrics=["T01"], source=MONTHLY)
with right:
    page.figure(draw.peers(peers, page.modality), metrics=["T01"], source=MONTHLY)
page.figure(draw.flow_by_day(daily, page.where), metrics=["T01"], source=DAILY)
page.figure(draw.lost_by_day(daily, page.where), source=DAILY)
