"""One row per scanner (or all scanners of an organisation) and week: staffed, occupied, acquiring."""

from dashboards.components import utilisation_figures as draw
from dashboards.data.queries import metrics, utilisation
from dashboards.page import current_page

WEEKS, MONTHS = "marts.rpt_scanner_utilisation_weekly", "marts.rpt_metrics_monthly"
GAPS, RIS = "marts.rpt_station_gaps_weekly", "marts.rpt_ris_dicom_reconciliation_monthly"
CONVENTIONS = "marts.rpt_utilisation_conventions_monthly"
BRIDGES, ENDS = "marts.rpt_utilisation_bridges_monthly", "marts.rpt_series_ends_monthly"
# the metrics that a difference between RIS and images touches
TOUCHED = ["Q05", "W01", "U02", "T01", "U01", "W04", "R02"]

page = current_page()
chosen = (page.build, page.filters)
weekly = utilisation.by_week(*chosen)
scanners = utilisation.scanners_latest(*chosen)
used = metrics.peers_latest(*chosen, "U02")
paced = metrics.peers_latest(*chosen, "U01")
goal, pace = page.targets("U02"), page.targets("U01")
where, events = page.where, page.events
told = {"Occupied": "occupied_minutes", "Divided by": "available_minutes"}
counted = [f"{word}: {page.text(WEEKS, column)}" for word, column in told.items()]

left, right = page.columns()
with left:
    page.figure(draw.nested(weekly, where, events, counted), metrics=["U02"], source=WEEKS)
with right:
    page.figure(draw.shares(weekly, where, events, goal), metrics=["U02"], source=WEEKS)
lost = utilisation.gaps_by_week(*chosen)
classes = {name: page.text(GAPS, f"{name}_minutes") for name in ("changeover", "idle")}
page.figure(draw.gaps(lost, where, events, **classes), metrics=["U02", "U07"], source=GAPS)
left, right = page.columns()
with left:
    page.figure(draw.peers(used, page.modality, goal), metrics=["U02"], source=MONTHS)
with right:
    page.figure(draw.exams_per_hour(paced, page.modality, pace), metrics=["U01"], source=MONTHS)
page.figure(draw.efficiency(weekly, where, events), source=WEEKS)
page.figure(draw.scanners(scanners, where, goal, counted), metrics=["U02", "U01"], source=WEEKS)

page.section("How counted", "The same scans under other conventions, and what the images miss.")
ways = utilisation.conventions_latest(*chosen)
page.figure(draw.conventions(ways, where), metrics=["U02"], source=CONVENTIONS)
bridges = utilisation.bridges_latest(*chosen)
page.figure(draw.bridges(bridges, where), source=BRIDGES)
ends = utilisation.series_ends_latest(*chosen)
page.figure(draw.series_ends(ends, where), source=ENDS)
compared = utilisation.against_ris_latest(*chosen)
page.figure(draw.against_ris(compared, where), metrics=TOUCHED, source=RIS)
