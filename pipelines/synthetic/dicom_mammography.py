"""Attributes of digital mammograms for presentation (MG)."""

from __future__ import annotations

from typing import Any

from pipelines.synthetic.dicom_projection import DIGITAL_X_RAY

_CRANIO_CAUDAL = ("399162004", "cranio-caudal")
_OBLIQUE = ("399368009", "medio-lateral oblique")

MG: dict[str, Any] = DIGITAL_X_RAY | {
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "ImagerPixelSpacing": ("0.07", "0.07"),
    "PositionerType": "MAMMOGRAPHIC",
    "OrganExposed": "BREAST",
    "BreastImplantPresent": "NO",
    "AnatomicRegionSequence": [
        {"CodeValue": "76752008", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Breast"}
    ],
}


def views(exam_code: str) -> list[tuple[str, str, str]]:
    """Side, code and name of the view of each image of an exam, in the order they are taken."""
    sides = {"XMAML": ("L",), "XMAMR": ("R",)}.get(exam_code, ("R", "L"))
    return [(side, *view) for view in (_CRANIO_CAUDAL, _OBLIQUE) for side in sides]


def view_attributes(exam_code: str, series: int) -> dict[str, Any]:
    """Side and view of the image in one series (from 1)."""
    side, code, meaning = views(exam_code)[series - 1]
    return {
        "ImageLaterality": side,
        "PatientOrientation": ("P", "L") if side == "R" else ("A", "R"),
        "ViewCodeSequence": [
            {
                "CodeValue": code,
                "CodingSchemeDesignator": "SCT",
                "CodeMeaning": meaning,
                "ViewModifierCodeSequence": [],
            }
        ],
    }
