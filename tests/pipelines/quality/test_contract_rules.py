"""Every rule of every inbound contract: it must reject what it names, and nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from pipelines.contracts import Contract, Rule, read_contracts
from pipelines.quality.suites import batch_rules, is_kept_by_all, violations
from pipelines.sources.extract_tables import typed
from tests.pipelines.conftest import CONTRACTS

# National submissions and published waits have tests of their own: test_dids_rules.py,
# test_dm01_extract.py.
CONTRACTS_IN = {
    name: contract
    for name, contract in read_contracts(CONTRACTS / "inbound").items()
    if not name.startswith(("dids_", "dm01_"))
}
LONDON = "Europe/London"
ALLOWED = datetime(2026, 1, 9, tzinfo=UTC)
EARLIER = datetime(2025, 12, 1, 9, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)

# What a good value looks like; columns that are not named are empty.
TABLES: dict[str, dict[str, str]] = {
    "ris_extract": {
        "patient_id": "Q1",
        "sex": "1",
        "ethnic_category": "A",
        "source_setting": "03",
        "priority": "R",
        "requested_at": "01/12/2025 09:00",
        "exam_code": "CHEAD",
        "site_code": "RMC01",
        "accession_number": "RMC1",
        "study_instance_uid": "2.25.1",
        "birth_date": "01/02/1970",
    },
    "epic_audit": {
        "order_id": "900417",
        "action": "Began Exam",
        "acted_at": "2025-12-01 09:00:00",
        "accession_number": "RMC1",
    },
    "dicom_series": {
        "study_instance_uid": "2.25.1",
        "series_instance_uid": "2.25.2",
        "patient_id": "H0000001",
        "modality": "CT",
        "number_of_series_related_instances": "200",
        "first_acquired_at": "2026-01-07 08:10:00.000",
    },
    "rota": {
        "station_name": "RMC01CT1",
        "site_code": "RMC01",
        "session_start": "01/12/2025 09:00",
        "session_end": "01/12/2025 17:00",
        "staff_group": "radiographer",
        "staff_count": "2",
        "pay_type": "plain",
    },
    "opening_hours": {
        "station_name": "RMC01CT1",
        "site_code": "RMC01",
        "weekday": "1",
        "opens": "08:00",
        "closes": "20:00",
        "valid_from": "2018-04-01",
    },
    "downtime": {
        "party_code": "RMC",
        "asset": "RMC01CT1",
        "asset_type": "CT",
        "is_planned": "false",
        "down_from": "01/12/2025 09:00",
        "down_to": "01/12/2025 17:00",
        "month_on": "2025-12-01",
    },
    "go_lives": {
        "party_code": "RMC",
        "go_live_type": "archive",
        "go_live_on": "2020-11-30",
        "source": "invented",
        "source_status": "synthetic",
    },
    "benefit_register": {
        "benefit_id": "B01",
        "title": "Title",
        "description": "Text",
        "benefit_class": "CRB",
        "category": "time",
        "promise": "Text",
        "owner_role": "Director",
        "beneficiary": "NETWORK",
        "measure_metric_id": "R04",
        "unit": "rate",
        "improvement": "increase",
        "baseline_from": "2019-04-01",
        "baseline_to": "2020-03-31",
        "counterfactual_method": "trend",
        "target_value": "0.9",
        "target_on": "2026-03-31",
        "planned_value_gbp_per_year": "1000",
        "assumption_id": "UC01",
        "attribution_rate": "0.5",
        "double_count_group": "a",
        "status": "open",
        "last_reviewed_on": "2026-01-01",
        "source_status": "synthetic",
        "go_live_type": "viewing",
        "ramp_months": "6",
        "confidence_rate": "0.7",
        "optimism_rate": "0.2",
        "units_per_effect": "1",
        "unit_value_low_gbp": "10",
        "unit_value_gbp": "15",
        "unit_value_high_gbp": "20",
        "price_base_year": "2024",
        "value_source": "invented",
        "value_source_status": "illustrative",
        "ledger_line": "contract_lines/courier",
        "register_version": "1",
        "signed_off_by_role": "Finance lead",
        "signed_off_on": "2026-01-01",
    },
    "unit_costs": {
        "assumption_id": "UC01",
        "item": "Exam",
        "low_gbp": "10",
        "high_gbp": "20",
        "unit": "exam",
        "price_base_year": "2024",
        "source_status": "verified",
        "source": "invented",
    },
    "meeting_lists": {
        "meeting_id": "RMC-LUNG-20251201",
        "tumour_site": "lung",
        "meeting_at": "01/12/2025 09:00",
        "exam_party_code": "RMC",
        "accession_number": "RMC1",
        "is_image_available": "Y",
        "preparation_minutes": "4.5",
        "listed_at": "28/11/2025 09:00",
    },
    "image_transfers": {
        "from_party_code": "RMC",
        "to_party_code": "RBV",
        "accession_number": "RMC1",
        "purpose": "care",
        "method": "disc",
        "requested_at": "01/12/2025 09:00",
        "sent_at": "01/12/2025 10:00",
        "staff_minutes": "12",
    },
    "reporting_rota": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "team": "plain_film",
        "staff_group": "consultant_radiologist",
        "session_start": "01/12/2025 09:00",
        "session_end": "01/12/2025 13:00",
        "pay_type": "WLI",
        "place": "home",
    },
    "outsourcing_invoices": {
        "invoice_no": "ZZT01-RMC-2512",
        "line_no": "1",
        "supplier_code": "ZZT01",
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "service": "outsourced_report",
        "modality_group": "CT",
        "urgency": "routine",
        "unit": "report",
        "quantity": "-3",
        "unit_price_gbp": "34",
        "amount_gbp": "-102",
    },
    "storage": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "archive": "local",
        "added_tb": "1.5",
        "held_tb": "90",
        "price_gbp_per_tb_year": "120",
        "amount_gbp": "900",
    },
    "contract_lines": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "line_type": "disc",
        "quantity": "12",
        "unit": "disc",
        "unit_price_gbp": "12.5",
        "amount_gbp": "150",
    },
    "workforce": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "staff_group": "radiographer",
        "establishment_wte": "40",
        "in_post_wte": "36.5",
    },
    "admissions": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "admission_id": "E2512000001",
        "patient_id": "H0000001",
        "admitted_at": "01/12/2025 09:00",
        "discharged_at": "03/12/2025 09:00",
    },
    "staff_survey": {
        "party_code": "RMC",
        "month_on": "2026-03-01",
        "survey_year": "2025",
        "staff_group": "radiographer",
        "question": "work_life_balance",
        "score": "6.1",
        "respondents_count": "40",
    },
    "booking_diary": {
        "party_code": "RMC",
        "diary_on": "2025-12-01",
        "site_code": "RMC01",
        "resource": "RMC01CT1",
        "modality_group": "CT",
        "slot_start": "01/12/2025 09:00",
        "slot_minutes": "20",
        "slot_status": "free",
    },
    "time_studies": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "studied_on": "2025-12-10",
        "task": "prepare_case",
        "staff_group": "administrative",
        "sample_count": "20",
        "mean_minutes": "4.2",
    },
    "monthly_workbook": {
        "party_code": "RMC",
        "month_on": "2025-12-01",
        "signed_off_by_role": "imaging services manager",
        "signed_off_on": "2026-01-01",
        "sheet": "workforce",
        "stated_row_count": "5",
        "row_count": "5",
    },
}
MESSAGES: dict[str, dict[str, Any]] = {
    "hl7_messages": {
        "message_code": "ORU",
        "message_type": "ORU",
        "trigger_event": "R01",
        "sending_facility": "RMC",
        "message_time": "20251201090000",
        "is_message_time_possible": True,
        "charset_fallback": False,
        "study_uid_conflict": False,
        "processing_id": "P",
        "filler_id": "RMC1",
        "subject_id": "RMC1",
        "patient_id": "Q1",
        "issuer_ods": "RMC",
        "event_count": 1,
        "untimed_count": 0,
        "first_event_at": EARLIER,
        "last_event_at": EARLIER,
    },
    "fhir": {
        "resource_type": "ImagingStudy",
        "status": "available",
        "is_mapped": True,
        "exam_id": "RMC1",
        "accession": "RMC1",
        "untimed_count": 0,
        "last_event_at": EARLIER,
    },
    "image_access": {
        "event_code": "110103",
        "action": "R",
        "outcome": "0",
        "event_time": "2025-12-01T09:00:00Z",
        "event_at": EARLIER,
        "audit_source_id": "RMC_PACS",
    },
    "dicom_files": {
        "sop_instance_uid": "2.25.1",
        "study_instance_uid": "2.25.2",
        "series_instance_uid": "2.25.3",
        "modality": "CT",
        "start_utc": EARLIER,
        "study_date": "20251201",
    },
}
# Values that break exactly the named rule; rules of presence and of type need none.
BREAKERS: dict[str, dict[str, Any]] = {
    "sex_is_a_known_code": {"sex": "M"},
    "ethnic_category_is_a_known_code": {"ethnic_category": "Q"},
    "source_setting_is_a_known_code": {"source_setting": "08"},
    "priority_is_a_known_code": {"priority": "2WW"},
    "site_code_has_the_ods_form": {"site_code": "Example hospital"},
    "study_instance_uid_is_a_uid": {"study_instance_uid": "2.25.x"},
    "staff_group_is_known": {"staff_group": "porter"},
    "pay_type_is_known": {"pay_type": "overtime"},
    "session_ends_after_it_starts": {"session_end": "01/12/2025 08:59"},
    "is_planned_is_true_or_false": {"is_planned": "perhaps"},
    "downtime_ends_after_it_starts": {"down_to": "01/12/2025 08:59"},
    "series_ends_after_it_starts": {"last_acquired_at": "2026-01-07 08:09:59"},
    "route_is_known": {"route": "post"},
    "weekday_is_1_to_7": {"weekday": "0"},
    # a line without a unit value needs no year of its prices
    "price_base_year_is_an_integer": {
        "price_base_year": "many",
        "unit_value_low_gbp": None,
        "unit_value_gbp": None,
        "unit_value_high_gbp": None,
    },
    "meeting_is_after_the_listing": {"listed_at": "01/12/2025 09:01"},
    "images_are_sent_after_the_request": {"sent_at": "01/12/2025 08:59"},
    "discharge_is_after_admission": {"discharged_at": "01/12/2025 08:59"},
    "survey_year_is_of_this_time": {"survey_year": "1999"},
    "row_count_is_as_signed_off": {"row_count": "4"},
    "sign_off_is_after_the_month_began": {"signed_off_on": "2025-11-30"},
    "opens_is_a_time": {"opens": "8am"},
    "closes_is_a_time": {"closes": "25:00"},
    "go_live_type_is_known": {"go_live_type": "party"},
    "source_status_is_known": {"source_status": "guessed"},
    "benefit_class_is_known": {"benefit_class": "XX"},
    "improvement_is_known": {"improvement": "sideways"},
    "attribution_rate_is_a_share": {"attribution_rate": "1.1"},
    "confidence_rate_is_a_share": {"confidence_rate": "1.1"},
    "optimism_rate_is_a_share": {"optimism_rate": "-0.1"},
    "cash_releasing_names_a_ledger_line": {"ledger_line": None},
    "version_is_signed_off": {"signed_off_by_role": None},
    "unit_value_is_not_below_low": {"unit_value_gbp": "9"},
    "unit_value_is_not_above_high": {"unit_value_high_gbp": "14"},
    "high_is_not_below_low": {"high_gbp": "9"},
    "message_code_is_imaging": {"message_type": "ADT^A08"},
    "message_time_is_an_hl7_time": {"message_time": "45321.5"},
    "message_is_for_production": {"processing_id": "T"},
    "message_time_exists": {"is_message_time_possible": False},
    "character_set_is_as_stated": {"charset_fallback": True},
    "study_uids_agree": {"study_uid_conflict": True},
    "merge_is_within_one_authority": {"merges_one_authority": False},
    "status_is_mapped": {"event_count": 0},
    "event_time_is_readable": {"untimed_count": 1},
    "event_is_not_in_the_future": {"last_event_at": LATER},
    "action_is_mapped": {"action": "Looked At"},
    "acted_at_is_not_in_the_future": {"acted_at": "2027-01-01 09:00:00"},
    "ordered_at_is_not_in_the_future": {"ordered_at": "2027-01-01 09:00:00"},
    "resource_is_imaging": {"resource_type": "Patient"},
    "modality_is_a_code_string": {"modality": "ct scan"},
    "acquisition_is_not_in_the_future": {"start_utc": LATER},
    "study_date_is_a_date": {"study_date": "1 December"},
}
# Rules of one name that look at another column in one contract.
OWN_BREAKERS: dict[tuple[str, str], dict[str, Any]] = {
    ("fhir", "status_is_mapped"): {"is_mapped": False},
    ("image_access", "event_time_is_readable"): {"event_at": None},
    ("image_access", "event_is_not_in_the_future"): {"event_at": LATER},
}
UNREADABLE = {"timestamp": "45321.5", "date": "45321", "integer": "many", "number": "some"}


@dataclass(frozen=True)
class Case:
    contract: str
    rule: str
    change: dict[str, Any]


def breaker(contract: Contract, rule_name: str) -> dict[str, Any]:
    """The change to a good record that breaks one rule."""
    if rule_name.endswith("_is_not_in_the_future") and contract.name == "ris_extract":
        return {rule_name.removesuffix("_is_not_in_the_future"): "01/01/2027 09:00"}
    if (contract.name, rule_name) in OWN_BREAKERS:
        return OWN_BREAKERS[contract.name, rule_name]
    if rule_name in BREAKERS:
        return BREAKERS[rule_name]
    for column in contract.columns:
        if rule_name in (f"{column.name}_is_known", f"{column.name}_is_coded"):
            return {column.name: "free text 1"}
        if rule_name.startswith(f"{column.name}_is_not_below_"):
            return {column.name: str(int(rule_name.rpartition("_")[2]) - 1)}
        if rule_name.startswith(f"{column.name}_is_not_above_"):
            return {column.name: str(int(rule_name.rpartition("_")[2]) + 1)}
        if rule_name == f"{column.name}_is_given":
            return {column.name: None}
        if rule_name.startswith(f"{column.name}_is_a") and rule_name.endswith(column.logical_type):
            return {column.name: UNREADABLE[column.logical_type]}
    raise KeyError(f"{contract.name}: say in BREAKERS what breaks {rule_name}")


CASES = [
    Case(name, rule.name, breaker(contract, rule.name))
    for name, contract in CONTRACTS_IN.items()
    for rule in batch_rules(contract)
]


def good(contract: Contract) -> dict[str, Any]:
    given = TABLES.get(contract.name) or MESSAGES[contract.name]
    return {column.name: given.get(column.name) for column in contract.columns}


def records(contract: Contract, rows: list[dict[str, Any]]) -> pl.DataFrame:
    if contract.settings["format"] == "csv":
        text = pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))
        frame = typed(text, contract, LONDON)
    else:
        frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(
        source_sha=pl.lit("s"),
        row_no=pl.int_range(len(frame), dtype=pl.Int64),
        latest_allowed=pl.lit(ALLOWED),
    )


@pytest.fixture(scope="module")
def broken() -> dict[str, dict[int, list[str]]]:
    """Per contract, the rules that each case's record broke; one validation per contract."""
    found: dict[str, dict[int, list[str]]] = {}
    for name, contract in CONTRACTS_IN.items():
        changes = [{}] + [case.change for case in CASES if case.contract == name]
        rows = [good(contract) | change for change in changes]
        result = violations(records(contract, rows), contract)
        found[name] = {n: [] for n in range(len(rows))}
        for row_no, rule in result.select("row_no", "rule").iter_rows():
            found[name][row_no].append(rule)
    return found


@pytest.mark.parametrize("name", sorted(CONTRACTS_IN))
def test_a_good_record_breaks_no_rule(name: str, broken: dict[str, dict[int, list[str]]]):
    """Failing means that good deliveries are refused."""
    assert broken[name][0] == []


@pytest.mark.parametrize("name", sorted(CONTRACTS_IN))
def test_a_good_record_alone_breaks_no_rule(name: str):
    """Failing means that a rule lacks a column because the rule of that column was kept by all."""
    contract = CONTRACTS_IN[name]
    assert violations(records(contract, [good(contract)]), contract).is_empty()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.contract}-{case.rule}")
def test_each_rule_rejects_the_record_that_breaks_it(
    case: Case, broken: dict[str, dict[int, list[str]]]
):
    """Failing means that a rule of the contract is only words."""
    mine = [other for other in CASES if other.contract == case.contract]
    rules = broken[case.contract][mine.index(case) + 1]
    assert case.rule in rules
    # A value that is not of its type is also missing where it is required; else one rule only.
    column = next(iter(case.change))
    assert all(rule == case.rule or rule == f"{column}_is_given" for rule in rules)


@pytest.mark.parametrize("name", sorted(CONTRACTS_IN))
def test_a_rule_that_some_record_breaks_is_asked(name: str):
    """Failing means that a broken record passes because its rule was thought kept."""
    contract = CONTRACTS_IN[name]
    rules = {rule.name: rule for rule in batch_rules(contract)}
    for case in (case for case in CASES if case.contract == name):
        both = records(contract, [good(contract), good(contract) | case.change])
        assert not is_kept_by_all(rules[case.rule], both), case.rule


def test_a_number_that_is_none_is_left_to_great_expectations():
    """Failing means that a missing amount passes as given."""
    given, column = "expect_column_values_to_not_be_null", {"column": "amount_gbp"}
    rule = Rule("given", "", given, column, tolerance_percent=0, tolerance_rows=0)
    amounts = pl.DataFrame({"amount_gbp": [1.0, float("nan")]})
    assert not is_kept_by_all(rule, amounts)
    assert is_kept_by_all(rule, amounts.cast(pl.String))


def test_a_broken_record_says_which_column_and_what_to_do():
    """Failing means that a reader of the rejects cannot mend anything."""
    contract = CONTRACTS_IN["ris_extract"]
    rows = [good(contract), good(contract) | {"requested_at": "45321.5"}]
    found = violations(records(contract, rows), contract).row(0, named=True)
    assert found == {
        "source_sha": "s",
        "row_no": 1,
        "rule": "requested_at_is_a_timestamp",
        "reason": "requested_at must be readable as a timestamp.",
        "column_name": "requested_at",
    }


def test_no_records_break_no_rules():
    """Failing means that an empty delivery stops the run."""
    contract = CONTRACTS_IN["rota"]
    assert violations(pl.DataFrame(), contract).is_empty()


def test_a_batch_cut_in_pieces_breaks_the_same_rules(monkeypatch: pytest.MonkeyPatch):
    """Failing means that a big delivery is judged otherwise than a small one."""
    contract = CONTRACTS_IN["rota"]
    bad = {"pay_type": "overtime"}
    rows = [good(contract) | (bad if n in (0, 2, 3, 6) else {}) for n in range(7)]
    whole = violations(records(contract, rows), contract)
    monkeypatch.setattr("pipelines.quality.suites.CHUNK_ROWS", 3)
    assert violations(records(contract, rows), contract).equals(whole)
    assert whole["row_no"].to_list() == [0, 2, 3, 6]


def test_a_rule_that_cannot_be_checked_stops_the_run_and_names_itself():
    """Failing means that a misspelt rule passes everything."""
    contract = CONTRACTS_IN["rota"]
    frame = records(contract, [good(contract)]).with_columns(session_end=pl.lit("text"))
    with pytest.raises(RuntimeError, match="session_ends_after_it_starts"):
        violations(frame, contract)
