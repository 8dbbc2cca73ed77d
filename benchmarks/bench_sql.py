"""What the process around a typed query costs, against the same query without it, and without a zygote.

The task is a set of analysts' queries on a published file of our own. Each is run in turns by the
broker (gate, fork, confinement, a locked engine, answer as a frame), by the broker where no process
waits for the query (`first`: as the first one of a file or limit), in this process on a connection
that stays open, and by the peer: a fresh Python process for each query, which is what keeps typed SQL
apart without a zygote. Runaway queries are run to their limit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from benchmarks.bench_journey import machine
from benchmarks.report import write_report
from dashboards.sqllab import broker, gate

ROWS, QUICK_ROWS = 5_000_000, 200_000
ROUNDS, QUICK_ROUNDS = 40, 15
AIMS = {"sql_overhead_ms": 60.0, "latest_stop_seconds": 2.0}
TABLE = """
create schema marts;
create table marts.exam as
select
    range as exam_number,
    date '2020-04-01' + (range % 2190)::int as completed_on,
    ['CT', 'MRI', 'Plain radiography', 'Ultrasound'][1 + (range % 4)::int] as modality_group,
    'R' || (range * 7919 % 8) as org_code,
    (range * 31 % 4000) / 10 as turnaround_hours
from range({rows})
"""
QUERIES = {
    "count": "select count(*) as exams from marts.exam",
    "group": "select modality_group, count(*) as exams, avg(turnaround_hours) as mean_hours "
    "from marts.exam group by all order by all",
    "pivot": "pivot marts.exam on modality_group using count(*) group by org_code order by org_code",
    "window": "select completed_on, exams, avg(exams) over (order by completed_on rows 6 preceding) "
    "as week from (select completed_on, count(*) as exams from marts.exam group by all) "
    "order by completed_on",
    "thousand_rows": "select * from marts.exam where exam_number < 1000",
}
RUNAWAYS = {
    "cross_join": "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c "
    "where a.range + b.range * c.range = 7",
    "recursion": "with recursive r(n) as (select 1 union all select n + 1 from r) "
    "select count(*) from r",
    "huge_text": "select length(repeat('x', 2000000000))",
    "padded_text": "select length(lpad('x', 2000000000, 'y'))",
    "list_of_instants": "select len(generate_series(timestamp '0001-01-01', "
    "timestamp '9999-01-01', interval 1 microsecond))",
    "sorted_range": "select i from range(1000000000) t(i) order by hash(i) desc",
    "grouped_range": "select count(*) from (select i from range(1000000000) t(i) group by i)",
    "quadratic_text": "select levenshtein(repeat('a', 20000) || i, repeat('b', 20000)) "
    "from range(1000) t(i)",
    "regular_expression": "select count(*) from range(1000000000) t(i) where "
    "regexp_matches(repeat('a', 2000) || i, '(a|aa|aaa){1,200}b')",
    "wide_pivot": "pivot (select i from range(90000) t(i)) on i using count(*)",
}
RUNAWAY_LIMITS = broker.Limits(seconds=1.0, memory_mb=512)
FRESH = (
    "import sys, duckdb; con = duckdb.connect(sys.argv[1], read_only=True, config={'threads': 2}); "
    "print(con.sql(sys.argv[2]).pl().write_json())"
)


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller file, fewer rounds")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if arguments.quick else (ROWS, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "demo_bench.duckdb"
        with duckdb.connect(str(file)) as con:
            con.execute(TABLE.format(rows=rows))
        write_report(measure(file, rows, rounds), as_json=arguments.json)


def measure(file: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each way for each query, in turns, and how late runaway queries end."""
    began = time.perf_counter()
    held = broker.warm()
    started = time.perf_counter() - began
    with duckdb.connect(str(file), read_only=True, config={"threads": 2}) as con:
        ways = {
            "broker": lambda sql: _asked(sql, file),
            "first": lambda sql: _asked_first(sql, file),
            "in_process": lambda sql: con.cursor().sql(sql).pl(),
            "fresh_process": lambda sql: _fresh(sql, file),
        }
        took = [_time(sql, ways, rounds) for sql in QUERIES.values()]
    compared = [_row(name, times) for name, times in zip(QUERIES, took, strict=True)]
    with duckdb.connect(":memory:", config={"threads": 1}) as parser:
        judged = [_milliseconds(gate.judge, parser, sql) for sql in QUERIES.values() for _ in "123"]
    stops = [_stop(name, sql, file) for name, sql in RUNAWAYS.items()]
    return {
        "machine": machine(),
        "rows": rows,
        "rounds": rounds,
        "held_by_the_kernel": vars(held),
        "results": [
            {"name": "zygote_start", "unit": "s", "value": started},
            {"name": "gate", "unit": "ms", "value": median(judged)},
            *(
                {
                    "name": way,
                    "unit": "ms, median of the queries; quickest and slowest of any",
                    "value": median(median(times[way]) for times in took),
                    "least": min(min(times[way]) for times in took),
                    "most": max(max(times[way]) for times in took),
                }
                for way in ways
            ),
        ],
        "ratios": {
            "sql_overhead_ms": median(row["overhead"] for row in compared),
            "sql_overhead_first_ms": median(row["overhead_first"] for row in compared),
            "fresh_process_over_broker": median(
                row["fresh_process"] / row["broker"] for row in compared
            ),
            "latest_stop_seconds": max(row["seconds_late"] for row in stops),
        },
        "aims": AIMS,
        "tables": {"milliseconds, medians": compared, "runaway queries, limit 1 s": stops},
    }


def _time(sql: str, ways: dict[str, Callable[[str], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, in turns, after one round to warm up."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            # A fresh process takes most of the time of the run; half the rounds tell its median.
            if way != "fresh_process" or number < 2 or number % 2:
                took[way].append(_milliseconds(run, sql))
    return {way: times[1:] for way, times in took.items()}


def _row(name: str, took: dict[str, list[float]]) -> dict[str, Any]:
    """Medians of a query; the overhead is the broker's less that of the open connection."""
    middle = {way: median(times) for way, times in took.items()}
    return {
        "query": name,
        **middle,
        "overhead": middle["broker"] - middle["in_process"],
        "overhead_first": middle["first"] - middle["in_process"],
    }


def _milliseconds(run: Callable[..., Any], *given: Any) -> float:
    began = time.perf_counter()
    run(*given)
    return (time.perf_counter() - began) * 1000


def _asked(sql: str, file: Path) -> broker.QueryResult:
    answer = broker.run(sql, published_file=file)
    if not isinstance(answer, broker.QueryResult):
        raise RuntimeError(f"{sql}: {answer.reason}")
    return answer


def _asked_first(sql: str, file: Path) -> broker.QueryResult:
    broker.retire()
    return _asked(sql, file)


def _fresh(sql: str, file: Path) -> list[dict[str, Any]]:
    return json.loads(subprocess.check_output([sys.executable, "-c", FRESH, str(file), sql]))


def _stop(name: str, sql: str, file: Path) -> dict[str, Any]:
    began = time.perf_counter()
    answer = broker.run(sql, published_file=file, limits=RUNAWAY_LIMITS)
    late = time.perf_counter() - began - RUNAWAY_LIMITS.seconds
    peak = answer.peak_memory_mb if isinstance(answer, broker.QueryStopped) else None
    ended = answer.reason.partition(",")[0] if not isinstance(answer, broker.QueryResult) else "ran"
    return {
        "query": name,
        "seconds_late": max(0.0, late),
        "peak_memory_mb": peak or 0.0,
        "ended": ended,
    }


if __name__ == "__main__":
    main()
