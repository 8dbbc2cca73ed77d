"""One row per scanner (or all scanners of an organisation) and week: staffed, occupied, acquiring."""

from dashboards.components import utilisation_figures as draw
from dashboards.data.queries import metrics, utilisation
from dashboards.page import current_page

WEEKS, MONTHS = "marts.rpt_scanner_utilisation_weekly", "marts.rpt_metrics_monthly"

page = current_page()
chosen = (page.build, page.filters)
weekly = utilisation.by_week(*chosen)
scanners = utilisation.scanners_latest(*chosen)
used = metrics.peers_latest(*chosen, "U02")
paced = metrics.peers_latest(*chosen, "U01")
goal, pace = page.targets("U02"), page.targets("U01")
where, events = page.where, page.events

left, right = page.columns()
with left:
    page.figure(draw.nested(weekly, where, events), metrics=["U02"], source=WEEKS)
with right:
    page.figure(draw.shares(weekly, where, events, goal), metrics=["U02"], source=WEEKS)
left, right = page.columns()
with left:
    page.figure(draw.peers(used, page.modality, goal), metrics=["U02"], source=MONTHS)
with right:
    page.figure(draw.exams_per_hour(paced, page.modality, pace), metrics=["U01"], source=MONTHS)
page.figure(draw.efficiency(weekly, where, events), source=WEEKS)
page.figure(draw.scanners(scanners, where, goal), metrics=["U02", "U01"], source=WEEKS)
