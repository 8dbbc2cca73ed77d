"""C-FIND, Study Root: studies by date, then their series, at once or study by study."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from pipelines.sources.dicom_archives.archives import Archive, ArchiveProblem
from pipelines.sources.dicom_archives.held_reactor import free_reactor, hold_reactor
from pipelines.sources.dicom_archives.pace import Pace, Unanswered
from pipelines.sources.dicom_archives.reasons import Reason, harmless, no_answer, reason_of
from pipelines.sources.dicom_archives.rows import ASKED, OF_STUDY, Answer, Told
from pipelines.sources.dicom_archives.windows import Window
from pipelines.sources.dicom_sockets import PeerTooSlow, hurry

# Not even a log for debugging holds identities.
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

STUDY_ROOT = UID("1.2.840.10008.5.1.4.1.2.2.1")
PENDING = (0xFF00, 0xFF01)
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
STATUS_NAMES = {
    0xA700: "out of resources",
    0xA900: "the query does not fit its model",
    0x0122: "it does not offer Study Root FIND",
    0x0124: "not authorised",
    0xFE00: "cancelled",
}
# What a rejection says: result, source, and reason by source (PS3.8 table 9-21).
REJECTED_FOR_NOW = 2
RESULTS = {1: "rejected permanent", REJECTED_FOR_NOW: "rejected transient"}
REJECTING = {1: "service user", 2: "service provider (acse)", 3: "service provider (presentation)"}
REJECTED_FOR = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling ae title not recognised",
    (1, 7): "called ae title not recognised",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
# Kinds of protocol units (PS3.8 9.3), and the bytes that tell kind and length.
UNITS, REJECTION, ABORT, HEAD_OF_UNIT = range(1, 8), 3, 7, 6
ASK_OWNER = "see its log; ask its owner"
CHECK_PORT = "check that port is that of its DICOM service, and tls"
SERIES_OF_STUDY = "NumberOfStudyRelatedSeries"
# Byte 1 of the extended negotiation asks for relational queries (PS3.4 C.5.1.1).
RELATIONAL = b"\x01"


class StatusRefused(Exception):
    """The archive ends a query with a failure status."""

    def __init__(self, status: int, comment: str = "") -> None:
        said = f', saying "{comment}"' if comment else ""
        super().__init__(f"status {status:#06x} ({STATUS_NAMES.get(status, 'see its log')}){said}")
        self.status = status


@dataclass
class _Line:
    """What goes over the connection of one association: how much, and why it ended.

    pynetdicom only logs why. `weight` counts the bytes of the message that is on its way, which
    may not exceed `limit`: pynetdicom gathers all of it in memory. Once we gave the association up
    ourselves, that the archive then closes the connection is no cause. `rejection` is its result
    and what it says: pynetdicom loses a rejection that comes before its own thread has seen the
    connection open, and one thread of it dies of a reason it does not know.
    """

    limit: int
    weight: int = 0
    reason: Reason | None = None
    rejection: tuple[int, str] | None = None
    error: BaseException | None = None
    is_given_up: bool = False

    def note_sent(self, event: Any) -> None:
        """Handler of EVT_PDU_SENT: pynetdicom aborts what it cannot read, or waits for in vain."""
        if isinstance(event.pdu, A_ABORT_RQ):
            self.is_given_up = True

    def listen(self, event: Any) -> None:
        """Handler of EVT_CONN_OPEN: look at each unit as it is read."""
        wrapped = event.assoc.dul.socket
        plain = wrapped.recv
        kind = 0

        def receive(wanted: int) -> bytearray:
            nonlocal kind
            self.weight += wanted
            if self.weight > self.limit:
                raise self._ended(
                    f"an answer is larger than largest_answer_mb ({self.limit / 1e6:g})",
                    "ask its owner, or raise largest_answer_mb",
                )
            try:
                data = plain(wanted)
            except OSError as error:
                is_late = isinstance(error, TimeoutError | PeerTooSlow)
                cause = "an answer stops half-way" if is_late else reason_of(error, 0).cause
                raise self._ended(cause, ASK_OWNER) from error
            if len(data) < wanted:
                if not self.is_given_up:
                    self._ended("it closes the connection", f"see its log; {CHECK_PORT}")
            elif wanted == HEAD_OF_UNIT:
                kind = data[0]
                if kind not in UNITS:
                    raise self._ended("it answers with bytes that are no DICOM", CHECK_PORT)
            elif kind == REJECTION:
                raise self._rejected(*data[1:4].ljust(3, b"\0"))
            elif kind == ABORT:
                by = "its service" if data[2] == 0 else f"its DICOM layer, reason {data[3]}"
                self._ended(f"it aborts the association (source: {by})", "see its log")
            return data

        vars(wrapped)["recv"] = receive

    def _rejected(self, result: int, source: int, code: int) -> OSError:
        if result not in RESULTS or source not in REJECTING:
            return self._ended("it rejects the association in no way of DICOM", CHECK_PORT)
        reason = REJECTED_FOR.get((source, code), f"{code}, which DICOM does not name")
        told = f"result: {RESULTS[result]}, source: {REJECTING[source]}, reason: {reason}"
        self.rejection = result, told
        return self._ended(told, "see its log")

    def failed(self, connect_timeout_seconds: float) -> Reason | None:
        """Why no association came about, where the connection tells."""
        if self.reason is None and self.error is not None:
            return reason_of(self.error, connect_timeout_seconds)
        return self.reason

    def _ended(self, cause: str, step: str) -> OSError:
        """Note why, unless something before was the cause.

        Raised, it ends the connection at once; pynetdicom itself would wait for the time limit.
        """
        self.reason = self.reason or Reason(cause, step)
        return OSError(cause)


class _Caller(AE):
    """Our side of associations; keeps the error of a connection that did not come about."""

    line: _Line

    def _create_socket(self, *given: Any, **named: Any) -> Any:
        wrapped = super()._create_socket(*given, **named)
        shut = wrapped._shutdown_socket

        def keeping() -> None:
            # Called while the error of connect() is being handled.
            self.line.error = self.line.error or sys.exc_info()[1]
            shut()

        vars(wrapped)["_shutdown_socket"] = keeping
        return wrapped


@dataclass
class Finder:
    """Queries of one archive over one association at a time; use as a context manager.

    `handlers` are those of a new association; a test or benchmark can leave out the hurry.
    """

    archive: Archive
    pace: Pace
    handlers: list[tuple[Any, Callable[..., Any]]] = field(
        default_factory=lambda: [(evt.EVT_CONN_OPEN, hurry)]
    )
    _open: Association | None = None
    _received: int = 0
    _line: _Line = field(default_factory=lambda: _Line(0))

    def __enter__(self) -> "Finder":
        """Open nothing yet; the first query does."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the association."""
        self.close()

    def close(self) -> None:
        """Release the association, or abort what cannot be released."""
        association, self._open = self._open, None
        if association is None:
            return
        if association.is_established:
            association.release()
        else:
            association.abort()
        free_reactor(association)

    def find(self, identifier: Dataset) -> list[Answer]:
        """Every answer to one query; raises StatusRefused, or ArchiveProblem after the attempts."""
        archive = self.archive
        for attempt in range(archive.attempts):
            self.pace.await_turn()
            try:
                return list(self._answers(identifier))
            except Unanswered as failure:
                last = failure
                self.close()
                if attempt + 1 < archive.attempts:
                    self.pace.back_off(attempt)
        raise ArchiveProblem(
            f"{archive.label}: {attempted(identifier)}: {last.cause} "
            f"({archive.tries}); {last.step}; nothing of this window was delivered, the next run asks for "
            "it again"
        )

    def _answers(self, identifier: Dataset) -> Iterator[Answer]:
        association = self._associated()
        count = self._received = 0
        began = time.monotonic()
        try:
            for status, found in association.send_c_find(identifier, STUDY_ROOT):
                code = getattr(status, "Status", None)
                if code is None:
                    raise self._broken(began)
                if code in PENDING:
                    count += 1
                    if count > self.archive.most_series:
                        association.abort()
                        raise ArchiveProblem(
                            f"{self.archive.label}: {attempted(identifier)}: more than "
                            f"most_series ({self.archive.most_series}) answers to one query; make "
                            "window_days smaller"
                        )
                    if found is None:
                        raise Unanswered("it sends an answer that is no data set", ASK_OWNER)
                    yield _attributes(found)
                elif code != SUCCESS:
                    refused = StatusRefused(code, harmless(str(status.get("ErrorComment", ""))))
                    if code != OUT_OF_RESOURCES:
                        raise refused
                    raise Unanswered(f"it ends the query with {refused}", "ask at other hours")
                began = time.monotonic()
            if count != self._received:
                cause = f"{self._received} answers came, {count} were read"
                raise Unanswered(cause, "ask again")
        except (RuntimeError, ValueError, AttributeError, TypeError, KeyError) as error:
            # RuntimeError: the association went away before the query was sent. The others: an
            # answer that pydicom cannot read.
            if isinstance(error, RuntimeError):
                raise self._broken(began) from None
            cause = f"its answer cannot be read ({type(error).__name__})"
            raise Unanswered(cause, ASK_OWNER) from None

    def _broken(self, began: float) -> Unanswered:
        """Why there is no further answer to a query that last heard something at `began`."""
        seconds = self.archive.answer_timeout_seconds
        reason = self._line.reason
        if reason is None and time.monotonic() - began >= seconds:
            reason = no_answer(seconds)
        reason = reason or Reason("it ends the association, or its answer is no DICOM", ASK_OWNER)
        return Unanswered(reason.cause, reason.step)

    def _count(self, event: Any) -> None:
        """Count the answers that arrive, so that none is lost on the way to us."""
        self._line.weight = 0
        if event.message.command_set.get("Status") in PENDING:
            self._received += 1

    def _associated(self) -> Association:
        """The open association, or a new one; raises Unanswered or ArchiveProblem."""
        if self._open is not None and self._open.is_established:
            return self._open
        archive = self.archive
        self._line = line = _Line(int(archive.largest_answer_mb * 1e6))
        entity = _Caller(ae_title=archive.calling_ae_title)
        entity.line = line
        entity.connection_timeout = archive.connect_timeout_seconds
        entity.acse_timeout = archive.connect_timeout_seconds
        entity.dimse_timeout = archive.answer_timeout_seconds
        entity.network_timeout = archive.answer_timeout_seconds
        entity.add_requested_context(STUDY_ROOT)
        wanted = SOPClassExtendedNegotiation()
        wanted.sop_class_uid = STUDY_ROOT
        wanted.service_class_application_information = RELATIONAL
        began = time.monotonic()
        try:
            association = entity.associate(
                archive.host or "",
                archive.port or 0,
                ae_title=archive.ae_title or "",
                ext_neg=[wanted],
                evt_handlers=[
                    *self.handlers,
                    (evt.EVT_CONN_OPEN, line.listen),
                    (evt.EVT_PDU_SENT, line.note_sent),
                    (evt.EVT_DIMSE_RECV, self._count),
                ],
                tls_args=(archive.tls_context(), archive.host or "") if archive.tls else None,
            )
        except OSError as error:
            # The name of the host is looked up before anything is sent.
            reason = reason_of(error, archive.connect_timeout_seconds)
            raise Unanswered(reason.cause, reason.step) from None
        if association.is_established:
            self._open = association
            if not hold_reactor(association):
                raise Unanswered("the association does not come to rest", "ask again")
            return association
        if line.rejection is not None:
            raise self._rejected(*line.rejection)
        if association.acceptor.primitive is not None and not association.accepted_contexts:
            raise self._problem(
                f"{archive.ae_title} accepts the association, but does not offer Study Root FIND",
                f"ask its owner to allow SOP class {STUDY_ROOT}, or take another route",
            )
        reason = line.failed(archive.connect_timeout_seconds)
        seconds = archive.connect_timeout_seconds
        if reason is None and time.monotonic() - began >= seconds:
            cause = f"no answer to the association within {seconds:g} s (connect_timeout_seconds)"
            reason = Reason(cause, "check that a DICOM archive listens at this port")
        reason = reason or Reason("its answer to the association is no valid DICOM", CHECK_PORT)
        if reason.is_lasting:
            raise self._problem(reason.cause, reason.step)
        raise Unanswered(reason.cause, reason.step)

    def _rejected(self, result: int, told: str) -> Unanswered | ArchiveProblem:
        """What the archive says of a rejection: for now (asked again), or for good."""
        archive = self.archive
        cause = f"{archive.ae_title} rejects the association ({told})"
        if result == REJECTED_FOR_NOW:
            return Unanswered(cause, "ask at other hours, or its owner for more associations")
        return self._problem(
            cause,
            f"ask its owner to know calling AE title {archive.calling_ae_title} from this "
            "machine's address, and check ae_title",
        )

    def _problem(self, cause: str, step: str) -> ArchiveProblem:
        return ArchiveProblem(f"{self.archive.label}: association: {cause}; {step}")


def ask_cfind(finder: Finder, window: Window, *, is_relational: bool | None = None) -> Told:
    """Every series of the studies of a window.

    Where the archive answers for series by study date, one query brings most of them; a study of
    which it brings none, or fewer than the study has, is asked for on its own, so that a
    half-hearted archive, or one that cuts its answers off at some number, loses nothing.
    `is_relational` None finds out. Raises ArchiveProblem when the answer cannot be used.
    """
    archive = finder.archive
    relational = {"yes": True, "no": False, "probe": is_relational}[archive.relational]
    try:
        studies = {
            one["StudyInstanceUID"]: one
            for one in finder.find(_identifier("STUDY", StudyDate=window.dicom()))
            if one.get("StudyInstanceUID")
        }
        found = None
        if studies and relational is not False:
            found = _at_once(finder, window)
        of_study: dict[str, list[Answer]] = {uid: [] for uid in studies}
        for one in found or []:
            of_study.get(one.get("StudyInstanceUID", ""), []).append(one)
        partly = [uid for uid, study in studies.items() if not _is_whole(study, of_study[uid])]
        if found is None and studies:
            relational = False
        elif relational is None and studies:
            relational = not partly
        for uid in partly:
            of_study[uid] = finder.find(series_query(uid))
    except StatusRefused as refused:
        raise ArchiveProblem(
            f"{archive.label}: C-FIND of study dates {window.dicom()}: it ends a query with "
            f"{refused}; compare docs/archives.md with what its owner allows"
        ) from None
    series = [studies[uid] | _given(one) for uid, told in of_study.items() for one in told]
    return Told(series, is_relational=relational if studies else is_relational)


def attempted(identifier: Dataset) -> str:
    """What is asked of an archive, for messages: no identifier of a study."""
    dates = identifier.get("StudyDate", "")
    level = identifier.QueryRetrieveLevel
    return f"C-FIND {level} " + (f"of study dates {dates}" if dates else "of one study")


def _is_whole(study: Answer, told: list[Answer]) -> bool:
    """Say whether so many series were told as the study has, or any where it does not say."""
    text = study.get(SERIES_OF_STUDY, "")
    return len(told) >= (int(text) if text.isdigit() else 1)


def _at_once(finder: Finder, window: Window) -> list[Answer] | None:
    """Series by study date; None where the archive refuses such a query, unless it is said to."""
    try:
        return finder.find(_identifier("SERIES", StudyDate=window.dicom()))
    except StatusRefused:
        if finder.archive.relational == "yes":
            raise
        return None


def _given(one: Answer) -> Answer:
    return {keyword: value for keyword, value in one.items() if value}


def series_query(study_uid: str) -> Dataset:
    """The query for the series of one study."""
    return _identifier("SERIES", StudyInstanceUID=study_uid)


def _identifier(level: str, **matching: str) -> Dataset:
    """A query at a level that asks for every attribute we can use."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*OF_STUDY, SERIES_OF_STUDY) if level == "STUDY" else ASKED:
        setattr(identifier, keyword, "")
    for keyword, value in matching.items():
        setattr(identifier, keyword, value)
    return identifier


def _attributes(found: Dataset) -> Answer:
    answer = {}
    for keyword in (*ASKED, SERIES_OF_STUDY):
        value = found.get(keyword)
        if value is None:
            continue
        parts = value if isinstance(value, MultiValue) else [value]
        answer[keyword] = "\\".join(str(part) for part in parts)
    return answer
