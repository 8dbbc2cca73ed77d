"""Readers of HL7 v2 side by side: CPU time per message, over the same generated messages.

The task is 26 values per OBR group: 24 fields, the joined report text and the study UID. Peers are
python-hl7 (the oracle), hl7kit, hl7apy (a small sample, it is slow), and what no reader in Python
goes below: read the bytes, split them into frames, segments and fields. Beside that: the whole
path to pseudonymised events. A peer that is not installed is named as missing.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import hl7
import polars as pl

from benchmarks.bench_journey import machine
from benchmarks.hl7_corpus import MESSAGES, framed, messages
from benchmarks.report import write_report
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import pseudonymise_events
from pipelines.network import Network
from pipelines.settings import Settings
from pipelines.sources.hl7 import Feed, events_from_messages, read_event_map, read_messages

ROUNDS = 5
QUICK_SHARE = 0.1
MESSAGES_A_FILE = 10_000
PYTHON_HL7_SAMPLE, HL7APY_SAMPLE = 4_000, 100
AIMS = {"ours_over_python_hl7": 25.0, "ours_over_hl7kit": 1.0, "limit_over_ours": 8.0}
# Column, segment, field, component, sub-component: what every reader is asked for.
WANTED = (
    ("message_code", "MSH", 9, 1, 1), ("trigger_event", "MSH", 9, 2, 1),
    ("message_time", "MSH", 7, 1, 1), ("control_id", "MSH", 10, 1, 1),
    ("sending_facility", "MSH", 4, 1, 1), ("character_set", "MSH", 18, 1, 1),
    ("patient_class", "PV1", 2, 1, 1), ("order_control", "ORC", 1, 1, 1),
    ("order_status", "ORC", 5, 1, 1), ("placer_id", "OBR", 2, 1, 1),
    ("filler_id", "OBR", 3, 1, 1), ("exam_code", "OBR", 4, 1, 1), ("exam_name", "OBR", 4, 2, 1),
    ("started_time", "OBR", 7, 1, 1), ("completed_time", "OBR", 8, 1, 1),
    ("requester_id", "OBR", 16, 1, 1), ("accession", "OBR", 18, 1, 1),
    ("resource", "OBR", 21, 1, 1), ("status_time", "OBR", 22, 1, 1),
    ("modality", "OBR", 24, 1, 1), ("result_status", "OBR", 25, 1, 1),
    ("priority", "OBR", 27, 6, 1), ("interpreter_id", "OBR", 32, 1, 1),
)  # fmt: skip
# The page's places and no others; the default map looks at more.
NARROW = Feed("bench", fields={name: f"{s}-{f}.{c}.{p}" for name, s, f, c, p in WANTED})
GROUP = {"ORC", "OBR"}
Row = tuple[str | None, ...]


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    logging.getLogger("hl7").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), int(MESSAGES * (QUICK_SHARE if arguments.quick else 1)))
    write_report(document, as_json=arguments.json)


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Messages per CPU second of every reader over the same files, and how they compare.

    The readers take turns in ROUNDS, so that a processor which is slower for a while is so for
    all: a rate is the best of the rounds, a ratio the median of those within a round.
    """
    files = write_files(folder, count)
    sample = list(islice(messages(count), PYTHON_HL7_SAMPLE))
    readers: dict[str, tuple[Callable[[], object], int]] = {
        "ours": (lambda: _ours(files, NARROW), count),
        "ours_default_map": (lambda: _ours(files, Feed("bench")), count),
        "limit_frames_segments_fields": (lambda: _limit(files, fields=True), count),
        "limit_frames_segments": (lambda: _limit(files, fields=False), count),
        "python_hl7": (
            lambda: [_or_none(by_python_hl7, one) for one in sample],
            len(sample),
        ),
    }
    missing = []
    try:
        import hl7kit

        readers["hl7kit"] = (
            lambda: [_or_none(lambda one: _by_hl7kit(hl7kit, one), one) for one in sample],
            len(sample),
        )
    except ImportError:
        missing.append("hl7kit (pip install hl7kit)")
    try:
        from hl7apy import parser

        few = [one for one in sample if _or_none(by_python_hl7, one)][:HL7APY_SAMPLE]
        readers["hl7apy"] = (
            lambda: [_or_none(lambda one: _by_hl7apy(parser, one), one) for one in few],
            len(few),
        )
    except ImportError:
        missing.append("hl7apy (pip install hl7apy)")
    rounds = [
        {name: _rate(read, amount) for name, (read, amount) in readers.items()}
        for _ in range(ROUNDS)
    ]
    rates = {name: max(each[name] for each in rounds) for name in readers}
    rates["ours_to_pseudonymised_events"] = _rate(lambda: _whole_path(files), count)

    def ratio(faster: str, slower: str) -> float:
        return round(median(each[faster] / each[slower] for each in rounds), 2)

    ratios = {
        f"ours_over_{peer}": ratio("ours", peer)
        for peer in ("python_hl7", "hl7kit", "hl7apy")
        if peer in readers
    }
    ratios["ours_default_map_over_python_hl7"] = ratio("ours_default_map", "python_hl7")
    ratios["limit_over_ours"] = ratio("limit_frames_segments_fields", "ours")
    ratios["segments_limit_over_ours"] = ratio("limit_frames_segments", "ours")
    return {
        "machine": machine(),
        "messages": count,
        "bytes": sum(path.stat().st_size for path in files),
        "results": [
            {"name": name, "unit": "messages/CPU s", "value": round(value, 1)}
            for name, value in rates.items()
        ]
        + [{"name": "differing_rows", "unit": "rows", "value": differing_rows(sample)}],
        "ratios": ratios,
        "aims": AIMS,
        "compared_messages": len(sample),
        "missing": missing,
    }


def write_files(folder: Path, count: int) -> list[Path]:
    """Spool-like files of MLLP frames, so many messages in each."""
    every = messages(count)
    files = []
    for number in range(-(-count // MESSAGES_A_FILE)):
        path = folder / f"{number:03d}.mllp"
        path.write_bytes(framed(islice(every, MESSAGES_A_FILE)))
        files.append(path)
    return files


def _rate(run: Callable[[], object], count: int) -> float:
    """Messages per second of CPU, all threads together."""
    began = time.process_time()
    run()
    return count / (time.process_time() - began)


def _ours(files: list[Path], feed: Feed) -> int:
    return sum(len(read_messages(path.read_bytes(), feed=feed).rows) for path in files)


def _limit(files: list[Path], *, fields: bool) -> int:
    """Read, split into frames, split these into segments, and into fields if asked."""
    count = 0
    for path in files:
        for frame in path.read_bytes().split(b"\x1c\r\x0b"):
            for line in frame.split(b"\r"):
                count += len(line.split(b"|")) if fields else 1
    return count


def _whole_path(files: list[Path]) -> int:
    network, rules = Network.load(Settings().seeds), read_event_map()
    keys = Keys(b"p" * 32, b"e" * 32, b"")
    count = 0
    for path in files:
        rows = read_messages(path.read_bytes(), feed="bench").rows.with_columns(
            source_sha=pl.lit(path.name),
            feed_id=pl.lit("bench"),
            issuer_ods=pl.col("sending_facility"),
        )
        events = events_from_messages(rows, rules, network.time_zone)
        landed = pseudonymise_events(
            events, keys, network.postcode_deprivation, network.event_ranks()
        )
        count += len(landed)
    return count


def _or_none(read: Callable[[bytes], Any], one: bytes) -> Any:
    """What a peer reads, None where it raises: broken messages are part of the corpus."""
    try:
        return read(one)
    except Exception:
        return None


def decoded(one: bytes) -> str:
    """Text of a message of the corpus."""
    return one.strip().decode("latin-1" if b"8859/1" in one[:160] else "utf-8", errors="replace")


def by_python_hl7(one: bytes) -> list[Row]:
    """The wanted values of each OBR group, by python-hl7."""
    message = hl7.parse(decoded(one))
    shared: dict[str, Any] = {}
    groups: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for segment in message:
        name = str(segment[0])
        if name == "ORC" or (name == "OBR" and not (groups and set(groups[-1]) & GROUP == {"ORC"})):
            groups.append({name: segment, **({} if len(groups) else before)})
        elif name == "OBR":
            groups[-1][name] = segment
        elif name in ("OBX", "IPC", "ZDS"):
            (groups[-1] if groups else before).setdefault(name, []).append(segment)
        else:
            shared.setdefault(name, segment)
    return [tuple(_values(message, shared | group)) for group in groups or [before]]


def _values(message: hl7.Message, group: dict[str, Any]) -> Iterator[str | None]:
    for _, name, number, component, part in WANTED:
        yield _extracted(message, group.get(name), number, component, part)
    yield _extracted(message, group.get("PID"), 3, 1, 1)
    lines = [o for o in group.get("OBX", []) if len(o) > 5]
    texts = [message.unescape(str(o[5])) for o in lines if str(o[2]) == "TX"]
    yield "\n".join(texts) or None
    coded = [o for o in lines if str(o[3]).startswith(("110180", "113014"))]
    places = [("IPC", 3), ("ZDS", 1)]
    found = [_extracted(message, s, n, 1, 1) for name, n in places for s in group.get(name, [])]
    yield next((uid for uid in (*found, *(str(o[5]) for o in coded)) if uid), None)


def _extracted(
    message: hl7.Message, segment: Any, number: int, component: int, part: int
) -> str | None:
    if segment is None:
        return None
    try:
        value = segment.extract_field(1, number, 1, component, part)
    except (KeyError, IndexError):
        return None
    return message.unescape(value).strip() or None if value else None


def _by_hl7kit(hl7kit: Any, one: bytes) -> list[str | None]:
    """The wanted values of the first group: hl7kit knows no groups."""
    message = hl7kit.parse(one)
    found = [message.get(f"{s}-{f}.{c}") for _, s, f, c, _ in WANTED]
    found.append(message.get("PID-3.1"))
    order = message.order()
    found.append(order.study_uid.value if order and order.study_uid else None)
    count = message.segments().count("OBX")
    lines = (message.get(f"OBX[{number}]-5") for number in range(1, count + 1))
    return [*found, "\n".join(line for line in lines if line)]


def _by_hl7apy(parser: Any, one: bytes) -> list[str]:
    message = parser.parse_message(decoded(one), find_groups=False)
    found = []
    for segment in message.children:
        wanted = [number for _, name, number, *_ in WANTED if name == segment.name]
        found += [getattr(segment, f"{segment.name}_{number}".lower()).value for number in wanted]
        if segment.name == "OBX":
            found.append(segment.obx_5.value)
    return found


def differing_rows(sample: list[bytes]) -> int:
    """Rows of ours that differ from python-hl7's, values with an escape of another class aside."""
    rows = read_messages(framed(iter(sample)), feed=NARROW).rows
    ours: dict[int, list[Row]] = {}
    columns = [name for name, *_ in WANTED] + ["patient_id", "report_text", "study_uid"]
    for number, *values in rows.select("message_no", *columns).iter_rows():
        ours.setdefault(number, []).append(tuple(values))
    count = 0
    for number, one in enumerate(sample, start=1):
        theirs = _or_none(by_python_hl7, one)
        if theirs is not None and _differs_in_escapes(one):
            theirs = [(*row[:-2], None, row[-1]) for row in theirs]
            ours[number] = [(*row[:-2], None, row[-1]) for row in ours.get(number, [])]
        count += theirs is not None and theirs != ours.get(number)
    return count


def _differs_in_escapes(one: bytes) -> bool:
    """Whether a report holds line breaks or bytes as escapes, which python-hl7 reads otherwise."""
    sign = one.strip()[6:7]
    return any(sign + name in one for name in (b".br", b"XB5", b"XC2"))


if __name__ == "__main__":
    main()
