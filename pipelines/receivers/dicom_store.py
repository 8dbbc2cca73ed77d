"""The DICOM store receiver: keeps the header of every object it is sent, encrypted, then says so.

An object's encoded data set is cut behind the wanted attributes, spooled, synced together with
whatever arrived at the same time, and only then acknowledged with 0x0000. Nothing else is parsed
here, pixels never reach a disk, and no line of the log names a patient.
"""

import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Collection
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from weakref import WeakKeyDictionary

import pynetdicom
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from pipelines.receivers.dicom_callers import Callers
from pipelines.receivers.dicom_cut import LAST_OF_REPORT, Cut, HeaderTooLarge, cut, file_meta
from pipelines.receivers.spool import SpoolRefused, SpoolWriter
from pipelines.sources.dicom_headers.tags import TagList
from pipelines.sources.dicom_sockets import quicken
from pipelines.sources.dose_reports import (
    DOSE_CLASSES,
    GENERAL_CLASSES,
    LAST_OF_TITLE,
    is_titled_dose_report,
)

log = logging.getLogger("imaging.receive.dicom")

VERIFICATION = "1.2.840.10008.1.1"
SUCCESS = 0x0000
# Out of resources: send it again later.
OUT_OF_RESOURCES = 0xA700
# Cannot understand: sending it again will not help.
CANNOT_UNDERSTAND = 0xC000
# Bytes of a command; an honest one has a few hundred.
LARGEST_COMMAND = 1 << 16
MAXIMUM_PDU = 1 << 17
# An object waits so long for the disk before its sender is told to come back later.
PATIENCE_SECONDS = 30.0


# Who connects and says nothing takes up a place for so long.
REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Listening:
    """Where and how the receiver listens.

    `unit_seconds` is the time a peer has for one protocol unit, `idle_seconds` how long an
    association may be silent, `largest_header` how many bytes of an object are looked at.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "IMAGING"
    most_associations: int = 10
    unit_seconds: float = 60.0
    idle_seconds: float = 300.0
    largest_header: int = 16 << 20
    tls: ssl.SSLContext | None = None


@dataclass
class Counts:
    """What the receiver did since it started; objects refused by the reason.

    `received_bytes` came over the network, `spooled_bytes` were kept of them.
    """

    associations: int = 0
    associations_refused: int = 0
    connections_dropped: int = 0
    echoes: int = 0
    received: int = 0
    received_bytes: int = 0
    spooled_bytes: int = 0
    not_walked: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **counts: int) -> None:
        """Add to counts by their names."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def refuse(self, reason: str) -> None:
        """Count a refused object."""
        with self._lock:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def document(self) -> dict[str, Any]:
        """Counts by name, for JSON."""
        with self._lock:
            return {
                name: dict(value) if isinstance(value, dict) else value
                for name, value in vars(self).items()
                if not name.startswith("_")
            }


@dataclass
class _Peer:
    """What is known of one connection."""

    address: str
    title: str = ""
    is_established: bool = False
    has_ended: bool = False
    objects: int = 0

    def __str__(self) -> str:
        return f"{self.title or 'unnamed'} at {self.address}"


class DicomReceiver:
    """A storage SCP over a spool. Start it, and stop it before the spool is closed."""

    def __init__(
        self,
        spool: SpoolWriter,
        callers: Callers,
        classes: Collection[str],
        listening: Listening,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare the receiver; `classes` are the accepted storage classes, `now` the clock (UTC)."""
        self.spool, self.callers, self.classes = spool, callers, classes
        self.listening, self.now = listening, now
        self.counts = Counts()
        self.last_tag = TagList.load().last_tag
        self._peers: WeakKeyDictionary[Any, _Peer] = WeakKeyDictionary()
        self._entity = self._application_entity()
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; the system chooses one when 0 was asked for."""
        return self._server.server_address[1] if self._server else self.listening.port

    def start(self) -> None:
        """Listen; returns at once. Raises OSError when the port cannot be had."""
        _quieten_library()
        self._server = self._entity.start_server(
            (self.listening.host, self.listening.port),
            block=False,
            ssl_context=self.listening.tls,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._on_open),
                (evt.EVT_CONN_CLOSE, self._on_close),
                (evt.EVT_ACCEPTED, self._on_accepted),
                (evt.EVT_REJECTED, self._on_rejected),
                (evt.EVT_RELEASED, self._on_released),
                (evt.EVT_ABORTED, self._on_aborted),
                (evt.EVT_PDU_RECV, self._on_unit),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_C_STORE, self._on_store),
            ],
        )

    def stop(self, *, grace: float = 5.0) -> None:
        """Take no new associations, give those under way `grace` seconds, then end them."""
        if self._server is not None:
            self._server.shutdown()
        ends = threading.Event()
        for _ in range(round(grace / 0.05)):
            if not any(found.is_established for found in self._entity.active_associations):
                break
            ends.wait(0.05)
        self._entity.shutdown()
        self._server = None

    def _application_entity(self) -> AE:
        entity = _Entity(self.listening.ae_title)
        entity.may_connect = self.callers.may_connect
        entity.handshake_seconds = min(self.listening.unit_seconds, REQUEST_SECONDS)
        entity.require_called_aet = True
        entity.require_calling_aet = sorted(self.callers.feeds)
        entity.maximum_associations = self.listening.most_associations
        entity.maximum_pdu_size = MAXIMUM_PDU
        entity.network_timeout = self.listening.idle_seconds
        entity.acse_timeout = min(self.listening.unit_seconds, REQUEST_SECONDS)
        entity.add_supported_context(VERIFICATION)
        for uid in self.classes:
            entity.add_supported_context(uid, pynetdicom.ALL_TRANSFER_SYNTAXES)
        return entity

    # ------------------------------------------------------------ objects

    def _on_store(self, event: Any) -> int | Dataset:
        request, peer = event.request, self._peer(event.assoc)
        total, data = _sent(request.DataSet)
        self.counts.add(received_bytes=total)
        try:
            kept = self._kept(data, total, event)
            self._spool(kept, peer)
        except HeaderTooLarge:
            return self._refuse(peer, CANNOT_UNDERSTAND, "the header is too large")
        except SpoolRefused as refused:
            return self._refuse(peer, OUT_OF_RESOURCES, str(refused))
        except Exception as error:
            # Whatever it was, the sender keeps its object; the name of the error tells no identity.
            return self._refuse(peer, OUT_OF_RESOURCES, f"internal error {type(error).__name__}")
        self.counts.add(received=1, spooled_bytes=len(kept))
        peer.objects += 1
        return SUCCESS

    def _kept(self, data: bytes, total: int, event: Any) -> bytes:
        """The file that is spooled of an object: file meta, wanted attributes, proper end."""
        sop_class, syntax = str(event.request.AffectedSOPClassUID), event.context.transfer_syntax
        meta = file_meta(syntax, sop_class, str(event.request.AffectedSOPInstanceUID))
        keeps_content = sop_class in DOSE_CLASSES
        if sop_class in GENERAL_CLASSES:
            # such a report can be anything; the text of a clinical one is none of our business
            titled = self._cut(data, total, syntax, LAST_OF_TITLE)
            keeps_content = titled.is_walked and is_titled_dose_report(meta + titled.data_set)
        found = self._cut(data, total, syntax, LAST_OF_REPORT if keeps_content else self.last_tag)
        if not found.is_walked:
            self.counts.add(not_walked=1)
        return meta + found.data_set

    def _cut(self, data: bytes, total: int, syntax: str, last_tag: int) -> Cut:
        return cut(data, total, syntax, last_tag, largest=self.listening.largest_header)

    def _spool(self, kept: bytes, peer: _Peer) -> None:
        ticket = self.spool.append(
            kept,
            feed_id=self.callers.feeds[peer.title],
            sender=peer.title,
            received_at=self.now(),
            patience=PATIENCE_SECONDS,
        )
        try:
            ticket.result(PATIENCE_SECONDS)
        except NotYet:
            # It may yet be synced: sent again it counts once.
            raise SpoolRefused("the disk is too slow") from None

    def _refuse(self, peer: _Peer, status: int, reason: str) -> Dataset:
        self.counts.refuse(reason)
        log.warning("object of %s refused with %04X: %s", peer, status, reason)
        answer = Dataset()
        answer.Status = status
        answer.ErrorComment = reason[:64]
        return answer

    def _on_echo(self, event: Any) -> int:
        self.counts.add(echoes=1)
        return SUCCESS

    # ------------------------------------------------------------ connections

    def _peer(self, association: Any) -> _Peer:
        return self._peers.setdefault(association, _Peer("an unknown address"))

    def _on_open(self, event: Any) -> None:
        self._peers[event.assoc] = _Peer(event.address[0])
        quicken(event.assoc, seconds=self.listening.unit_seconds)

    def _on_unit(self, event: Any) -> None:
        """Keep no more of what is arriving than a header may have."""
        message = event.assoc.dimse.message
        if message is None:
            return
        if message.encoded_command_set.tell() > LARGEST_COMMAND:
            event.assoc.dul.event_queue.put("Evt19")  # an invalid unit: the association is aborted
            return
        if not isinstance(message.data_set, _Head):
            message.data_set = _Head(self.listening.largest_header, message.data_set.getvalue())

    def _on_accepted(self, event: Any) -> None:
        peer = self._peer(event.assoc)
        peer.title, peer.is_established = str(event.assoc.requestor.ae_title).strip(), True
        self.counts.add(associations=1)
        log.info("association with %s", peer)

    def _on_rejected(self, event: Any) -> None:
        peer, asked = self._peer(event.assoc), event.assoc.requestor.primitive
        peer.has_ended = True
        title, called = _shown(asked.calling_ae_title), _shown(asked.called_ae_title)
        self.counts.add(associations_refused=1)
        if title not in self.callers.feeds:
            reason = "it is not in the list of callers"
        elif called != self.listening.ae_title:
            reason = f"it called {called}, and this is {self.listening.ae_title}"
        else:
            reason = f"{self.listening.most_associations} associations are open already"
        log.warning("association of %s at %s refused: %s", title, peer.address, reason)

    def _on_released(self, event: Any) -> None:
        peer = self._peer(event.assoc)
        peer.has_ended = True
        log.info("association with %s released after %d objects", peer, peer.objects)

    def _on_aborted(self, event: Any) -> None:
        self._note_drop(self._peer(event.assoc))

    def _on_close(self, event: Any) -> None:
        peer = self._peer(event.assoc)
        if not peer.is_established:
            # Its thread would wait on for a request that cannot come, and take up a place.
            event.assoc.dul.to_user_queue.put(None)
        self._note_drop(peer)

    def _note_drop(self, peer: _Peer) -> None:
        if peer.has_ended:
            return
        peer.has_ended = True
        self.counts.add(connections_dropped=1)
        if peer.is_established:
            log.warning("association with %s broke off after %d objects", peer, peer.objects)
        else:
            log.warning("connection from %s ended without an association", peer.address)


class _Head(BytesIO):
    """The first bytes of a data set; the rest is counted and let go as it arrives."""

    def __init__(self, largest: int, begun: bytes) -> None:
        super().__init__()
        self.largest, self.total = largest, 0
        self.write(begun)

    def write(self, data: Any, /) -> int:
        room = self.largest - min(self.total, self.largest)
        self.total += len(data)
        if room:
            super().write(data[:room])
        return len(data)


def _sent(data_set: BytesIO | None) -> tuple[int, bytes]:
    """How many bytes a data set had, and those that were kept."""
    if data_set is None:
        return 0, b""
    data = data_set.getvalue()
    return (data_set.total if isinstance(data_set, _Head) else len(data)), data


def _shown(title: object) -> str:
    """An AE title of a stranger as it may stand in a log."""
    return "".join(c for c in str(title).strip()[:16] if c.isascii() and c.isprintable())


class _Connection(RequestHandler):
    """A connection; a peer that is slow at its TLS handshake holds up nobody else."""

    def handle(self) -> None:
        """Shake hands, then start the association."""
        if isinstance(self.request, ssl.SSLSocket):
            entity: Any = self.ae
            self.request.settimeout(entity.handshake_seconds)
            try:
                self.request.do_handshake()
            except OSError as error:
                log.warning("TLS with %s failed: %s", self.client_address[0], type(error).__name__)
                with contextlib.suppress(OSError):
                    self.request.close()
                return
        super().handle()


class _Server(ThreadedAssociationServer):
    """A listening socket that looks at addresses first."""

    daemon_threads = True
    request_queue_size = 64

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse addresses from which nobody may send, before a byte is read."""
        entity: Any = self.ae
        if entity.may_connect(client_address[0]):
            return True
        log.warning("connection from %s refused: not in the list of addresses", client_address[0])
        return False

    def get_request(self) -> Any:
        """Accept a connection; its TLS handshake is left to its own thread."""
        listening: Any = self.socket
        accepted, address = listening.accept()
        if self.ssl_context:
            accepted = self.ssl_context.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False
            )
        return accepted, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Name the error only: a traceback could hold values."""
        log.warning("connection from %s failed", client_address[0])


class _Entity(AE):
    """An application entity whose servers are ours."""

    may_connect: Callable[[str], bool]
    handshake_seconds: float

    def make_server(self, *arguments: Any, **named: Any) -> Any:
        """Make a server of our class whatever was asked for."""
        named["server_class"] = _Server
        return super().make_server(*arguments, **named, request_handler=_Connection)


def _quieten_library() -> None:
    """Let pynetdicom log nothing: it would write data sets and tracebacks.

    Received data sets stay in memory: its chunked mode writes them to the disk as they are.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.STORE_RECV_CHUNKED_DATASET = False
    library = logging.getLogger("pynetdicom")
    library.setLevel(logging.CRITICAL + 1)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
