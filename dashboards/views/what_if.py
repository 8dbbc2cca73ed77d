"""One row per question about a waiting list, and per figure of the appraisal, from own numbers."""

from dataclasses import asdict, replace

import streamlit as st

from dashboards.components import what_if_benefits
from dashboards.components import what_if_figures as draw
from dashboards.data import whatif
from dashboards.page import current_page

page = current_page()
page.section("Waiting list", "What would bring the list you chose to its target?")
start = whatif.start(page.build, page.filters)
if start is None:
    st.info("No waiting list is stored for this choice. Choose another organisation or modality.")
else:
    filters = page.filters
    list_of = f"{filters.org_level}_{filters.org_code}_{filters.modality_group}_{start.census}"
    asked = draw.inputs(asdict(start), list_of)
    plan = whatif.plan(replace(start, **asked))
    page.figure(
        draw.answer(plan, asked, page.where, start),
        metrics=["W01", "W07", "W08"],
        source="marts.rpt_metrics_monthly",
        filtered_by=("Organisation", "Modality"),
    )
page.section(
    "Benefits",
    "What if the promised benefits came later, were smaller, at another price, or cost more?",
)
numbers, words = what_if_benefits.inputs(
    whatif.changeable(page.build), whatif.NOTHING_CHANGED.delay_of
)
doubts = whatif.Doubts(**numbers)
compared, problem = whatif.compared(page.build, doubts)
page.figure(
    what_if_benefits.answer(
        compared,
        words,
        problem,
        is_changed=doubts != whatif.NOTHING_CHANGED,
        not_priced=whatif.not_priced(page.build),
        stored_bias=whatif.STORED_BIAS,
        is_masked=bool(page.build.rule),
    ),
    source="statistics.appraisal",
)
if what_if_benefits.wants_draws() and (found := whatif.simulated(page.build, doubts)):
    drawn = what_if_benefits.simulated(found.figures, found.draws, words)
    page.figure(drawn, source="statistics.appraisal_sensitivities", filtered_by=())
    swung = what_if_benefits.tornado(found.lines, words)
    page.figure(swung, source="statistics.appraisal_sensitivities", filtered_by=())
