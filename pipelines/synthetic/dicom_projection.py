"""What digital radiographs and mammograms for presentation have in common."""

from __future__ import annotations

from typing import Any

DIGITAL_X_RAY: dict[str, Any] = {
    "PresentationIntentType": "FOR PRESENTATION",
    "PresentationLUTShape": "IDENTITY",
    "PixelIntensityRelationship": "LOG",
    "PixelIntensityRelationshipSign": -1,
    "RescaleIntercept": "0",
    "RescaleSlope": "1",
    "RescaleType": "US",
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "DetectorType": "DIRECT",
    "WindowCenter": "2048",
    "WindowWidth": "4096",
    "AcquisitionContextSequence": [],
}
