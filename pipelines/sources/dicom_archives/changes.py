"""The changes of an Orthanc: series that have come to rest since the last look."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pipelines.sources.dicom_archives.archives import ArchiveProblem
from pipelines.sources.dicom_archives.rows import ASKED, RECEIVED, Answer, Told, instant
from pipelines.sources.dicom_archives.web import HttpRefused, Web, attempted
from pipelines.sources.dicom_archives.windows import Window

ACCEPT = "application/json"
STABLE = "StableSeries"
NOT_FOUND = 404
# What says that a series or its study has been deleted since it was listed.
GONE = {NOT_FOUND}
# Resources expanded by one request.
BATCH = 200
DEFAULT_PAGE = 1000


@dataclass(frozen=True)
class Batch:
    """Series that came to rest, up to change number `last`; `is_done` when there are no more."""

    told: Told
    last: int
    is_done: bool


def ask_changes(web: Web, since: int) -> Batch:
    """One page of changes after number `since`, its stable series expanded.

    A series listed twice is told once; one that was deleted meanwhile is left out, whatever the
    order. Raises ArchiveProblem when the numbers went back: the archive was restored or emptied.
    """
    limit = web.archive.page_size or DEFAULT_PAGE
    query = [("since", str(since)), ("limit", str(limit))]
    page = _asked(web, "/changes", query)
    try:
        rows = [(int(r["Seq"]), str(r["ChangeType"]), str(r["ID"])) for r in page["Changes"]]
        last = max([int(page["Last"]), *(number for number, _, _ in rows)])
        is_done = bool(page["Done"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _unusable(web, "/changes") from None
    asked = attempted("/changes", query)
    if last < since:
        raise web.problem(
            asked,
            f"its newest change is {last}, but {since} was read before: it was restored or emptied",
            "delete its cursor.json to read all changes again",
        )
    if not is_done and last == since:
        raise web.problem(asked, "it tells the same page again", "ask its owner")
    wanted = dict.fromkeys(key for _, kind, key in sorted(rows) if kind == STABLE)
    return Batch(Told(_expanded(web, wanted)), last, is_done)


def ask_by_date(web: Web, window: Window) -> Told:
    """Every series of the studies of a window, whenever they came."""
    query = {"StudyDate": window.dicom()}
    found = _asked(web, "/tools/find", body={"Level": "Series", "Expand": False, "Query": query})
    if not isinstance(found, list):
        raise _unusable(web, "/tools/find")
    if len(found) > web.archive.most_series:
        raise ArchiveProblem(
            f"{web.archive.label}: more than most_series ({web.archive.most_series}) in one "
            "window; make window_days smaller"
        )
    return Told(_expanded(web, dict.fromkeys(str(key) for key in found)))


def _expanded(web: Web, ids: Iterable[str]) -> list[Answer]:
    """Attributes of the series that are still there."""
    zone = web.archive.received_zone
    series = _resources(web, list(ids), "Series")
    parents = dict.fromkeys(str(one.get("ParentStudy", "")) for one in series.values())
    studies = _resources(web, list(parents), "Study")
    found = []
    for one in series.values():
        study = studies.get(str(one.get("ParentStudy", "")))
        if study is None:
            continue
        image = _one_image(web, one) if web.archive.read_one_image else {}
        answer = image | _tags(study, "PatientMainDicomTags") | _tags(study) | _tags(one)
        answer["NumberOfSeriesRelatedInstances"] = str(len(_images(one)))
        arrived = one.get("LastUpdate")
        received = instant(arrived, zone) if isinstance(arrived, str) else None
        if received is not None:
            answer[RECEIVED] = received
        found.append(answer)
    return found


def _resources(web: Web, ids: list[str], level: str) -> dict[str, dict[str, Any]]:
    """Resources by id; the archive leaves out what it no longer has."""
    found: dict[str, dict[str, Any]] = {}
    for first in range(0, len(ids), BATCH):
        body = {"Resources": ids[first : first + BATCH], "Level": level, "Metadata": False}
        page = _asked(web, "/tools/bulk-content", body=body)
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise _unusable(web, "/tools/bulk-content")
        found |= {str(one.get("ID")): one for one in page if one.get("Type") == level}
    return found


def _one_image(web: Web, series: dict[str, Any]) -> Answer:
    """Attributes of the first image of a series; none where it is gone."""
    images = _images(series)
    if not images:
        return {}
    try:
        tags = web.ask(f"/instances/{quote(min(images), safe='')}/simplified-tags")
    except HttpRefused as refused:
        if refused.status in GONE:
            return {}
        raise refused.problem from None
    if not isinstance(tags, dict):
        raise _unusable(web, "/instances/.../simplified-tags")
    return {k: v for k, v in tags.items() if k in ASKED and isinstance(v, str)}


def _images(series: dict[str, Any]) -> list[str]:
    images = series.get("Instances")
    return [str(one) for one in images] if isinstance(images, list) else []


def _tags(resource: dict[str, Any], group: str = "MainDicomTags") -> Answer:
    tags = resource.get(group)
    if not isinstance(tags, dict):
        return {}
    return {k: v for k, v in tags.items() if k in ASKED and isinstance(v, str) and v}


def _asked(
    web: Web, path: str, query: list[tuple[str, str]] | None = None, body: Any = None
) -> Any:
    try:
        return web.ask(path, query, body)
    except HttpRefused as refused:
        if refused.status == NOT_FOUND and body is not None:
            raise web.problem(
                attempted(path, query, body),
                "it answers 404, it does not know that request",
                "Orthanc 1.9.4 or newer is needed",
            ) from None
        raise refused.problem from None


def _unusable(web: Web, path: str) -> ArchiveProblem:
    return web.problem(
        path, "it answers otherwise than an Orthanc", "check that url is the root of an Orthanc"
    )
