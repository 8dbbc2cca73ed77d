"""How often an archive may be asked, when, and how long to wait before asking again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from pipelines.sources.dicom_archives.archives import Archive


class OutsideHours(Exception):
    """The quiet hours of the archive are over: what is not answered yet waits for the next run."""


class Unanswered(Exception):
    """One attempt failed in a way that another may not; `after` seconds if the archive says so."""

    def __init__(self, cause: str, step: str, after: float | None = None) -> None:
        super().__init__(cause)
        self.cause, self.step, self.after = cause, step, after


@dataclass
class Pace:
    """Spacing of requests by the archive's settings.

    `clock` tells the instant (UTC), for the quiet hours on the wall clock of `zone`. `sleep`,
    `monotonic` and `chance` (0 to 1) are handed in by tests.
    """

    archive: Archive
    zone: str
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    requests: int = 0
    _next: float = field(default=0.0)

    def await_turn(self) -> None:
        """Wait until the next request is allowed; raises OutsideHours when none is."""
        if not self.archive.may_ask_at(self.clock().astimezone(ZoneInfo(self.zone))):
            raise OutsideHours
        wait = self._next - self.monotonic()
        if wait > 0:
            self.sleep(wait)
        self._next = self.monotonic() + 1 / self.archive.requests_per_second
        self.requests += 1

    def back_off(self, attempt: int, after: float | None = None) -> None:
        """Wait before attempt + 1: what the archive asked for, else twice as long each time.

        Half of it is left to chance, so that several clients do not come back together.
        """
        longest = self.archive.longest_wait_seconds
        wait = min(2.0**attempt, longest) * (0.5 + self.chance() / 2)
        self.sleep(wait if after is None else after)
