"""A file that leaves the page must say what it is, and must not run in a spreadsheet."""

import io
from datetime import date

import polars as pl
from openpyxl import load_workbook

from dashboards.components import comparison, downloads, figure, marks, wording

DEFINITIONS = pl.DataFrame(
    [
        {
            "metric_id": "W02",
            "name": "Waiting 6 weeks or more",
            "definition": "Share of the list\nwaiting 42 days or more.",
            "numerator": "42 days or more",
            "denominator": "W01",
            "source": "DM01",
            "source_status": "verified",
            "owner": "Imaging analytics",
        }
    ]
)
FRAME = pl.DataFrame(
    {"note": ["=1+1", "+2", "-3", "@x", "fine", None], "value": [1, 2, 3, 4, 5, 6]}
)
HEAD = downloads.header("Waits, Bolton", DEFINITIONS, ["Organisation: Bolton", "Build: b1"])


def test_text_that_a_spreadsheet_would_run_is_escaped():
    """A formula in a reject reason would run on the reader's machine."""
    assert downloads.escape(FRAME)["note"].to_list() == ["'=1+1", "'+2", "'-3", "'@x", "fine", None]
    assert downloads.escape(FRAME)["value"].to_list() == FRAME["value"].to_list()
    named = FRAME.rename({"note": "=cmd()"})
    assert downloads.escape(named).columns == ["'=cmd()", "value"]
    book = load_workbook(io.BytesIO(downloads.xlsx_bytes(named, HEAD)))
    assert [cell.value for cell in book["Data"][1]] == ["'=cmd()", "value"]


def test_a_csv_says_definition_filters_and_build_before_the_rows():
    """A file without its head is a number without a meaning a week later."""
    lines = downloads.csv_bytes(FRAME, HEAD).decode().splitlines()
    head = [line for line in lines if line.startswith("# ")]
    assert head[0] == "# Waits, Bolton"
    assert "# Organisation: Bolton" in head
    assert "# Build: b1" in head
    assert any("Share of the list waiting 42 days or more." in line for line in head)
    rows = pl.read_csv(io.BytesIO(downloads.csv_bytes(FRAME, HEAD)), comment_prefix="#")
    assert rows["value"].to_list() == FRAME["value"].to_list()


def test_a_workbook_has_the_same_head_and_the_same_rows():
    """Two downloads of one figure must hold one set of numbers."""
    book = load_workbook(io.BytesIO(downloads.xlsx_bytes(FRAME, HEAD)))
    assert book.sheetnames == ["About", "Data"]
    assert book["About"]["A1"].value == "Waits, Bolton"
    assert [row[1] for row in book["Data"].iter_rows(min_row=2, values_only=True)] == list(
        range(1, 7)
    )
    assert book["Data"]["A2"].value == "'=1+1"


def test_values_are_written_the_same_everywhere():
    """A rate of 0.0004 shown as 0.0% would read as none."""
    assert wording.number(0.2071, "rate") == "20.7%"
    assert wording.number(0.0004, "rate") == "0.04%"
    assert wording.number(0.0, "rate") == "0.0%"
    assert wording.number(None, "rate") == "no value"
    assert wording.number(410_000.0, "gbp") == "£410,000"
    assert wording.number(1234, "count") == "1,234"
    assert wording.change(0.031, "rate") == "+3.1 points"
    assert wording.change(0.0, "rate") == "+0.0 points"
    assert wording.status("from_memory") == "unverified"


def test_a_small_rate_and_its_change_do_not_look_as_if_nothing_moved():
    """'0.1% to 0.1% (+0.0 points) against the promise' contradicts itself."""
    assert wording.number(0.0011, "rate") == "0.11%"
    assert wording.number(0.0014, "rate") == "0.14%"
    assert wording.change(0.0003, "rate") == "+0.03 points"
    assert wording.change(-0.0042, "rate") == "-0.42 points"
    assert wording.number(0.01, "rate") == "1.0%"


def test_a_count_and_an_event_are_written_as_a_person_would():
    """'1 records' and 'Bolton: Bolton: archive go-live' make a page look careless."""
    assert wording.counted(1, "record") == "1 record"
    assert wording.counted(1200, "record") == "1,200 records"
    assert wording.number(1.2, "hours") == "1 hour"
    assert wording.number(25.0, "hours") == "25 hours"
    assert wording.number(1.0, "days") == "1 day"
    assert wording.number(14.5, "days") == "14.5 days"
    assert wording.number(7.0, "weeks") == "7 weeks"
    event = {
        "scope_name": "Bolton",
        "label": "Bolton: archive go-live",
        "event_on": date(2021, 4, 12),
        "source_status": "synthetic",
    }
    told = "Bolton: archive go-live, 12 April 2021 (invented for the demonstration)"
    assert marks.name(event) == told
    assert marks.name(event | {"label": "Archive go-live"}).startswith("Bolton: Archive go-live, ")


def test_one_bar_alone_is_not_told_as_a_range():
    """'From 84.7% (X) to 84.7% (X)' reads as a comparison where there is none."""
    frame = pl.DataFrame(
        {
            "organisation": ["Bolton"],
            "period_start_on": [date(2026, 3, 1)],
            "value": [0.847],
            "is_mine": [True],
        }
    )
    drawn = comparison.peers(frame, on="period_start_on", value="value", unit="rate", title="Use")
    assert drawn.takeaway == "March 2026: 84.7% at Bolton, the only one."


def test_a_metric_without_a_good_direction_says_so():
    """'Better when it is neither high nor low' is no sentence, and names no direction."""
    row = DEFINITIONS.row(0, named=True) | {"exclusions": "", "unit": "count", "clock": "month"}
    assert "- Unit: count; no good direction" in figure.definition(row | {"improvement": "neutral"})
    assert "better when it falls" in figure.definition(row | {"improvement": "decrease"})
