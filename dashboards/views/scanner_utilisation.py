"""One row per scanner (or all scanners of an organisation) and week: staffed, occupied, acquiring."""

from dashboards.components import utilisation_figures as draw
from dashboards.data.queries import catalogue, metrics, utilisation
from dashboards.page import MONTHLY, current_page

WEEKS = "marts.rpt_scanner_utilisation_weekly"
GAPS, RIS = "marts.rpt_station_gaps_weekly", "marts.rpt_ris_dicom_reconciliation_monthly"
CONVENTIONS = "marts.rpt_utilisation_conventions_monthly"
BRIDGES, ENDS = "marts.rpt_utilisation_bridges_monthly", "marts.rpt_series_ends_monthly"
# the metrics that a difference between RIS and images touches
TOUCHED = ["Q05", "W01", "U02", "T01", "U01", "W04", "R02"]
SHOWN = ("U02", "U01")

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

measures = {row["metric_id"]: row for row in catalogue.metrics_of(page.build, "U").rows(named=True)}
compared = (draw.peers(used, page.modality, goal), draw.exams_per_hour(paced, page.modality, pace))
for name, peers in zip(SHOWN, compared, strict=True):
    page.beside((page.metric(measures[name], where), [name], MONTHLY), (peers, [name], MONTHLY))
page.any_metric("U", SHOWN)
page.section("Week by week", "Where the staffed time of scanners went, in whole weeks.")
page.beside(
    (draw.nested(weekly, where, events, counted), ["U02"], WEEKS),
    (draw.shares(weekly, where, events, goal), ["U02"], WEEKS),
)
lost = utilisation.gaps_by_week(*chosen)
classes = {name: page.text(GAPS, f"{name}_minutes") for name in ("changeover", "idle")}
page.figure(draw.gaps(lost, where, events, **classes), metrics=["U02", "U07"], source=GAPS)
page.figure(draw.efficiency(weekly, where, events), source=WEEKS)
page.figure(draw.scanners(scanners, where, goal, counted), metrics=["U02", "U01"], source=WEEKS)

page.section("How counted", "The same scans under other conventions, and what the images miss.")
ways = utilisation.conventions_latest(*chosen)
page.figure(draw.conventions(ways, where), metrics=["U02"], source=CONVENTIONS)
bridges = utilisation.bridges_latest(*chosen)
page.figure(draw.bridges(bridges, where), source=BRIDGES)
ends = utilisation.series_ends_latest(*chosen)
page.figure(draw.series_ends(ends, where), source=ENDS)
differing = utilisation.against_ris_latest(*chosen)
page.figure(draw.against_ris(differing, where), metrics=TOUCHED, source=RIS)
