"""Events on a time chart. A finding here means that a change is seen and its reason is not."""

from datetime import date

import polars as pl
import pytest

from dashboards.components import trend

EVENTS = pl.DataFrame(
    [
        ("NETWORK", "Network", "external", date(2020, 3, 16), date(2021, 3, 31), "COVID-19: less"),
        ("RW6", "Pennine", "go_live_archive", date(2021, 2, 28), None, "Pennine: archive go-live"),
        ("RW6", "Pennine", "outage", date(2021, 3, 30), date(2021, 3, 31), "Pennine: down"),
        ("RW6", "Pennine", "outage", date(2021, 9, 1), date(2021, 9, 1), "Pennine: down again"),
    ],
    schema=["scope_code", "scope_name", "event_type", "event_on", "ends_on", "label"],
    orient="row",
).with_columns(source_status=pl.lit("verified"))
TOLD = [
    "(1) Network: COVID-19: less, 16 March 2020 to 31 March 2021 (verified)",
    "(2) Pennine: archive go-live, 28 February 2021 (verified)",
    "(3) Pennine: down, 30 March 2021 to 31 March 2021 (verified)",
]


@pytest.mark.parametrize(
    ("on", "days"),
    [
        ("month_on", [date(2021, 1, 1), date(2021, 2, 1), date(2021, 3, 1)]),
        ("census_on", [date(2021, 1, 31), date(2021, 2, 28), date(2021, 3, 31)]),
    ],
)
def test_what_touches_the_drawn_months_is_numbered_and_stands_in_its_row(on, days):
    """An event of other months would stretch the chart; one without its row is lost to who reads it."""
    drawn = trend.lines(
        pl.DataFrame({on: days, "value": [1, 2, 3]}),
        on=on,
        series={"value": "Exams"},
        unit="count",
        title="Exams, Pennine",
        what="exams",
        events=EVENTS,
    )
    assert list(drawn.events) == TOLD
    assert drawn.table["marked_events"].to_list() == TOLD
    labels = [note.text for note in drawn.chart.layout.annotations]
    assert labels == ["1 COVID-19", "<b>2</b>", "<b>3</b>"]
    assert all(line in drawn.alt for line in TOLD)
