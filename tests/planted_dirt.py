"""Broken records put into the operational feeds of an inbox: one for each rule of each feed."""

import csv
import io
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

from openpyxl import load_workbook

from pipelines.contracts import Contract
from pipelines.feeds import FEEDS, WORKBOOK
from pipelines.harvest.workbooks import SIGN_OFF
from pipelines.quality.batches import tolerated
from tests.pipelines.quality.test_contract_rules import CASES, CONTRACTS_IN, good

# Lists of rows; the workbook, which holds lists, is the one operational feed beside them.
LISTS = (
    "booking_diary",
    "downtime",
    "rota",
    "reporting_rota",
    "meeting_lists",
    "image_transfers",
    "outsourcing_invoices",
    "storage",
    "contract_lines",
    "workforce",
    "admissions",
    "staff_survey",
    "time_studies",
    "opening_hours",
    "unit_costs",
    "benefit_register",
    "go_lives",
)
FORMULA = "cell_is_no_formula"
# Sheets that nobody may count: why, and how many rows each has.
UNFIT_SHEETS = {
    "notes": "sheet_is_of_a_feed",
    "meeting_lists": "sheet_is_there",
    "image_transfers": "sheet_has_no_merged_cells",
    "epic_audit": "sheet_has_a_header",
    "booking_diary": "row_count_is_as_signed_off",
    "rota": "sheet_is_of_its_month",
}
# Line of the sign-off from which it names sheets.
_SHEETS_FROM = 6
Planted = dict[str, Counter[str]]


def plant(inbox: Path) -> Planted:
    """Break records of every operational feed; returns by feed kind the rules and their records.

    A record for each rule stands in a list beside a sound one or more. Where a contract tolerates none,
    the list comes with it on a day before it comes in good order, and is refused whole.
    """
    planted = {kind: _plant_in_list(inbox, kind) for kind in LISTS}
    planted[WORKBOOK] = Counter(UNFIT_SHEETS.values())
    planted["workforce"][FORMULA] += _plant_in_workbook(inbox)
    return planted


def _plant_in_list(inbox: Path, kind: str) -> Counter[str]:
    contract = CONTRACTS_IN[FEEDS[kind].contract]
    files = sorted((inbox / kind).glob("*/*.csv"))
    file = next((path for path in files if path.stem.endswith("RMC")), files[0])
    sound = file.read_text()
    header = next(csv.reader(io.StringIO(sound)))
    day = date.fromisoformat(file.parent.name)
    planted: Counter[str] = Counter()
    # so small a network may have sent nothing sound
    is_empty = all(len(path.read_text().splitlines()) == 1 for path in files)
    more = [good(contract)] if is_empty else []
    for rule, change in _changes(contract):
        row = [good(contract) | change]
        if tolerated(contract, rule, 1):
            more += row
            planted[rule] += 1
            continue
        day -= timedelta(days=1)
        refused = inbox / kind / str(day) / file.name
        refused.parent.mkdir()
        refused.write_text(sound + _lines(row, header))
        planted[rule] += len(sound.splitlines())
    file.write_text(sound + _lines(more, header))
    return planted


def _changes(contract: Contract) -> list[tuple[str, dict[str, str | None]]]:
    changes = [(case.rule, case.change) for case in CASES if case.contract == contract.name]
    if contract.settings.get("refusesFormulas"):
        text = next(column for column in contract.columns if column.logical_type == "string")
        changes.append((FORMULA, {text.name: "=1+1"}))
    return changes


def _lines(rows: list[dict[str, str | None]], header: list[str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, extrasaction="ignore", lineterminator="\n")
    writer.writerows({name: value or "" for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _plant_in_workbook(inbox: Path) -> int:
    """Add unfit sheets and a formula to the last workbook; returns the rows with a formula."""
    file = max((inbox / WORKBOOK).glob("*/*_RMP.xlsx"))
    book = load_workbook(file)
    cover = book[SIGN_OFF]
    first = book["workforce"]
    party, month, _, *figures = (cell.value for cell in first[2])
    first.append((party, month, "=1+1", *figures))
    for row in cover.iter_rows(min_row=2):
        if row[0].value == "workforce":
            row[1].value += 1
    for name, rule in UNFIT_SHEETS.items():
        if name not in book.sheetnames and rule != "sheet_is_there":
            _unfit_sheet(book.create_sheet(name), rule, [cell.value for cell in cover["B"][:2]])
        stated = 3 if rule == "row_count_is_as_signed_off" else 1
        cover.append((name, stated))
    book.save(file)
    return 1


def _unfit_sheet(sheet, rule: str, of: list) -> None:
    party, month = of
    header = ("party_code", "month_on", "count")
    sheet.append((1, 2, 3) if rule == "sheet_has_a_header" else header)
    other = month - timedelta(days=1) if rule == "sheet_is_of_its_month" else month
    sheet.append((party, other, 5))
    if rule == "sheet_has_no_merged_cells":
        sheet.merge_cells("A2:B2")


def sent_counts(inbox: Path) -> Counter[str]:
    """Records by feed kind, as a sender counts them: rows of lists and sheets, sheets of workbooks.

    Equal files are one delivery. The rows of a sheet that is not fit to be read are not counted.
    """
    counts: Counter[str] = Counter()
    for kind in (*LISTS, WORKBOOK):
        for data, file in {path.read_bytes(): path for path in inbox.glob(f"{kind}/*/*")}.items():
            if file.suffix == ".csv":
                counts[kind] += len(data.splitlines()) - 1
                continue
            book = load_workbook(file)
            stated = [row[0].value for row in book[SIGN_OFF].iter_rows(min_row=_SHEETS_FROM)]
            counts[WORKBOOK] += len(stated)
            for name in set(stated) - set(UNFIT_SHEETS):
                counts[name] += book[name].max_row - 1
    return counts
