"""Enhanced MR: a whole series in one multi-frame file, its times in the functional groups."""

from __future__ import annotations

from typing import Any

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"
IMAGE_TYPE = "ORIGINAL\\PRIMARY\\T2\\NONE"
MOST_FRAMES = 12  # of a series' images, so that the files stay small

_KINDS = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "T2",
}
MODULE: dict[str, Any] = _KINDS | {
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PositionReferenceIndicator": "",
    "PatientPosition": "HFS",
    "ContentQualification": "PRODUCT",
    "ResonantNucleus": "1H",
    "MagneticFieldStrength": 1.5,
    "KSpaceFiltering": "NONE",
    "ApplicableSafetyStandardAgency": "IEC",
    "ApplicableSafetyStandardDescription": "IEC 60601-2-33",
    "PulseSequenceName": "tse",
    "MRAcquisitionType": "2D",
    "EchoPulseSequence": "SPIN",
    "MultipleSpinEcho": "YES",
    "MultiPlanarExcitation": "NO",
    "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO",
    "SteadyStatePulseSequence": "NONE",
    "EchoPlanarPulseSequence": "NO",
    "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE",
    "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR",
    "SegmentedKSpaceTraversal": "PARTIAL",
    "RectilinearPhaseEncodeReordering": "LINEAR",
    "NumberOfKSpaceTrajectories": 1,
    "PresentationLUTShape": "IDENTITY",
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "AcquisitionContextSequence": [],
}

_SHARED: dict[str, Any] = {
    "PixelMeasuresSequence": [{"PixelSpacing": ("0.75", "0.75"), "SliceThickness": "5"}],
    "PlaneOrientationSequence": [{"ImageOrientationPatient": ("1", "0", "0", "0", "1", "0")}],
    "FrameAnatomySequence": [
        {
            "FrameLaterality": "U",
            "AnatomicRegionSequence": [
                {
                    "CodeValue": "38266002",
                    "CodingSchemeDesignator": "SCT",
                    "CodeMeaning": "Entire body",
                }
            ],
        }
    ],
    "PixelValueTransformationSequence": [
        {"RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US"}
    ],
    "MRImageFrameTypeSequence": [{"FrameType": IMAGE_TYPE} | _KINDS],
    "MRTimingAndRelatedParametersSequence": [
        {
            "RepetitionTime": "3200",
            "FlipAngle": "90",
            "EchoTrainLength": 16,
            "RFEchoTrainLength": 16,
            "GradientEchoTrainLength": 0,
            "GradientOutputType": "DB_DT",
            "GradientOutput": 40.0,
            "SpecificAbsorptionRateSequence": [
                {
                    "SpecificAbsorptionRateDefinition": "IEC_WHOLE_BODY",
                    "SpecificAbsorptionRateValue": 1.2,
                }
            ],
            "OperatingModeSequence": [
                {
                    "OperatingModeType": "STATIC FIELD",
                    "OperatingMode": "IEC_NORMAL",
                }
            ],
        }
    ],
    "MRFOVGeometrySequence": [
        {
            "InPlanePhaseEncodingDirection": "ROW",
            "MRAcquisitionFrequencyEncodingSteps": 16,
            "MRAcquisitionPhaseEncodingStepsInPlane": 16,
            "PercentSampling": "100",
            "PercentPhaseFieldOfView": "100",
        }
    ],
    "MRModifierSequence": [
        {
            "InversionRecovery": "NO",
            "FlowCompensation": "NONE",
            "Spoiling": "NONE",
            "T2Preparation": "NO",
            "SpectrallySelectedExcitation": "NONE",
            "SpatialPresaturation": "NONE",
            "PartialFourier": "NO",
            "ParallelAcquisition": "NO",
        }
    ],
    "MRImagingModifierSequence": [
        {
            "MagnetizationTransfer": "NONE",
            "BloodSignalNulling": "NO",
            "Tagging": "NONE",
            "TransmitterFrequency": 63.6,
            "PixelBandwidth": "200",
        }
    ],
    "MRReceiveCoilSequence": [
        {
            "ReceiveCoilName": "Body",
            "ReceiveCoilManufacturerName": "",
            "ReceiveCoilType": "BODY",
            "QuadratureReceiveCoil": "YES",
        }
    ],
    "MRTransmitCoilSequence": [
        {
            "TransmitCoilName": "Body",
            "TransmitCoilManufacturerName": "",
            "TransmitCoilType": "BODY",
        }
    ],
    "MRAveragesSequence": [{"NumberOfAverages": "1"}],
}


def frames_of(series: dict[str, Any]) -> int:
    """Number of frames in the file of a series."""
    return int(min(series["instances"], MOST_FRAMES))


def functional_groups(
    series: dict[str, Any], acquired: list[str], frame_seconds: float, organisation_uid: str
) -> dict[str, Any]:
    """Dimensions and functional groups; `acquired` is the DICOM date and time of each frame."""
    pointer = {
        "DimensionOrganizationUID": organisation_uid,
        "DimensionIndexPointer": 0x00209056,
        "FunctionalGroupPointer": 0x00209111,
    }
    return {
        "NumberOfFrames": len(acquired),
        "AcquisitionDateTime": acquired[0],
        "AcquisitionDuration": float(series["end"] - series["start"]),
        "DimensionOrganizationSequence": [{"DimensionOrganizationUID": organisation_uid}],
        "DimensionIndexSequence": [pointer],
        "SharedFunctionalGroupsSequence": [_SHARED],
        "PerFrameFunctionalGroupsSequence": [
            {
                "FrameContentSequence": [
                    {
                        "FrameAcquisitionDateTime": moment,
                        "FrameReferenceDateTime": moment,
                        "FrameAcquisitionDuration": 1000 * frame_seconds,
                        "FrameAcquisitionNumber": 1,
                        "StackID": "1",
                        "InStackPositionNumber": number,
                        "DimensionIndexValues": number,
                    }
                ],
                "PlanePositionSequence": [{"ImagePositionPatient": ("0", "0", str(5 * number))}],
                "MREchoSequence": [{"EffectiveEchoTime": 90.0}],
            }
            for number, moment in enumerate(acquired, start=1)
        ],
    }
