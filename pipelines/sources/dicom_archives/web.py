"""One archive over HTTP: JSON answers, bounded in time and size, asked again where that helps."""

import base64
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from pipelines.sources.dicom_archives.archives import Archive, ArchiveProblem
from pipelines.sources.dicom_archives.pace import Pace, Unanswered
from pipelines.sources.dicom_archives.reasons import (
    Reason,
    harmless,
    no_answer,
    no_connection,
    reason_of,
)

TOO_MANY = 429
SERVER_FAULT = 500
NOT_IMPLEMENTED = 501
NO_CONTENT = 204
PIECE = 65_536
NEXT_STEPS = {
    401: "it refuses the credentials: check user, password or token",
    403: "it forbids the request: ask its owner for read access",
    404: "nothing is at that address: check url",
}
BUSY = "ask its owner, ask at other hours, or lower requests_per_second"
NOT_DELIVERED = "nothing of this window was delivered, the next run asks for it again"
# Of a refusal no more is read.
BYTES_OF_A_REFUSAL = 2_048


class HttpRefused(Exception):
    """The archive refuses a request for good."""

    def __init__(self, status: int, problem: ArchiveProblem) -> None:
        super().__init__(str(problem))
        self.status = status
        self.problem = problem


class _Trusting(HTTPAdapter):
    """Sends requests under the TLS settings of the archive."""

    def __init__(self, archive: Archive) -> None:
        self.context = archive.tls_context()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self.context, **kwargs)


class Web:
    """A session with one archive; use as a context manager."""

    def __init__(self, archive: Archive, secret: str | None, pace: Pace, accept: str) -> None:
        """`secret` is the password of the archive's user, or its token, or None."""
        self.archive = archive
        self.pace = pace
        self.session = requests.Session()
        # Settings are the archive's alone: no proxy, no .netrc of whoever runs this.
        self.session.trust_env = False
        self.session.headers["Accept"] = accept
        # A CA file is the only one trusted; without it, those of the system are.
        named = None if archive.ca_file is None else str(archive.ca_file)
        self.session.verify = (named or True) if archive.verify_tls else False
        self.session.mount("https://", _Trusting(archive))
        if archive.user is not None:
            pair = base64.b64encode(f"{archive.user}:{secret}".encode()).decode()
            self.session.headers["Authorization"] = f"Basic {pair}"
        elif secret is not None:
            self.session.headers["Authorization"] = f"Bearer {secret}"

    def __enter__(self) -> "Web":
        """Open nothing yet; the first request does."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.session.close()

    def ask(self, path: str, params: list[tuple[str, str]] | None = None, body: Any = None) -> Any:
        """The JSON answer to a GET, or to a POST where a body is given; None for no content.

        Raises HttpRefused when the archive refuses for good, ArchiveProblem when no attempt was
        answered.
        """
        archive, asked = self.archive, attempted(path, params, body)
        for attempt in range(archive.attempts):
            self.pace.await_turn()
            try:
                return self._attempt(path, params, body)
            except Unanswered as failure:
                last = failure
                rest = failure.after or 0
                if rest > archive.longest_wait_seconds:
                    raise self.problem(
                        asked,
                        f"{failure.cause} and wants {rest:.0f} s of rest, more than "
                        f"longest_wait_seconds ({archive.longest_wait_seconds:g})",
                        "ask again later",
                    ) from None
                if attempt + 1 < archive.attempts:
                    self.pace.back_off(attempt, failure.after)
        cause = f"{last.cause} ({archive.tries})"
        raise self.problem(asked, cause, f"{last.step}; {NOT_DELIVERED}")

    def problem(self, asked: str, cause: str, step: str) -> ArchiveProblem:
        """An error that names the archive, what was asked of it, why that failed, and what to do."""
        return ArchiveProblem(f"{self.archive.label}: {asked}: {cause}; {step}")

    def _attempt(self, path: str, params: list[tuple[str, str]] | None, body: Any) -> Any:
        archive, asked = self.archive, attempted(path, params, body)
        ends = time.monotonic() + archive.answer_timeout_seconds
        try:
            with self.session.request(
                "GET" if body is None else "POST",
                f"{(archive.url or '').rstrip('/')}{path}",
                params=params,
                json=body,
                stream=True,
                allow_redirects=False,
                timeout=(archive.connect_timeout_seconds, archive.answer_timeout_seconds),
            ) as response:
                self._judge(response, asked)
                if response.status_code == NO_CONTENT:
                    return None
                return self._json(self._body(response, asked, ends))
        except requests.exceptions.ConnectTimeout:
            raise _unanswered(no_connection(archive.connect_timeout_seconds)) from None
        except (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError):
            raise _unanswered(no_answer(archive.answer_timeout_seconds)) from None
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            reason = reason_of(error, archive.connect_timeout_seconds)
            if reason.is_lasting:
                raise self.problem(asked, reason.cause, reason.step) from None
            raise _unanswered(reason) from None

    def _judge(self, response: requests.Response, asked: str) -> None:
        """Raise Unanswered where another attempt may help, HttpRefused where none will."""
        status = response.status_code
        if response.ok and not response.is_redirect:
            return
        cause = f"it answers {status}{_phrase(status)}{_said(response)}"
        if status == TOO_MANY or (status >= SERVER_FAULT and status != NOT_IMPLEMENTED):
            raise Unanswered(cause, BUSY, _rest(response, self.pace.clock))
        step = NEXT_STEPS.get(status, "compare docs/archives.md with what its owner allows")
        if response.is_redirect:
            to = re.match(r"https?://[\w.-]+(:\d+)?", response.headers.get("Location", ""))
            cause += f", it sends us to {to[0]}" if to else ""
            step = "put the final address into url"
        raise HttpRefused(status, self.problem(asked, cause, step))

    def _body(self, response: requests.Response, asked: str, ends: float) -> bytes:
        """The whole body; raises Unanswered when it trickles, ArchiveProblem when too large."""
        limit = self.archive.largest_answer_mb * 1e6
        body = bytearray()
        # read1 returns what has come: a body in single bytes cannot outlast the time limit.
        while piece := response.raw.read1(PIECE, decode_content=True):
            body += piece
            if len(body) > limit:
                raise self.problem(
                    asked,
                    f"its answer is larger than largest_answer_mb ({limit / 1e6:g})",
                    "make page_size or window_days smaller",
                )
            if time.monotonic() > ends:
                seconds = self.archive.answer_timeout_seconds
                late = no_answer(seconds)
                raise Unanswered(late.cause.replace("no answer", "no whole answer"), late.step)
        return bytes(body)

    def _json(self, body: bytes) -> Any:
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            # Never the text: it holds identities. Half an answer looks like this too.
            raise Unanswered(
                f"it answers {len(body)} bytes that are no JSON", "check url; ask its owner"
            ) from None


def attempted(path: str, params: list[tuple[str, str]] | None = None, body: Any = None) -> str:
    """What is asked of an archive, for messages: no identifier of a study, series or image."""
    told = re.sub(r"/(studies|instances)/[^/]+", r"/\1/...", path)
    given = dict(params or []) | (body.get("Query", {}) if isinstance(body, dict) else {})
    details = {"StudyDate": "study dates", "offset": "offset", "since": "after change"}
    parts = [f"{name} {given[key]}" for key, name in details.items() if key in given]
    return f"{'GET' if body is None else 'POST'} {told}" + (f" ({', '.join(parts)})" * bool(parts))


def _unanswered(reason: Reason) -> Unanswered:
    return Unanswered(reason.cause, reason.step)


def _phrase(status: int) -> str:
    """The standard's words for a status: those of the answer itself may hold anything."""
    return f" {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else ""


def _said(response: requests.Response) -> str:
    """What the archive says of its refusal, in harmless words."""
    kind = response.headers.get("Content-Type", "text/plain")
    if not response.headers.get("Content-Length") or not re.search("text|json|xml", kind):
        return ""
    body = b""
    with suppress(urllib3.exceptions.HTTPError, OSError):
        body = response.raw.read1(BYTES_OF_A_REFUSAL, decode_content=True)
    words = harmless(body.decode(errors="replace"))
    return f', saying "{words}"' if words else ""


def _rest(response: requests.Response, clock: Callable[[], datetime]) -> float | None:
    """Seconds of Retry-After, whether given as seconds or as a date; None where not given."""
    text = response.headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - clock()).total_seconds())
    except (ValueError, TypeError):
        return None
