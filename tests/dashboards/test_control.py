"""A control chart as its reader meets it: limits, rings, and the verdict in words."""

import json

import polars as pl

from dashboards.components import control, throughput_figures


def test_the_page_says_whether_the_last_month_is_a_signal(open_view):
    """Failing means that a manager acts on noise, or sees a signal only in a drawing."""
    app = open_view("throughput", months="All months")
    html = "".join(str(block.proto.body) for block in app.get("html"))
    assert "Special cause, concerning: values higher" in html
    assert "No target" in html
    drawing = next(
        json.loads(chart.proto.spec)
        for chart in app.get("plotly_chart")
        if "Exams performed each month" in chart.proto.alt
    )
    names = [trace.get("name") for trace in drawing["data"]]
    assert {"Mean", "Process limits", "Special cause, concerning"} <= set(names)
    alt = next(c.proto.alt for c in app.get("plotly_chart") if "each month" in c.proto.alt)
    assert "Special cause, concerning: values higher" in alt


def test_a_series_without_a_chart_is_drawn_as_before():
    """Failing means that a page breaks for an organisation that is too young for limits."""
    frame = pl.DataFrame({"period_start_on": [], "value": []})
    events = pl.DataFrame()
    drawn = throughput_figures.exams_by_month(frame, "Bolton", events)
    assert control.with_limits(drawn, pl.DataFrame(), pl.DataFrame()) is drawn
