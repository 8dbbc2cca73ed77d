"""One row per promise of the programme: planned value, what its metric did, realised value."""

from dashboards.components import benefit_table, network_map
from dashboards.data.queries import benefits, organisations
from dashboards.export import button
from dashboards.page import current_page

REGISTER = "Benefit register, whole network, all modalities"
SHARED = "marts.rpt_cross_site_reporting_yearly"
PLANNED = "Planned value a year by promise, whole network"

page = current_page()
register = benefit_table.as_displayed(benefits.summary(page.build))
benefit_table.headline(benefits.overview(page.build).row(0, named=True))
button.show(page.build, page.taken)
benefit_table.show(
    register,
    title=REGISTER,
    caption=(
        "Planned was promised; the metric shows what changed, whatever the cause; realised is what "
        "a comparison with parties not yet live gives the programme. The classes count different "
        "kinds of value and are never added together."
    ),
)
page.footer(
    benefit_table.rows(register, title=REGISTER),
    metrics=register["measure_metric_id"].drop_nulls().to_list(),
    source="marts.rpt_benefits_summary",
)
page.figure(benefit_table.appraisal(benefits.appraisal(page.build)), source="statistics.appraisal")
page.figure(benefit_table.planned(register, title=PLANNED), source="marts.rpt_benefits_summary")
page.figure(
    network_map.timeline(
        organisations.go_lives(page.build), title="Go-lives of the programme parties, whole network"
    ),
    source="marts.dim_event",
)
page.figure(
    network_map.shared_by_year(
        benefits.cross_site_by_year(page.build, page.filters),
        page.where,
        page.events,
        page.targets("R08"),
    ),
    metrics=["R08"],
    source=SHARED,
    filtered_by=("Organisation", "Months"),
)
page.figure(
    network_map.matrix(
        benefits.cross_site_matrix_latest(page.build, page.filters),
        title="Who reports for whom, whole network, all modalities",
    ),
    filtered_by=("Months",),
    metrics=["R08", "R06"],
    source=SHARED,
)
