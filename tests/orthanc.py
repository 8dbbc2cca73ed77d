"""A real archive for tests: Orthanc with its DICOMweb plugin, on loopback, thrown away afterwards."""

import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
INSTALL = "apt-get update && apt-get install orthanc orthanc-dicomweb"
AE_TITLE = "ORTHANC"
USER, PASSWORD = "reader", "an invented password"
READY_SECONDS = 60
UPLOADS = 4


@dataclass(frozen=True)
class Orthanc:
    """A running archive and its addresses."""

    folder: Path
    http_port: int
    dicom_port: int

    @property
    def url(self) -> str:
        """Root of its own interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        """Root of DICOMweb."""
        return f"{self.url}/dicom-web"

    def get(self, path: str) -> Any:
        """The JSON at a path of its own interface."""
        answer = requests.get(self.url + path, auth=(USER, PASSWORD), timeout=60)
        answer.raise_for_status()
        return answer.json()

    def delete(self, path: str) -> None:
        """Delete a resource."""
        requests.delete(self.url + path, auth=(USER, PASSWORD), timeout=60).raise_for_status()

    def store(self, objects: Iterable[Dataset]) -> None:
        """Store data sets and wait until their series are at rest; keep those of a series together.

        A series whose images come a second apart rests, and is told, twice.
        """

        def send(one: Dataset) -> None:
            answer = requests.post(
                f"{self.url}/instances", data=encoded(one), auth=(USER, PASSWORD), timeout=60
            )
            answer.raise_for_status()

        with ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(send, objects))
        wanted = self.get("/statistics")["CountSeries"]
        _until(lambda: self._stable() >= wanted, f"{wanted} series at rest")

    def _stable(self) -> int:
        changes = self.get("/changes?limit=1000000")["Changes"]
        here = set(self.get("/series"))
        return len({c["ID"] for c in changes if c["ChangeType"] == "StableSeries"} & here)


@contextmanager
def running_orthanc(folder: Path, **more: Any) -> Generator[Orthanc]:
    """Start an archive with its storage below `folder`; `more` are keys of its configuration."""
    binary = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    assert binary and PLUGIN.exists(), f"Orthanc or its DICOMweb plugin is missing: {INSTALL}"
    http_port, dicom_port = free_ports(2)
    configuration = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": AE_TITLE,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "StableAge": 1,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowEcho": True,
        "DicomModalities": {},
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([binary, str(path)], stdout=log, stderr=log, cwd=folder)
        archive = Orthanc(folder, http_port, dicom_port)
        try:
            _until(lambda: _answers(archive, process), "an answer")
            yield archive
        finally:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """So many ports of loopback that nobody listens on."""
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def _answers(archive: Orthanc, process: subprocess.Popen[bytes]) -> bool:
    log = archive.folder / "orthanc.log"
    assert process.poll() is None, f"Orthanc ended: {log.read_text()[-2000:]}"
    try:
        return bool(archive.get("/system"))
    except requests.exceptions.ConnectionError:
        return False


def _until(holds: Any, what: str) -> None:
    ends = time.monotonic() + READY_SECONDS
    while not holds():
        assert time.monotonic() < ends, f"no {what} after {READY_SECONDS} s"
        time.sleep(0.1)


def encoded(one: Dataset) -> bytes:
    """A data set as a file."""
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, one, enforce_file_format=True)
    return buffer.getvalue()


def invented_image(study: int, series: int = 1, image: int = 1, **more: Any) -> Dataset:
    """One image without pixels; studies are numbered, ten a day from 2026-01-05 on.

    `more` are attributes by keyword; None leaves one out.
    """
    day, hour = 5 + study // 10 % 20, 8 + study % 10
    root = f"1.2.826.0.1.3680043.10.999.{study}"
    attributes = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{root}.{series}.{image}",
        "StudyInstanceUID": root,
        "SeriesInstanceUID": f"{root}.{series}",
        "StudyDate": f"202601{day:02d}",
        "StudyTime": f"{hour:02d}0500",
        "SeriesDate": f"202601{day:02d}",
        "SeriesTime": f"{hour:02d}{5 + series:02d}30.25",
        "AcquisitionDateTime": f"202601{day:02d}{hour:02d}{5 + series:02d}{30 + image:02d}",
        "AccessionNumber": f"ACC{study:05d}",
        "PatientID": f"PAT{study % 97:04d}",
        "PatientName": "Invented^Person",
        "Modality": "CT",
        "StationName": f"CT{study % 3}",
        "DeviceSerialNumber": f"SN-{study % 3}",
        "PerformedStationAETitle": f"AE_CT{study % 3}",
        "Manufacturer": "Acme, Inc.",
        "ManufacturerModelName": "Slice 64",
        "SoftwareVersions": ["v1", "v2"],
        "InstitutionName": 'Hôpital "North"',
        "PerformedProcedureStepStartDate": f"202601{day:02d}",
        "PerformedProcedureStepStartTime": f"{hour:02d}0510",
        **more,
    }
    one = Dataset()
    for keyword, value in attributes.items():
        if value is not None:
            setattr(one, keyword, value)
    return one
