"""Readers of DICOM headers side by side: CPU time per file, by kind of file and for all.

Peers are what one would otherwise use: pydicom (stop_before_pixels, and specific_tags), gdcm's
Scanner, dicomsdl, dcmdump of DCMTK, and what no reader can go below: open, read 8 KiB, close.
A peer that is not installed is named as missing (`pip install .[bench]`; Debian package dcmtk).
"""

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom

from benchmarks.bench_journey import machine
from benchmarks.dicom_corpus import write_corpus
from benchmarks.report import write_report
from pipelines.sources.dicom_headers import read_headers
from pipelines.sources.dicom_headers.tags import TagList

REPEATS = 3
QUICK_SHARE = 0.1
# Slow peers read so many files of each kind; the time is given per file.
SLOW_SAMPLE = 300
AIMS = {
    "pydicom_over_ours": 50.0,
    "gdcm_over_ours": 10.0,
    "dicomsdl_over_ours": 3.0,
    "ours_over_limit": 4.0,
    "parquet_files_per_second": 20_000.0,
}
Reader = Callable[[list[Path]], object]


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), QUICK_SHARE if arguments.quick else 1.0)
    write_report(document, as_json=arguments.json)


def measure(folder: Path, share: float) -> dict[str, Any]:
    """CPU microseconds per file of every reader over the same corpus; best of REPEATS."""
    corpus = write_corpus(folder / "corpus", share)
    readers, missing = _readers()
    micros: dict[str, dict[str, float]] = {}
    for name, (read, is_slow) in readers.items():
        for family, files in corpus.items():
            chosen = files[:: max(len(files) // SLOW_SAMPLE, 1)] if is_slow else files
            best = min(_cpu_seconds(read, chosen) for _ in range(REPEATS))
            micros.setdefault(name, {})[family] = best / len(chosen) * 1e6
    weights = {family: len(files) for family, files in corpus.items()}
    mix = {name: _mean(found, weights) for name, found in micros.items()}
    # We read many files side by side: all of them in one call is what a harvest does.
    every = [path for files in corpus.values() for path in files]
    mix["ours"] = min(_cpu_seconds(read_headers, every) for _ in range(REPEATS)) / len(every) * 1e6
    results = [
        {"name": f"{name}_{family}", "unit": "us/file", "value": round(value, 2)}
        for name, found in micros.items()
        for family, value in (*found.items(), ("mix", mix[name]))
    ]
    for name, times in (("parquet_two_workers", 1), ("parquet_two_workers_four_times", 4)):
        rate = _parquet_rate(every * times, folder)
        results.append({"name": name, "unit": "files/s", "value": round(rate, 1)})
    ratios = {
        f"{peer}_over_ours": round(mix[peer] / mix["ours"], 2)
        for peer in mix
        if peer not in ("ours", "limit")
    }
    ratios["ours_over_limit"] = round(mix["ours"] / mix["limit"], 2)
    return {
        "machine": machine(),
        "files": weights,
        "results": results,
        "ratios": ratios,
        "aims": AIMS,
        "missing": missing,
    }


def _mean(values: dict[str, float], weights: dict[str, int]) -> float:
    return sum(values[name] * weights[name] for name in values) / sum(weights.values())


def _cpu_seconds(read: Reader, files: list[Path]) -> float:
    """CPU seconds of this process and of those it starts."""
    before, children = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    read(files)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return time.process_time() - before + started


def _readers() -> tuple[dict[str, tuple[Reader, bool]], list[str]]:
    """Readers by name, whether each is slow, and the peers that are not here."""
    tags = TagList.load()
    keywords = list(tags.attributes)
    readers: dict[str, tuple[Reader, bool]] = {
        "ours": (read_headers, False),
        "limit": (_open_and_read, False),
        "pydicom": (lambda files: _by_pydicom(files, keywords, None), True),
        "pydicom_specific_tags": (lambda files: _by_pydicom(files, keywords, keywords), True),
    }
    missing = []
    try:
        import gdcm

        readers["gdcm"] = (lambda files: _by_gdcm(gdcm, files, tags), False)
    except ImportError:
        missing.append("gdcm (python-gdcm)")
    try:
        import dicomsdl

        readers["dicomsdl"] = (
            lambda files: _by_dicomsdl(dicomsdl, files, keywords, tags.last_tag),
            False,
        )
    except ImportError:
        missing.append("dicomsdl")
    if dcmdump := shutil.which("dcmdump"):
        readers["dcmdump"] = (lambda files: _by_dcmdump(dcmdump, files), True)
    else:
        missing.append("dcmdump (Debian package dcmtk)")
    return readers, missing


def _open_and_read(files: list[Path]) -> None:
    buffer = bytearray(8192)
    for path in files:
        file = os.open(path, os.O_RDONLY)
        os.preadv(file, [buffer], 0)
        os.close(file)


def _by_pydicom(files: list[Path], keywords: list[str], specific: list[str] | None) -> None:
    for path in files:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=specific)
        for keyword in keywords:
            str(dataset.get(keyword, ""))


def _by_gdcm(gdcm: Any, files: list[Path], tags: TagList) -> None:
    scanner = gdcm.Scanner()
    for wanted in (*tags.meta, *tags.flat):
        scanner.AddTag(gdcm.Tag(wanted.tag >> 16, wanted.tag & 0xFFFF))
    names = [str(path) for path in files]
    scanner.Scan(names)
    for name in names:
        scanner.GetMapping(name)


def _by_dicomsdl(dicomsdl: Any, files: list[Path], keywords: list[str], last: int) -> None:
    for path in files:
        dataset = dicomsdl.open(str(path), load_until=last)
        for keyword in keywords:
            str(getattr(dataset, keyword, ""))


def _by_dcmdump(dcmdump: str, files: list[Path]) -> None:
    for start in range(0, len(files), 500):
        names = [str(path) for path in files[start : start + 500]]
        subprocess.run([dcmdump, "-q", *names], stdout=subprocess.DEVNULL, check=False)


def _parquet_rate(files: list[Path], folder: Path) -> float:
    """Files a second, from paths to one Parquet file, with up to two processes, which are started
    where there are enough files to be worth it."""
    began = time.monotonic()
    batch = read_headers(files, workers=2)
    batch.accepted.write_parquet(folder / "headers.parquet", compression="zstd")
    return len(batch.accepted) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
