"""Monthly workbooks: each sheet becomes a delivery of its own feed once its sign-off holds."""

import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from pipelines.contracts import Contract
from pipelines.feeds import FEEDS, WORKBOOK
from pipelines.harvest.model import (
    Batch,
    HarvestResult,
    Progress,
    Setup,
    SourceFile,
    contract_of,
    empty_rejects,
)
from pipelines.harvest.opening import latest_allowed
from pipelines.harvest.tables import landed_reference
from pipelines.landing.pseudonymise import roles
from pipelines.quality.suites import VIOLATION_SCHEMA
from pipelines.sources.extract_tables import FIRST_ROW, Refused, table_of
from pipelines.sources.inbox import Delivery
from pipelines.sources.workbooks import Sheet, WorkbookRefused, cell_text, read_workbook

SIGN_OFF = "sign_off"
ROWS_FROM_HERE = ("sheet", "rows")
_HEAD = ("party_code", "month_on", "signed_off_by_role", "signed_off_on")
_PLACES_NAMED = 5
# Before a kept workbook: which of its sheets are to be replayed.
_ONLY = b"# sheets: "
Sheets = dict[tuple[str, int], Delivery]


def read_workbooks(feed_kind: str, files: list[SourceFile], setup: Setup, tell: Progress) -> Batch:
    """One record per sheet of the workbooks (contract monthly_workbook); the rows are not in it.

    The deliveries of the sheets are in `Batch.beside`. Refused whole: what is no workbook within
    its limits, is not signed off, or speaks for another party or a month that is not over. A
    sheet is rejected that is missing, has merged cells, a header that does not name each column
    once, cells beyond its header, or rows of another month or party.
    """
    contract = contract_of(feed_kind, setup)
    frames, rejects, beside = [], [empty_rejects()], {}
    for number, file in enumerate(files, start=1):
        try:
            records, broken, sheets = _read(file, contract, setup)
        except WorkbookRefused as error:
            file.refused = file.refused or error.refused()
            file.received = 1
            continue
        finally:
            tell(f"read {feed_kind}", number, len(files))
        file.received = len(records)
        frames.append(records.with_columns(source_sha=pl.lit(file.sha)))
        rejects.append(broken)
        beside |= sheets
    nothing = pl.DataFrame(schema={"source_sha": pl.String, "row_no": pl.Int64})
    records = pl.concat(frames) if frames else nothing
    allowed = latest_allowed(files, contract, setup.network.time_zone)
    records = records.join(allowed, on="source_sha", how="left")

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        signed = accepted.with_columns(roles(accepted["signed_off_by_role"], setup.keys.pseudonym))
        return landed_reference(signed, FEEDS[feed_kind].landing_table, setup)

    return Batch(records, pl.concat(rejects), landing_rows, beside=beside)


def kept_workbook(file: SourceFile, rejected: list[int]) -> bytes:
    """What quarantine keeps: the workbook, and the numbers of the records that did not land."""
    return _ONLY + json.dumps(rejected).encode() + b"\n" + _chosen(file)[1]


def _chosen(file: SourceFile) -> tuple[set[int] | None, bytes]:
    """Numbers of the records to be read, None for all of them, and the workbook.

    Only what quarantine kept may choose; in a delivery such a beginning is no workbook.
    """
    if file.replay_of is None or not file.data.startswith(_ONLY):
        return None, file.data
    head, _, rest = file.data.partition(b"\n")
    return set(json.loads(head.removeprefix(_ONLY))), rest


def _read(
    file: SourceFile, contract: Contract, setup: Setup
) -> tuple[pl.DataFrame, pl.DataFrame, Sheets]:
    chosen, data = _chosen(file)
    sheets = read_workbook(data)
    head, stated = _sign_off(sheets.get(SIGN_OFF), contract)
    _check_head(head, file, contract)
    names = [*stated, *(name for name in sheets if name not in (*stated, SIGN_OFF))]
    rows, rejects, beside = [], [], {}
    for row_no, name in enumerate(names, start=FIRST_ROW):
        sheet = sheets.get(name)
        found = [row for row in sheet.rows[1:] if row] if sheet else []
        count = None if sheet is None else str(len(found))
        rows.append((*head.values(), name, stated.get(name), count))
        why = _unfit(name, sheet, head, setup)
        if why is not None:
            rejects.append((file.sha, row_no, *why, "sheet"))
        elif sheet is not None:
            beside[(file.sha, row_no)] = _delivery(file, sheet, setup)
    columns = (*head, "sheet", "stated_row_count", "row_count")
    text = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    records = table_of(text, contract, setup.network.time_zone)
    if isinstance(records, Refused):
        raise WorkbookRefused(records.rule, records.detail)
    broken = pl.DataFrame(rejects, schema=VIOLATION_SCHEMA, orient="row")
    if chosen is not None:
        records, broken = (
            frame.filter(pl.col("row_no").is_in(list(chosen))) for frame in (records, broken)
        )
    return records, broken, beside


def _sign_off(sheet: Sheet | None, contract: Contract) -> tuple[dict[str, str], dict[str, str]]:
    """Who signed what off, and the rows stated of each sheet."""
    if sheet is None:
        raise WorkbookRefused(
            "is_signed_off", f"no sheet {SIGN_OFF}; have the workbook signed off and send it again"
        )
    date_format = contract.settings["dateFormat"]
    pairs = []
    for row in sheet.rows:
        name, value = (cell_text(cell, date_format, date_format) for cell in (*row, None, None)[:2])
        pairs.append((name, value))
    at = pairs.index(ROWS_FROM_HERE) if ROWS_FROM_HERE in pairs else len(pairs)
    said = dict(pairs[:at])
    head = {name: said.get(name, "") for name in _HEAD}
    missing = [name for name, value in head.items() if not value]
    if missing:
        raise WorkbookRefused(
            "is_signed_off",
            f"sheet {SIGN_OFF} does not say {', '.join(missing)}; have the workbook signed off "
            "and send it again",
        )
    return head, {name: count for name, count in pairs[at + 1 :] if name}


def _check_head(head: dict[str, str], file: SourceFile, contract: Contract) -> None:
    if head["party_code"] != file.issuer:
        raise WorkbookRefused(
            "is_of_its_party",
            f"signed off for another party than {file.issuer} of the file name; mend one of them",
        )
    month = pl.Series([head["month_on"]]).str.to_date(contract.settings["dateFormat"], strict=False)
    first: date | None = month[0]
    if first is None or first.day != 1:
        raise WorkbookRefused(
            "is_of_a_month", "month_on must be the first day of a month, as a date or YYYY-MM-DD"
        )
    day = file.delivery.delivered_on
    if (first.year, first.month) >= (day.year, day.month):
        raise WorkbookRefused(
            "is_of_a_month", f"month_on {first} is not over on the day of delivery, {day}"
        )


def _unfit(
    name: str, sheet: Sheet | None, head: dict[str, str], setup: Setup
) -> tuple[str, str] | None:
    """Rule and reason for which the rows of a sheet are not read; None where they are."""
    if sheet is None:
        # Only the name of a feed is repeated: any other is free text of the sender.
        named = name if name in FEEDS else "that no feed has the name of"
        return "sheet_is_there", f"the sign-off names a sheet {named}, and the workbook has none."
    if (
        name not in FEEDS
        or name == WORKBOOK
        or setup.inbound[FEEDS[name].contract].settings.get("format") != "csv"
    ):
        return "sheet_is_of_a_feed", "no feed has the name of the sheet; see docs/feeds.md."
    if sheet.merged:
        places = ", ".join(sheet.merged[:_PLACES_NAMED])
        return "sheet_has_no_merged_cells", f"cells are merged at {places}; fill in every cell."
    header = _header(sheet)
    if not header or not all(header) or len(set(header)) < len(header):
        return "sheet_has_a_header", "row 1 must name each column once, as the contract does."
    beyond = [
        number
        for number, row in enumerate(sheet.rows[1:], start=FIRST_ROW)
        if any(cell_text(cell, "", "") for cell in row[len(header) :])
    ]
    if beyond:
        places = ", ".join(map(str, beyond[:_PLACES_NAMED]))
        return (
            "sheet_has_no_cells_beyond_its_header",
            f"{len(beyond)} row(s) have cells in columns that row 1 does not name: {places}.",
        )
    for column, rule, told in (
        ("month_on", "sheet_is_of_its_month", "month"),
        ("party_code", "sheet_is_of_its_party", "party"),
    ):
        others = _rows_of_another(sheet, column, head[column])
        if others:
            places = ", ".join(map(str, others[:_PLACES_NAMED]))
            return rule, f"{len(others)} row(s) are of another {told} than the sign-off: {places}."
    return None


def _header(sheet: Sheet) -> tuple[str, ...]:
    """Column names of a sheet without blanks around them; empty for a cell that is no text."""
    cells = sheet.rows[0] if sheet.rows else ()
    return tuple(cell.strip() if isinstance(cell, str) else "" for cell in cells)


def _rows_of_another(sheet: Sheet, column: str, expected: str) -> list[int]:
    """Numbers of the rows that hold another value than the sign-off."""
    header = _header(sheet)
    if column not in header:
        return []
    at = header.index(column)
    return [
        number
        for number, row in enumerate(sheet.rows[1:], start=FIRST_ROW)
        if len(row) > at
        and row[at] is not None
        and cell_text(row[at], "%Y-%m-%d", "%Y-%m-%d") != expected
    ]


def _delivery(file: SourceFile, sheet: Sheet, setup: Setup) -> Delivery:
    """The rows of a sheet as a delivery of its feed; row numbers stay those of the sheet."""
    contract = setup.inbound[FEEDS[sheet.name].contract]
    kinds = {column.name: column.logical_type for column in contract.columns}
    day, moment = contract.settings["dateFormat"], contract.settings["timestampFormat"]
    header = _header(sheet)
    width = len(header)
    texts = [
        [
            cell_text(value, moment if kinds.get(name) == "timestamp" else day, day)
            for name, value in zip(header, (*row, *(None,) * width), strict=False)
        ]
        for row in sheet.rows[1:]
    ]
    frame = pl.DataFrame(texts, schema=dict.fromkeys(header, pl.String), orient="row")
    stream = io.BytesIO()
    frame.write_csv(stream, separator=contract.settings.get("delimiter", ","))
    name = f"{file.name}#{sheet.name}"
    return Delivery(sheet.name, Path(name), file.delivery.delivered_on, stream.getvalue())


def land_sheets(
    accepted: pl.DataFrame,
    batch: Batch,
    harvest_all: Callable[[str, list[Delivery]], HarvestResult],
) -> list[HarvestResult]:
    """Harvest the sheets of accepted records as deliveries of their feeds; a result per feed.

    Before the receipt of the workbook is written: a harvest that was killed in between reads the
    workbook again and knows the sheets that have landed.
    """
    by_kind: dict[str, list[Delivery]] = {}
    for sha, row_no in accepted.select("source_sha", "row_no").iter_rows():
        sheet = batch.beside[sha, row_no]
        by_kind.setdefault(sheet.feed_kind, []).append(sheet)
    return [harvest_all(kind, sheets) for kind, sheets in by_kind.items()]
