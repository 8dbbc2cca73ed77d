"""DICOM files to one row per SOP instance: header attributes only, never pixels."""

from pipelines.sources.dicom_headers.read import (
    HeaderBatch,
    HeaderReaders,
    Named,
    read_headers,
    read_members,
)
from pipelines.sources.dicom_headers.times import (
    acquisition_ends,
    acquisition_starts,
    acquisition_times,
)

__all__ = [
    "HeaderBatch",
    "HeaderReaders",
    "Named",
    "acquisition_ends",
    "acquisition_starts",
    "acquisition_times",
    "read_headers",
    "read_members",
]
