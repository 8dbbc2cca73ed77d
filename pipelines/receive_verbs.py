"""`imaging receive <what>`: the long-running receivers, each a foreground process."""

import json
import logging
import resource
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from pipelines.durable import write_bytes
from pipelines.landing.keys import load_keys
from pipelines.problems import Problem
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.receivers.dicom_store import Listening
    from pipelines.receivers.spool import SpoolWriter

# How often the status file is written.
STATUS_SECONDS = 5.0
STATUS_FILE = "receiver.json"
log = logging.getLogger("imaging.receive")
receive_app = typer.Typer(
    help="Receive what other systems send over the network.", no_args_is_help=True
)


class CannotListen(Problem):
    """The port cannot be had, or TLS cannot be set up; the message says what to look at."""


class Receiver(Protocol):
    """What every receiver can do."""

    def start(self) -> None:
        """Listen; raises OSError when a port cannot be had."""

    def stop(self) -> None:
        """Answer what was received, take nothing more; calling it twice does no harm."""


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

    settings = Settings()
    feeds = set(Network.load(settings.seeds).feeds["feed_id"])
    callers = read_callers(settings.dicom_callers_file, feeds)
    listening = _dicom_listening(settings, host, port)
    with spooling("dicom", settings) as (spool, stop):
        classes = storage_classes(settings.receive_dicom_accept)
        receiver = DicomReceiver(spool, callers, classes, listening)

        def listens() -> list[str]:
            title, count = listening.ae_title, len(callers.feeds)
            return [
                f"listening on {listening.host}:{receiver.port} as {title}, {count} callers",
            ]

        def document() -> dict[str, Any]:
            return {"port": receiver.port, **receiver.counts.document()}

        where = f"{listening.host}:{listening.port}"
        run_receiver(receiver, spool, stop, where=where, listens=listens, document=document)


@receive_app.command("hl7")
def receive_hl7(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
) -> None:
    """Keep the HL7 messages that integration engines send (MLLP), encrypted.

    Runs until SIGTERM or Ctrl+C, then closes its segment of the spool and prints its counts.
    """
    from pipelines.network import Network
    from pipelines.receivers.hl7_receiver import Hl7Listening, Hl7Receiver
    from pipelines.receivers.listeners import read_listeners

    settings = Settings()
    network = Network.load(settings.seeds)
    listeners = read_listeners(settings.hl7_listeners_file, set(network.feeds["feed_id"]))
    listening = Hl7Listening(
        host=host or settings.receive_hl7_host,
        most_connections=settings.receive_hl7_connections,
        largest_message=settings.receive_hl7_message_mb << 20,
        idle_seconds=settings.receive_hl7_idle_seconds,
        time_zone=network.time_zone,
        tls=tls_context(settings),
    )
    with spooling("hl7", settings) as (spool, stop):
        receiver = Hl7Receiver(spool, listeners, listening, on_end=stop.set)

        def listens() -> list[str]:
            pairs = zip(receiver.ports, listeners, strict=True)
            return [
                f"listening on {listening.host}:{port} for {one.feed_id}" for port, one in pairs
            ]

        where = f"{listening.host}, ports " + ", ".join(str(one.port) for one in listeners)
        run_receiver(
            receiver, spool, stop, where=where, listens=listens, document=receiver.document
        )


@contextmanager
def spooling(kind: str, settings: Settings) -> Generator[tuple["SpoolWriter", threading.Event]]:
    """The spool of a receiver, mended, and the event that SIGTERM and Ctrl+C set."""
    from pipelines.receivers.spool import Limits, SpoolWriter

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    # A core dump would hold identities in the clear.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keys = load_keys(settings.key_file)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    limits = Limits(
        segment_bytes=settings.spool_segment_mb << 20,
        segment_age=timedelta(seconds=settings.segment_seconds(kind)),
        free_bytes=settings.spool_free_mb << 20,
    )
    spool = SpoolWriter(settings.spool_dir / kind, keys.storage, limits=limits)
    try:
        for found in spool.recovered:
            log.warning(
                "segment %s mended: %d records kept, torn tail of %d bytes cut off",
                found.segment,
                found.records,
                found.cut_bytes,
            )
        yield spool, stop
    finally:
        spool.close()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS of the receivers as set; raises CannotListen for half a setting."""
    from pipelines.receivers.tls import server_context

    if settings.receive_tls_certificate is None:
        for name in ("receive_tls_key", "receive_tls_authority"):
            if getattr(settings, name) is not None:
                raise CannotListen(
                    f"IMAGING_{name.upper()} needs IMAGING_RECEIVE_TLS_CERTIFICATE; without it the "
                    "receiver would speak without TLS"
                )
        return None
    if settings.receive_tls_key is None:
        raise CannotListen("IMAGING_RECEIVE_TLS_CERTIFICATE needs IMAGING_RECEIVE_TLS_KEY")
    authority = settings.receive_tls_authority
    try:
        return server_context(
            str(settings.receive_tls_certificate),
            str(settings.receive_tls_key),
            None if authority is None else str(authority),
        )
    except OSError as error:
        raise CannotListen(
            f"the certificate, key or authority of IMAGING_RECEIVE_TLS_* cannot be used: {error}"
        ) from error


def _dicom_listening(settings: Settings, host: str | None, port: int | None) -> "Listening":
    from pipelines.receivers.dicom_store import Listening

    return Listening(
        host=host or settings.receive_dicom_host,
        port=settings.receive_dicom_port if port is None else port,
        ae_title=settings.receive_dicom_ae_title,
        most_associations=settings.receive_dicom_associations,
        largest_header=settings.receive_dicom_header_mb << 20,
        tls=tls_context(settings),
    )


def run_receiver(
    receiver: Receiver,
    spool: "SpoolWriter",
    stop: threading.Event,
    *,
    where: str,
    listens: Callable[[], list[str]],
    document: Callable[[], dict[str, Any]],
) -> None:
    """Receive until told to stop; note state and counts, and print them at the end."""
    started = datetime.now(UTC)
    status = spool.root / STATUS_FILE

    def noted(state: str) -> dict[str, Any]:
        return {
            "state": state,
            "started_at": started.isoformat(),
            "updated_at": datetime.now(UTC).isoformat(),
            **document(),
            "synced_groups": spool.synced_groups,
            "spool": spool.document(),
        }

    try:
        receiver.start()
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {where}: {error.strerror}; is another receiver running?"
        ) from error
    try:
        for line in listens():
            _say(line)
        while True:
            _note(noted("listening"), status)
            if stop.wait(STATUS_SECONDS):
                break
    finally:
        receiver.stop()
    spool.close()
    final = noted("stopped")
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
