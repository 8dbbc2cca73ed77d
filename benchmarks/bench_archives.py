"""Routes to an archive side by side: series per second, and what each of them tells.

The archive is an Orthanc of its own on loopback (Debian packages orthanc, orthanc-dicomweb), whose
images are small and whose network is none: rates say what the protocol and our side cost, ratios
travel better. A real archive adds its own time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pynetdicom import evt

from benchmarks.bench_journey import machine
from benchmarks.report import write_report
from pipelines.sources.dicom_archives import Archive, Window, changes
from pipelines.sources.dicom_archives.cfind import Finder, ask_cfind, series_query
from pipelines.sources.dicom_archives.changes import ask_changes
from pipelines.sources.dicom_archives.pace import Pace
from pipelines.sources.dicom_archives.qido import ACCEPT, ask_qido
from pipelines.sources.dicom_archives.rows import Told, series_rows
from pipelines.sources.dicom_archives.web import Web
from pipelines.sources.dicom_sockets import hurry
from tests.orthanc import AE_TITLE, PASSWORD, USER, Orthanc, invented_image, running_orthanc

STUDIES, QUICK_STUDIES = 1000, 300
SLOW_QUERIES = 50
REPEATS = 3
EVERY_DAY = Window(date(2026, 1, 1), date(2026, 1, 31))
AIMS = {"queries_prompt_over_default": 5.0}


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 studies instead of 1,000")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_orthanc(Path(folder)) as orthanc,
    ):
        document = measure(orthanc, QUICK_STUDIES if arguments.quick else STUDIES)
    write_report(document, as_json=arguments.json)


def measure(orthanc: Orthanc, studies: int) -> dict[str, Any]:
    """Wall seconds of every route over the same series; median, least and most of REPEATS."""
    orthanc.store(invented_image(study) for study in range(studies))
    orthanc_version = orthanc.get("/system")["Version"]
    routes = _routes(orthanc)
    results, columns = [], {}
    for name, ask in routes.items():
        rates = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            told = ask()
            rates.append(studies / (time.perf_counter() - began))
            rows = series_rows(told.series, name.split("_")[0], "Europe/London")
            assert rows["series_instance_uid"].n_unique() == studies
        columns[name] = [column for column in rows.columns if rows[column].null_count() < studies]
        results.append(_result(name, "series/s", rates))
    uids = [invented_image(study).StudyInstanceUID for study in range(studies)]
    prompt = [_queries(orthanc, uids, [(evt.EVT_CONN_OPEN, hurry)]) for _ in range(REPEATS)]
    default = [_queries(orthanc, uids[:SLOW_QUERIES], []) for _ in range(REPEATS)]
    results += [
        _result("cfind_series_queries_prompt", "queries/s", prompt),
        _result("cfind_series_queries_default", "queries/s", default),
    ]
    ratio = statistics.median(prompt) / statistics.median(default)
    return {
        "machine": machine(),
        "archive": f"Orthanc {orthanc_version}, {studies} studies of one series and one image",
        "results": results,
        "ratios": {"queries_prompt_over_default": round(ratio, 1)},
        "aims": AIMS,
        "columns": columns,
    }


def _result(name: str, unit: str, rates: list[float]) -> dict[str, Any]:
    return {
        "name": name,
        "unit": unit,
        "value": round(statistics.median(rates), 1),
        "least": round(min(rates), 1),
        "most": round(max(rates), 1),
    }


def _routes(orthanc: Orthanc) -> dict[str, Callable[[], Told]]:
    """Routes by name; each asks for everything once."""

    def by_qido(relational: str) -> Told:
        archive = _archive(orthanc, "qido", relational=relational)
        with Web(archive, PASSWORD, _pace(archive), ACCEPT) as web:
            return ask_qido(web, EVERY_DAY, is_relational=relational == "yes")

    def by_cfind(relational: str) -> Told:
        archive = _archive(orthanc, "cfind", relational=relational)
        with Finder(archive, _pace(archive)) as finder:
            return ask_cfind(finder, EVERY_DAY)

    def by_changes(read_one_image: bool) -> Told:
        archive = _archive(orthanc, "changes", read_one_image=read_one_image)
        with Web(archive, PASSWORD, _pace(archive), changes.ACCEPT) as web:
            found, last, is_done = [], 0, False
            while not is_done:
                batch = ask_changes(web, last)
                found, last, is_done = found + batch.told.series, batch.last, batch.is_done
            return Told(found)

    return {
        "qido": lambda: by_qido("yes"),
        "qido_by_study": lambda: by_qido("no"),
        "cfind": lambda: by_cfind("yes"),
        "cfind_by_study": lambda: by_cfind("no"),
        "changes": lambda: by_changes(True),
        "changes_without_image": lambda: by_changes(False),
    }


def _queries(orthanc: Orthanc, uids: list[str], handlers: list[Any]) -> float:
    """C-FIND SERIES queries per second, one study each, over one association."""
    archive = _archive(orthanc, "cfind")
    with Finder(archive, _pace(archive), handlers) as finder:
        finder.find(series_query(uids[0]))
        began = time.perf_counter()
        for uid in uids:
            assert len(finder.find(series_query(uid))) == 1
        return len(uids) / (time.perf_counter() - began)


def _archive(orthanc: Orthanc, route: str, **more: Any) -> Archive:
    web = {"user": USER, "password_variable": "UNUSED"}
    web["url"] = orthanc.dicomweb if route == "qido" else orthanc.url
    peer = {"host": "127.0.0.1", "port": orthanc.dicom_port, "ae_title": AE_TITLE}
    settings = {
        "name": route,
        "party": "RMC",
        "route": route,
        "start_on": EVERY_DAY.first,
        "requests_per_second": 1_000_000,
    }
    return Archive(**(settings | (peer if route == "cfind" else web) | more))


def _pace(archive: Archive) -> Pace:
    return Pace(archive, "Europe/London", lambda: datetime.now(UTC))


if __name__ == "__main__":
    main()
