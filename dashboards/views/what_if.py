"""One row per question about a waiting list, answered from the reader's own numbers."""

from dataclasses import asdict, replace

import streamlit as st

from dashboards.components import what_if_figures as draw
from dashboards.data import whatif
from dashboards.page import current_page

page = current_page()
start = whatif.start(page.build, page.filters)
if start is None:
    st.info("No waiting list is stored for this choice. Choose another organisation or modality.")
    st.stop()
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
