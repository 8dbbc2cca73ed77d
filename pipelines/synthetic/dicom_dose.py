"""Radiation dose structured reports: CT (TID 10011), plain radiographs and mammograms (TID 10001).

One report per exam from the scanners that send them. Some scanners send a report again after each
acquisition, with all events so far (cumulative), or one report per part of an exam (split); an
event is known by its UID and never counts twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from pipelines.synthetic.clocks import instant, wall

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.88.67"
# Every scanner of the register has a number. All CT but those of every thirteenth number send
# reports, every third plain X-ray room, every second mammograph; all hybrid PET scanners.
_LACKING = 13
_SENDING = {"DX": 3, "MG": 2}
# Two in three CT scanners tell the start of each event, the others of the whole exam only.
_UNTIMED = 3
# Typical mean CTDIvol (mGy) and scanned length (cm) by body region.
_CT_DOSE = {"head": (48.0, 16), "chest": (6.5, 34), "abdomen": (9.0, 44), "trunk": (8.5, 66)}
_OTHER_CT_DOSE = (3.5, 95)
_SPREAD = 0.25
# Dose area product (Gy.m2) and average glandular dose (mGy) of one usual exposure, made up near
# what is usual: a pelvis takes some seventy times the product of a hand.
_PROJECTION_DAP = {
    "chest": 7e-6, "pelvis": 1.4e-4, "lower limb": 6e-6, "upper limb": 2e-6, "breast": 1.2e-5,
}  # fmt: skip
_OTHER_DAP = 2e-5
_AGD = 1.5
# Spread (of the logarithm) between patients, who keep their size, and between exams of one.
_PATIENT_SPREAD, _EXAM_SPREAD = 0.35, 0.2

_ACQUISITIONS = {
    "planning": ("113805", "DCM", "Constant Angle Acquisition"),
    "spiral": ("116152004", "SCT", "Spiral Acquisition"),
    "stationary": ("113611", "DCM", "Stationary Acquisition"),
}
Code = tuple[str, str, str]


def sends_reports(scanner: dict[str, Any]) -> bool:
    """Whether a scanner of the register sends dose reports."""
    modality, number = scanner["dicom_modality"], scanner["number"]
    if modality in ("CT", "PT"):
        return number % _LACKING != 0
    return modality in _SENDING and number % _SENDING[modality] == 0


def tells_event_times(scanner: dict[str, Any]) -> bool:
    """Whether each event of a report has its own start."""
    return scanner["dicom_modality"] != "CT" or scanner["number"] % _UNTIMED != 0


class ProjectionFactors:
    """How far the dose of a projection exam lies from the usual one: about 1, log-normal.

    The size of a patient is drawn when the patient is first seen, so exams come in a fixed order.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._sizes: dict[str, float] = {}

    def of(self, patient_id: str) -> float:
        """The factor of the next exam of a patient."""
        size, exam = self._rng.standard_normal(2)
        size = self._sizes.setdefault(patient_id, float(size))
        return float(np.exp(_PATIENT_SPREAD * size + _EXAM_SPREAD * exam))


def plan_events(
    exam: dict[str, Any],
    series: list[dict[str, Any]],
    uids: list[str],
    rng: np.random.Generator,
    exam_factor: float,
) -> list[dict[str, Any]]:
    """One entry per irradiation event of an exam, in order: what `event_frame` holds of it.

    `series` are those of the exam that irradiate; every CT exam begins with a planning view,
    also where its image is not archived. Local starts are of the clock of the device, in seconds.
    `exam_factor` is that of `ProjectionFactors`; CT goes without it.
    """
    ahead = series[0]["start_local"] - series[0]["start"]
    events = []
    if series[0]["series_modality"] == "CT" and not series[0]["is_planning_view"]:
        start = max(exam["started"] + 5, series[0]["start"] - 45)
        events.append({"series": None, "acquisition": "planning", "started": start})
    for row in series:
        kind = "planning" if row["is_planning_view"] else "spiral"
        kind = kind if row["series_modality"] == "CT" else "stationary"
        events.append({"series": row["series"], "acquisition": kind, "started": row["start"]})
    for event, uid in zip(events, uids, strict=False):
        event |= {
            "exam_no": exam["exam_no"],
            "study_instance_uid": exam["study_instance_uid"],
            "station_name": exam["station_name"],
            "irradiation_event_uid": uid,
            "modality": series[0]["series_modality"],
            "started_local": event["started"] + ahead,
        }
        event |= _dose(event, exam, rng, exam_factor)
    return events


def _dose(
    event: dict[str, Any], exam: dict[str, Any], rng: np.random.Generator, exam_factor: float
) -> dict[str, float | None]:
    """Length of the exposure (s) and its dose; what a modality does not know is None."""
    factor = float(np.exp(_SPREAD * rng.standard_normal()))
    none = {"ctdi_vol_mgy": None, "dlp_mgy_cm": None, "dap_gy_m2": None, "agd_mgy": None}
    if event["modality"] == "CT":
        ctdi, length = _CT_DOSE.get(exam["body_region"], _OTHER_CT_DOSE)
        ctdi = round(0.12 if event["acquisition"] == "planning" else ctdi * factor, 2)
        seconds = round(2 + length / 6, 2)
        dlp = round(ctdi * length, 2)
        return none | {"exposure_seconds": seconds, "ctdi_vol_mgy": ctdi, "dlp_mgy_cm": dlp}
    seconds = (int(exam["exam_no"] % 900) + 10) / 1000
    factor *= exam_factor
    dap = _PROJECTION_DAP.get(exam["body_region"], _OTHER_DAP) * factor
    dose = none | {"exposure_seconds": seconds, "dap_gy_m2": round(dap, 9)}
    return dose | ({"agd_mgy": round(_AGD * factor, 3)} if event["modality"] == "MG" else {})


def event_frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    """One row per irradiation event that a report tells, in however many reports.

    Columns: exam_no, study_instance_uid, station_name, irradiation_event_uid, modality, series
    (number of its archived series, else null), acquisition, started_at (UTC), started_at_device
    (by the clock of the scanner), exposure_seconds, ctdi_vol_mgy, dlp_mgy_cm, dap_gy_m2, agd_mgy
    (null where the modality has no such dose), is_time_told (the report has its start),
    report_count.
    """
    numbers = ("exposure_seconds", "ctdi_vol_mgy", "dlp_mgy_cm", "dap_gy_m2", "agd_mgy")
    texts = ("study_instance_uid", "station_name", "irradiation_event_uid", "modality")
    schema = (
        {"exam_no": pl.Int64}
        | dict.fromkeys(texts, pl.String)
        | {"series": pl.Int64, "acquisition": pl.String}
        | {"started": pl.Int64, "started_local": pl.Int64}
        | dict.fromkeys(numbers, pl.Float64)
        | {"is_time_told": pl.Boolean, "report_count": pl.Int64}
    )
    return (
        pl.DataFrame(events, schema=schema, orient="row")
        .with_columns(
            started=instant(pl.col("started")), started_local=wall(pl.col("started_local"))
        )
        .rename({"started": "started_at", "started_local": "started_at_device"})
    )


def split_events(events: list[dict[str, Any]], kind: str | None) -> list[list[dict[str, Any]]]:
    """The events of each report of an exam, in the order sent."""
    if kind == "cumulative_dose_report":
        return [events[:1], events]
    if kind == "split_dose_report":
        return [events[:1], events[1:]]
    return [events]


def report_content(
    events: list[dict[str, Any]],
    clock: list[tuple[str, str]],
    scanner: dict[str, Any],
    study_uid: str,
) -> dict[str, Any]:
    """The document of one report; `clock` is start of each event, then the end of the last one.

    Two strings each, DICOM date and time. Only the text of the tree: the caller adds study,
    series and times of the document.
    """
    is_ct = events[0]["modality"] == "CT"
    procedure = {
        "CT": ("77477000", "SCT", "Computed tomography"),
        "DX": ("113704", "DCM", "Projection X-Ray"),
        "MG": ("71651007", "SCT", "Mammography"),
    }[events[0]["modality"]]
    intent = _code(("363703001", "SCT", "Has Intent"), ("261004008", "SCT", "Diagnostic Intent"))
    told = tells_event_times(scanner)
    starts = ["".join(moment) for moment in clock]
    items = [
        _code(_dcm("121058", "Procedure reported"), procedure)
        | {"ContentSequence": [intent | {"RelationshipType": "HAS CONCEPT MOD"}]}
        | {"RelationshipType": "HAS CONCEPT MOD"},
        *_observer(scanner),
    ]
    if is_ct:
        items += [
            _item("DATETIME", _dcm("113809", "Start of X-Ray Irradiation"), DateTime=starts[0]),
            _item("DATETIME", _dcm("113810", "End of X-Ray Irradiation"), DateTime=starts[-1]),
        ]
    scope = _code(_dcm("113705", "Scope of Accumulation"), _dcm("113014", "Study"))
    scope["ContentSequence"] = [
        _item("UIDREF", _dcm("110180", "Study Instance UID"), UID=study_uid)
        | {"RelationshipType": "HAS PROPERTIES"}
    ]
    items.append(scope)
    items.append(_ct_totals(events) if is_ct else _projection_totals(events))
    for event, start in zip(events, starts, strict=False):
        moment = start if told else None
        items.append(_ct_event(event, moment) if is_ct else _projection_event(event, start))
    source = _dcm("113854", "Source of Dose Information")
    items.append(_code(source, _dcm("113856", "Automated Data Collection")))
    template = {"MappingResource": "DCMR", "TemplateIdentifier": "10011" if is_ct else "10001"}
    title = _container(_dcm("113701", "X-Ray Radiation Dose Report"), items)
    del title["RelationshipType"]
    return title | {"ContentTemplateSequence": [template]}


def _observer(scanner: dict[str, Any]) -> list[dict[str, Any]]:
    is_device = _code(_dcm("121005", "Observer Type"), _dcm("121007", "Device"))
    uid = f"2.25.{scanner['number'] + 10**9}"
    items = [is_device, _item("UIDREF", _dcm("121012", "Device Observer UID"), UID=uid)]
    for code, meaning, column in (
        ("121013", "Device Observer Name", "station_name"),
        ("121014", "Device Observer Manufacturer", "manufacturer"),
        ("121015", "Device Observer Model Name", "manufacturer_model_name"),
        ("121016", "Device Observer Serial Number", "device_serial_number"),
    ):
        items.append(_item("TEXT", _dcm(code, meaning), TextValue=scanner[column]))
    return [item | {"RelationshipType": "HAS OBS CONTEXT"} for item in items]


def _ct_totals(events: list[dict[str, Any]]) -> dict[str, Any]:
    total = sum(event["dlp_mgy_cm"] for event in events)
    return _container(
        _dcm("113811", "CT Accumulated Dose Data"),
        [
            _number(_dcm("113812", "Total Number of Irradiation Events"), len(events), "{events}"),
            _number(_dcm("113813", "CT Dose Length Product Total"), round(total, 2), "mGy.cm"),
        ],
    )


def _ct_event(event: dict[str, Any], start: str | None) -> dict[str, Any]:
    acquisition = _ACQUISITIONS[event["acquisition"]]
    exposure = _number(_dcm("113824", "Exposure Time"), event["exposure_seconds"], "s")
    dose = [
        _number(_dcm("113830", "Mean CTDIvol"), event["ctdi_vol_mgy"], "mGy"),
        _code(_dcm("113835", "CTDIw Phantom Type"), _dcm("113691", "IEC Body Dosimetry Phantom")),
        _number(_dcm("113838", "DLP"), event["dlp_mgy_cm"], "mGy.cm"),
    ]
    uid = event["irradiation_event_uid"]
    items = [
        _item("TEXT", _dcm("125203", "Acquisition Protocol"), TextValue=acquisition[2]),
        _code(_dcm("113820", "CT Acquisition Type"), acquisition),
        _item("UIDREF", _dcm("113769", "Irradiation Event UID"), UID=uid),
    ]
    if start is not None:
        items.append(_item("DATETIME", _dcm("111526", "DateTime Started"), DateTime=start))
    items.append(_container(_dcm("113822", "CT Acquisition Parameters"), [exposure]))
    items.append(_container(_dcm("113829", "CT Dose"), dose))
    return _container(_dcm("113819", "CT Acquisition"), items)


def _projection_totals(events: list[dict[str, Any]]) -> dict[str, Any]:
    plane = _code(_dcm("113764", "Acquisition Plane"), _dcm("113622", "Single Plane"))
    total = round(sum(event["dap_gy_m2"] for event in events), 9)
    return _container(
        _dcm("113702", "Accumulated X-Ray Dose Data"),
        [
            plane | {"RelationshipType": "HAS CONCEPT MOD"},
            _number(_dcm("113722", "Dose Area Product Total"), total, "Gy.m2"),
        ],
    )


def _projection_event(event: dict[str, Any], start: str) -> dict[str, Any]:
    plane = _code(_dcm("113764", "Acquisition Plane"), _dcm("113622", "Single Plane"))
    kind, uid = _ACQUISITIONS[event["acquisition"]], event["irradiation_event_uid"]
    milliseconds = round(event["exposure_seconds"] * 1000)
    items = [
        plane | {"RelationshipType": "HAS CONCEPT MOD"},
        _item("UIDREF", _dcm("113769", "Irradiation Event UID"), UID=uid),
        _item("DATETIME", _dcm("111526", "DateTime Started"), DateTime=start),
        _code(_dcm("113721", "Irradiation Event Type"), kind),
        _number(_dcm("122130", "Dose Area Product"), event["dap_gy_m2"], "Gy.m2"),
        _number(_dcm("113824", "Exposure Time"), milliseconds, "ms"),
    ]
    if event["agd_mgy"] is not None:
        items.append(_number(_dcm("111631", "Average Glandular Dose"), event["agd_mgy"], "mGy"))
    return _container(_dcm("113706", "Irradiation Event X-Ray Data"), items)


def _dcm(value: str, meaning: str) -> Code:
    return (value, "DCM", meaning)


def _as_code(code: Code) -> list[dict[str, str]]:
    value, scheme, meaning = code
    return [{"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}]


def _item(kind: str, name: Code, **value: Any) -> dict[str, Any]:
    concept = {"ValueType": kind, "ConceptNameCodeSequence": _as_code(name)}
    return {"RelationshipType": "CONTAINS"} | concept | value


def _code(name: Code, value: Code) -> dict[str, Any]:
    return _item("CODE", name, ConceptCodeSequence=_as_code(value))


def _container(name: Code, items: list[dict[str, Any]]) -> dict[str, Any]:
    return _item("CONTAINER", name, ContinuityOfContent="SEPARATE", ContentSequence=items)


def _number(name: Code, value: float, unit: str) -> dict[str, Any]:
    measured = {
        "NumericValue": f"{value:.9f}".rstrip("0").rstrip("."),
        "MeasurementUnitsCodeSequence": _as_code((unit, "UCUM", unit)),
    }
    return _item("NUM", name, MeasuredValueSequence=[measured])
