"""Quarantined records once more, after the cause is mended."""

import json
from datetime import date, datetime
from pathlib import Path

from pipelines.harvest import spooled
from pipelines.harvest.dicom import dicom_delivery, public_name
from pipelines.harvest.intake import harvest
from pipelines.harvest.model import HarvestResult, Setup
from pipelines.landing.quarantine import Entry
from pipelines.sources.inbox import Delivery


def replay(entry: Entry, setup: Setup, *, now: datetime) -> HarvestResult:
    """Harvest the records of a quarantine entry again; closes the entry when they have left it.

    Records that are rejected once more stay in quarantine: in an entry of their own, or in this
    one, which then stays open. The decrypted records are in memory only.
    """
    with spooled.at_hand(entry, setup.quarantine.payload(entry), setup) as payload:
        return _replay(entry, payload, setup, now)


def _replay(entry: Entry, payload: bytes, setup: Setup, now: datetime) -> HarvestResult:
    day = date.fromisoformat(entry.delivered_on)
    if entry.feed_kind == "dicom":
        waiting = _dicom_replay(entry, [Path(path) for path in json.loads(payload)], setup, day)
    else:
        waiting = [Delivery(entry.feed_kind, Path(entry.file_name), day, payload)]
    result = harvest(
        entry.feed_kind,
        waiting,
        setup,
        now=now,
        replay_of=entry.source_sha,
        is_selection=entry.scope == "row",
    )
    if not result.files_refused and entry.entry_id not in result.quarantined:
        note = f"{result.rows_landed} records landed, {result.rows_rejected} rejected again"
        setup.quarantine.close(entry, "replayed", note)
    return result


def _dicom_replay(entry: Entry, paths: list[Path], setup: Setup, day: date) -> list[Delivery]:
    """A refused folder as the one delivery it was; rejected files one by one."""
    if entry.scope != "file":
        return [dicom_delivery(path, day) for path in paths]
    folders = {
        parent
        for path in paths
        for parent in path.parents
        if public_name(dicom_delivery(parent, day), setup) == entry.file_name
    }
    return [dicom_delivery(folder, day) for folder in sorted(folders)]
