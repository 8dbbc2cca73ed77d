"""C-FIND, Study Root: studies by date, then their series, at once or study by study."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from pipelines.sources.dicom_archives.archives import Archive, ArchiveProblem
from pipelines.sources.dicom_archives.held_reactor import free_reactor, hold_reactor
from pipelines.sources.dicom_archives.pace import Pace, Unanswered
from pipelines.sources.dicom_archives.rows import ASKED, OF_STUDY, Answer, Told
from pipelines.sources.dicom_archives.windows import Window
from pipelines.sources.dicom_sockets import hurry

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
SERIES_OF_STUDY = "NumberOfStudyRelatedSeries"
# Byte 1 of the extended negotiation asks for relational queries (PS3.4 C.5.1.1).
RELATIONAL = b"\x01"


class StatusRefused(Exception):
    """The archive ends a query with a failure status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status:#06x} ({STATUS_NAMES.get(status, 'see its log')})")
        self.status = status


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
                why = str(failure)
                self.close()
                if attempt + 1 < archive.attempts:
                    self.pace.back_off(attempt)
        raise ArchiveProblem(
            f"archive {archive.name}: {why} ({archive.attempts} attempts); nothing of this window "
            "was delivered, the next run asks for it again"
        )

    def _answers(self, identifier: Dataset) -> Iterator[Answer]:
        association = self._associated()
        count = self._received = 0
        try:
            for status, found in association.send_c_find(identifier, STUDY_ROOT):
                code = getattr(status, "Status", None)
                if code is None:
                    raise Unanswered(
                        "no valid answer within answer_timeout_seconds, or it ended the association"
                    )
                if code in PENDING:
                    count += 1
                    if count > self.archive.most_series:
                        association.abort()
                        raise ArchiveProblem(
                            f"archive {self.archive.name}: more than most_series "
                            f"({self.archive.most_series}) answers to one query; make window_days "
                            "smaller"
                        )
                    if found is None:
                        raise Unanswered("it sends an answer that is no data set")
                    yield _attributes(found)
                elif code == OUT_OF_RESOURCES:
                    raise Unanswered(str(StatusRefused(code)))
                elif code != SUCCESS:
                    raise StatusRefused(code)
            if count != self._received:
                raise Unanswered(f"{self._received} answers came, {count} were read")
        except (RuntimeError, ValueError, AttributeError) as error:
            # RuntimeError: the association went away before the query was sent.
            raise Unanswered(f"the association broke ({type(error).__name__})") from None

    def _count(self, event: Any) -> None:
        """Count the answers that arrive, so that none is lost on the way to us."""
        if event.message.command_set.get("Status") in PENDING:
            self._received += 1

    def _associated(self) -> Association:
        """The open association, or a new one; raises Unanswered or ArchiveProblem."""
        if self._open is not None and self._open.is_established:
            return self._open
        archive = self.archive
        entity = AE(ae_title=archive.calling_ae_title)
        entity.connection_timeout = archive.connect_timeout_seconds
        entity.acse_timeout = archive.connect_timeout_seconds
        entity.dimse_timeout = archive.answer_timeout_seconds
        entity.network_timeout = archive.answer_timeout_seconds
        entity.add_requested_context(STUDY_ROOT)
        wanted = SOPClassExtendedNegotiation()
        wanted.sop_class_uid = STUDY_ROOT
        wanted.service_class_application_information = RELATIONAL
        association = entity.associate(
            archive.host or "",
            archive.port or 0,
            ae_title=archive.ae_title or "",
            ext_neg=[wanted],
            evt_handlers=[*self.handlers, (evt.EVT_DIMSE_RECV, self._count)],
            tls_args=(archive.tls_context(), archive.host or "") if archive.tls else None,
        )
        if association.is_established:
            self._open = association
            if not hold_reactor(association):
                raise Unanswered("the association does not come to rest")
            return association
        if association.is_rejected:
            answer = association.acceptor.primitive
            reason = getattr(answer, "reason_str", "no reason given")
            raise ArchiveProblem(
                f"archive {archive.name}: {archive.ae_title} rejects the association ({reason}); "
                f"ask its owner to know calling AE title {archive.calling_ae_title}, and check "
                "ae_title"
            )
        if association.acceptor.primitive is not None and not association.accepted_contexts:
            raise ArchiveProblem(
                f"archive {archive.name}: {archive.ae_title} does not offer Study Root FIND; ask "
                "its owner, or take another route"
            )
        why = "it does not answer the request for an association, or aborts it"
        raise Unanswered(why + ("; with tls, check ca_file" if archive.tls else ""))


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
            f"archive {archive.name}: a query ends with {refused}; compare docs/archives.md with "
            "what its owner allows"
        ) from None
    series = [studies[uid] | _given(one) for uid, told in of_study.items() for one in told]
    return Told(series, is_relational=relational if studies else is_relational)


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
