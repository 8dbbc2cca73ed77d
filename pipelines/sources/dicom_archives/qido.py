"""QIDO-RS: series by study date, page by page."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from pipelines.sources.dicom_archives.archives import Archive, ArchiveProblem
from pipelines.sources.dicom_archives.rows import ASKED, OF_STUDY, OPTIONAL, Answer, Told
from pipelines.sources.dicom_archives.web import HttpRefused, Web, attempted
from pipelines.sources.dicom_archives.windows import Window

ACCEPT = "application/dicom+json"
KEYWORDS = {tag: keyword for keyword, tag in ASKED.items()}
# What an archive says to a search for series that names no study.
NOT_RELATIONAL = {400, 404, 405, 501}
BAD_REQUEST = 400


def ask_qido(
    web: Web,
    window: Window,
    *,
    refused_keys: Iterable[str] = (),
    is_relational: bool | None = None,
) -> Told:
    """Every series of the studies of a window.

    `refused_keys` are attributes the archive is known to refuse. `is_relational`: series can be
    asked for by study date; None finds out. Raises ArchiveProblem when the answer cannot be used.
    """
    keys = [keyword for keyword in ASKED if keyword not in set(refused_keys)]
    relational = {"yes": True, "no": False, "probe": is_relational}[web.archive.relational]
    if relational is not False:
        try:
            if is_relational is None:
                keys = _allowed(web, window, keys)
            found = _pages(web, "/series", window, keys)
            return Told(found, _refused(keys), True)
        except HttpRefused as refused:
            if relational or refused.status not in NOT_RELATIONAL:
                raise refused.problem from None
    try:
        return Told(_by_study(web, window, keys), _refused(keys), False)
    except HttpRefused as refused:
        raise refused.problem from None


def _allowed(web: Web, window: Window, keys: list[str]) -> list[str]:
    """The keys the archive accepts: all together, or those it accepts one by one.

    The standard lets it ignore a key; some answer 400 instead.
    """
    try:
        web.ask("/series", _query(window, keys, 1, 0))
        return keys
    except HttpRefused as refused:
        if refused.status != BAD_REQUEST:
            raise
    web.ask("/series", _query(window, [], 1, 0))
    allowed = []
    for keyword in keys:
        try:
            web.ask("/series", _query(window, [keyword], 1, 0))
            allowed.append(keyword)
        except HttpRefused as refused:
            if refused.status != BAD_REQUEST:
                raise
    return allowed


def _refused(keys: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(ASKED) - set(keys)))


def _by_study(web: Web, window: Window, keys: list[str]) -> list[Answer]:
    """Studies of the window, then the series of each; a series has its study's attributes."""
    found = []
    of_study = [keyword for keyword in OF_STUDY if keyword in keys]
    of_series = [keyword for keyword in keys if keyword in OPTIONAL or keyword not in OF_STUDY]
    studies = _pages(web, "/studies", window, of_study, unit="StudyInstanceUID")
    unique = {one["StudyInstanceUID"]: one for one in studies if one.get("StudyInstanceUID")}
    for uid, study in unique.items():
        path = f"/studies/{quote(uid, safe='')}/series"
        for one in _pages(web, path, None, of_series):
            found.append(study | {k: v for k, v in one.items() if v})
            _check_size(web.archive, len(found))
    return found


def _pages(
    web: Web,
    path: str,
    window: Window | None,
    keys: list[str],
    unit: str = "SeriesInstanceUID",
) -> list[Answer]:
    """Every answer at a path, asked for page by page until a page is empty.

    A short page is no last page: an archive may hand out fewer than it was asked for. Raises
    ArchiveProblem when a page only repeats what was told.
    """
    size = web.archive.page_size
    found: list[Answer] = []
    seen: set[str | None] = set()
    while True:
        query = _query(window, keys, size, len(found))
        page = _read(web, attempted(path, query), web.ask(path, query))
        if page and not {one.get(unit) for one in page} - seen:
            raise web.problem(
                attempted(path, query),
                f"it tells the same page again at offset {len(found)}: it does not page",
                "set page_size = 0 and a small window_days",
            )
        seen |= {one.get(unit) for one in page}
        found += page
        _check_size(web.archive, len(found))
        if not page or size == 0:
            return found


def _check_size(archive: Archive, count: int) -> None:
    if count > archive.most_series:
        raise ArchiveProblem(
            f"{archive.label}: more than most_series ({archive.most_series}) in one window; make "
            "window_days smaller"
        )


def _query(window: Window | None, keys: list[str], size: int, offset: int) -> list[tuple[str, str]]:
    query = [] if window is None else [("StudyDate", window.dicom())]
    query += [("includefield", ASKED[keyword]) for keyword in keys]
    return query + ([("limit", str(size)), ("offset", str(offset))] if size else [])


def _read(web: Web, asked: str, document: Any) -> list[Answer]:
    """DICOM JSON as attributes by keyword; raises ArchiveProblem where it is none."""
    if document is None:
        return []
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise web.problem(
            asked,
            "it answers JSON that is no list of data sets",
            "check that url is the DICOMweb root",
        )
    return [_attributes(one) for one in document]


def _attributes(data_set: dict[str, Any]) -> Answer:
    found = {}
    for tag, element in data_set.items():
        keyword = KEYWORDS.get(tag.upper())
        values = element.get("Value") if isinstance(element, dict) else None
        if keyword is None or not isinstance(values, list):
            continue
        found[keyword] = "\\".join(
            "" if value is None else str(value) for value in values if not isinstance(value, dict)
        )
    return found
