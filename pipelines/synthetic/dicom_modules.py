"""Attributes that the image modules of each modality ask for (PS3.3, types 1 and 2).

No metric reads them. They are written so that the files pass a validator and every reader of
images, like those of a real scanner.
"""

from __future__ import annotations

from typing import Any

from pipelines.synthetic import dicom_enhanced
from pipelines.synthetic.dicom_mammography import MG
from pipelines.synthetic.dicom_nuclear import NM, PT
from pipelines.synthetic.dicom_projection import DIGITAL_X_RAY

_PLANE = {
    "PositionReferenceIndicator": "",
    "PatientPosition": "HFS",
    "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
    "PixelSpacing": ("0.75", "0.75"),
    "SliceThickness": "5",
}
_SIXTEEN_BITS = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}

MODULES: dict[str, dict[str, Any]] = {
    "CT": _PLANE | _SIXTEEN_BITS | {"KVP": "120", "RescaleIntercept": "-1024", "RescaleSlope": "1"},
    "MR": _PLANE
    | _SIXTEEN_BITS
    | {
        "ScanningSequence": "SE",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "3200",
        "EchoTime": "90",
        "EchoTrainLength": 16,
    },
    "DX": _SIXTEEN_BITS
    | DIGITAL_X_RAY
    | {
        "ImageLaterality": "U",
        "PatientOrientation": ("L", "F"),
        "ImagerPixelSpacing": ("0.15", "0.15"),
    },
    "US": {
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PatientOrientation": "",
    },
    "NM": NM,
    "PT": PT,
    "MG": MG,
    "Enhanced MR": dicom_enhanced.MODULE,
}
# Images with a place in the patient share a frame of reference within the study.
IN_SPACE = ("CT", "MR", "PT")


# Anatomic regions (CID 4009 and 4031, SNOMED CT) of the body regions of plain radiographs.
_REGIONS = {
    "chest": ("51185008", "SCT", "Chest"),
    "pelvis": ("12921003", "SCT", "Pelvis"),
    "lower limb": ("61685007", "SCT", "Lower limb"),
    "upper limb": ("53120007", "SCT", "Upper limb"),
    "phantom": ("113681", "DCM", "Phantom"),
}


def anatomic_region(body_region: str) -> list[dict[str, str]] | None:
    """AnatomicRegionSequence of a plain radiograph; None where the region is not known."""
    if body_region not in _REGIONS:
        return None
    code, scheme, meaning = _REGIONS[body_region]
    return [{"CodeValue": code, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}]


# Regions that a validator knows to be single; of any other the side must at least be left open.
_UNPAIRED = ("HEAD", "CHEST", "ABDOMEN", "PELVIS", "SPINE", "")


def laterality(body_part: str) -> str | None:
    """Laterality of a series: empty (unknown) where the body part may be paired, else absent."""
    return None if body_part in _UNPAIRED else ""


def secondary_capture(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a study with those of an image that no scanner took."""
    return attributes | {
        **_SIXTEEN_BITS,
        "PatientOrientation": "",
        "Laterality": laterality(attributes["BodyPartExamined"]),
    }


def frame_of_reference(study_instance_uid: str) -> str:
    """The frame of reference of a study: its UID with one more component."""
    return f"{study_instance_uid}.1"


PRIVATE_CREATOR = "SYNTHETIC CT 01"
PRIVATE_BYTES = 12_000  # more than the 8 KiB that a reader of headers may take as its first window


def private_elements() -> dict[Any, Any]:
    """A maker's own elements, one of them long; the series and instance numbers come after it."""
    return {
        (0x00190010, "LO"): PRIVATE_CREATOR,
        (0x00191001, "DS"): "0.984",
        (0x00191010, "OB"): bytes(range(250)) * (PRIVATE_BYTES // 250),
    }
