"""A control chart as its reader meets it: limits, rings, and the verdict in words."""

import json
from datetime import date

import polars as pl

from dashboards.components import control, throughput_figures, waiting_figures


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


def test_waits_reports_and_scanner_use_carry_their_limits_or_say_why_not(open_view):
    """Failing means that a month of noise on these pages is read as a trend."""
    app = open_view("waiting_times", test="CT", months="All months")
    drawn = {
        spec["layout"]["meta"]["title"].split(",")[0]: spec
        for spec in (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    }
    for title in ("Waiting 6 weeks or more", "Waiting 13 weeks or more", "Reported within 28 days"):
        names = [trace.get("name") for trace in drawn[title]["data"]]
        assert {"Mean", "Process limits", "Special cause, concerning"} <= set(names), title
    captions = [caption.value for caption in app.caption]
    assert control.NO_CHART in captions, "the tests' build has no chart of R01"
    assert any(text.startswith("No control limits: these are published") for text in captions)
    app = open_view("scanner_utilisation", months="All months")
    assert control.OF_MONTHS in [caption.value for caption in app.caption]
    titles = [
        json.loads(chart.proto.spec)["layout"]["meta"]["title"] for chart in app.get("plotly_chart")
    ]
    assert any(title.startswith("Exams per staffed hour, ") for title in titles)


def test_a_series_without_a_column_of_its_own_joins_the_table():
    """Failing means that a limit stands on a chart whose table lacks the value it judges."""
    month, census = date(2026, 3, 1), date(2026, 3, 31)
    frame = pl.DataFrame({"census_on": [census], **{name: [1] for name in waiting_figures.STREAMS}})
    points = pl.DataFrame(
        {"period_start_on": [month], "value": [3.0], "mean": [2.0], "lpl": [1.0], "upl": [2.5],
         "special_cause_type": ["Above UCL"], "point_type": ["special_cause_improvement"]}
    )  # fmt: skip
    charts = pl.DataFrame(
        {"variation_icon": ["improvement_high"], "variation_text": ["Improving"],
         "assurance_icon": [None], "assurance_text": ["No target"], "limits_from_on": [month],
         "rebase_reason": [None], "last_month_on": [month], "note": [None]}
    )  # fmt: skip
    drawn = waiting_figures.streams(frame, "Bolton", None)
    told = control.with_limits(drawn, charts, points, label="All tests")
    assert told.table["charted_value"].to_list() == [3.0]
    assert [text for _, text, _ in told.verdicts] == [
        "All tests: Improving",
        "All tests: No target",
    ]
    without = control.with_limits(drawn, charts.clear(), points.clear())
    assert without.notes[-1] == control.NO_CHART


def test_a_series_without_a_chart_is_drawn_as_before():
    """Failing means that a page breaks for an organisation that is too young for limits."""
    frame = pl.DataFrame({"period_start_on": [], "value": []})
    events = pl.DataFrame()
    drawn = throughput_figures.exams_by_month(frame, "Bolton", events)
    assert control.with_limits(drawn, pl.DataFrame(), pl.DataFrame()) is drawn
