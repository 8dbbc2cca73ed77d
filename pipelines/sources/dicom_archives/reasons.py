"""Why an archive could not be asked, in words that help and that repeat no identity or secret."""

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

from urllib3 import exceptions as urllib3_errors

from pipelines.sources.dicom_archives.rows import ASKED

WORDS_TOLD = 12
# What an archive says of itself is repeated only in these words: any other could be a name.
_WORDS = """
    a access account allowed an and application are argument associated attribute authentication
    authorization authorized bad be been by cannot configured content credentials database date
    denied dicom dicomweb disabled does down element enabled error exceeded expired expected failed
    failure fetch field filter for forbidden format found from gateway gone has have here http
    identifier implemented in includefield internal invalid is it level license limit login
    maintenance malformed many matches matching media message method missing model must no not
    occurred of offset on only or out overloaded parameter parse password patient peer permission
    permitted plugin proxy qido query range rate reached refused rejected request requested required
    resource resources results retry root search series server service session sorry sql status study
    studies supported syntax tag temporarily the this timed timeout to token too type unable
    unauthorised unauthorized unavailable unknown unsupported uri url user valid value was
    with you your
"""
HARMLESS = frozenset(_WORDS.split())
HARMLESS_NAMES = {name.lower() for name in ASKED} | {tag.lower() for tag in ASKED.values()}


@dataclass(frozen=True)
class Reason:
    """What went wrong, and what to do; `is_lasting` when another attempt cannot help."""

    cause: str
    step: str
    is_lasting: bool = False


TIMES = "ask at other hours, or raise {key}"
UNREACHABLE = "check host and port, that the archive runs, and the firewalls between"


def no_connection(seconds: float) -> Reason:
    """No connection came about in time."""
    cause = f"no connection within {seconds:g} s (connect_timeout_seconds)"
    return Reason(cause, UNREACHABLE)


def no_answer(seconds: float) -> Reason:
    """A connection stood, and no answer came in time."""
    cause = f"no answer within {seconds:g} s (answer_timeout_seconds)"
    return Reason(cause, TIMES.format(key="answer_timeout_seconds"))


def reason_of(error: BaseException, connect_timeout_seconds: float) -> Reason:
    """The real cause of an error of a connection, however deep a library has wrapped it."""
    errors = list(_chain(error))

    def first(*kinds: type[BaseException]) -> BaseException | None:
        return next((one for one in errors if isinstance(one, kinds)), None)

    if first(socket.gaierror, urllib3_errors.NameResolutionError):
        return Reason("the name of its host is not known", "correct the host, or the name service")
    refused = first(ssl.SSLCertVerificationError)
    if isinstance(refused, ssl.SSLCertVerificationError):
        why = refused.verify_message.rstrip(".") or "no reason given"
        step = "name its CA in ca_file, or correct the host name"
        return Reason(f"its certificate is refused: {why}", step, is_lasting=True)
    if first(TimeoutError):
        return no_connection(connect_timeout_seconds)
    broken = first(ssl.SSLError)
    if isinstance(broken, ssl.SSLError):
        why = (broken.reason or "the connection ended").replace("_", " ").lower()
        return Reason(f"TLS fails: {why}", "check that it speaks TLS at this port, and which files")
    if first(ConnectionRefusedError):
        return Reason("connection refused", UNREACHABLE)
    closed = "see its log, or a firewall between closes connections"
    if first(RemoteDisconnected):
        return Reason("it closes the connection without an answer", closed)
    if first(ConnectionResetError, ConnectionAbortedError, BrokenPipeError):
        return Reason("the connection was reset", closed)
    if first(IncompleteRead, urllib3_errors.IncompleteRead):
        return Reason("the connection ended within the answer", closed)
    if first(urllib3_errors.DecodeError):
        return Reason("its answer cannot be unpacked", "ask its owner; see its log")
    if first(HTTPException):
        return Reason("it answers with something that is no HTTP", "check the port in url")
    known = next((one for one in errors if isinstance(one, OSError) and one.strerror), None)
    if isinstance(known, OSError):
        return Reason(str(known.strerror).lower(), UNREACHABLE)
    return Reason(f"the connection broke ({type(error).__name__})", "see its log")


def harmless(text: str) -> str:
    """The first words of what an archive says of a refusal; any word that is not known is "...".

    Empty where fewer than two words are known: that helps nobody.
    """
    told: list[str] = []
    plain = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    words = re.findall(r"[^\W_]+", plain)[: 3 * WORDS_TOLD]
    for word in words:
        if word.lower() in HARMLESS or word.lower() in HARMLESS_NAMES:
            told.append(word)
        elif told[-1:] != ["..."]:
            told.append("...")
        if len(told) == WORDS_TOLD:
            break
    return " ".join(told) if len([word for word in told if word != "..."]) > 1 else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it was raised from, or that it carries."""
    waiting, met = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in met:
            continue
        met.add(id(one))
        yield one
        carried = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [other for other in carried if isinstance(other, BaseException)]
