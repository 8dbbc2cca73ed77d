"""`imaging receive <what>`: the long-running receivers, each a foreground process."""

import json
import logging
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.durable import write_bytes
from pipelines.landing.keys import load_keys
from pipelines.problems import Problem
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.receivers.dicom_store import DicomReceiver, Listening
    from pipelines.receivers.spool import Limits, SpoolWriter

# How often the status file is written.
STATUS_SECONDS = 5.0
log = logging.getLogger("imaging.receive")
receive_app = typer.Typer(
    help="Receive what other systems send over the network.", no_args_is_help=True
)


class CannotListen(Problem):
    """The port cannot be had, or TLS cannot be set up; the message says what to look at."""


@receive_app.command("dicom")
def receive_dicom(
    port: Annotated[
        int | None,
        typer.Option(
            help="TCP port to listen on. Default: IMAGING_RECEIVE_DICOM_PORT, else 11112."
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; 0.0.0.0 for all. Default: IMAGING_RECEIVE_DICOM_HOST, else "
            "127.0.0.1, which only this machine reaches."
        ),
    ] = None,
) -> None:
    """Keep the headers of DICOM objects that scanners and archives send (C-STORE), encrypted.

    Runs until SIGTERM or Ctrl+C, then closes its segment of the spool and prints its counts.
    Who may send is listed in HOME/dicom_callers.toml. AE title, limits and TLS are settings
    (IMAGING_RECEIVE_..., IMAGING_SPOOL_...); see docs/receivers.md.
    """
    # Seconds to import; only a receiver pays for it.
    from pipelines.network import Network
    from pipelines.receivers.dicom_callers import read_callers, storage_classes
    from pipelines.receivers.dicom_store import DicomReceiver
    from pipelines.receivers.spool import SpoolWriter

    settings = Settings()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    keys = load_keys(settings.key_file)
    feeds = set(Network.load(settings.seeds).feeds["feed_id"])
    callers = read_callers(settings.dicom_callers_file, feeds)
    listening = _listening(settings, host, port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    folder = settings.spool_dir / "dicom"
    spool = SpoolWriter(folder, keys.storage, limits=_limits(settings))
    for found in spool.recovered:
        log.warning(
            "segment %s mended: %d objects kept, torn tail of %d bytes cut off",
            found.segment,
            found.records,
            found.cut_bytes,
        )
    try:
        classes = storage_classes(settings.receive_dicom_accept)
        receiver = DicomReceiver(spool, callers, classes, listening)
        try:
            receiver.start()
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {listening.host}:{listening.port}: {error.strerror}; is another "
                "receiver running?"
            ) from error
        try:
            _run(receiver, spool, stop, folder / "receiver.json")
        finally:
            receiver.stop()
    finally:
        spool.close()


def _listening(settings: Settings, host: str | None, port: int | None) -> "Listening":
    from pipelines.receivers.dicom_store import Listening
    from pipelines.receivers.tls import server_context

    tls = None
    if settings.receive_tls_certificate is None:
        for name in ("receive_tls_key", "receive_tls_authority"):
            if getattr(settings, name) is not None:
                raise CannotListen(
                    f"IMAGING_{name.upper()} needs IMAGING_RECEIVE_TLS_CERTIFICATE; without it the "
                    "receiver would speak without TLS"
                )
    else:
        if settings.receive_tls_key is None:
            raise CannotListen("IMAGING_RECEIVE_TLS_CERTIFICATE needs IMAGING_RECEIVE_TLS_KEY")
        authority = settings.receive_tls_authority
        try:
            tls = server_context(
                str(settings.receive_tls_certificate),
                str(settings.receive_tls_key),
                None if authority is None else str(authority),
            )
        except OSError as error:
            raise CannotListen(
                f"the certificate, key or authority of IMAGING_RECEIVE_TLS_* cannot be used: {error}"
            ) from error
    return Listening(
        host=host or settings.receive_dicom_host,
        port=settings.receive_dicom_port if port is None else port,
        ae_title=settings.receive_dicom_ae_title,
        most_associations=settings.receive_dicom_associations,
        largest_header=settings.receive_dicom_header_mb << 20,
        tls=tls,
    )


def _limits(settings: Settings) -> "Limits":
    from pipelines.receivers.spool import Limits

    return Limits(
        segment_bytes=settings.spool_segment_mb << 20,
        segment_age=timedelta(seconds=settings.spool_segment_seconds),
        free_bytes=settings.spool_free_mb << 20,
    )


def _run(
    receiver: "DicomReceiver", spool: "SpoolWriter", stop: threading.Event, status: Path
) -> None:
    started = datetime.now(UTC)
    listening = receiver.listening
    _say(
        f"listening on {listening.host}:{receiver.port} as {listening.ae_title}, "
        f"{len(receiver.callers.feeds)} callers"
    )

    def document(state: str) -> dict[str, Any]:
        return {
            "state": state,
            "started_at": started.isoformat(),
            "updated_at": datetime.now(UTC).isoformat(),
            "port": receiver.port,
            **receiver.counts.document(),
            "synced_groups": spool.synced_groups,
        }

    while True:
        _note(document("listening"), status)
        if stop.wait(STATUS_SECONDS):
            break
    receiver.stop()
    spool.close()
    final = document("stopped")
    _note(final, status)
    _say(json.dumps(final))


def _note(document: dict[str, Any], status: Path) -> None:
    """Write the status file; a disk that is full stops nobody from receiving."""
    try:
        write_bytes(json.dumps(document, indent=1).encode(), status, mode=0o600)
    except OSError as error:
        log.warning("%s cannot be written: %s", status, error.strerror)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
