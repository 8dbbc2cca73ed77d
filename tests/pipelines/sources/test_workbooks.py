"""Workbooks: what a trust types lands, what an attacker builds does not."""

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openpyxl import Workbook

from pipelines.harvest import HarvestResult, Setup, harvest, replay
from pipelines.harvest.workbooks import SIGN_OFF
from pipelines.sources.inbox import Delivery
from pipelines.sources.workbooks import WorkbookLimits, WorkbookRefused, cell_text, read_workbook

DAY = date(2026, 2, 1)
NOW = datetime(2026, 2, 1, 23, tzinfo=UTC)
STAFF = (
    "party_code", "month_on", "staff_group", "establishment_wte", "in_post_wte", "leavers_wte",
    "agency_hours", "bank_hours",
)  # fmt: skip
MONTH = date(2026, 1, 1)
ROW = ("RBV", MONTH, "radiographer", 40, 36.5, 0.5, 12, 30)
SIGNED = {
    "party_code": "RBV",
    "month_on": MONTH,
    "signed_off_by_role": "imaging services manager",
    "signed_off_on": date(2026, 2, 1),
}
NewSetup = Callable[..., Setup]


def workbook(
    sheets: dict[str, list[tuple[Any, ...]]],
    *,
    head: dict[str, Any] = SIGNED,
    stated: dict[str, int] | None = None,
    change: Callable[[Workbook], object] = lambda _: None,
) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    cover = book.create_sheet(SIGN_OFF)
    counts = stated or {name: len(rows) - 1 for name, rows in sheets.items()}
    for line in (*head.items(), ("sheet", "rows"), *counts.items()):
        cover.append(line)
    change(book)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def rewritten(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The same archive with the bytes of its members changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)), zipfile.ZIP_DEFLATED)
    return out.getvalue()


GOOD = workbook({"workforce": [STAFF, ROW]})


def landed(
    data: bytes, setup: Setup, name: str = "monthly_workbook_RBV.xlsx"
) -> tuple[HarvestResult, pl.DataFrame, pl.DataFrame]:
    found = harvest(
        "monthly_workbook", [Delivery("monthly_workbook", Path(name), DAY, data)], setup, now=NOW
    )
    return found, setup.landing.read("workforce"), setup.landing.read("rejects")


def test_each_sheet_lands_as_a_delivery_of_its_own_feed(new_setup: NewSetup, tmp_path: Path):
    """Failing means that a trust without a system has no figures."""
    setup = new_setup(tmp_path)
    found, staff, rejects = landed(GOOD, setup)
    assert (found.rows_received, found.rows_landed, rejects.height) == (1, 1, 0)
    row = staff.row(0, named=True)
    assert (row["party_code"], row["month_on"], row["in_post_wte"]) == ("RBV", MONTH, 36.5)
    assert (row["feed_id"], row["row_no"]) == ("workforce_RBV", 2)
    receipts = setup.landing.receipts()
    assert set(receipts.select("feed_kind", "file_name").iter_rows()) == {
        ("monthly_workbook", "monthly_workbook_RBV.xlsx"),
        ("workforce", "monthly_workbook_RBV.xlsx#workforce"),
    }
    again, staff, _ = landed(GOOD, setup)
    assert (again.files_known, staff.height) == (1, 1)


def test_a_corrected_workbook_brings_its_changed_sheet_only(new_setup: NewSetup, tmp_path: Path):
    """Failing means that a correction of one sheet counts the others twice."""
    setup = new_setup(tmp_path)
    storage = [("party_code", "month_on", "archive", "added_tb", "held_tb",
                "price_gbp_per_tb_year", "amount_gbp"),
               ("RBV", MONTH, "local", 1.5, 90, 120, 900)]  # fmt: skip
    landed(workbook({"workforce": [STAFF, ROW], "storage": storage}), setup)
    mended = (*ROW[:4], 35, *ROW[5:])
    _, staff, _ = landed(workbook({"workforce": [STAFF, mended], "storage": storage}), setup)
    assert (staff.height, setup.landing.read("storage").height) == (2, 1)


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        ("sheet_is_there", workbook({"workforce": [STAFF, ROW]}, stated={"storage": 1})),
        ("sheet_is_of_a_feed", workbook({"notes": [("text",), ("Mr Smith was late",)]})),
        ("sheet_is_there", workbook({}, stated={"Mr Smith": 1})),
        (
            "sheet_has_no_merged_cells",
            workbook({"workforce": [STAFF, ROW]}, change=lambda b: b["workforce"].merge_cells("A2:A3")),
        ),
        ("sheet_has_a_header", workbook({"workforce": [(1, 2, 3), (4, 5, 6)]})),
        ("sheet_has_a_header", workbook({"workforce": []}, stated={"workforce": 0})),
        ("sheet_has_a_header", workbook({"workforce": [(*STAFF, "bank_hours "), (*ROW, 30)]})),
        ("sheet_has_a_header", workbook({"workforce": [(*STAFF, " ", "more"), ROW]})),
        ("sheet_has_no_cells_beyond_its_header", workbook({"workforce": [STAFF, (*ROW, 7)]})),
        (
            "sheet_is_of_its_month",
            workbook(
                {
                    "workforce": [
                        ("party_code", "month_on ", *STAFF[2:]),
                        ("RBV", date(2026, 2, 1), *ROW[2:]),
                    ]
                }
            ),
        ),
        (
            "sheet_is_of_its_party",
            workbook({"workforce": [(" party_code", *STAFF[1:]), ("RMC", *ROW[1:])]}),
        ),
        (
            "sheet_is_of_its_month",
            workbook({"workforce": [STAFF, ROW, ("RBV", date(2026, 2, 1), *ROW[2:])]}),
        ),
        ("sheet_is_of_its_party", workbook({"workforce": [STAFF, ("RMC", *ROW[1:])]})),
        (
            "row_count_is_as_signed_off",
            workbook({"workforce": [STAFF, ROW]}, stated={"workforce": 2}),
        ),
        ("stated_row_count_is_given", workbook({"workforce": [STAFF, ROW]}, stated={"": 0})),
    ],
)  # fmt: skip
def test_an_unfit_sheet_is_rejected_with_its_reason_and_lands_nothing(
    new_setup: NewSetup, tmp_path: Path, rule: str, data: bytes
):
    """Failing means that figures nobody signed, or of another month, are counted."""
    found, staff, rejects = landed(data, new_setup(tmp_path))
    assert staff.is_empty()
    assert found.rows_received == found.rows_landed + found.rows_rejected
    assert rule in set(rejects["rule"])
    assert not rejects["reason"].str.contains("Smith").any()
    assert all(reason.endswith(".") for reason in rejects["reason"])


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SIGNED.items() if key != name}


@pytest.mark.parametrize(
    ("rule", "data", "name"),
    [
        ("is_readable", b"not a workbook", "monthly_workbook_RBV.xlsx"),
        ("is_readable", GOOD[: len(GOOD) // 2], "monthly_workbook_RBV.xlsx"),
        ("is_signed_off", workbook({}, change=lambda b: b.create_sheet("x") and b.remove(b[SIGN_OFF])), "monthly_workbook_RBV.xlsx"),
        ("is_signed_off", workbook({"workforce": [STAFF, ROW]}, head=without("signed_off_on")), "monthly_workbook_RBV.xlsx"),
        ("is_signed_off", workbook({"workforce": [STAFF, ROW]}, head=without("signed_off_by_role")), "monthly_workbook_RBV.xlsx"),
        ("is_of_its_party", GOOD, "monthly_workbook_RMP.xlsx"),
        ("feed_is_registered", GOOD, "monthly_workbook.xlsx"),
        ("is_of_a_month", workbook({"workforce": [STAFF, ROW]}, head=SIGNED | {"month_on": date(2026, 2, 1)}), "monthly_workbook_RBV.xlsx"),
        ("is_of_a_month", workbook({"workforce": [STAFF, ROW]}, head=SIGNED | {"month_on": "January"}), "monthly_workbook_RBV.xlsx"),
        ("is_readable", rewritten(GOOD, lambda n, b: b.replace(b"<worksheet", b"<!DOCTYPE x [<!ENTITY a 'b'>]><worksheet", 1)), "monthly_workbook_RBV.xlsx"),
        ("is_readable", rewritten(GOOD, lambda n, b: b[: len(b) // 2] if "sheet1" in n else b), "monthly_workbook_RBV.xlsx"),
    ],
)  # fmt: skip
def test_a_workbook_that_is_unsigned_foreign_or_broken_is_refused_whole(
    new_setup: NewSetup, tmp_path: Path, rule: str, data: bytes, name: str
):
    """Failing means that a workbook nobody answers for is taken, or that a run breaks on one."""
    setup = new_setup(tmp_path)
    found, staff, rejects = landed(data, setup, name)
    assert (found.files_refused, found.rows_rejected, staff.height) == (1, 1, 0)
    assert rejects["rule"].to_list() == [rule]
    assert setup.landing.receipts()["status"].to_list() == ["quarantined"]


@pytest.mark.parametrize("text", ["=1+1", '=HYPERLINK("http://x")', "+44", "@SUM(A1)", "-x"])
def test_a_formula_is_a_rejected_row_and_not_a_value(
    new_setup: NewSetup, tmp_path: Path, text: str
):
    """Failing means that a download opens somebody else's formula in a reader's program."""
    rows = [STAFF, ROW, ("RBV", MONTH, text, *ROW[3:])]
    _, staff, rejects = landed(workbook({"workforce": rows}), new_setup(tmp_path))
    assert staff["row_no"].to_list() == [2]
    told = rejects.select("rule", "row_no", "column_name", "file_name").rows()
    assert told == [("cell_is_no_formula", 3, "staff_group", "monthly_workbook_RBV.xlsx#workforce")]


def test_a_formula_among_numbers_is_rejected_and_never_computed(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a figure depends on what a program once computed."""
    rows = [STAFF, ROW, (*ROW[:4], "=D2-1", *ROW[5:])]
    _, staff, rejects = landed(workbook({"workforce": rows}), new_setup(tmp_path))
    assert staff["row_no"].to_list() == [2]
    assert rejects.select("row_no", "column_name").rows() == [(3, "in_post_wte")]


def test_a_delivered_file_does_not_choose_its_sheets(new_setup: NewSetup, tmp_path: Path):
    """Failing means that a sender can have sheets that were signed off left out unseen."""
    found, staff, _ = landed(b"# sheets: []\n" + GOOD, new_setup(tmp_path))
    assert (found.rows_received, found.rows_landed, staff.height) == (1, 1, 1)


def test_the_harvest_of_a_workbook_tells_what_became_of_its_sheets(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a command ends well and says nothing while a sheet was refused."""
    sheets = {
        "workforce": [STAFF, ROW, ("RBV", MONTH, "=1", *ROW[3:])],
        "storage": [("party_code",), ("RBV",)],
    }
    setup = new_setup(tmp_path)
    found, _, _ = landed(workbook(sheets), setup)
    assert (found.files_landed, found.files_refused, found.rows_landed) == (1, 0, 2)
    assert [(one.file_name, one.rule) for one in found.failures] == [
        ("monthly_workbook_RBV.xlsx#storage", "has_all_columns")
    ]
    assert found.rejects_by_rule == {"cell_is_no_formula": 1, "has_all_columns": 1}
    kept = {(entry.entry_id, entry.feed_kind) for entry in setup.quarantine.entries()}
    assert {entry for entry, _ in kept} == set(found.quarantined)
    assert {kind for _, kind in kept} == {"workforce", "storage"}


def test_a_rejected_sheet_is_replayed_without_the_others(new_setup: NewSetup, tmp_path: Path):
    """Failing means that mending one sheet counts the rest of the workbook again."""
    sheets = {"workforce": [STAFF, ROW], "storage": [("party_code",), ("RMC",)]}
    setup = new_setup(tmp_path)
    landed(workbook(sheets), setup)
    (entry,) = [e for e in setup.quarantine.entries() if e.feed_kind == "monthly_workbook"]
    assert (entry.scope, entry.record_count) == ("row", 1)
    again = replay(entry, setup, now=NOW)
    assert (again.rows_received, again.rows_rejected) == (1, 1)
    assert setup.landing.read("workforce").height == 1


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (WorkbookLimits(packed=1000), [STAFF, ROW]),
        (WorkbookLimits(unpacked=2000), [STAFF, ROW]),
        (WorkbookLimits(members=3), [STAFF, ROW]),
        (WorkbookLimits(ratio=5, ratio_from=1000), [STAFF, *[ROW] * 500]),
        (WorkbookLimits(rows=3), [STAFF, ROW, ROW, ROW]),
        (WorkbookLimits(columns=5), [STAFF, ROW]),
        (WorkbookLimits(sheets=1), [STAFF, ROW]),
    ],
)
def test_a_workbook_beyond_any_limit_is_refused(
    limits: WorkbookLimits, rows: list[tuple[Any, ...]]
):
    """Failing means that one small file can fill the memory of the machine."""
    with pytest.raises(WorkbookRefused) as error:
        read_workbook(workbook({"workforce": rows}), limits)
    assert error.value.rule == "is_within_limits"


def test_a_cell_at_the_end_of_the_sheet_costs_nothing(tmp_path: Path):
    """Failing means that one stray cell a million rows down stops a harvest."""
    far = workbook(
        {"workforce": [STAFF, ROW]}, change=lambda b: b["workforce"].cell(900_000, 1, "x")
    )
    assert len(read_workbook(far)["workforce"].rows) == 2


def test_macros_are_refused():
    """Failing means that a workbook with code is passed on."""
    out = io.BytesIO(GOOD)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("xl/vbaProject.bin", b"code")
    with pytest.raises(WorkbookRefused) as error:
        read_workbook(out.getvalue())
    assert error.value.rule == "has_no_macros"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "true"),
        (3.0, "3"),
        (0.125, "0.125"),
        (datetime(2026, 1, 5, 8, 30), "05/01/2026 08:30"),
        (date(2026, 1, 5), "2026-01-05"),
        (" text ", "text"),
    ],
)
def test_a_cell_is_the_text_a_file_would_hold(value: object, expected: str):
    """Failing means that a workbook and a file of the same figures differ."""
    assert cell_text(value, "%d/%m/%Y %H:%M", "%Y-%m-%d") == expected
