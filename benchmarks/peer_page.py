"""The peer of `bench dashboards`: a bare Streamlit page with one stored query and one plain line.

It shares Streamlit, its settings, the browser and the published file with the dashboards, and none
of their code: what a page costs beyond this is ours.
"""

import os

import duckdb
import plotly.graph_objects as go
import polars as pl
import streamlit as st

FILE = os.environ["BENCH_PUBLISHED_FILE"]
MONTHS = """
select period_start_on, numerator, denominator, value
from marts.rpt_metrics_monthly
where metric_id = 'T01' and org_level = $level and org_code = $code and modality_group = 'All'
order by period_start_on
"""


@st.cache_resource
def connection() -> duckdb.DuckDBPyConnection:
    """One read-only connection for all visitors."""
    return duckdb.connect(FILE, read_only=True)


@st.cache_data
def asked(sql: str, **given: str) -> pl.DataFrame:
    """Rows of a query, kept by its text and parameters."""
    with connection().cursor() as cursor:
        return cursor.sql(sql, params=given).pl()


st.set_page_config(layout="wide")
st.title("Exams performed each month")
organisations = asked(
    "select distinct org_level, org_code from marts.rpt_metrics_monthly where metric_id = 'T01' order by all"
)
names = {f"{level} {code}": (level, code) for level, code in organisations.rows()}
chosen = st.selectbox("Organisation", list(names))
months = asked(MONTHS, level=names[chosen][0], code=names[chosen][1])
st.header(f"Exams performed, {chosen}")
line = go.Scatter(x=months["period_start_on"].to_list(), y=months["value"].to_list())
st.plotly_chart(go.Figure(line), key="line")
