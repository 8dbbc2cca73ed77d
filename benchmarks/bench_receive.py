"""The DICOM receiver: objects a second with one and two associations, every object synced.

Peers in the same run, each in a process of its own, fed by the same senders (pynetdicom with its
default settings): pynetdicom's storage provider as its documentation shows it, which writes each
object to a file (and syncs it here, so that the promise is the same); the receiver itself without
the socket options; storescp of DCMTK, which syncs nothing. The spool is also measured alone, one
sync for what arrives together against one sync for each record.
"""

import argparse
import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, _config, evt

from benchmarks.bench_journey import machine
from benchmarks.report import write_report
from pipelines.receivers import dicom_store
from pipelines.receivers.dicom_callers import Callers, storage_classes
from pipelines.receivers.spool import Limits, SpoolWriter
from pipelines.sources.dicom_archives.held_reactor import free_reactor, hold_reactor

KEY = base64.urlsafe_b64encode(b"b" * 32)
CT = "1.2.840.10008.5.1.4.1.1.2"
# Objects of each sender; a slow peer gets fewer, its rate is per object.
OBJECTS, SLOW_OBJECTS = 600, 100
QUICK_SHARE = 0.25
SIZES = {"small": 40, "ct_512": 512}
REPEATS = 3
SPOOL_THREADS, SPOOL_RECORDS = 8, 2000
AIMS = {"tuned_over_default": 5.0, "group_sync_over_single_sync": 1.5}


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the objects, once")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        _serve(arguments.serve, arguments.folder)
        return
    if arguments.send is not None:
        _send(arguments.send, arguments.folder, arguments.count)
        return
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), is_quick=arguments.quick)
    write_report(document, as_json=arguments.json)


def measure(folder: Path, *, is_quick: bool) -> dict[str, Any]:
    """Best rate of REPEATS per provider, object size and number of associations."""
    repeats, share = (1, QUICK_SHARE) if is_quick else (REPEATS, 1.0)
    providers = {"ours": False, "ours_without_options": True, "pynetdicom_default": True}
    missing = []
    if shutil.which("storescp"):
        providers["storescp"] = True
    else:
        missing.append("storescp (Debian package dcmtk)")
    results, rates = [], {}
    for size, edge in SIZES.items():
        files = folder / size
        _write_objects(files, edge)
        for name, is_slow in providers.items():
            count = round((SLOW_OBJECTS if is_slow else OBJECTS) * share)
            for senders in (1, 2):
                runs = [_rate(name, files, senders, count, folder) for _ in range(repeats)]
                best, cpu = max(runs)
                rates[name, size, senders] = best
                label = f"{name}_{size}_{senders}_associations"
                results.append({"name": label, "unit": "objects/s", "value": round(best, 1)})
                if name == "ours":
                    results.append(
                        {"name": f"{label}_cpu", "unit": "ms/object", "value": round(cpu, 2)}
                    )
    group, single = (max(f(folder) for _ in range(repeats)) for f in (_group_sync, _single_sync))
    results.append({"name": "spool_group_sync", "unit": "records/s", "value": round(group, 1)})
    results.append({"name": "spool_single_sync", "unit": "records/s", "value": round(single, 1)})
    ours = rates["ours", "small", 1]
    ratios = {
        "tuned_over_default": ours / rates["pynetdicom_default", "small", 1],
        "tuned_over_default_2_associations": rates["ours", "small", 2]
        / rates["pynetdicom_default", "small", 2],
        "tuned_over_default_ct_512": rates["ours", "ct_512", 1]
        / rates["pynetdicom_default", "ct_512", 1],
        "options_over_no_options": ours / rates["ours_without_options", "small", 1],
        "two_associations_over_one": rates["ours", "small", 2] / ours,
        "group_sync_over_single_sync": group / single,
    }
    if "storescp" in providers:
        ratios["ours_over_storescp"] = ours / rates["storescp", "small", 1]
    return {
        "machine": machine(),
        "objects_per_sender": round(OBJECTS * share),
        "results": results,
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "aims": AIMS,
        "missing": missing,
    }


def _write_objects(folder: Path, edge: int) -> None:
    """Fifty CT images of a header like a scanner's, pixels random."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(50):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CT, f"2.25.{edge}{number:04d}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.1", "2.25.2"
        dataset.Modality, dataset.PatientID = "CT", f"P{number}"
        dataset.StudyDate, dataset.StudyTime = "20260611", "141500"
        for element in range(150):
            dataset.add_new(0x00190000 + 0x1000 + element, "LO", f"private {element}")
        dataset.add_new(0x00190010, "LO", "BENCH")
        dataset.Rows = dataset.Columns = edge
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.add_new(0x7FE00010, "OW", random.bytes(edge * edge * 2))
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = CT
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        pydicom.dcmwrite(folder / f"{number}.dcm", dataset, enforce_file_format=True)


# ------------------------------------------------------------ processes


def _rate(name: str, files: Path, senders: int, count: int, folder: Path) -> tuple[float, float]:
    """Objects a second over all senders, and the provider's CPU milliseconds per object."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        provider, port = _start(name, Path(own))
        try:
            arguments = ["--send", str(port), "--count", str(count), "--folder", str(files)]
            started = [_child(*arguments) for _ in range(senders)]
            for sender in started:
                assert _line(sender) == "ready"
            began = time.monotonic()
            for sender in started:
                _tell(sender)
            for sender in started:
                assert _line(sender) == str(count), "objects were refused"
            seconds = time.monotonic() - began
            for sender in started:
                sender.wait()
        finally:
            provider.terminate()
            output = provider.communicate()[0] or ""
    cpu = float(output.split()[-1]) if name != "storescp" else 0.0
    return senders * count / seconds, cpu / (senders * count) * 1000


def _child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench_receive", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _start(name: str, folder: Path) -> tuple[subprocess.Popen[str], int]:
    if name != "storescp":
        provider = _child("--serve", name, "--folder", str(folder))
        return provider, int(_line(provider))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["storescp", "--fork", "-aet", "IMAGING", "-od", str(folder), str(port)]
    provider = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return provider, port
        except OSError:
            time.sleep(0.05)


def _serve(name: str, folder: Path) -> None:
    """Be a provider until the parent closes standard input or ends the process; print CPU time."""
    import signal

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    port, end = (_default_provider if name == "pynetdicom_default" else _our_provider)(name, folder)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    before = time.process_time()
    stop.wait()
    cpu = time.process_time() - before
    end()
    sys.stdout.write(f"{cpu}\n")


def _our_provider(name: str, folder: Path) -> tuple[int, Callable[[], None]]:
    if name == "ours_without_options":
        vars(dicom_store)["quicken"] = lambda *_, **__: None
    spool = SpoolWriter(folder / "spool", KEY, limits=Limits(free_bytes=0))
    receiver = dicom_store.DicomReceiver(
        spool,
        Callers({"SENDER": "dicom_RMC"}),
        storage_classes("all"),
        dicom_store.Listening(port=0),
    )
    receiver.start()

    def end() -> None:
        receiver.stop(grace=0)
        spool.close()

    return receiver.port, end


def _default_provider(name: str, folder: Path) -> tuple[int, Callable[[], None]]:
    def store(event: Any) -> int:
        path = folder / f"{time.monotonic_ns()}.dcm"
        with path.open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fdatasync(file.fileno())
        return 0x0000

    entity = AE("IMAGING")
    entity.add_supported_context(CT, pydicom.uid.ExplicitVRLittleEndian)
    handlers: list[Any] = [(evt.EVT_C_STORE, store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    return server.server_address[1], entity.shutdown


def _send(port: int, folder: Path, count: int) -> None:
    """Send files over one association with pynetdicom's default settings."""
    # The file's bytes as they are: the sender is not what is measured.
    _config.STORE_SEND_CHUNKED_DATASET = True
    paths = sorted(folder.glob("*.dcm"))
    entity = AE("SENDER")
    entity.add_requested_context(CT, pydicom.uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="IMAGING")
    assert association.is_established
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    # Else the association's own thread may take an answer in place of the sender.
    hold_reactor(association)
    answers = [association.send_c_store(paths[n % len(paths)]) for n in range(count)]
    free_reactor(association)
    sys.stdout.write(f"{sum(answer.Status == 0x0000 for answer in answers)}\n")
    sys.stdout.flush()
    association.release()


# ------------------------------------------------------------ the spool alone


def _side_by_side(store: Callable[[bytes], None]) -> float:
    """Records a second of SPOOL_THREADS threads, each waiting for its own record."""
    payload = os.urandom(4096)
    share = SPOOL_RECORDS // SPOOL_THREADS

    def run() -> None:
        for _ in range(share):
            store(payload)

    threads = [threading.Thread(target=run) for _ in range(SPOOL_THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return share * SPOOL_THREADS / (time.monotonic() - began)


def _group_sync(folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        spool = SpoolWriter(Path(own) / "spool", KEY, limits=Limits(free_bytes=0))
        now = datetime.now(UTC)

        def store(payload: bytes) -> None:
            spool.append(
                payload, feed_id="hl7_RMC", sender="RIS", received_at=now, patience=60
            ).result(60)

        try:
            return _side_by_side(store)
        finally:
            spool.close()


def _single_sync(folder: Path) -> float:
    """The same spool with a sync for each record: one caller at a time."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        spool, lock = (
            SpoolWriter(Path(own) / "spool", KEY, limits=Limits(free_bytes=0)),
            threading.Lock(),
        )
        now = datetime.now(UTC)

        def store(payload: bytes) -> None:
            with lock:
                spool.append(
                    payload, feed_id="hl7_RMC", sender="RIS", received_at=now, patience=60
                ).result(60)

        try:
            return _side_by_side(store)
        finally:
            spool.close()


if __name__ == "__main__":
    main()
