"""DICOM files to one row per SOP instance: header attributes only, never pixels."""

from pipelines.sources.dicom_headers.read import HeaderBatch, read_headers
from pipelines.sources.dicom_headers.times import acquisition_starts

__all__ = ["HeaderBatch", "acquisition_starts", "read_headers"]
