"""What an operator wants to know of a query: what was asked and found, at what cost, what is next."""

from datetime import datetime

from pipelines.sources.dicom_archives.archives import Archive
from pipelines.sources.dicom_archives.ask import Answered


def summary(answered: Answered, archive: Archive, local: datetime, new: int | None) -> list[str]:
    """Lines for the terminal; `local` is the network's wall clock now.

    `new` is how many of the series have not landed yet; None where that cannot be known.
    """
    found = f"{answered.series:,} series of {answered.studies:,} studies"
    if new is not None and answered.series:
        found += f"; {new:,} of them have not landed yet"
    files = len(answered.deliveries)
    delivered = f"{_counted(files, 'file')} in the inbox"
    if files:
        delivered += "; `imaging harvest dicom_series`, or a run, lands them"
    # The first request waits for none.
    rate = (answered.requests - 1) / answered.seconds if answered.seconds else 0
    burden = f"{_counted(answered.requests, 'request')} in {answered.seconds:.1f} s"
    if answered.requests > 1:
        burden += f", {rate:.1f} a second (at most {archive.requests_per_second:g})"
    lines = {
        "asked": f"{archive.route}, {answered.asked or 'nothing'}",
        "found": found,
        "delivered": delivered,
        "burden": burden,
        "cursor": answered.cursor,
        "may be asked": _hours(archive, local),
    }
    head = archive.label.removeprefix("archive ")
    return [head, *(f"  {name:<13} {text}" for name, text in lines.items())]


def _hours(archive: Archive, local: datetime) -> str:
    """When the archive may be asked by its settings, and when next."""
    scheduled = f"scheduled runs ask every {archive.every_hours:g} h"
    if not archive.quiet_hours:
        return f"at any time; {scheduled}"
    spans = ", ".join(archive.quiet_hours)
    if archive.may_ask_at(local):
        return f"{spans}, so now; {scheduled}"
    now = f"{local:%H:%M}"
    starts = sorted(span.partition("-")[0] for span in archive.quiet_hours)
    later = [start for start in starts if start > now]
    following = f"today from {later[0]}" if later else f"tomorrow from {starts[0]}"
    return f"{spans}, so next {following}; {scheduled}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
