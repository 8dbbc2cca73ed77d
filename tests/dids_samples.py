"""Invented national submissions (DIDS), version 1 and 2, and code lists to judge them by."""

from datetime import date
from pathlib import Path

import polars as pl

from pipelines.contracts import read_contracts
from pipelines.quality.dids_reference import DidsReference

CONTRACTS = Path(__file__).parents[1] / "data_contracts"
CONTRACTS_IN = read_contracts(CONTRACTS / "inbound")


def organisations(*rows: tuple[str, date | None, date | None]) -> pl.DataFrame:
    kinds = {"code": pl.String, "opened_on": pl.Date, "closed_on": pl.Date}
    return pl.DataFrame(list(rows), schema=kinds, orient="row")


REFERENCE = DidsReference(
    postcodes=pl.DataFrame({"code": ["BL4 0JR", "M20 4BX"]}),
    practices=organisations(
        ("P99001", None, None),
        ("P99002", None, date(2026, 1, 11)),
        ("P99003", date(2026, 1, 13), None),
    ),
    organisations=organisations(("RMC", None, None), ("RW6", None, date(2021, 9, 30))),
    sites=organisations(("RMC01", None, None), ("RMC99", date(2026, 1, 13), None)),
    nicip=pl.DataFrame(
        [
            ("CHEAD", "408754009", None),
            ("COLDX", "408754009", date(2026, 1, 12)),
            ("CVERY", "408754009", date(2025, 7, 12)),
        ],
        schema={"code": pl.String, "snomed_code": pl.String, "inactive_on": pl.Date},
        orient="row",
    ),
    snomed=pl.DataFrame(
        [
            ("408754009", None),
            ("429858000", date(2026, 1, 12)),
            ("16310003", date(2025, 7, 12)),
            ("399208008", None),
        ],
        schema={"code": pl.String, "inactive_on": pl.Date},
        orient="row",
    ),
)
GOOD = {
    "nhs_number": "9990001235",
    "nhs_number_status": "01",
    "birth_date": "1958-04-17",
    "ethnic_category": "A",
    "gender": "2",
    "postcode": "BL4 0JR",
    "gp_practice_code": "P99001",
    "source_setting": "03",
    "referrer_code": "G9900417",
    "referring_org_code": "RMC",
    "request": "2025-12-20",
    "receipt": "2025-12-22",
    "test": "2026-01-12",
    "nicip_code": "CHEAD",
    "snomed_code": "408754009",
    "report": "2026-01-14",
    "site_code": "RMC01",
    "accession_number": "RMC7700012",
}
# How version 2 names the dates, and writes them where they are times.
V2 = {"request": "requested_at", "receipt": "request_received_at", "report": "report_issued_at"}
V1 = {
    "request": "requested_on",
    "receipt": "request_received_on",
    "test": "tested_on",
    "report": "report_issued_on",
}
NOBODY = dict.fromkeys(
    ("nhs_number", "birth_date", "ethnic_category", "gender", "postcode", "gp_practice_code"), ""
)


def as_csv(version: int, *rows: dict[str, str]) -> bytes:
    """A submission of one version; in version 2 the dates of test and report are times."""
    contract = CONTRACTS_IN[f"dids_v{version}"]
    lines = []
    if version == 2:
        lines.append(",".join(f'"{column.business_name}"' for column in contract.columns))
    for row in rows:
        if version == 1:
            given = {V1.get(name, name): value for name, value in row.items()}
        else:
            given = {V2.get(name, name): value for name, value in row.items()}
            given["report_issued_at"] = clock(row["report"], "18:00")
            given |= {
                "started_at": clock(row["test"], "10:31"),
                "ended_at": clock(row["test"], "10:52"),
            }
            given |= row
        lines.append(",".join(f'"{given.get(name, "")}"' for name in contract.column_names()))
    return ("\n".join(lines) + "\n").encode()


def clock(day: str, time: str) -> str:
    summer = "2025-03-30" <= day < "2025-10-26" or "2026-03-29" <= day < "2026-10-25"
    return f"{day}T{time}:00+0{int(summer)}:00" if day else ""
