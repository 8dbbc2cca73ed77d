"""Lists that cannot be read: the refusal says what is wrong and where, and quotes nothing."""

import pytest

from pipelines.contracts import Contract
from pipelines.sources.extract_tables import Refused, read_table
from tests.bad_input import HEADER, STAFF

LONDON = "Europe/London"
SURNAME = "Wintergreen"
NAMED = STAFF.replace(b"radiographer", SURNAME.encode())


@pytest.mark.parametrize(
    ("data", "rule", "told"),
    [
        (
            HEADER + STAFF + NAMED + "Zo\u00eb".encode("latin-1"),
            "is_readable",
            "line 4 is not UTF-8",
        ),
        ((HEADER + NAMED).decode().encode("utf-16"), "is_readable", "UTF-16"),
        (b"PK\x03\x04" + NAMED, "is_readable", "XLSX"),
        (b"\xd0\xcf\x11\xe0" + NAMED, "is_readable", "old Excel workbook"),
        (
            HEADER + STAFF + NAMED[:-1] + b",9\n",
            "is_readable",
            "line 3 has 9 fields, the first line has 8",
        ),
        (HEADER + STAFF + b'"' + NAMED, "is_readable", "begins in line 3"),
        ((HEADER + NAMED).replace(b",", b";"), "has_all_columns", "divided by ','"),
        (HEADER.replace(b",bank_hours", b"") + NAMED, "is_readable", "line 2 has 8 fields"),
        (
            HEADER.replace(b"bank_hours", b"x") + NAMED,
            "has_all_columns",
            "missing column(s) bank_hours;",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_told_by_line_and_cause(
    inbound: dict[str, Contract], data: bytes, rule: str, told: str
):
    """Failing means that a sender must guess what to mend, or that a message holds a name."""
    found = read_table(data, inbound["workforce"], LONDON)
    assert isinstance(found, Refused)
    assert found.rule == rule and told in found.detail
    assert SURNAME not in found.detail and "Error" not in found.detail
