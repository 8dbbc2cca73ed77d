"""Attributes of nuclear medicine images (NM) and positron emission tomography (PT)."""

from __future__ import annotations

from typing import Any

NM_FRAMES = 2  # front and back of the body, one detector each
_PATIENT = {
    "PatientOrientationCodeSequence": [
        {
            "CodeValue": "102538003",
            "CodingSchemeDesignator": "SCT",
            "CodeMeaning": "recumbent",
            "PatientOrientationModifierCodeSequence": [
                {
                    "CodeValue": "40199007",
                    "CodingSchemeDesignator": "SCT",
                    "CodeMeaning": "supine",
                }
            ],
        }
    ],
    "PatientGantryRelationshipCodeSequence": [
        {
            "CodeValue": "102540008",
            "CodingSchemeDesignator": "SCT",
            "CodeMeaning": "headfirst",
        }
    ],
}
_TECHNETIUM = {"CodeValue": "72454007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "^99m^Tc"}
_FLUORINE = {"CodeValue": "77004003", "CodingSchemeDesignator": "SCT", "CodeMeaning": "^18^F"}

NM: dict[str, Any] = _PATIENT | {
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "NumberOfFrames": NM_FRAMES,
    "FrameIncrementPointer": (0x00540010, 0x00540020),
    "EnergyWindowVector": (1,) * NM_FRAMES,
    "NumberOfEnergyWindows": 1,
    "DetectorVector": tuple(range(1, NM_FRAMES + 1)),
    "NumberOfDetectors": NM_FRAMES,
    "PixelSpacing": ("2.4", "2.4"),
    "PatientOrientation": "",
    "CountsAccumulated": "850000",
    "ScanVelocity": "2",
    "ScanLength": "1900",
    "EnergyWindowInformationSequence": [
        {
            "EnergyWindowName": "Tc-99m",
            "EnergyWindowRangeSequence": [
                {"EnergyWindowLowerLimit": "126.5", "EnergyWindowUpperLimit": "154.6"}
            ],
        }
    ],
    "RadiopharmaceuticalInformationSequence": [
        {"EnergyWindowNumber": 1, "RadionuclideCodeSequence": [_TECHNETIUM]}
    ],
    "DetectorInformationSequence": [
        {
            "CollimatorType": "PARA",
            "FocalDistance": "0",
            "XFocusCenter": "0",
            "YFocusCenter": "0",
            "ImageOrientationPatient": orientation,
            "ImagePositionPatient": ("0", "0", "0"),
        }
        for orientation in (("1", "0", "0", "0", "0", "-1"), ("-1", "0", "0", "0", "0", "-1"))
    ],
}

PT: dict[str, Any] = _PATIENT | {
    "PositionReferenceIndicator": "",
    "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
    "PixelSpacing": ("4", "4"),
    "SliceThickness": "3",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "RescaleIntercept": "0",
    "RescaleSlope": "1.5",
    "Units": "BQML",
    "CountsSource": "EMISSION",
    "SeriesType": ("WHOLE BODY", "IMAGE"),
    "NumberOfSlices": 200,
    "CorrectedImage": ("DECY", "ATTN", "SCAT", "DTIM", "RAN"),
    "RandomsCorrectionMethod": "DLYD",
    "AttenuationCorrectionMethod": "CT",
    "DecayCorrection": "START",
    "DecayFactor": "1.02",
    "CollimatorType": "NONE",
    "RadiopharmaceuticalInformationSequence": [
        {
            "Radiopharmaceutical": "Fluorodeoxyglucose",
            "RadionuclideTotalDose": "350000000",
            "RadionuclideHalfLife": "6586.2",
            "RadionuclidePositronFraction": "0.967",
            "RadionuclideCodeSequence": [_FLUORINE],
        }
    ],
}


# A bed position of PET, from the start of its slices on.
PT_FRAME_SECONDS = 120


def nm_frame(series: dict[str, Any]) -> dict[str, Any]:
    """Duration of the frames in milliseconds: they are taken together, one by each detector."""
    return {"ActualFrameDuration": 1000 * (series["frames_end"] - series["start"])}


def pt_frame(series: dict[str, Any], *, is_last: bool) -> dict[str, Any]:
    """One slice: its place in the series, and milliseconds since the series began."""
    index = series["instances"] if is_last else 1
    since = series["end"] - series["start"] if is_last else 0
    return {
        "ActualFrameDuration": 1000 * PT_FRAME_SECONDS,
        "FrameReferenceTime": 1000 * since + 500 * PT_FRAME_SECONDS,
        "ImageIndex": index,
        "NumberOfSlices": max(series["instances"], 1),
    }
