"""Audit messages as accesses: who opened which study, and what is refused and why."""

import base64
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.event_model import RAW_EVENT_SCHEMA
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import pseudonymise_events
from pipelines.network import Network
from pipelines.sources.image_access import (
    LARGEST_MESSAGE,
    ROW_SCHEMA,
    events_from_audit,
    read_audit,
    split_audit,
)

LONDON = "Europe/London"
STUDY = "2.25.271533050509983511680268665400981169156"
DIALECTS = {"dicom": ("csd-code", "originalText"), "rfc3881": ("code", "displayName")}
HEADER = "<85>1 2026-05-21T08:14:07.430+01:00 vna01.zza.example vna 4312 DICOM+RFC3881 - "
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE AuditMessage [<!ENTITY a "ha">'
    '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
)
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE AuditMessage SYSTEM "file:///etc/passwd">'
DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'


def code(name: str, value: str, dialect: str, system: str = "DCM") -> str:
    attributes = DIALECTS[dialect]
    return f'<{name} {attributes[0]}="{value}" codeSystemName="{system}" {attributes[1]}="x"/>'


def participant(
    user: str,
    dialect: str,
    *,
    kind: str | None = "2",
    requestor: bool = False,
    role: str | None = None,
    id_kind: str | None = None,
    more: str = "",
    system: str = "DCM",
) -> str:
    kind_text = "" if kind is None else f' UserTypeCode="{kind}"'
    inner = "" if role is None else code("RoleIDCode", role, dialect, system)
    inner += "" if id_kind is None else code("UserIDTypeCode", id_kind, dialect)
    return (
        f'<ActiveParticipant UserID="{user}"{more} UserIsRequestor="{str(requestor).lower()}"'
        f"{kind_text}>{inner}</ActiveParticipant>"
    )


def study(dialect: str, uid: str = STUDY, inner: str = "") -> str:
    return (
        f'<ParticipantObjectIdentification ParticipantObjectID="{uid}" '
        'ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3">'
        f"{code('ParticipantObjectIDTypeCode', '110180', dialect)}{inner}"
        "</ParticipantObjectIdentification>"
    )


def patient(number: str, dialect: str) -> str:
    return (
        f'<ParticipantObjectIdentification ParticipantObjectID="{number}" '
        'ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1">'
        f"{code('ParticipantObjectIDTypeCode', '2', dialect, 'RFC-3881')}"
        "</ParticipantObjectIdentification>"
    )


def message(
    dialect: str,
    *inner: str,
    event: str = "110103",
    action: str = "R",
    outcome: str = "0",
    at: str = "2026-05-21T08:15:44+01:00",
    declared: str = DECLARED,
) -> str:
    return (
        f'{declared}<AuditMessage><EventIdentification EventActionCode="{action}" '
        f'EventDateTime="{at}" EventOutcomeIndicator="{outcome}">'
        f"{code('EventID', event, dialect)}</EventIdentification>{''.join(inner)}"
        '<AuditSourceIdentification AuditEnterpriseSiteID="ZZB" AuditSourceID="zzb-epr-viewer"/>'
        "</AuditMessage>"
    )


def viewed(dialect: str = "rfc3881", **told: str) -> str:
    """A clinician views from the own record."""
    return message(
        dialect,
        participant("C9990003", dialect, kind="1", requestor=True, more=' AlternativeUserID="ZZC"'),
        participant("ZZBVIEW", dialect, role="110150"),
        study(dialect, inner='<SOPClass UID="1.2" NumberOfInstances="412"/>'),
        patient("9997004019", dialect),
        **told,
    )


def transferred(dialect: str = "dicom") -> str:
    """Images go from the archive of one party to that of another."""
    described = (
        "<ParticipantObjectDescription><Accession Number='A26000417'/>"
        '<SOPClass UID="1.2" NumberOfInstances="400"/><SOPClass UID="1.3" NumberOfInstances="12"/>'
        "</ParticipantObjectDescription>"
    )
    return message(
        dialect,
        participant("ZZAVNA", dialect, role="110153", id_kind="110119"),
        participant("ZZBPACS", dialect, role="110152", id_kind="110119", requestor=True),
        study(dialect, inner=described),
        patient("A0012345^^^ZZA", dialect),
        event="110104",
        at="2026-05-21T08:14:07.412+01:00",
    )


def row(*texts: str) -> dict:
    """The one row of a batch that is read whole."""
    found = read_audit("\n".join(texts).encode())
    assert found.rejected.is_empty(), found.rejected.to_dicts()
    (only,) = found.rows.to_dicts()
    return only


def events(data: str, **given_lists: set[str]) -> list[dict]:
    rows = read_audit(data.encode()).rows
    rows = rows.with_columns(source_sha=pl.lit("s"), feed_id=pl.lit("image_access_RMC"))
    lists = {"issuers": {"ZZA"}, "tells_organisation": set()} | given_lists
    return events_from_audit(rows, LONDON, **lists).to_dicts()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_both_dialects_tell_the_same(dialect):
    """Failing means that half of the parties seem to open nothing."""
    found = row(HEADER + viewed(dialect))
    assert found["dialect"] == dialect
    assert (found["event_code"], found["action"], found["outcome"]) == ("110103", "R", "0")
    assert (found["person_id"], found["is_person_requestor"]) == ("C9990003", True)
    assert (found["study_uid"], found["instance_count"]) == (STUDY, 412)
    assert (found["application_aet"], found["audit_source_id"]) == ("ZZBVIEW", "zzb-epr-viewer")
    assert (found["patient_number"], found["patient_authority"]) == ("9997004019", None)
    assert found["sent_time"] == "2026-05-21T08:14:07.430+01:00"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_transfer_names_both_systems_and_all_its_instances(dialect):
    """Failing means that images sent to another trust are not told from those looked at."""
    found = row(transferred(dialect))
    assert (found["source_aet"], found["destination_aet"]) == ("ZZAVNA", "ZZBPACS")
    assert found["person_id"] is None
    assert (found["accession"], found["instance_count"]) == ("A26000417", 412)
    assert (found["patient_number"], found["patient_authority"]) == ("A0012345", "ZZA")


FRAMINGS = {
    "lines": lambda texts: "".join(f"{HEADER}{one}\n" for one in texts).encode(),
    "lines_crlf": lambda texts: "".join(f"{HEADER}{one}\r\n" for one in texts).encode(),
    "counted": lambda texts: b"".join(
        b"%d %s" % (len(one), one) for one in (f"{HEADER}{text}".encode() for text in texts)
    ),
    "counted_lines": lambda texts: b"".join(
        b"%d %s\n" % (len(one), one) for one in (f"{HEADER}{text}".encode() for text in texts)
    ),
    "marked": lambda texts: "".join(f"{HEADER}\ufeff{one}\n" for one in texts).encode(),
    "bare": lambda texts: "".join(texts).encode(),
    "bare_marked": lambda texts: ("\ufeff" + "\n".join(texts)).encode(),
    "bare_undeclared": lambda texts: "\n".join(t.removeprefix(DECLARED) for t in texts).encode(),
    "indented": lambda texts: "".join(
        HEADER + one.replace("><", ">\n  <") + "\n" for one in texts
    ).encode(),
    "nul_ended": lambda texts: "".join(f"{HEADER}{one}\0\n" for one in texts).encode(),
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_gives_the_same_messages(framing):
    """Failing means that a message is lost, or runs into the next."""
    texts = [viewed(), transferred(), viewed("dicom")]
    found = read_audit(FRAMINGS[framing](texts))
    assert found.rejected.is_empty(), found.rejected.to_dicts()
    assert found.rows["message_no"].to_list() == [1, 2, 3]
    assert found.rows["event_code"].to_list() == ["110103", "110104", "110103"]


SPOILED = {
    "message_is_whole": viewed()[:-40],
    "text_is_escaped": viewed().replace("C9990003", "A & B"),
    "xml_is_well_formed": viewed().replace("</AuditMessage>", "</Other></AuditMessage>"),
    "has_audit_message": "<AuditMess",
    "has_event_identification": "<AuditMessage><Other/></AuditMessage>",
    "has_no_document_type": viewed(declared=BOMB).replace("C9990003", "&b;"),
    "message_is_of_bounded_size": viewed().replace(
        "<AuditSource", f"<!--{'x' * LARGEST_MESSAGE}--><AuditSource"
    ),
}


@pytest.mark.parametrize("rule", SPOILED)
@pytest.mark.parametrize("framing", ["lines", "counted"])
def test_what_cannot_be_read_is_named_and_costs_no_other_message(rule, framing):
    """Failing means that one broken message takes its neighbours along, or vanishes."""
    found = read_audit(FRAMINGS[framing]([viewed(), SPOILED[rule], transferred()]))
    assert found.rejected.select("message_no", "rule").rows() == [(2, rule)]
    assert found.rows["message_no"].to_list() == [1, 3]


def test_a_wrong_length_costs_only_its_own_message():
    """Failing means that one wrong count loses the rest of a day."""
    data = FRAMINGS["counted"]([viewed(), transferred(), viewed()])
    first = data[: data.index(b" ")]
    for wrong in (b"9", b"%d" % (int(first) + 7), b"999999999"):
        found = read_audit(wrong + data[len(first) :])
        assert found.rows["event_code"].to_list() == ["110103", "110104", "110103"]
    cut = read_audit(data[:-30])
    assert cut.rejected["rule"].to_list() == ["message_is_whole"]
    assert len(cut.rows) == 2


@pytest.mark.parametrize("declared", [BOMB, OUTSIDE])
def test_no_entity_is_expanded_and_no_file_is_fetched(declared):
    """Failing means that a sender can fill the memory, or read our files."""
    found = read_audit(viewed(declared=declared).replace("C9990003", "&b;").encode("utf-16"))
    assert found.rows.is_empty()
    found = read_audit((HEADER + viewed(declared=declared)).encode())
    assert found.rejected["rule"].to_list() == ["has_no_document_type"]


def test_a_reject_says_where_and_never_what():
    """Failing means that a name stands in the list of rejects, which readers see."""
    spoiled = "\n".join(HEADER + one for one in SPOILED.values())
    for detail in read_audit(spoiled.encode()).rejected["detail"]:
        assert not {"C9990003", "A & B", "9997004019"} & set(detail.split())


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_rejected_and_never_raise(noise: bytes):
    """Failing means that one odd file stops the harvest of a day."""
    data = noise + b"\n" + (HEADER + viewed()).encode() + b"\n" + noise
    found = read_audit(data)
    numbers = sorted([*found.rows["message_no"], *found.rejected["message_no"]])
    assert numbers == list(range(1, len(split_audit(data)) + 1))


def test_bytes_between_messages_are_rejected_and_not_lost():
    """Failing means that received is not landed plus rejected."""
    found = read_audit(b"hello\n" + (HEADER + viewed()).encode())
    assert found.rejected["rule"].to_list() == ["has_audit_message"]
    assert len(found.rows) == 1


def test_a_person_is_told_from_a_machine_whatever_it_calls_itself():
    """Failing means that a backup counts as a clinician, or a login is kept as a system's name."""

    def person(*told: str, machines: tuple[str, ...] = ()) -> str | None:
        data = message("dicom", *told, study("dicom")).encode()
        return read_audit(data, machines=machines).rows["person_id"][0]

    assert person(participant("C1", "dicom", kind="1")) == "C1"
    assert person(participant("C1", "dicom", kind=None, id_kind="113871")) == "C1"
    assert person(participant("C1", "dicom", kind=None)) is None
    assert person(participant("SVC", "dicom", kind="1", id_kind="110119")) is None
    assert person(participant("backup", "dicom", kind="1"), machines=("backup",)) is None
    both = [participant(u, "dicom", kind="1", requestor=u == "C2") for u in ("C1", "C2")]
    assert person(*both) == "C2"
    unclear = message("dicom", participant("jsmith", "dicom", kind=None, role="110150"))
    assert row(unclear)["application_aet"] is None
    place = participant("/aets/X/studies/1.2", "dicom", role="110152")
    assert row(message("dicom", place))["destination_aet"] is None


def test_what_a_viewer_notes_of_the_first_image_is_read_where_it_is_a_time():
    """Failing means that the time to the first image is missing or nonsense."""

    def noted(value: str) -> float | None:
        detail = f'<ParticipantObjectDetail type="SecondsToFirstImage" value="{value}"/>'
        return row(message("dicom", study("dicom", inner=detail)))["seconds_to_first_image"]

    assert noted(base64.b64encode(b"3.5").decode()) == 3.5
    for odd in (b"-1", b"nan", b"7200", b"fast"):
        assert noted(base64.b64encode(odd).decode()) is None
    assert noted("3.5!") is None


def test_an_unknown_study_or_patient_is_empty():
    """Failing means that all views of unknown studies count as views of one."""
    told = row(
        message(
            "dicom",
            study("dicom", "1.2.40.0.13.1.15.110.3.165.1"),
            patient("&lt;none&gt;", "dicom"),
        )
    )
    assert (told["study_uid"], told["patient_number"]) == (None, None)


def test_a_message_of_two_studies_gives_two_rows():
    """Failing means that an export of several studies counts as one."""
    found = read_audit(message("dicom", study("dicom", "1.2.3"), study("dicom", "1.2.4")).encode())
    assert found.rows.select("message_no", "study_set", "study_uid").rows() == [
        (1, 1, "1.2.3"),
        (1, 2, "1.2.4"),
    ]


def test_a_view_is_a_person_reading_images_and_nothing_else():
    """Failing means that housekeeping counts as use, or use as housekeeping."""
    person = {
        kind: participant("C1", "dicom", kind="1", role=kind) for kind in ("110152", "110150")
    }

    def type_of(*told: str, **event: str) -> str:
        (found,) = events(message("dicom", *told, study("dicom"), **event))
        return found["event_type"]

    assert type_of(person["110150"]) == "images_viewed"
    assert type_of(person["110150"], outcome="4") == "image_view_failed"
    assert type_of(person["110150"], action="U") == "archive_activity"
    assert type_of(person["110152"], event="110104") == "images_viewed"
    # A person who has images sent from one archive to another looks at none.
    assert type_of(person["110150"], event="110104") == "archive_activity"
    assert type_of(participant("VNA", "dicom", role="110150")) == "archive_activity"
    assert type_of(person["110150"], event="110106", action="E") == "images_exported"
    assert type_of(person["110150"], event="110112", action="E") == "archive_activity"


def test_times_and_numbers_of_an_event_are_those_of_the_message():
    """Failing means that views lie an hour off, or at the wrong patient."""
    view, transfer = events(viewed() + transferred())
    assert view["event_ts_utc"] == datetime(2026, 5, 21, 7, 15, 44, tzinfo=UTC)
    assert view["event_ts_local"] == datetime(2026, 5, 21, 8, 15, 44)
    assert (view["ts_precision"], view["tz_source"], view["ts_flag"]) == ("s", "explicit", None)
    assert (view["nhs_number"], view["patient_id"], view["issuer_ods"]) == (
        "9997004019",
        None,
        None,
    )
    assert (view["actor_id"], view["actor_org"]) == ("C9990003", "ZZB")
    assert (transfer["patient_id"], transfer["issuer_ods"]) == ("A0012345", "ZZA")
    assert (transfer["accession"], transfer["actor_org"]) == ("A26000417", None)
    (utc,) = events(viewed(at="2026-07-01T12:00:00.5Z"))
    assert (utc["event_ts_utc"].hour, utc["event_ts_local"].hour, utc["ts_flag"]) == (12, 13, None)
    (odd,) = events(viewed(at="21/05/2026 08:15"))
    (none,) = events(viewed(at="1970-01-01T00:00:00Z"))
    assert odd["event_ts_utc"] is None and none["event_ts_utc"] is None
    (elsewhere,) = events(transferred(), issuers={"RMC"})
    assert (elsewhere["patient_id"], elsewhere["accession"]) == (None, None)


def test_the_organisation_of_a_person_is_read_only_where_its_source_is_known_to_tell_it():
    """Failing means that a login name is kept as an organisation."""
    (told,) = events(viewed(), tells_organisation={"zzb-epr-viewer"})
    assert told["actor_org"] == "ZZC"
    name = viewed().replace('"ZZC"', '"Dr Example"')
    assert events(name, tells_organisation={"zzb-epr-viewer"})[0]["actor_org"] == "ZZB"


def test_a_landed_access_has_no_identity_and_one_name_however_often_it_is_told(network: Network):
    """Failing means that a reader of landing sees who looked at whom, or that a resend counts."""
    data = (
        f"{HEADER}{viewed()}\n{HEADER.replace('08:14', '08:19')}{viewed()}\n{HEADER}{transferred()}"
    )
    rows = read_audit(data.encode()).rows
    rows = rows.with_columns(source_sha=pl.lit("s"), feed_id=pl.lit("image_access_RMC"))
    raw = events_from_audit(rows, LONDON, {"ZZA"}, set())
    assert dict(raw.schema) == RAW_EVENT_SCHEMA and list(rows.columns)[: len(ROW_SCHEMA)] == list(
        ROW_SCHEMA
    )
    keys = Keys(b"p" * 32, b"e" * 32, b"")
    landed = pseudonymise_events(raw, keys, network.postcode_deprivation, network.event_ranks())
    ids, contents = landed["event_id"].to_list(), landed["content_sha"].to_list()
    assert ids[0] == ids[1] != ids[2] and contents[0] == contents[1] != contents[2]
    told = str(landed.to_dicts())
    for identity in ("C9990003", "9997004019", "A0012345", "A26000417", STUDY):
        assert identity not in told, identity
    assert landed["nhs_key"].null_count() == 1 and landed["patient_key"].null_count() == 2
