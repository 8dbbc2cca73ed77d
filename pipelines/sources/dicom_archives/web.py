"""One archive over HTTP: JSON answers, bounded in time and size, asked again where that helps."""

import base64
import json
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from pipelines.sources.dicom_archives.archives import Archive, ArchiveProblem
from pipelines.sources.dicom_archives.pace import Pace, Unanswered

TOO_MANY = 429
SERVER_FAULT = 500
NOT_IMPLEMENTED = 501
NO_CONTENT = 204
PIECE = 65_536
NEXT_STEPS = {
    401: "it refuses the credentials; check user, password or token",
    403: "it forbids the request; ask its owner for read access",
    404: "nothing is at that address; check url",
}


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
        archive = self.archive
        for attempt in range(archive.attempts):
            self.pace.await_turn()
            try:
                return self._attempt(path, params, body)
            except Unanswered as failure:
                why = str(failure)
                if failure.after is not None and failure.after > archive.longest_wait_seconds:
                    raise ArchiveProblem(
                        f"archive {archive.name}: {why} and wants {failure.after:.0f} s of rest, "
                        f"more than longest_wait_seconds; ask again later"
                    ) from None
                if attempt + 1 < archive.attempts:
                    self.pace.back_off(attempt, failure.after)
        raise ArchiveProblem(
            f"archive {archive.name}: {why} at {path} ({archive.attempts} attempts); nothing of "
            "this window was delivered, the next run asks for it again"
        )

    def _attempt(self, path: str, params: list[tuple[str, str]] | None, body: Any) -> Any:
        archive = self.archive
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
                self._judge(response, path)
                if response.status_code == NO_CONTENT:
                    return None
                return self._json(self._body(response, path, ends), path)
        except requests.exceptions.SSLError as error:
            raise ArchiveProblem(
                f"archive {archive.name}: its certificate is not trusted ({error}); name its CA "
                "in ca_file"
            ) from error
        except requests.exceptions.ConnectTimeout:
            raise Unanswered("no connection within connect_timeout_seconds") from None
        except (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError):
            raise Unanswered("no answer within answer_timeout_seconds") from None
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise Unanswered(f"the connection broke ({type(error).__name__})") from None

    def _judge(self, response: requests.Response, path: str) -> None:
        """Raise Unanswered where another attempt may help, HttpRefused where none will."""
        status = response.status_code
        if status == TOO_MANY or (status >= SERVER_FAULT and status != NOT_IMPLEMENTED):
            raise Unanswered(f"it answers {status}", _rest(response, self.pace.clock))
        if response.ok and not response.is_redirect:
            return
        step = NEXT_STEPS.get(status, "compare docs/archives.md with what its owner allows")
        if response.is_redirect:
            step = "it sends us elsewhere; put the final address into url"
        raise HttpRefused(
            status,
            ArchiveProblem(f"archive {self.archive.name}: {path} answers {status}: {step}"),
        )

    def _body(self, response: requests.Response, path: str, ends: float) -> bytes:
        """The whole body; raises Unanswered when it trickles, ArchiveProblem when too large."""
        limit = self.archive.largest_answer_mb * 1e6
        body = bytearray()
        # read1 returns what has come: a body in single bytes cannot outlast the time limit.
        while piece := response.raw.read1(PIECE, decode_content=True):
            body += piece
            if len(body) > limit:
                raise ArchiveProblem(
                    f"archive {self.archive.name}: the answer at {path} is larger than "
                    f"largest_answer_mb ({self.archive.largest_answer_mb:g}); make page_size or "
                    "window_days smaller"
                )
            if time.monotonic() > ends:
                raise Unanswered("the answer was not complete within answer_timeout_seconds")
        return bytes(body)

    def _json(self, body: bytes, path: str) -> Any:
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            # Never the text: it holds identities. Half an answer looks like this too.
            raise Unanswered(f"{len(body)} bytes that are no JSON") from None


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
