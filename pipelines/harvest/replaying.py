"""Quarantined records once more, after the cause is mended."""

import json
from datetime import date, datetime
from pathlib import Path

from pipelines.harvest import spooled
from pipelines.harvest.dicom import dicom_delivery, public_name
from pipelines.harvest.intake import harvest
from pipelines.harvest.model import HarvestResult, Setup
from pipelines.harvest.opening import feed_of
from pipelines.landing.quarantine import Entry
from pipelines.sources.archives import split_inside
from pipelines.sources.dicom_headers.read import path_of_text
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
        waiting = _dicom_replay(entry, json.loads(payload), setup, day)
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


def _dicom_replay(entry: Entry, paths: list[str], setup: Setup, day: date) -> list[Delivery]:
    """The files of an entry as deliveries, by the folder or archive that they were delivered in.

    That is the nearest one that names a party; of a refused delivery the one of its name.
    """
    chosen: dict[Path, list[str]] = {}
    for text in paths:
        inside = split_inside(text)
        path = path_of_text(text if inside is None else inside[0])
        chosen.setdefault(_delivered_in(path, entry, setup, day), []).append(text)
    return [
        Delivery("dicom", folder, day, json.dumps(texts).encode())
        for folder, texts in sorted(chosen.items())
    ]


def _delivered_in(path: Path, entry: Entry, setup: Setup, day: date) -> Path:
    folders = [path, *path.parents]
    for folder in folders:
        if public_name(dicom_delivery(folder, day), setup) == entry.file_name.partition("#")[0]:
            return folder
    for folder in folders:
        if feed_of(dicom_delivery(folder, day), setup.network)[0] is not None:
            return folder
    return path.parent
