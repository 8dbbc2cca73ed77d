"""What was sent to whom, and what is muted: two small files of the folder alerts."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipelines.alerts.recipients import Target
from pipelines.alerts.signals import Alert
from pipelines.durable import write_bytes
from pipelines.problems import Problem


class NoSuchMute(Problem):
    """No mute has that number; the message says how to see those that there are."""


class MutesBroken(Problem):
    """The file of mutes cannot be read; nothing is sent until it is mended, lest a mute be lost."""


class AlertsBusy(Problem):
    """Another process sends alerts just now."""


@dataclass(frozen=True)
class Mute:
    """What is not to be sent up to a day, and why. A part that is None stands for any."""

    number: int
    until_on: str
    reason: str
    made_at: str
    alert: str | None = None
    kind: str | None = None
    metric_id: str | None = None
    org_code: str | None = None

    def holds(self, alert: Alert, on: date) -> bool:
        """Say whether the alert is muted on a day; the last day is a muted one."""
        told = (alert.id, alert.kind, alert.metric_id, alert.org_code)
        wanted = (self.alert, self.kind, self.metric_id, self.org_code)
        fits = all(want is None or want == has for want, has in zip(wanted, told, strict=True))
        return fits and on <= date.fromisoformat(self.until_on)


class Book:
    """The folder HOME/alerts: sent.jsonl, mutes.json and the lock of who sends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent_file = folder / "sent.jsonl"
        self.mutes_file = folder / "mutes.json"

    @contextmanager
    def sending(self) -> Generator[None]:
        """One sender at a time, so that nothing is sent twice. Raises AlertsBusy."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlertsBusy("another process sends alerts just now; try again") from None
            yield

    def sent(self) -> list[dict[str, Any]]:
        """One entry per alert and target that was told; a line cut off by a crash is left out."""
        if not self.sent_file.exists():
            return []
        lines = self.sent_file.read_text(encoding="utf-8").split("\n")
        return [
            json.loads(line) for line in lines[:-1] if line.startswith("{") and line.endswith("}")
        ]

    def add(self, alerts: list[Alert], target: Target, now: datetime) -> None:
        """Note that a target was told of alerts, durably."""
        lines = [
            {
                "sent_at": now.isoformat(),
                "target": target.key,
                "alert": alert.id,
                "subject": alert.subject,
                "month_on": alert.month_on.isoformat(),
            }
            for alert in alerts
        ]
        # A line that a crash cut off must not swallow the next one.
        text = "\n" + "".join(json.dumps(line) + "\n" for line in lines)
        descriptor = os.open(self.sent_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def mutes(self) -> list[Mute]:
        """Every mute, ended ones too. Raises MutesBroken."""
        if not self.mutes_file.exists():
            return []
        try:
            return [Mute(**one) for one in json.loads(self.mutes_file.read_text(encoding="utf-8"))]
        except (ValueError, TypeError) as error:
            raise MutesBroken(
                f"{self.mutes_file} is not a list of mutes ({error}); mend it, or delete it and mute "
                "again with `imaging alerts mute`"
            ) from error

    def mute(self, *, until: date, reason: str, now: datetime, **parts: str | None) -> Mute:
        """Add a mute of an alert, kind, metric_id or org_code, and return it with its number."""
        known = self.mutes()
        number = max((one.number for one in known), default=0) + 1
        made = Mute(number, until.isoformat(), reason, now.isoformat(), **parts)
        self._write([*known, made])
        return made

    def unmute(self, number: int) -> Mute:
        """Take a mute away; raises NoSuchMute."""
        known = self.mutes()
        for one in known:
            if one.number == number:
                self._write([other for other in known if other.number != number])
                return one
        raise NoSuchMute(f"there is no mute {number}; `imaging alerts list` shows those there are")

    def _write(self, mutes: list[Mute]) -> None:
        document = json.dumps([asdict(one) for one in mutes], indent=1)
        write_bytes(document.encode(), self.mutes_file, mode=0o600)


def is_told(alert: Alert, target: Target, sent: list[dict[str, Any]]) -> bool:
    """Say whether a target knows of the alert: it was sent, or a month of the same run was.

    A rule of seven points marks months in arrears, so that a run can begin earlier than it first
    seemed to.
    """
    return any(
        line["target"] == target.key
        and (
            line["alert"] == alert.id
            or (
                tuple(line["subject"]) == alert.subject
                and alert.since_on.isoformat() <= line["month_on"] <= alert.month_on.isoformat()
            )
        )
        for line in sent
    )
