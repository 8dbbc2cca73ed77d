"""Which study dates to ask for next."""

from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Window:
    """Study dates from `first` to `last`, both included."""

    first: date
    last: date

    def dicom(self) -> str:
        """The range as DICOM writes it."""
        return f"{self.first:%Y%m%d}-{self.last:%Y%m%d}"


def windows(span: Window, days: int) -> list[Window]:
    """Cut a span into windows of at most `days` days, oldest first; none where it is empty."""
    found, first = [], span.first
    while first <= span.last:
        last = min(first + timedelta(days=days - 1), span.last)
        found.append(Window(first, last))
        first = last + timedelta(days=1)
    return found


def next_span(
    asked_to: date | None,
    next_on: date | None,
    *,
    start_on: date,
    overlap_days: int,
    today: date,
) -> Window:
    """What is due, up to today.

    From `next_on` where a run left off, else from `overlap_days` before the last day asked for,
    else from `start_on`. The overlap finds series that reached the archive after their day was
    asked for; a run that was cut short does not begin with it again, else it might never get on.
    """
    if next_on is not None:
        return Window(next_on, today)
    if asked_to is None:
        return Window(start_on, today)
    return Window(max(start_on, asked_to - timedelta(days=overlap_days)), today)
