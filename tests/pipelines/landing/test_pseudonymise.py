"""Identities as keyed hashes: a failure here is a patient who can be recognised."""

import hashlib
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.event_model import RAW_EVENT_SCHEMA, conform
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import (
    age_bands,
    coded,
    describe,
    each_pseudonym,
    hashed_reports,
    nhs_number_is_valid,
    pseudonymise_events,
    pseudonymise_headers,
    pseudonymise_path,
    pseudonyms,
    quintiles,
    roles,
)
from pipelines.network import Network

KEYS = Keys(b"p" * 32, b"e" * 32, b"")
OTHER_PSEUDONYM = Keys(b"q" * 32, b"e" * 32, b"")
OTHER_IDENTITY = Keys(b"p" * 32, b"f" * 32, b"")
EVENT = {
    "source_sha": "s",
    "message_id": 1,
    "obr_set": 1,
    "feed_id": "hl7_RMC",
    "source_kind": "hl7v2",
    "issuer_ods": "RMC",
    "accession": "RMC7700012",
    "filler_id": "RMC7700012",
    "placer_id": "PL1",
    "appt_id": "AP1",
    "study_uid": "2.25.771",
    "patient_id": "Q0000071",
    "nhs_number": "9990001235",
    "birth_date": date(1958, 4, 17),
    "postcode": "BL4 0JR",
    "event_type": "report_verified",
    "event_ts_raw": "20250622164500",
    "event_ts_utc": datetime(2025, 6, 22, 15, 45, tzinfo=UTC),
    "event_ts_local": datetime(2025, 6, 22, 16, 45),
    "ts_source": "OBR-32.2",
    "content_sha": b"c" * 16,
    "actor_id": "RP0202",
    "requester_id": "G9900417",
    "report_text": "No acute abnormality.",
    "reason": "DUP",
}


def landed(network: Network, *changes: dict[str, object], keys: Keys = KEYS) -> pl.DataFrame:
    rows = [EVENT | change for change in changes or ({},)]
    frame = conform(pl.DataFrame(rows, infer_schema_length=None))
    return pseudonymise_events(frame, keys, network.postcode_deprivation, network.event_ranks())


def test_every_identity_is_hashed_and_what_names_a_person_is_gone(network: Network):
    """Failing means that an identity is written to disk."""
    found = landed(network)
    for gone in ("patient_id", "nhs_number", "birth_date", "postcode", "report_text"):
        assert gone not in found.columns
    text = repr(found.row(0))
    for value in (
        "7700012",
        "0000071",
        "999000",
        "BL4",
        "PL1",
        "AP1",
        "2.25.771",
        "RP0202",
        "acute",
    ):
        assert value not in text
    row = found.row(0, named=True)
    assert row["exam_key"] == f"RMC|A|{row['accession']}"
    assert (row["age_band"], row["report_words"], row["nhs_number_valid"]) == ("65-69", 3, True)


def test_the_hash_depends_on_the_key_and_on_the_kind_of_identity():
    """Failing means that anybody can compute a pseudonym, or that two kinds of number meet."""
    number = pl.Series(["12345"])
    found = {
        pseudonyms(number, domain, key).item()
        for domain in ("accession", "patient")
        for key in (b"a" * 32, b"b" * 32)
    }
    assert len(found) == 4
    plain = {hashlib.sha256(b"12345").hexdigest()[:32], hashlib.md5(b"12345").hexdigest()}
    assert not found & plain
    assert all(len(value) == 32 for value in found)


def test_equal_values_meet_and_nulls_stay_null():
    """Failing means that exams of one patient are no longer joined, or that unknowns are."""
    found = pseudonyms(pl.Series("x", ["a", None, "b", "a"]), "d", b"k")
    assert found[0] == found[3] != found[2] and found[1] is None
    empty = pseudonyms(pl.Series("x", [None, None], dtype=pl.String), "d", b"k")
    assert empty.to_list() == [None, None]


def test_another_pseudonym_key_changes_every_pseudonym_and_no_event_id(network: Network):
    """Failing means that changing the key makes every replayed event look new."""
    first, second = landed(network), landed(network, keys=OTHER_PSEUDONYM)
    assert first["event_id"].item() == second["event_id"].item()
    for column in ("accession", "filler_id", "patient_key", "nhs_key", "study_uid", "actor_id"):
        assert first[column].item() != second[column].item()
    assert landed(network, keys=OTHER_IDENTITY)["event_id"].item() != first["event_id"].item()


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"message_id": 9, "source_sha": "t", "feed_id": "hl7_replay"}, True),
        ({"content_sha": b"d" * 16}, True),
        ({"priority": "U", "resource": "RMC01CT2"}, True),
        ({"event_ts_raw": "20250622164600"}, False),
        ({"report_text": "No acute abnormality!"}, False),
        ({"actor_id": "RP0303"}, False),
        ({"accession": "RMC7700013"}, False),
        ({"issuer_ods": "RBV"}, False),
        ({"event_type": "report_addendum"}, False),
        ({"ts_source": "MSH-7", "event_ts_raw": "x"}, False),
    ],
)
def test_an_event_is_known_by_what_it_says_and_not_by_how_it_came(
    network: Network, change: dict[str, object], is_same: bool
):
    """Failing means that a repeated fact counts twice, or two facts count once."""
    found = landed(network, {}, change)["event_id"].to_list()
    assert (found[0] == found[1]) == is_same


SENT = {
    "source_kind": "audit",
    "event_type": "archive_activity",
    "ts_source": "EventDateTime",
    "event_ts_raw": "2026-05-21T08:15:44+01:00",
    "actor_id": None,
    "report_text": None,
    "aet": "RBVPACS",
    "attrs": '{"audit_source":"rmc-vna","source_aet":"RMCVNA"}',
    "status_raw": "EventID=110104|Action=R|Outcome=0",
}


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"message_id": 9, "source_sha": "t", "content_sha": b"d" * 16}, True),
        ({"status_raw": "EventID=110102|Action=R|Outcome=0"}, False),
        ({"status_raw": "EventID=110104|Action=C|Outcome=0"}, False),
        ({"status_raw": "EventID=110104|Action=R|Outcome=4"}, False),
        ({"attrs": '{"audit_source":"rmc-vna","source_aet":"RMCPACS"}'}, False),
        ({"attrs": '{"audit_source":"rmc-vna","source_aet":null}'}, False),
        ({"aet": "RM3PACS"}, False),
        ({"study_uid": "2.25.772"}, False),
    ],
)
def test_an_audit_event_is_known_by_study_systems_and_what_was_done(
    network: Network, change: dict[str, object], is_same: bool
):
    """Failing means that a transfer is lost in its own beginning, or that a resend counts twice."""
    found = landed(network, SENT, SENT | change)["event_id"].to_list()
    assert (found[0] == found[1]) == is_same


def test_a_time_that_is_only_the_message_s_is_replaced_by_its_content(network: Network):
    """Failing means that an appointment sent again is booked twice."""
    base = {"ts_source": "MSH-7"}
    rows = landed(network, base | {"event_ts_raw": "1"}, base | {"event_ts_raw": "2"})
    assert rows["event_id"].n_unique() == 1


def test_an_exam_without_accession_is_known_by_its_filler_number(network: Network):
    """Failing means that appointments belong to no exam."""
    row = landed(network, {"accession": None}).row(0, named=True)
    assert row["exam_key"] == f"RMC|F|{row['filler_id']}|1"


def test_a_number_given_up_has_the_hash_it_had_as_an_accession_number(network: Network):
    """Failing means that an exam whose number changed is two exams."""
    change = {"event_type": "exam_reidentified", "accession": "NEW1", "prior_accession": "OLD1"}
    row, before = landed(network, change, {"accession": "OLD1"}).rows(named=True)
    assert row["prior_accession"] == before["accession"]
    assert row["exam_key"] == f"RMC|A|{row['accession']}" != before["exam_key"]


# The worked messages of a verified report and of the same with an addendum: 17 and 29 words.
FINAL = (
    "Liver, spleen & pancreas appear normal.\n"
    "No free fluid. Mild degenerative change at L4/5.\n"
    "No acute abnormality."
)
ADDED = FINAL + "\nAddendum: reviewed with the outside study of 2 March; no interval change."


@pytest.mark.parametrize(("text", "words"), [(FINAL, 17), (ADDED, 29), (None, None), (" \n", None)])
def test_the_length_of_a_report_is_its_words(text: str | None, words: int | None):
    """Failing means that reporters look slower or faster than they are."""
    found = hashed_reports(pl.Series([text], dtype=pl.String), b"k").row(0, named=True)
    assert found["report_words"] == words
    assert (found["result_hash"] is None) == (found["report_lines"] is None) == (words is None)


def test_the_lines_of_a_report_tell_what_was_added_and_nothing_that_it_says():
    """Failing means that an addendum passes for a correction, or that short lines can be guessed."""
    texts = pl.Series([FINAL, ADDED, FINAL.replace("No acute", "Acute"), FINAL + "\n" + FINAL])
    lines = [set(told.split(" ")) for told in hashed_reports(texts, b"k")["report_lines"]]
    assert lines[0] < lines[1] and not lines[0] <= lines[2] and lines[3] == lines[0]
    assert {len(line) for told in lines for line in told} == {16}
    other = set(hashed_reports(texts, b"l")["report_lines"][0].split(" "))
    assert not other & lines[0]
    plain = {hashlib.sha256(line.encode()).hexdigest()[:16] for line in FINAL.split("\n")}
    assert not plain & lines[0]


@pytest.mark.parametrize(
    "sent",
    [
        FINAL.replace("\n", "\r\n"),
        FINAL.replace("\n", "\n\n  ") + "\n",
        FINAL.replace(" & ", "  &\t"),
    ],
)
def test_a_report_laid_out_otherwise_is_the_same_report(sent: str):
    """Failing means that a report sent again counts as corrected."""
    found = hashed_reports(pl.Series([FINAL, sent]), b"k")
    assert found.row(0) == found.row(1)


def test_an_accent_written_in_two_ways_is_one_text():
    """Failing means that a report sent by another system counts as corrected."""
    found = hashed_reports(pl.Series(["Zo\u00eb", "Zoe\u0308"]), b"k")
    assert found.row(0) == found.row(1)


def test_a_merge_is_known_by_the_two_numbers_it_joins(network: Network):
    """Failing means that merges of one moment become one, or that a merge finds no patient."""
    merge = {
        "accession": None,
        "filler_id": None,
        "actor_id": None,
        "report_text": None,
        "event_type": "patient_merged",
        "prior_patient_id": "Q1",
    }
    first, other, before = landed(network, merge, merge | {"prior_patient_id": "Q2"}, {}).rows(
        named=True
    )
    assert first["event_id"] != other["event_id"]
    assert first["exam_key"] is None
    assert first["prior_patient_key"] != other["prior_patient_key"]
    as_patient = landed(network, {"patient_id": "Q1"}).row(0, named=True)
    assert first["prior_patient_key"] == as_patient["patient_key"]
    assert before["prior_patient_key"] is None


def test_numbers_are_the_same_however_they_are_spaced(network: Network):
    """Failing means that one person has two keys, by the habit of a feed."""
    rows = landed(network, {}, {"nhs_number": "999 000 1235"}, {"nhs_number": "999-000-1235"})
    assert rows["nhs_key"].n_unique() == 1 and rows["nhs_number_valid"].all()


def test_the_order_within_a_file_does_not_depend_on_its_neighbours(network: Network):
    """Failing means that a file lands differently by what was harvested with it."""
    rows = landed(network, {"source_sha": "a"}, {"source_sha": "b"}, {"source_sha": "b"})
    assert rows["seq"].to_list() == [1, 1, 2]


@pytest.mark.parametrize(
    ("number", "is_valid"),
    [
        ("9990001235", True),
        ("9990001239", False),
        ("0000000000", False),
        ("1111111111", False),
        ("9999999999", False),
        ("999000123", False),
        ("99900012350", False),
        ("999000123X", False),
        ("٩٩٩٠٠٠١٢٣٥", False),
        ("", False),
        (None, None),
    ],
)
def test_an_nhs_number_is_checked_by_modulus_11(number: str | None, is_valid: bool | None):
    """Failing means that invalid numbers count as valid, or the reverse."""
    assert nhs_number_is_valid(pl.Series([number], dtype=pl.String)).item() is is_valid


@given(st.text("0123456789", min_size=9, max_size=9))
def test_at_most_one_check_digit_fits_and_ten_where_none_does(body: str):
    """Failing means that the check would let a mistyped last digit through."""
    numbers = pl.Series([f"{body}{digit}" for digit in range(10)])
    total = sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1), strict=True))
    expected = (11 - total % 11) % 11
    fitting = [n for n, ok in enumerate(nhs_number_is_valid(numbers)) if ok]
    same = len(set(body)) == 1 and body[0] == str(expected)
    assert fitting == ([] if expected == 10 or same else [expected])


@pytest.mark.parametrize(
    ("birth", "on", "band"),
    [
        (date(1980, 6, 15), date(2025, 6, 14), "40-44"),
        (date(1980, 6, 15), date(2025, 6, 15), "45-49"),
        (date(1980, 6, 15), date(2025, 6, 16), "45-49"),
        (date(2004, 2, 29), date(2009, 2, 28), "00-04"),
        (date(2004, 2, 29), date(2009, 3, 1), "05-09"),
        (date(2025, 6, 15), date(2025, 6, 15), "00-04"),
        (date(2025, 6, 16), date(2025, 6, 15), None),
        (date(1935, 6, 16), date(2025, 6, 15), "85-89"),
        (date(1935, 6, 15), date(2025, 6, 15), "90+"),
        (date(1900, 1, 1), date(2025, 6, 15), "90+"),
        (None, date(2025, 6, 15), None),
        (date(1980, 6, 15), None, None),
    ],
)
def test_the_age_band_changes_on_the_birthday(
    birth: date | None, on: date | None, band: str | None
):
    """Failing means that ages are off around birthdays, or that an exact age is written."""
    frame = pl.DataFrame({"birth": [birth], "on": [on]}, schema={"birth": pl.Date, "on": pl.Date})
    assert frame.select(age_bands(pl.col("birth"), pl.col("on")))[:, 0].item() == band


@pytest.mark.parametrize(
    ("postcode", "quintile"),
    [
        ("BL4 0JR", 3),
        ("bl4 0jr", 3),
        ("BL40JR", 3),
        ("M1 1AA", 1),
        ("M11AA", 1),
        ("M11 1AA", 5),
        ("ZZ99 3CZ", None),
        ("BL4", None),
        ("", None),
        (None, None),
    ],
)
def test_a_postcode_becomes_the_quintile_of_its_sector(postcode: str | None, quintile: int | None):
    """Failing means that deprivation is read from the wrong place, or not at all."""
    table = pl.DataFrame(
        {"postcode_sector": ["BL4 0", "M1 1", "M11 1"], "deprivation_quintile": ["3", "1", "5"]}
    )
    assert quintiles(pl.Series([postcode], dtype=pl.String), table).item() == quintile


def test_only_known_descriptions_stay_readable():
    """Failing means that free text of a scanner is written to disk."""
    texts = pl.Series("t", ["CT Head", "Mrs Example, follow-up", "", None])
    found = describe(texts, {"CT Head"}, b"k").to_list()
    assert found[0] == "CT Head" and found[2:] == ["", None]
    assert found[1].startswith("h:") and len(found[1]) == 34
    assert describe(texts, set(), b"k")[0].startswith("h:")


def test_a_reason_stays_readable_only_where_it_is_a_code():
    """Failing means that a remark about a patient is written to disk."""
    reasons = pl.Series("reason", ["DUP", "Mrs Example moved away", "x" * 17, None])
    found = coded(reasons, b"k").to_list()
    assert found[0] == "DUP" and found[3] is None
    assert all(value.startswith("h:") for value in found[1:3])


def test_a_role_stays_readable_and_the_name_of_who_signed_does_not():
    """Failing means that a member of staff is named in what is kept."""
    told = ["imaging services manager", "Head of Radiology (deputy)", "Zoe Wintergreen", None]
    found = roles(pl.Series("role", [*told, "Zoe Wintergreen, manager"]), KEYS.pseudonym)
    assert found[:2].to_list() == told[:2] and found[3] is None
    assert found[2].startswith("h:") and found[4].startswith("h:")
    assert "Winter" not in "".join(found.drop_nulls())


def test_an_nhs_number_in_the_place_of_a_code_is_hashed_and_every_code_stays(network: Network):
    """Failing means that a sender whose fields have moved lands NHS numbers in the clear."""
    number, spaced = EVENT["nhs_number"], "999 000 1235"
    codes = {"site_ods": "RMC01", "resource": "CT ROOM 1", "priority": "R", "proc_code": "CHEAD"}
    codes |= {"status_raw": "CM", "reason": "DUP", "patient_class": "O", "requester_org": "RMC"}
    assert landed(network, codes).select(sorted(codes)).row(0) == tuple(
        codes[name] for name in sorted(codes)
    )
    moved = [dict.fromkeys(codes, value) for value in (number, spaced, "9990001236")]
    snomed = (
        {"proc_code": number, "proc_system": "SNOMED-CT"},
        {"proc_code": number, "proc_snomed": number},
    )
    found = landed(network, *moved, *snomed)
    for name in codes:
        hashed, again, other = found[name][:3]
        assert hashed == again and hashed.startswith("h:") and len(hashed) == 34, name
        assert other == "9990001236", "that is no NHS number"
    assert found["proc_code"][3:].to_list() == [number] * 2


def test_a_name_in_the_place_of_the_sex_is_left_out_of_image_headers():
    """Failing means that a torn header lands a patient's name beside the hashes."""
    told = ["F", "O", "HARTLEY^TESTPATIENT", "", None]
    others = (
        "patient_birth_date", "study_date", "patient_id", "accession_number", "sop_instance_uid",
        "series_instance_uid", "study_instance_uid", "request_requested_procedure_id",
        "request_scheduled_procedure_step_id", "irradiation_event_uid", "study_description",
        "series_description", "protocol_name", "requested_procedure_description",
    )  # fmt: skip
    headers = pl.DataFrame({name: ["1"] * len(told) for name in others} | {"patient_sex": told})
    landed = pseudonymise_headers(headers, pl.DataFrame(), KEYS, set(), "RMC")
    assert landed["patient_sex"].to_list() == ["2", "9", None, None, None]


def test_a_path_is_named_without_its_words():
    """Failing means that a patient's name in a file path reaches the ledger."""
    name = pseudonymise_path("/in/SMITH_JOHN/1.dcm", KEYS)
    assert "SMITH" not in name and len(name) == 32
    assert name != pseudonymise_path("/in/SMITH_JOHN/1.dcm", OTHER_PSEUDONYM)


def test_the_raw_model_names_no_column_that_landing_lets_through(
    network: Network, landing_contracts
):
    """Failing means that a new raw column with an identity lands unhashed and unnoticed."""
    written = set(landing_contracts["imaging_events"].column_names())
    identities = {
        "patient_id",
        "prior_patient_id",
        "nhs_number",
        "birth_date",
        "postcode",
        "report_text",
    }
    assert set(RAW_EVENT_SCHEMA) - written == identities
    assert set(landed(network).columns) >= written - {"received_at", "landed_at"}


def test_each_of_several_values_is_hashed_by_itself():
    """Failing means that an image with two irradiation events meets neither of them."""
    values = pl.Series(["2.25.5\\2.25.6", "2.25.5", "", None])
    one, two = pseudonyms(pl.Series(["2.25.5", "2.25.6"]), "event", b"k")
    assert each_pseudonym(values, "event", b"k").to_list() == [f"{one}\\{two}", one, None, None]
    assert each_pseudonym(values.head(0), "event", b"k").is_empty()
