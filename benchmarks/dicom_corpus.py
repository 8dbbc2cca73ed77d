"""DICOM files in the kinds and counts that an archive holds, for speed only: pixels are holes.

A series is encoded once by pydicom; of every further instance only UID, number and times differ,
in places of equal length. Same seed, same bytes.
"""

import random
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

SEED = 20201016
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG_2000, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70"
# What is replaced in every instance; nothing else in a header looks like these.
INSTANCE_UID = "2.25.1" + "5" * 36
NUMBER, MOMENT = "797979", "123456.654321"
PIXEL_BYTES = 524_288


@dataclass(frozen=True)
class Family:
    """One kind of series: files in the full corpus, files of a series, shares of syntaxes."""

    name: str
    files: int
    per_series: int
    modality: str
    sop_class: str
    elements: int
    syntaxes: tuple[tuple[str, int], ...]


FAMILIES = (
    Family("ct", 20_000, 100, "CT", "1.2.840.10008.5.1.4.1.1.2", 160,
           ((EXPLICIT, 74), (IMPLICIT, 10), (JPEG_2000, 8), (JPEG_LOSSLESS, 6), (BIG, 1),
            (DEFLATED, 1))),
    Family("enhanced_mr", 2_000, 10, "MR", "1.2.840.10008.5.1.4.1.1.4.1", 150,
           ((EXPLICIT, 80), (IMPLICIT, 10), (JPEG_2000, 10))),
    Family("dx", 2_000, 4, "DX", "1.2.840.10008.5.1.4.1.1.1.1", 138,
           ((EXPLICIT, 70), (IMPLICIT, 20), (JPEG_2000, 8), (DEFLATED, 2))),
    Family("private_mr", 1_000, 100, "MR", "1.2.840.10008.5.1.4.1.1.4", 150, ((EXPLICIT, 100),)),
)  # fmt: skip
SIMPLE = {
    "AE": "STATION1", "AS": "045Y", "CS": "VALUE", "DA": "20260611", "DS": "1.25", "IS": "12",
    "LO": "A line of some length", "PN": "Doe^Jane", "SH": "SHORT", "ST": "A short text",
    "TM": MOMENT, "US": 3, "UI": "2.25.77", "FD": 1.5, "FL": 2.5, "UL": 7,
}  # fmt: skip


def write_corpus(folder: Path, share: float = 1.0) -> dict[str, list[Path]]:
    """Write the corpus, or a share of it, into one folder per family; paths by family."""
    return {family.name: list(_write(folder / family.name, family, share)) for family in FAMILIES}


def _write(folder: Path, family: Family, share: float) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{SEED} {family.name}")
    syntaxes, weights = zip(*family.syntaxes, strict=True)
    left = max(int(family.files * share), family.per_series)
    number = 0
    while left > 0:
        syntax = rng.choices(syntaxes, weights)[0]
        head = _encoded(_series(family, rng), syntax)
        for instance in range(min(family.per_series, left)):
            number += 1
            path = folder / f"{number:06d}.dcm"
            _instance(path, head, syntax, number, instance + 1)
            yield path
        left -= family.per_series


def _instance(path: Path, head: bytes, syntax: str, number: int, instance: int) -> None:
    """A file of its own: another instance UID, number and time in places of equal length."""
    uid = f"2.25.1{number:036d}"
    data = head.replace(INSTANCE_UID.encode(), uid.encode())
    data = data.replace(NUMBER.encode(), f"{instance:06d}".encode())
    data = data.replace(MOMENT.encode(), f"10{instance % 60:02d}10.{number % 10**6:06d}".encode())
    if syntax == DEFLATED:
        start = 144 + struct.unpack_from("<I", data, 140)[0]
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = data[:start] + deflate.compress(data[start:]) + deflate.flush()
    with path.open("wb") as file:
        file.write(data)
        if syntax in (EXPLICIT, IMPLICIT, BIG):
            file.truncate(len(data) + PIXEL_BYTES)


def _encoded(dataset: Dataset, syntax: str) -> bytes:
    """Header and the beginning of the pixel data."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(EXPLICIT if syntax == DEFLATED else syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = INSTANCE_UID
    dataset.file_meta = meta
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    data = buffer.getvalue()
    if syntax == DEFLATED:
        data = data.replace(EXPLICIT.encode() + b"\0", DEFLATED.encode(), 1)
        # The longer UID moves the end of the file meta.
        uid = struct.pack("<HH2sH", 2, 0x10, b"UI", len(DEFLATED))
        at = data.index(struct.pack("<HH2s", 2, 0x10, b"UI"))
        grown = len(DEFLATED) - len(EXPLICIT) - 1
        length = struct.unpack_from("<I", data, 140)[0] + grown
        data = data[:140] + struct.pack("<I", length) + data[144:at] + uid + data[at + 8 :]
    order = ">" if syntax == BIG else "<"
    if syntax in (JPEG_2000, JPEG_LOSSLESS):
        pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        pixels += struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, 2048) + b"\0" * 2048
        return data + pixels + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    if syntax == IMPLICIT:
        return data + struct.pack("<HHI", 0x7FE0, 0x10, PIXEL_BYTES)
    size = 0 if syntax == DEFLATED else PIXEL_BYTES
    return data + struct.pack(f"{order}HH2sHI", 0x7FE0, 0x10, b"OW", 0, size)


def _series(family: Family, rng: random.Random) -> Dataset:
    """A header with as many elements as scanners write, sequences of either kind of length."""
    dataset = Dataset()
    open_sequences, open_items = rng.random() < 0.5, rng.random() < 0.5
    dataset.SpecificCharacterSet = rng.choice(["ISO_IR 100", "ISO_IR 100", "ISO_IR 192"])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = family.sop_class, INSTANCE_UID
    dataset.Modality = family.modality
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, f"2.25.{rng.getrandbits(120)}")
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, f"2026{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}")
    dataset.StudyTime, dataset.SeriesTime = "101000.000002", "101005.000002"
    dataset.AcquisitionTime = dataset.ContentTime = MOMENT
    dataset.AccessionNumber = f"A26{rng.randrange(10**6):06d}"
    dataset.Manufacturer, dataset.ManufacturerModelName = "MAKER", f"MODEL {rng.randrange(9)}"
    dataset.InstitutionName, dataset.StationName = f"Hospital {rng.randrange(8)}", "STATION1"
    dataset.StudyDescription, dataset.SeriesDescription = "CT Thorax", f"Axial {rng.random():.6f}"
    dataset.PatientID, dataset.PatientName = f"H{rng.randrange(10**7):07d}", "Doe^Jane"
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", "F"
    dataset.DeviceSerialNumber = f"{rng.randrange(10**6)}"
    dataset.SoftwareVersions = ["syngo", "VA48A"]
    dataset.ProtocolName, dataset.BodyPartExamined = "Thorax routine", "CHEST"
    dataset.SeriesNumber, dataset.AcquisitionNumber = "2", "1"
    dataset.InstanceNumber = NUMBER
    dataset.Rows = dataset.Columns = 512
    if rng.random() < 0.3:
        dataset.TimezoneOffsetFromUTC = "+0100"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTHOR", "NICIP", "CT Thorax"
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "SPS1", "RP1"
    for keyword, item in (
        ("ProcedureCodeSequence", code),
        ("RequestedProcedureCodeSequence", code),
        ("RequestAttributesSequence", request),
    ):
        setattr(dataset, keyword, Sequence([item]))
        dataset[keyword].is_undefined_length = open_sequences
        item.is_undefined_length_sequence_item = open_items
    _private(dataset, family, rng)
    _fill(dataset, family.elements)
    if family.name == "enhanced_mr":
        frames = rng.choice([30, 60, 120])
        dataset.NumberOfFrames = frames
        dataset.AcquisitionDuration = 12.5
        dataset.PerFrameFunctionalGroupsSequence = Sequence(_frame(n) for n in range(frames))
        dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = open_sequences
    return dataset


def _fill(dataset: Dataset, elements: int) -> None:
    """Further standard elements in the order of the dictionary, until there are enough."""
    tags = [
        tag
        for tag, (vr, vm, _, retired, _) in sorted(DicomDictionary.items())
        if 0x00080000 < tag < 0x00540000
        and vr in SIMPLE
        and vm == "1"
        and not retired
        and tag not in dataset
        and tag >> 16 not in (0x0002, 0x0004)
    ]
    step = len(tags) / max(elements - len(dataset), 1)
    for number in range(elements - len(dataset)):
        tag = tags[int(number * step)]
        vr = DicomDictionary[tag][0]
        dataset.add_new(tag, vr, SIMPLE[vr])


def _private(dataset: Dataset, family: Family, rng: random.Random) -> None:
    block = dataset.private_block(0x0019, "MAKER HEADER", create=True)
    for number in range(rng.randrange(24, 60)):
        block.add_new(number, "LO", f"value {number}")
    blob = dataset.private_block(0x0029, "MAKER CSA", create=True)
    if family.name == "private_mr":
        blob.add_new(0x10, "OB", rng.randbytes(11_264))
        blob.add_new(0x20, "OB", rng.randbytes(71_680))
    else:
        blob.add_new(0x10, "OB", rng.randbytes(1_200))


def _frame(number: int) -> Dataset:
    """Functional groups of one frame of an enhanced image: about thirty nested elements."""
    frame = Dataset()
    content = Dataset()
    content.FrameAcquisitionDateTime = f"20260611101010.{number:06d}"
    content.FrameReferenceDateTime = f"20260611101010.{number:06d}"
    content.FrameAcquisitionDuration, content.DimensionIndexValues = 110.5, [1, number + 1]
    content.StackID, content.InStackPositionNumber = "1", number + 1
    frame.FrameContentSequence = Sequence([content])
    for keyword, values in (
        ("PlanePositionSequence", {"ImagePositionPatient": [0.0, 1.0, float(number)]}),
        ("PlaneOrientationSequence", {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}),
        ("PixelMeasuresSequence", {"SliceThickness": "1.0", "PixelSpacing": [0.5, 0.5]}),
        ("MREchoSequence", {"EffectiveEchoTime": 12.5}),
        (
            "MRImageFrameTypeSequence",
            {
                "FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"],
                "PixelPresentation": "MONOCHROME",
                "VolumetricProperties": "VOLUME",
                "ComplexImageComponent": "MAGNITUDE",
                "AcquisitionContrast": "T1",
            },
        ),
        (
            "MRTimingAndRelatedParametersSequence",
            {"RepetitionTime": "500", "FlipAngle": "90", "EchoTrainLength": "1"},
        ),
        ("FrameVOILUTSequence", {"WindowCenter": "500", "WindowWidth": "1000"}),
        ("PixelValueTransformationSequence", {"RescaleIntercept": "0", "RescaleSlope": "1"}),
    ):
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        setattr(frame, keyword, Sequence([item]))
    return frame
