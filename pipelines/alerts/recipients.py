"""Who is told of what: the file alerts.toml of an operator (docs/alerts.md)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.alerts.signals import BREACH, CONCERN, KINDS, LATE_FEED, Alert
from pipelines.problems import Problem, nearest
from pipelines.publishing.audiences import Audience

LEVELS = ("network", "party", "trust")
DEFAULT_KINDS = (CONCERN, BREACH, LATE_FEED)
KEYS = {"name", "audience", "email", "webhook", "webhook_file", "webhook_token_file", "kinds"}
KEYS |= {"levels", "metrics", "valid_from", "valid_to"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RecipientProblem(Problem):
    """alerts.toml cannot be used as it is; the message names the entry and the next step."""


@dataclass(frozen=True)
class Target:
    """Where one message goes: an address, or a webhook with the token it wants."""

    channel: str
    address: str
    token: str = ""

    @property
    def key(self) -> str:
        """Stands for the target in the book of what was sent, which holds no address."""
        return hashlib.sha256(f"{self.channel}|{self.address}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Recipient:
    """One entry of the file: an audience, what it wants to be told, and where."""

    name: str
    audience: Audience
    targets: tuple[Target, ...]
    kinds: tuple[str, ...]
    levels: tuple[str, ...]
    metrics: tuple[str, ...]
    valid_from: date
    valid_to: date | None

    def is_in_force(self, on: date) -> bool:
        """Say whether the entry holds on a day."""
        return self.valid_from <= on and (self.valid_to is None or on <= self.valid_to)

    def wants(self, alert: Alert) -> bool:
        """A trust is told of itself, everybody else of the levels of the entry."""
        if alert.kind not in self.kinds or (self.metrics and alert.metric_id not in self.metrics):
            return False
        if self.audience.ods_code:
            return alert.org_code == self.audience.ods_code and alert.org_level in self.levels
        return alert.org_level in self.levels or alert.kind == LATE_FEED


def read_recipients(path: Path, audiences: Mapping[str, Audience]) -> list[Recipient]:
    """The entries of alerts.toml; none where there is no file. Raises RecipientProblem."""
    if not path.exists():
        return []
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipientProblem(f"{path} is no TOML ({error}); see docs/alerts.md") from None
    entries = told.get("recipients", [])
    if set(told) - {"recipients"} or not isinstance(entries, list):
        raise RecipientProblem(f"{path} holds tables [[recipients]] only; see docs/alerts.md")
    found = [_recipient(entry, path, audiences) for entry in entries]
    names = [one.name for one in found]
    if len(set(names)) != len(names):
        raise RecipientProblem(f"{path} names a recipient twice: {', '.join(names)}")
    return found


def _recipient(
    entry: Mapping[str, Any], path: Path, audiences: Mapping[str, Audience]
) -> Recipient:
    where = f"{path}, recipient {entry.get('name', '(no name)')}"
    for key in set(entry) - KEYS:
        raise RecipientProblem(f"{where}: nothing is called {key}{nearest(key, KEYS)}")
    for key in {"name", "audience", "valid_from"} - set(entry):
        raise RecipientProblem(f"{where}: {key} is missing; see docs/alerts.md")
    name = entry["audience"]
    if name not in audiences:
        known = ", ".join(sorted(audiences))
        raise RecipientProblem(f"{where}: there is no audience {name} today; there are {known}")
    audience = audiences[name]
    own = ("party", "trust") if audience.ods_code else ("network",)
    kinds = _words(entry, "kinds", DEFAULT_KINDS, KINDS, where)
    levels = _words(entry, "levels", own, LEVELS, where)
    targets = _targets(entry, path, where)
    days = entry["valid_from"], entry.get("valid_to")
    if not all(day is None or type(day) is date for day in days):
        raise RecipientProblem(f"{where}: valid_from and valid_to are dates, as 2026-11-01")
    metrics = tuple(entry.get("metrics", ()))
    return Recipient(entry["name"], audience, targets, kinds, levels, metrics, *days)


def _words(
    entry: Mapping[str, Any], key: str, default: tuple[str, ...], known: tuple[str, ...], where: str
) -> tuple[str, ...]:
    told = tuple(entry.get(key, default))
    for word in set(told) - set(known):
        raise RecipientProblem(f"{where}: {key} holds {word!r}; it is any of {', '.join(known)}")
    return told


def _targets(entry: Mapping[str, Any], path: Path, where: str) -> tuple[Target, ...]:
    addresses = entry.get("email", [])
    found = [Target("email", one) for one in ([addresses] if type(addresses) is str else addresses)]
    for target in found:
        if "@" not in target.address or any(sign in target.address for sign in "\r\n,; "):
            raise RecipientProblem(f"{where}: {target.address!r} is no e-mail address")
    url = entry.get("webhook") or _secret(entry.get("webhook_file"), path, where)
    if url:
        parts = urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if parts.scheme != "https" and not local:
            raise RecipientProblem(f"{where}: a webhook is an https address, or of this machine")
        token = _secret(entry.get("webhook_token_file"), path, where)
        found.append(Target("webhook", url, token))
    if not found:
        raise RecipientProblem(f"{where}: say email, webhook or webhook_file")
    return tuple(found)


def _secret(name: str | None, path: Path, where: str) -> str:
    if name is None:
        return ""
    file = path.parent / name
    if not file.is_file():
        raise RecipientProblem(f"{where}: {file} is not there; it holds the secret in one line")
    return file.read_text(encoding="utf-8").strip()
