"""DICOM files in the kinds and counts that an archive holds: for speed, so that pixels are holes.

A series is encoded once by pydicom; of every further instance UID, number, position and times
differ, and with them the length of its elements. Same seed, same bytes.
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
MOMENT = "123456.654321"
# ... and by values of another length: the element of a header is found by its value.
NUMBER, LOCATION, POSITION = "797979", "-98.76543210", ["-97.5318642", "-97.5318643", "96.42"]
PIXEL_BYTES = 524_288
# Makers' look-alikes: manufacturer, model, software, elements of the private block.
MAKERS = (
    ("SIEMENS", "SOMATOM Force", ["syngo CT VB10A"], 59),
    ("GE MEDICAL SYSTEMS", "Revolution CT", ["revo_ct_20a.47", "5.2"], 41),
    ("Canon Medical Systems", "Aquilion ONE", ["V10.6SP0002"], 33),
    ("Philips", "Ingenia Ambition X", ["5.6.1", "5.6.1.0"], 24),
)
SITES = ("Royal Infirmary", "St Anne's", "Nord-H\u00f4pital", "Queen Elizabeth", "Infirmary West",
         "General", "Mobile Unit 3", "Community Diagnostic Centre")  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One kind of series: files in the full corpus, files of a series (one of these numbers),
    elements of a header at the top (from, to), shares of syntaxes."""

    name: str
    files: int
    per_series: tuple[int, ...]
    modality: str
    sop_class: str
    elements: tuple[int, int]
    syntaxes: tuple[tuple[str, int], ...]


FAMILIES = (
    Family("ct", 20_000, (2, 60, 120, 200), "CT", "1.2.840.10008.5.1.4.1.1.2", (149, 173),
           ((EXPLICIT, 74), (IMPLICIT, 10), (JPEG_2000, 8), (JPEG_LOSSLESS, 6), (BIG, 1),
            (DEFLATED, 1))),
    Family("enhanced_mr", 2_000, (10,), "MR", "1.2.840.10008.5.1.4.1.1.4.1", (150, 160),
           ((EXPLICIT, 80), (IMPLICIT, 10), (JPEG_2000, 10))),
    Family("dx", 1_000, (4,), "DX", "1.2.840.10008.5.1.4.1.1.1.1", (137, 140),
           ((EXPLICIT, 70), (IMPLICIT, 20), (JPEG_2000, 8), (DEFLATED, 2))),
    Family("cr", 1_000, (2,), "CR", "1.2.840.10008.5.1.4.1.1.1", (137, 140),
           ((EXPLICIT, 70), (IMPLICIT, 20), (JPEG_2000, 8), (DEFLATED, 2))),
    Family("private_mr", 1_000, (100,), "MR", "1.2.840.10008.5.1.4.1.1.4", (150, 160),
           ((EXPLICIT, 100),)),
    Family("rdsr", 200, (1,), "SR", "1.2.840.10008.5.1.4.1.1.88.67", (60, 70),
           ((EXPLICIT, 80), (IMPLICIT, 20))),
)  # fmt: skip
SIMPLE = {
    "AE": "STATION1", "AS": "045Y", "CS": "VALUE", "DA": "20260611", "DS": "1.25", "IS": "12",
    "LO": "A line of some length", "PN": "Doe^Jane", "SH": "SHORT", "ST": "A short text",
    "TM": MOMENT, "US": 3, "UI": "2.25.77", "FD": 1.5, "FL": 2.5, "UL": 7,
}  # fmt: skip


SEQUENCES = {
    "ProcedureCodeSequence": {
        "CodeValue": "CTHOR",
        "CodingSchemeDesignator": "NICIP",
        "CodeMeaning": "CT Thorax",
    },
    "ReferencedStudySequence": {
        "ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1",
        "ReferencedSOPInstanceUID": "2.25.4711",
    },
    "ReferencedPerformedProcedureStepSequence": {
        "ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.3",
        "ReferencedSOPInstanceUID": "2.25.4712",
    },
    "OtherPatientIDsSequence": {"PatientID": "9990000001", "TypeOfPatientID": "TEXT"},
    "RequestedProcedureCodeSequence": {
        "CodeValue": "CTHOR",
        "CodingSchemeDesignator": "NICIP",
        "CodeMeaning": "CT Thorax",
    },
    "RequestAttributesSequence": {
        "ScheduledProcedureStepID": "SPS1",
        "RequestedProcedureID": "RP1",
        "ScheduledProcedureStepDescription": "CT Thorax",
    },
}


def write_corpus(folder: Path, share: float = 1.0) -> dict[str, list[Path]]:
    """Write the corpus, or a share of it, into one folder per family; paths by family."""
    return {family.name: list(_write(folder / family.name, family, share)) for family in FAMILIES}


def _write(folder: Path, family: Family, share: float) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{SEED} {family.name}")
    syntaxes, weights = zip(*family.syntaxes, strict=True)
    left = max(int(family.files * share), max(family.per_series))
    number = 0
    while left > 0:
        syntax = rng.choices(syntaxes, weights)[0]
        head = encoded(series(family, rng), syntax)
        count = min(rng.choice(family.per_series), left)
        for instance in range(count):
            number += 1
            path = folder / f"{number:06d}.dcm"
            data = instance_of(head, syntax, number, instance + 1)
            with path.open("wb") as file:
                file.write(data)
                if syntax in (EXPLICIT, IMPLICIT, BIG) and family.modality != "SR":
                    file.truncate(len(data) + PIXEL_BYTES)
            yield path
        left -= count


def instance_of(head: bytes, syntax: str, number: int, instance: int) -> bytes:
    """A header of its own: another instance UID, number, position and times."""
    data = head.replace(INSTANCE_UID.encode(), f"2.25.1{number:036d}".encode())
    data = data.replace(MOMENT.encode(), f"10{instance % 60:02d}10.{number % 10**6:06d}".encode())
    height = f"{instance * 1.25 - 120:.{instance % 4}f}"
    for old, new in (
        (NUMBER, str(instance)),
        (LOCATION, height),
        ("\\".join(POSITION), f"-120.5\\{-180 + instance / 7:.3f}\\{height}"),
    ):
        data = _replaced(data, old.encode(), new.encode(), syntax)
    return deflated(data) if syntax == DEFLATED else data


def _replaced(data: bytes, old: bytes, new: bytes, syntax: str) -> bytes:
    """Put another value of another length into the elements (of short length) that hold one."""
    old, new = old + b" " * (len(old) % 2), new + b" " * (len(new) % 2)
    order, code, width = (">" if syntax == BIG else "<"), *("I4" if syntax == IMPLICIT else "H2")
    old_head, new_head = (
        struct.pack(order + code, len(value))[-int(width) :] for value in (old, new)
    )
    return data.replace(old_head + old, new_head + new)


def deflated(data: bytes) -> bytes:
    """The same file with its data set deflated."""
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return data[:start] + deflate.compress(data[start:]) + deflate.flush()


def encoded(dataset: Dataset, syntax: str) -> bytes:
    """Header and the beginning of the pixel data; where they are to be deflated, not yet."""
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
    if dataset.Modality == "SR":
        return data
    order = ">" if syntax == BIG else "<"
    if syntax in (JPEG_2000, JPEG_LOSSLESS):
        pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        pixels += struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, 2048) + b"\0" * 2048
        return data + pixels + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    if syntax == IMPLICIT:
        return data + struct.pack("<HHI", 0x7FE0, 0x10, PIXEL_BYTES)
    size = 0 if syntax == DEFLATED else PIXEL_BYTES
    return data + struct.pack(f"{order}HH2sHI", 0x7FE0, 0x10, b"OW", 0, size)


def series(family: Family, rng: random.Random) -> Dataset:
    """A header with as many elements as scanners write, sequences of either kind of length."""
    dataset = Dataset()
    open_sequences, open_items = rng.random() < 0.5, rng.random() < 0.5
    dataset.SpecificCharacterSet = rng.choice(["ISO_IR 100", "ISO_IR 100", "ISO_IR 192"])
    is_projection = family.modality in ("DX", "CR")
    dataset.ImageType = ["DERIVED" if is_projection else "ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = family.sop_class, INSTANCE_UID
    dataset.Modality = family.modality
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, f"1.3.12.2.1107.5.1.4.{rng.getrandbits(rng.choice([60, 90]))}")
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, f"2026{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}")
    dataset.StudyTime, dataset.SeriesTime = "101000.000002", f"10{rng.randrange(60):02d}05"
    dataset.AcquisitionTime = dataset.ContentTime = MOMENT
    if family.modality != "CR":
        dataset.AcquisitionDateTime = f"20260611{MOMENT}"
    dataset.AccessionNumber = f"A26{rng.randrange(10**6)}"
    maker, model, software, private_elements = rng.choice(MAKERS)
    dataset.Manufacturer, dataset.ManufacturerModelName = maker, model
    dataset.SoftwareVersions = software
    dataset.InstitutionName, dataset.StationName = rng.choice(SITES), f"CT{rng.randrange(900)}"
    dataset.StudyDescription = rng.choice(
        ["CT Thorax", "CT Thorax & Abdomen with contrast", "Sch\u00e4del"]
    )
    dataset.SeriesDescription = f"Axial {rng.random():.{rng.randrange(1, 9)}f}"
    dataset.PatientID, dataset.PatientName = f"H{rng.randrange(10**7)}", "Doe^Jane"
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", "F"
    dataset.DeviceSerialNumber = f"{rng.randrange(10**6)}"
    dataset.ProtocolName, dataset.BodyPartExamined = "Thorax routine", "CHEST"
    dataset.SeriesNumber, dataset.AcquisitionNumber = str(rng.randrange(1, 1200)), "1"
    dataset.InstanceNumber = NUMBER
    dataset.Rows = dataset.Columns = 512
    dataset.ImagePositionPatient, dataset.SliceLocation = POSITION, LOCATION
    dataset.ImageComments = "Reconstructed with the standard kernel. " * rng.randrange(8, 14)
    dataset.PerformedStationAETitle = f"SCANNER{rng.randrange(900)}"
    dataset.PerformedProcedureStepStartDate = dataset.StudyDate
    dataset.PerformedProcedureStepStartTime = "101000"
    dataset.PerformedProcedureStepID = f"PPS{rng.randrange(10**5)}"
    if rng.random() < 0.6:
        dataset.PerformedProcedureStepEndDate = dataset.StudyDate
        dataset.PerformedProcedureStepEndTime = "102000"
    if rng.random() < 0.3:
        dataset.TimezoneOffsetFromUTC = "+0100"
    for keyword, values in SEQUENCES.items():
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        setattr(dataset, keyword, Sequence([item]))
        dataset[keyword].is_undefined_length = open_sequences
        item.is_undefined_length_sequence_item = open_items
    _private(dataset, family, private_elements, rng)
    _fill(dataset, rng.randint(*family.elements))
    if family.name == "enhanced_mr":
        frames = rng.choice([30, 60, 120])
        dataset.NumberOfFrames = frames
        dataset.AcquisitionDuration = 12.5
        dataset.PerFrameFunctionalGroupsSequence = Sequence(_frame(n) for n in range(frames))
        _open(dataset, "PerFrameFunctionalGroupsSequence", open_sequences, open_items)
    if family.name == "rdsr":
        events = Sequence(_event() for _ in range(rng.randrange(1, 6)))
        dataset.ContentSequence = events
        _open(dataset, "ContentSequence", open_sequences, open_items)
    return dataset


def _open(dataset: Dataset, keyword: str, sequences: bool, items: bool) -> None:
    """Give a sequence, its items and all within them lengths of the one kind or the other."""
    dataset[keyword].is_undefined_length = sequences
    for item in dataset[keyword].value:
        item.is_undefined_length_sequence_item = items
        for element in item:
            if element.VR == "SQ":
                _open(item, element.keyword, sequences, items)


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
    missing = max(elements - len(dataset), 0)
    step = len(tags) / max(missing, 1)
    for number in range(missing):
        tag = tags[int(number * step)]
        vr = DicomDictionary[tag][0]
        dataset.add_new(tag, vr, SIMPLE[vr])


def _private(dataset: Dataset, family: Family, elements: int, rng: random.Random) -> None:
    block = dataset.private_block(0x0019, "MAKER HEADER", create=True)
    for number in range(elements):
        block.add_new(number, "LO", f"value {number}")
    blob = dataset.private_block(0x0029, "MAKER CSA", create=True)
    if family.name == "private_mr":
        blob.add_new(0x10, "OB", rng.randbytes(11_264))
        blob.add_new(0x20, "OB", rng.randbytes(71_680))
    else:
        blob.add_new(0x10, "OB", rng.randbytes(1_200))


def _event() -> Dataset:
    """One irradiation event of a dose report: a container of measured values."""
    event = Dataset()
    event.RelationshipType, event.ValueType = "CONTAINS", "CONTAINER"
    event.ConceptNameCodeSequence = Sequence([_code("113819", "CT Acquisition")])
    event.ContentSequence = Sequence(_measured(number) for number in range(12))
    return event


def _measured(number: int) -> Dataset:
    value = Dataset()
    value.RelationshipType, value.ValueType = "CONTAINS", "NUM"
    value.ConceptNameCodeSequence = Sequence([_code(str(113800 + number), "Value")])
    measured = Dataset()
    measured.NumericValue = str(number)
    measured.MeasurementUnitsCodeSequence = Sequence([_code("mGy", "mGy")])
    value.MeasuredValueSequence = Sequence([measured])
    return value


def _code(code: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
    return item


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
