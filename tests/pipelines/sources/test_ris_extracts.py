"""RIS extracts as events: a wide row must become the facts it states and nothing else."""

from datetime import UTC, datetime

import polars as pl
import pytest

from pipelines.contracts import Contract
from pipelines.event_model import RAW_EVENT_SCHEMA
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import pseudonymise_events
from pipelines.network import Network
from pipelines.sources.extract_tables import Refused, raw_rows, read_table
from pipelines.sources.ris_extracts import ColumnMap, events_from_extract

LONDON = "Europe/London"
RECEIVED = datetime(2026, 1, 7, 23, 59, 59, tzinfo=UTC)
FULL = {
    "nhs_number": "9990001235",
    "patient_id": "Q0000071",
    "birth_date": "17/04/1958",
    "sex": "2",
    "ethnic_category": "A",
    "postcode": "BL4 0JR",
    "source_setting": "03",
    "referrer_code": "G9900417",
    "referring_org_code": "P99001",
    "priority": "R",
    "requested_at": "02/06/2025 08:05",
    "request_received_at": "02/06/2025 11:30",
    "booked_at": "03/06/2025 14:00",
    "appointment_at": "20/06/2025 10:20",
    "dna_at": "12/06/2025 09:00",
    "cancelled_at": "",
    "cancel_reason": "",
    "started_at": "20/06/2025 10:31",
    "completed_at": "20/06/2025 10:52",
    "exam_code": "CABDOC",
    "snomed_code": "169070004",
    "site_code": "RMC01",
    "resource": "RMC01CT1",
    "accession_number": "RMC7700012",
    "study_instance_uid": "2.25.77123450012",
    "radiographer_code": "RG0101",
    "preliminary_at": "21/06/2025 09:00",
    "verified_at": "22/06/2025 16:45",
    "reporter_code": "RP0202",
    "reporter_org_code": "RMC",
    "addendum_at": "25/06/2025 12:10",
}


def as_csv(*rows: dict[str, str], columns: list[str] | None = None) -> bytes:
    names = columns or list(FULL)
    lines = [",".join(names)] + [",".join(row.get(name, "") for name in names) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def table(data: bytes, contract: Contract) -> pl.DataFrame:
    found = read_table(data, contract, LONDON)
    assert isinstance(found, pl.DataFrame), found
    return found


def events(data: bytes, contract: Contract) -> pl.DataFrame:
    arrived = table(data, contract).with_columns(
        source_sha=pl.lit("s" * 64),
        feed_id=pl.lit("ris_extract_RMC"),
        issuer_ods=pl.lit("RMC"),
        received_at=pl.lit(RECEIVED),
    )
    return events_from_extract(arrived, ColumnMap.load())


@pytest.fixture
def contract(inbound: dict[str, Contract]) -> Contract:
    return inbound["ris_extract"]


def test_a_row_gives_one_event_for_each_time_that_it_states(contract: Contract):
    """Failing means that a step of a pathway is missing, doubled or at another time."""
    found = events(as_csv(FULL), contract)
    assert found.schema == pl.Schema(RAW_EVENT_SCHEMA)
    times = {
        row["event_type"]: (row["event_ts_raw"], row["event_ts_utc"])
        for row in found.iter_rows(named=True)
    }

    def summer(day: int, hour: int, minute: int) -> datetime:
        return datetime(2025, 6, day, hour - 1, minute, tzinfo=UTC)

    assert times == {
        "order_placed": ("02/06/2025 08:05", summer(2, 8, 5)),
        "order_received": ("02/06/2025 11:30", summer(2, 11, 30)),
        "appointment_booked": ("03/06/2025 14:00", summer(3, 14, 0)),
        "patient_dna": ("12/06/2025 09:00", summer(12, 9, 0)),
        "exam_started": ("20/06/2025 10:31", summer(20, 10, 31)),
        "exam_completed": ("20/06/2025 10:52", summer(20, 10, 52)),
        "report_preliminary": ("21/06/2025 09:00", summer(21, 9, 0)),
        "report_verified": ("22/06/2025 16:45", summer(22, 16, 45)),
        "report_addendum": ("25/06/2025 12:10", summer(25, 12, 10)),
    }
    assert set(found["asserted_ts_utc"]) == {RECEIVED}
    assert set(found["tz_source"]) == {"assumed"} and set(found["ts_precision"]) == {"m"}


def test_the_due_date_of_surveillance_goes_with_its_request(contract: Contract):
    """Failing means that nobody can tell which planned exams are overdue."""
    planned = FULL | {"priority": "P", "due_at": "01/09/2026 00:00"}
    for row, columns, due in (
        (planned, [*FULL, "due_at"], datetime(2026, 8, 31, 23, tzinfo=UTC)),
        (FULL, [*FULL, "due_at"], None),
        (FULL, None, None),
    ):
        found = events(as_csv(row, columns=columns), contract)
        told = {r["event_type"]: r["scheduled_for"] for r in found.iter_rows(named=True)}
        assert told["order_placed"] == due
        assert told["order_received"] is None
        assert told["appointment_booked"] == datetime(2025, 6, 20, 9, 20, tzinfo=UTC)


def test_actors_slots_and_reasons_go_to_the_events_they_belong_to(contract: Contract):
    """Failing means that a report is credited to the referrer, or a slot to the wrong event."""
    cancelled = FULL | {"cancelled_at": "05/06/2025 10:00", "cancel_reason": "DUP"}
    rows = {r["event_type"]: r for r in events(as_csv(cancelled), contract).iter_rows(named=True)}
    assert rows["order_placed"]["actor_id"] == "G9900417"
    assert rows["order_placed"]["actor_org"] == "P99001"
    assert rows["exam_started"]["actor_role"] == "radiographer"
    assert rows["report_verified"]["actor_id"] == "RP0202"
    assert rows["report_verified"]["actor_org"] == "RMC"
    booked = rows["appointment_booked"]
    assert booked["scheduled_for"] == datetime(2025, 6, 20, 9, 20, tzinfo=UTC)
    assert rows["order_cancelled"]["reason"] == "DUP"
    assert rows["report_verified"]["reason"] is None
    assert rows["exam_started"]["scheduled_for"] is None


def test_the_order_of_the_columns_does_not_matter(contract: Contract):
    """Failing means that a RIS upgrade which moves a column changes the data."""
    turned = as_csv(FULL, columns=[*reversed(FULL), "a_new_column"])
    expected, found = events(as_csv(FULL), contract), events(turned, contract)
    assert found.equals(expected, null_equal=True)


def test_a_missing_column_refuses_the_file_and_names_the_column(contract: Contract):
    """Failing means that a truncated extract is read as if nothing had happened."""
    data = as_csv(FULL, columns=[name for name in FULL if name != "verified_at"])
    found = read_table(data, contract, LONDON)
    assert isinstance(found, Refused)
    assert found.rule == "has_all_columns" and "verified_at" in found.detail


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", as_csv(FULL).rstrip(b"\n") + b",too,many,fields\n"]
)
def test_what_is_not_a_table_is_refused_without_quoting_it(data: bytes, contract: Contract):
    """Failing means that a broken file stops the run, or that its values reach a message."""
    found = read_table(data, contract, LONDON)
    assert isinstance(found, Refused)
    for value in ("Q0000071", "9990001235", "BL4 0JR", "too"):
        assert value not in found.detail.replace("too many fields", "")


def test_a_value_of_the_wrong_type_is_null_marked_and_kept_as_text(contract: Contract):
    """Failing means that an unreadable time passes for one that has not happened."""
    found = table(as_csv(FULL | {"started_at": "45321.5", "birth_date": "17/04/58"}), contract)
    row = found.row(0, named=True)
    assert row["started_at"] is None and row["started_at__unparsed"]
    assert row["started_at__raw"] == "45321.5"
    assert row["birth_date"] is None and row["birth_date__unparsed"]
    assert not row["completed_at__unparsed"] and not row["cancelled_at__unparsed"]


def test_an_hour_of_the_clock_change_is_flagged(contract: Contract):
    """Failing means that an exam of that night can have a negative length unnoticed."""
    night = FULL | {"started_at": "26/10/2025 01:40", "completed_at": "30/03/2025 01:40"}
    rows = {r["event_type"]: r for r in events(as_csv(night), contract).iter_rows(named=True)}
    assert rows["exam_started"]["ts_flag"] == "ambiguous"
    assert rows["exam_started"]["event_ts_utc"] == datetime(2025, 10, 26, 0, 40, tzinfo=UTC)
    assert rows["exam_completed"]["ts_flag"] == "nonexistent"
    assert rows["report_verified"]["ts_flag"] is None


def test_a_row_delivered_twice_gives_the_same_event_ids(contract: Contract, network: Network):
    """Failing means that a duplicate row counts an exam twice."""
    found = pseudonymise_events(
        events(as_csv(FULL, FULL), contract),
        Keys(b"p" * 32, b"e" * 32, b""),
        network.postcode_deprivation,
        network.event_ranks(),
    )
    assert len(found) == 18
    assert found["event_id"].n_unique() == 9
    assert found["content_sha"].n_unique() == 1


def test_a_record_that_differs_anywhere_has_another_digest(contract: Contract):
    """Failing means that a corrected row is taken for a copy of the wrong one."""
    found = events(as_csv(FULL, FULL | {"priority": "U"}), contract)
    assert found["content_sha"].n_unique() == 2


def test_a_byte_order_mark_and_blank_lines_change_nothing(contract: Contract):
    """Failing means that a file saved by a spreadsheet is refused, or has empty exams."""
    data = b"\xef\xbb\xbf" + as_csv(FULL, FULL) + b"\n\n"
    found = table(data, contract)
    assert found["row_no"].to_list() == [2, 3]
    assert found["nhs_number"].to_list() == [FULL["nhs_number"]] * 2


def test_quarantine_keeps_the_rejected_records_even_where_a_value_holds_a_line_end(
    contract: Contract,
):
    """Failing means that another patient's row is set aside and the broken one is lost."""
    first = FULL | {"cancel_reason": '"two\nlines"'}
    data = as_csv(first, FULL | {"patient_id": "Q0000072"}, FULL | {"patient_id": "Q0000073"})
    found = table(data, contract)
    wanted = found.filter(pl.col("patient_id") == "Q0000072")["row_no"].to_list()
    again = table(raw_rows(data, contract, wanted), contract)
    assert again["patient_id"].to_list() == ["Q0000072"]
    assert again.drop("row_no").equals(
        found.filter(pl.col("patient_id") == "Q0000072").drop("row_no"), null_equal=True
    )
