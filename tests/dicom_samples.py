"""DICOM files of many makers, read from the packages that hold them, and small ones made here."""

from pathlib import Path

import data_store
import nibabel
import pydicom
import pynetdicom
from pydicom.dataset import Dataset, FileMetaDataset

FOLDERS = (
    Path(pydicom.__file__).parent / "data",
    Path(data_store.__file__).parent / "data",
    Path(nibabel.__file__).parent,
    Path(pynetdicom.__file__).parent / "tests" / "dicom_files",
)
GOOD = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "SOPInstanceUID": "2.25.8001",
    "StudyInstanceUID": "2.25.8002",
    "SeriesInstanceUID": "2.25.8003",
    "Modality": "CT",
    "StudyDate": "20260611",
    "StudyTime": "141500",
}


def sample_files() -> list[Path]:
    return sorted(
        path
        for folder in FOLDERS
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".dcm", ".gz", "") and path.name != "LICENSE"
    )


def written(
    folder: Path,
    *,
    name: str = "a.dcm",
    syntax: str = pydicom.uid.ExplicitVRLittleEndian,
    **values,
) -> Path:
    """A small CT header as a file in a transfer syntax; a value of None leaves one out."""
    dataset = Dataset()
    for keyword, value in {**GOOD, **values}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPInstanceUID = str(dataset.get("SOPInstanceUID", "2.25.1"))
    meta.MediaStorageSOPClassUID = GOOD["SOPClassUID"]
    dataset.file_meta = meta
    path = folder / name
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
