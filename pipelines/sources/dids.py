"""DIDS submissions, version 1 and 2, as typed records: what a trust already sends every month.

Version 1 is a CSV of 18 columns without a header, version 2 one with a header of item names. A
file of the other version, or a submission as XML, is refused with the place where it belongs.
"""

import csv
import io
import re
from xml.etree import ElementTree

import polars as pl

from pipelines.contracts import Contract, Rule
from pipelines.sources.clock import localise
from pipelines.sources.extract_tables import Refused, header_of, read_table, table_of

VERSIONS = {"dids_v1": 1, "dids_v2": 2}
ISO_DATE = r"^\d{4}-\d\d-\d\d$"
ONCE = ("PersonalAndDemographics", "Referrals")
AT_LEAST_ONCE = ("ImagingActivity",)


def read_dids(data: bytes, contract: Contract, zone: str) -> pl.DataFrame | Refused:
    """One row per record of a submission, in the shape of `extract_tables.read_table`.

    A date that gives an event has `__utc`, `__local` (its midnight) and `__precision` `d` beside
    it. A referrer code without its form is not known, as DIDS rule 023 says; `__raw` keeps it.
    """
    table = _table(data, contract, zone)
    if isinstance(table, Refused):
        return table
    table = _strict_dates(table, contract)
    formed = pl.col("referrer_code").str.contains(r"^[A-Z0-9]{8}$")
    return _with_days(table, contract, zone).with_columns(
        referrer_known=pl.when(formed).then(pl.col("referrer_code"))
    )


def header_map(contract: Contract) -> dict[str, str]:
    """Column of the contract by the bare letters and digits of each name that its item goes by."""
    return {
        bare(name): column.name
        for column in contract.columns
        for name in (column.name, column.business_name, *column.also_called)
    }


def bare(name: str) -> str:
    """A name without blanks, signs and case, as headers differ in these."""
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _table(data: bytes, contract: Contract, zone: str) -> pl.DataFrame | Refused:
    if not data.strip():
        return Refused("is_not_empty", "the file is empty; ask the sender to deliver it again")
    if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return _refused_xml(data, contract)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Refused(
            "is_readable", f"not UTF-8; {contract.path.name} says how the file is encoded"
        )
    version = VERSIONS[contract.name]
    try:
        widths = {n: len(r) for n, r in enumerate(csv.reader(io.StringIO(text)), start=1) if r}
    except csv.Error:
        return Refused(
            "is_readable",
            "a value is too long to be one, or a line break stands in it; look for a quotation mark "
            "that is never closed, and ask the sender to deliver it again",
        )
    expected = len(contract.columns) if version == 1 else next(iter(widths.values()))
    items = header_map(contract)
    first = next(csv.reader(io.StringIO(text)), [])
    named = sum(bare(cell) in items for cell in first)
    if version == 1 and named > len(first) // 2:
        return Refused(
            "has_no_header",
            "the first line names items; version 1 has no header: remove the line, or put a file "
            "of version 2 into inbox/dids_v2",
        )
    wrong = next((number for number, width in widths.items() if width != expected), None)
    if wrong is not None:
        rule = _rule(contract, "dids_075")
        return Refused(
            rule.name,
            f"line {wrong} has {widths[wrong]} columns, not {expected}. {rule.description}",
        )
    if version == 1:
        return read_table(data, contract, zone)
    if not named:
        return Refused(
            "has_all_columns",
            "no column of the header is an item of version 2; put a file of version 1 into "
            "inbox/dids_v1",
        )
    return _by_item(data, contract, zone, items)


def _by_item(
    data: bytes, contract: Contract, zone: str, items: dict[str, str]
) -> pl.DataFrame | Refused:
    """Records of version 2: each column of the contract from the item that its header names."""
    names = header_of(data, contract)
    raw = pl.read_csv(io.BytesIO(data), infer_schema=False)
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(items.get(bare(name), ""), name)
    missing = [
        column.business_name
        for column in contract.columns
        if not column.may_be_absent and column.name not in found
    ]
    if missing:
        return Refused(
            "has_all_columns",
            f"missing item(s) {', '.join(missing)}; the contract is {contract.path.name}",
        )
    chosen = raw.select(pl.col(name).alias(column) for column, name in found.items() if column)
    return table_of(chosen, contract, zone)


def _strict_dates(table: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Dates as the specification writes them, with two digits for month and day."""
    dates = [c.name for c in contract.columns if c.logical_type == "date"]
    exact = {name: pl.col(f"{name}__raw").str.contains(ISO_DATE) for name in dates}
    return table.with_columns(
        *(pl.when(exact[name]).then(pl.col(name)).alias(name) for name in dates),
        *(
            (pl.col(f"{name}__unparsed") | ~exact[name].fill_null(True)).alias(f"{name}__unparsed")
            for name in dates
        ),
    )


def _with_days(table: pl.DataFrame, contract: Contract, zone: str) -> pl.DataFrame:
    """Dates of version 1 also as the instants that their days begin at."""
    for column in contract.columns:
        if column.logical_type == "date" and column.name not in ("birth_date", "clock_start_on"):
            day = localise(table[column.name].cast(pl.Datetime("us")), zone)
            table = table.with_columns(
                day["utc"].alias(f"{column.name}__utc"),
                day["local"].alias(f"{column.name}__local"),
                day["flag"].alias(f"{column.name}__flag"),
                pl.lit("d").alias(f"{column.name}__precision"),
                pl.lit("assumed").alias(f"{column.name}__tz_source"),
            )
    return table


def _refused_xml(data: bytes, contract: Contract) -> Refused:
    """An XML submission: without the structure of DIDS, or sound and in the wrong form for us."""
    if not xml_is_dids(data):
        rule = _rule(contract, "dids_076")
        return Refused(rule.name, f"{rule.description} Ask the sender for the CSV submission.")
    return Refused(
        "is_csv", "a sound XML submission, which is not read; ask the sender for the CSV of it"
    )


def xml_is_dids(data: bytes) -> bool:
    """Say whether XML holds DIDS records with the parts that each must have.

    A document type is refused unread: its entities could fill the memory.
    """
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return False
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return False
    records = [element for element in root.iter() if _tag(element) == "DIDSRecord"]
    return bool(records) and all(_is_sound(record) for record in records)


def _is_sound(record: ElementTree.Element) -> bool:
    parts = [_tag(part) for part in record]
    return all(parts.count(name) == 1 for name in ONCE) and all(
        parts.count(name) >= 1 for name in AT_LEAST_ONCE
    )


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _rule(contract: Contract, number: str) -> Rule:
    return next(rule for rule in contract.rules if rule.name.startswith(f"{number}_"))
