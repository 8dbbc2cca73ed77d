"""Where each value of a message is looked for: the field map, as data.

A path is `OBR-32.1.1`: segment, field, component, sub-component (1 where left out), of the first
repetition. `OBX(110180)-5` is that field of the OBX whose OBX-3 is that code. A column takes the
first of its paths that holds a value.
"""

import re
from dataclasses import dataclass
from functools import cache

PATH = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\((?P<codes>[^()|\s]+(?:\|[^()|\s]+)*)\))?"
    r"-(?P<field>[1-9]\d{0,2})(?:\.(?P<component>[1-9]\d?))?(?:\.(?P<sub>[1-9]\d?))?"
)
# Segments of one order; any other segment speaks for the whole message.
GROUP_SEGMENTS = frozenset({"ORC", "OBR", "OBX", "NTE", "TQ1", "IPC", "ZDS"})
STUDY_UID = "study_uid"
# Instance UID of a study in two code lists of DICOM.
STUDY_CODES = frozenset({"110180", "113014"})

# Column of a row, then the places to look, best first.
FIELDS: tuple[tuple[str, str], ...] = (
    ("message_code", "MSH-9.1"),
    ("trigger_event", "MSH-9.2"),
    ("sending_facility", "MSH-4.1"),
    ("message_time", "MSH-7.1"),
    ("control_id", "MSH-10.1"),
    ("processing_id", "MSH-11.1"),
    ("character_set", "MSH-18.1"),
    ("recorded_time", "EVN-2.1 EVN-6.1"),
    ("prior_patient_id", "MRG-1.1"),
    ("patient_authority", "PID-3.4"),
    ("birth_date", "PID-7.1"),
    ("sex", "PID-8.1"),
    ("postcode", "PID-11.5"),
    ("ethnic_category", "PID-22.1"),
    ("patient_class", "PV1-2.1"),
    ("source_setting", "PV1-18.1"),
    ("order_control", "ORC-1.1"),
    ("order_status", "ORC-5.1"),
    ("order_transaction_time", "ORC-9.1"),
    ("cancel_reason", "ORC-16.1"),
    ("appointment_reason", "SCH-6.1"),
    ("placer_id", "OBR-2.1 ORC-2.1 SCH-26.1"),
    ("filler_id", "OBR-3.1 ORC-3.1 SCH-27.1"),
    ("appointment_id", "SCH-1.1 SCH-2.1"),
    ("accession", "OBR-18.1 IPC-1.1"),
    ("requester_id", "OBR-16.1 ORC-12.1"),
    ("requester_org", "ORC-21.1 ORC-21.10 ORC-17.1"),
    ("priority", "TQ1-9.1 ORC-7.6 OBR-27.6 OBR-5.1"),
    ("exam_code", "OBR-4.1 AIS-3.1 SCH-7.1"),
    ("exam_name", "OBR-4.2 AIS-3.2 SCH-7.2"),
    ("exam_code_system", "OBR-4.3 AIS-3.3 SCH-7.3"),
    ("snomed_code", "OBR-4.4 AIS-3.4 SCH-7.4"),
    ("requested_time", "OBR-6.1"),
    ("started_time", "OBR-7.1"),
    ("completed_time", "OBR-8.1"),
    ("received_time", "OBR-14.1"),
    ("site_code", "OBR-20.1 AIL-3.4 IPC-8.1"),
    ("resource", "OBR-21.1 AIL-3.1 IPC-7.1"),
    ("station_ae_title", "IPC-9.1"),
    ("status_time", "OBR-22.1"),
    ("modality", "OBR-24.1 IPC-5.1"),
    ("result_status", "OBR-25.1"),
    ("interpreter_id", "OBR-32.1.1"),
    ("interpreted_time", "OBR-32.2"),
    ("first_reader_id", "OBR-33.1.1"),
    ("technician_id", "OBR-34.1.1"),
    # until when the requester wants it: never OBR-36, which is the time of a booking
    ("wanted_time", "TQ1-7.1 OBR-27.4 ORC-7.4"),
    ("scheduled_time", "TQ1-7.1 OBR-27.4 ORC-7.4 OBR-36.1 SCH-11.4 AIS-4.1"),
    ("scheduling_status", "SCH-25.1"),
)
# All places count here: where they name different studies, the row says so.
STUDY_UID_PATHS = "IPC-3.1 ZDS-1.1 OBX(110180|113014)-5.1"
# Columns that a feed file may look for elsewhere.
MAPPED = {**dict(FIELDS), STUDY_UID: STUDY_UID_PATHS}


@dataclass(frozen=True)
class Path:
    """One place in a message; `codes` are those of OBX-3 that select the segment, if any."""

    segment: str
    field: int
    component: int = 1
    sub: int = 1
    codes: frozenset[str] = frozenset()


@cache
def paths(written: str) -> tuple[Path, ...]:
    """Read paths that blanks separate; raises ValueError that says what is wrong with which."""
    found = []
    for word in written.split():
        match = PATH.fullmatch(word)
        if match is None:
            raise ValueError(
                f"{word} is no path; write segment-field.component, such as OBR-18.1, or "
                "OBX(110180)-5 for the OBX of a code"
            )
        segment, number = match["segment"], int(match["field"])
        if match["codes"] and segment != "OBX":
            raise ValueError(f"{word} selects by a code; only OBX has one, in OBX-3")
        if segment == "MSH" and number < 3:
            raise ValueError(f"{word} names the separators; values begin at MSH-3")
        codes = frozenset(match["codes"].split("|")) if match["codes"] else frozenset()
        parts = int(match["component"] or 1), int(match["sub"] or 1)
        found.append(Path(segment, number, *parts, codes))
    if not found:
        raise ValueError("a column needs at least one path")
    return tuple(found)
