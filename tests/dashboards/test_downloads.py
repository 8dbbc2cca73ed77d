"""A file that leaves the page must say what it is, and must not run in a spreadsheet."""

import io

import polars as pl
from openpyxl import load_workbook

from dashboards.components import downloads, wording

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
    assert wording.status("from_memory") == "unverified"
