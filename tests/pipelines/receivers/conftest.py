"""A spool, a receiver over it, and objects to send."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from pipelines.receivers.dicom_callers import Callers, storage_classes
from pipelines.receivers.dicom_store import DicomReceiver, Listening
from pipelines.receivers.spool import CLOSED, Limits, Record, SpoolWriter, read_segment, segments
from tests.dicom_samples import written

STORAGE_KEY = base64.urlsafe_b64encode(b"s" * 32)
CALLERS = Callers({"RMC_PACS": "dicom_RMC", "RBV_PACS": "dicom_RBV"})
CT = "1.2.840.10008.5.1.4.1.1.2"
ECHO = "1.2.840.10008.1.1"


@pytest.fixture
def new_spool(tmp_path: Path) -> Iterator[Callable[..., SpoolWriter]]:
    """Open a spool below the folder of the test; closed when the test ends."""
    with ExitStack() as stack:

        def make(**limits) -> SpoolWriter:
            spool = SpoolWriter(
                tmp_path / "spool", STORAGE_KEY, limits=Limits(**{"free_bytes": 0} | limits)
            )
            stack.callback(spool.close)
            return spool

        yield make


@pytest.fixture
def new_receiver(new_spool: Callable[..., SpoolWriter]) -> Iterator[Callable[..., DicomReceiver]]:
    """Start a receiver on a free port; stopped when the test ends."""
    with ExitStack() as stack:

        def make(
            spool: SpoolWriter | None = None,
            *,
            callers: Callers = CALLERS,
            accept: str = "all",
            **listening,
        ) -> DicomReceiver:
            receiver = DicomReceiver(
                spool or new_spool(),
                callers,
                storage_classes(accept),
                Listening(port=0, **listening),
            )
            receiver.start()
            stack.callback(receiver.stop, grace=0.2)
            return receiver

        yield make


def associate(
    port: int,
    title: str = "RMC_PACS",
    *,
    called: str = "IMAGING",
    contexts: tuple[tuple[str, str], ...] = ((CT, pydicom.uid.ExplicitVRLittleEndian),),
    **options,
) -> Association:
    entity = AE(title)
    entity.add_requested_context(ECHO)
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    return entity.associate("127.0.0.1", port, ae_title=called, **options)


def ct_object(folder: Path, number: int = 1, **values) -> pydicom.Dataset:
    """A CT image of its own number, with an identity that must not be found anywhere."""
    path = written(
        folder,
        name=f"{number}.dcm",
        SOPInstanceUID=f"2.25.{9000 + number}",
        PatientName="Heppenstall^Aurelia",
        PatientID="9998887776",
        InstanceNumber=number,
        **values,
    )
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 64
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.SamplesPerPixel = 1
    dataset.PixelData = b"\xab\xcd" * 4096
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path)
    return pydicom.dcmread(path)


def spooled(folder: Path) -> list[Record]:
    """All records of the closed segments of a spool, in order."""
    found = [read_segment(path, STORAGE_KEY) for path in segments(folder, CLOSED)]
    return [record for segment in found for record in segment.records]
