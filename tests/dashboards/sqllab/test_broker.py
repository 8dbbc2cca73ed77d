"""The broker answers, refuses or stops; it never raises, and a query harms neither it nor the next."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import polars as pl
import pytest

from dashboards.sqllab import broker, child, confinement, wire
from tests.dashboards.sqllab.conftest import told

RUNAWAYS = {
    "cross_join": "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c "
    "where a.range + b.range * c.range = 7",
    "recursion": "with recursive r(n) as (select 1 union all select n + 1 from r) "
    "select count(*) from r",
    "growing_recursion": "with recursive r(t) as (select 'x' union all select t || t from r) "
    "select max(length(t)) from r",
    "huge_text": "select length(repeat('x', 2000000000))",
    "padded_text": "select length(lpad('x', 2000000000, 'y'))",
    "printed_width": "select length(printf('%2000000000d', 1))",
    "huge_list": "select len(range(2000000000))",
    "list_of_instants": "select len(generate_series(timestamp '0001-01-01', "
    "timestamp '9999-01-01', interval 1 microsecond))",
    "sorted_range": "select i from range(1000000000) t(i) order by hash(i) desc",
    "grouped_range": "select count(*) from (select i from range(1000000000) t(i) group by i)",
    "collected_texts": "select length(string_agg(i::varchar, ',')) from range(1000000000) t(i)",
    "regular_expression": "select count(*) from range(1000000000) t(i) where "
    "regexp_matches(repeat('a', 2000) || i, '(a|aa|aaa){1,200}b')",
    "quadratic_text": "select levenshtein(repeat('a', 20000) || i, repeat('b', 20000)) "
    "from range(1000) t(i)",
    "wide_pivot": "pivot (select i from range(90000) t(i)) on i using count(*)",
    "list_of_nulls": "select list_resize([null], 500000000)",
    "deep_json": "select json_valid(repeat('[', 100000000))",
    "window": "select sum(s) from (select median(i) over (order by i rows between 100000 "
    "preceding and current row) s from range(100000000) t(i))",
}
LIMITS = {"seconds": 0.3, "memory_mb": 256}
# What a process holds before its query, measured at 120 to 150 MB.
START_MB = 250


@pytest.mark.parametrize("name", RUNAWAYS)
def test_a_runaway_query_ends_at_a_limit(name, ask):
    """Failing means that one query takes the server's time or memory from everybody."""
    answer = ask(RUNAWAYS[name], **LIMITS)
    assert isinstance(answer, broker.QueryStopped), answer
    assert "a query may take; ask for less" in answer.reason
    assert answer.peak_memory_mb is not None
    assert answer.peak_memory_mb < LIMITS["memory_mb"] + START_MB


def test_the_next_query_finds_nothing_of_the_one_before(ask, ask_ungated):
    """Failing means that what one reader does changes what the next one sees."""
    ask_ungated("create temp macro date_trunc(a, b) as 'pwned'")
    ask_ungated("set search_path = 'private'")
    found = ask("select date_trunc('year', date '2024-05-05')::date::varchar as d")
    assert found.frame["d"].to_list() == ["2024-01-01"]


def test_rows_and_bytes_are_cut_and_said_so(ask):
    """A cut that is not told is a wrong total in somebody's report."""
    cut = ask("select * from range(100000000000)", rows=7)
    assert isinstance(cut, broker.QueryResult), cut
    assert cut.frame["range"].to_list() == list(range(7)) and cut.truncated
    whole = ask("select * from range(7)", rows=7)
    assert whole.frame.height == 7 and not whole.truncated
    wide = ask("select repeat('x', 1000) as t from range(100000)", bytes=50_000)
    assert 0 < wide.frame.height <= 50 and wide.truncated
    huge = ask("select repeat('x', 100000) as t", bytes=50_000)
    assert huge.frame.height == 0 and huge.truncated


def test_every_type_of_the_engine_can_be_shown(ask):
    """Failing means that a query which worked is reported as broken for its type."""
    answer = ask(
        "select 1 as a, 2 as a, interval 3 month as i, '12:00:00+01'::timetz as tz, '101'::bit as b,"
        " now() as at, 'x'::enum('x', 'y') as e, 170::hugeint as h, 1.5::decimal(9, 2) as d,"
        " null as n, {'k': interval 1 day} as s, [1, 2] as l, [1, 2]::int[2] as f, 'x'::blob as o,"
        " map {'k': 1} as m, union_value(k := 1) as u, '{}'::json as j, date 'infinity' as far,"
        " '2020-01-01'::timestamp_ns as ns, 'nan'::double as nan,"
        " 'f47ac10b-58cc-4372-a567-0e02b2c3d479'::uuid as id, 12::bignum as big"
    )
    assert isinstance(answer, broker.QueryResult), answer
    assert answer.frame.columns[:3] == ["a", "a_1", "i"]
    shown = answer.frame.select("i", "tz", "b", "big").row(0)
    assert shown == ("3 months", "12:00:00+01", "101", "12")
    assert answer.frame.schema["at"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize("end", ["", ";", "; -- of the month", ";;"])
def test_a_type_shown_as_text_may_be_followed_by_an_end_and_a_comment(ask, end):
    """Failing means that a statement which runs is told to have a mistake."""
    answer = ask(f"select 'é;' as a, interval 1 day as i{end}")
    assert isinstance(answer, broker.QueryResult), answer
    assert answer.frame.rows() == [("é;", "1 day")]


def test_an_empty_result_keeps_its_columns(ask):
    """A result without rows is an answer too."""
    answer = ask("select modality, i from mart.exam where false")
    assert answer.frame.shape == (0, 2) and not answer.truncated


def test_a_mistake_is_told_in_the_engines_words_without_hidden_names(ask, warehouse):
    """A typo must not list what a reader may not see, nor where the file lies."""
    answer = ask("select modalty from mart.exam")
    assert isinstance(answer, broker.QueryRefused) and "modality" in answer.reason
    answer = ask("select * from mart.stff")
    assert isinstance(answer, broker.QueryRefused) and "stff" in answer.reason
    assert "private" not in answer.reason
    for sql in (
        "select 'x'::int",
        "select * from mart.exam where modality",
        "select date '2024-13-01'",
    ):
        answer = ask(sql)
        assert isinstance(answer, broker.QueryRefused) and str(warehouse.parent) not in told(answer)


def test_metrics_are_asked_by_name(metrics_file):
    """Failing means that the macros of the published file cannot be used where SQL is typed."""
    answer = broker.run("from metric('W02')", published_file=metrics_file)
    assert answer.frame.select("trust_code", "value", "target").rows() == [("RMC", 0.25, 0.01)]
    answer = broker.run("select * from metric('W99')", published_file=metrics_file)
    assert isinstance(answer, broker.QueryRefused) and "none of W02" in answer.reason
    answer = broker.run("select name from metrics", published_file=metrics_file)
    assert answer.frame["name"].to_list() == ["Waiting"]
    answer = broker.run("from catalogue.metrics", published_file=metrics_file)
    assert isinstance(answer, broker.QueryRefused)


def test_a_file_that_is_gone_or_no_database_is_told(tmp_path):
    """A build that was removed meanwhile must not look like an empty answer."""
    answer = broker.run("select 1", published_file=tmp_path / "gone.duckdb")
    assert isinstance(answer, broker.QueryRefused) and "gone" in answer.reason
    broken = tmp_path / "broken.duckdb"
    broken.write_text("no database" * 1000)
    answer = broker.run("select 1", published_file=broken)
    assert isinstance(answer, broker.QueryRefused) and str(tmp_path) not in answer.reason


def test_a_query_is_cancelled_from_another_thread(warehouse):
    """A reader who gave up must not hold a slot until the limit."""
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    answer = broker.run(
        RUNAWAYS["cross_join"], published_file=warehouse, schemas=("mart",), cancel=cancel
    )
    assert answer == broker.QueryStopped("cancelled", answer.peak_memory_mb)


def test_a_query_that_waits_for_its_turn_can_be_cancelled_too(warehouse):
    """Two slow queries must not make a third one unstoppable."""
    first, third = threading.Event(), threading.Event()
    third.set()
    with ThreadPoolExecutor(2) as pool:
        slow = [
            pool.submit(broker.run, RUNAWAYS["cross_join"], published_file=warehouse, cancel=first)
            for _ in range(broker.AT_ONCE)
        ]
        while broker._Service.current()._slots._value:
            pass
        answer = broker.run("select 1", published_file=warehouse, cancel=third)
        first.set()
        assert [one.result().reason for one in slow] == ["cancelled"] * broker.AT_ONCE
    assert answer == broker.QueryStopped("cancelled before it began")


def test_queries_of_many_threads_get_their_own_answers(warehouse):
    """An answer in the wrong window is another reader's data."""

    def one(number: int) -> int:
        sql = f"select {number} + count(*) - 200000 as n from mart.exam"
        answer = broker.run(sql, published_file=warehouse, schemas=("mart",))
        return answer.frame["n"][0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(12))) == list(range(12))


def test_a_zygote_that_dies_is_started_again(ask):
    """Failing means that one crash ends typed SQL until somebody restarts the dashboards."""
    assert isinstance(ask("select 1"), broker.QueryResult)
    zygote = broker._Service.current()._zygote
    assert zygote is not None
    zygote.process.kill()
    zygote.process.wait()
    assert isinstance(ask("select 1"), broker.QueryResult)


def test_a_child_that_the_system_kills_for_memory_is_told_in_words(warehouse):
    """A reader who sees "signal 9" does not know what to change."""
    request = broker._request(RUNAWAYS["cross_join"], warehouse, ("mart",), broker.Limits())
    service = broker._Service.current()
    zygote = service.start().process.pid
    broker.retire()
    _wait_for_none(zygote)
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(service.ask(request, threading.Event()))
    )
    asking.start()
    while not (children := _children(zygote)):
        pass
    os.kill(children[0], 9)
    asking.join()
    assert isinstance(answers[0], broker.QueryStopped)
    assert "needed more than the 1,024 MB" in answers[0].reason


def _children(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as listed:  # noqa: PTH123
        return [int(one) for one in listed.read().split()]


def _wait_for_none(process: int) -> None:
    while _children(process):
        pass


def test_no_child_is_left_behind(ask):
    """Children that stay take memory until the server is restarted."""
    for _ in range(2):
        ask("select 1")
        ask("select length(repeat('x', 2000000000))", **LIMITS)
    zygote = broker._Service.current().start().process
    # The one that waits for the next query is ours to end.
    broker.retire()
    _wait_for_none(zygote.pid)
    assert zygote.poll() is None


def test_a_query_takes_the_process_that_was_opened_for_it(ask):
    """Failing means that every query waits for the engine's start, or that one runs two queries."""
    service = broker._Service.current()
    ask("select 1")
    spare = service._spare
    assert spare is not None and spare.is_waiting()
    assert ask("select 2 as two").frame.rows() == [(2,)]
    assert spare.socket.fileno() == -1 and service._spare is not spare


def test_a_process_that_was_opened_answers_for_its_own_file_only(ask, metrics_file, tmp_path):
    """Failing means that a reader is shown another audience's file, or a build that was replaced."""
    ask("select 1")
    answer = broker.run("from metric('W02')", published_file=metrics_file)
    assert answer.frame["value"].to_list() == [0.25]
    file = tmp_path / "x.duckdb"
    for number in (1, 2):
        with duckdb.connect(str(tmp_path / "new.duckdb")) as con:
            con.execute(f"create schema marts; create table marts.t as select {number} as n")
        (tmp_path / "new.duckdb").rename(file)
        assert broker.run("from marts.t", published_file=file).frame["n"].to_list() == [number]
    file.unlink()
    assert "gone" in broker.run("from marts.t", published_file=file).reason


def test_a_process_that_nobody_asks_ends_by_itself(ask, monkeypatch):
    """Failing means that memory and a removed build's file are held for ever."""
    monkeypatch.setattr(broker, "IDLE_SECONDS", 0.05)
    ask("select 1")
    _wait_for_none(broker._Service.current().start().process.pid)
    assert isinstance(ask("select 1"), broker.QueryResult)


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"memory_mb": 1}, {"rows": 0}, {"bytes": 0}, {"seconds": 1e9}]
)
def test_limits_that_make_no_sense_are_refused(wrong):
    """A limit of nothing, or of everything, is a slip of whoever configures it."""
    with pytest.raises(ValueError, match="limits"):
        broker.Limits(**wrong)


def test_the_engine_is_locked_down(ask_ungated):
    """Failing means that a setting of the engine lets a query out, or lets it be unlocked."""
    answer = ask_ungated("select name, value from duckdb_settings()", rows=1_000)
    found = dict(answer.frame.rows())
    open_doors = {
        name: found[name]
        for name in (
            "enable_external_access",
            "autoload_known_extensions",
            "autoinstall_known_extensions",
            "allow_community_extensions",
            "allow_unsigned_extensions",
            "allow_persistent_secrets",
            "python_enable_replacements",
            "python_scan_all_frames",
        )
        if found[name] != "false"
    }
    assert open_doors == {}
    assert found["lock_configuration"] == "true" and found["access_mode"] == "read_only"
    assert (found["threads"], found["temp_directory"]) == ("2", "")
    assert found["TimeZone"] == "UTC"


ATTEMPTS = """
import ctypes, json, os, socket, sys
from pathlib import Path
from dashboards.sqllab import confinement
allowed, other, out = map(Path, sys.argv[1:])
own_user = confinement.can_become_nobody()
confinement.leave_network()
if not own_user:
    confinement.shed_capabilities()
parent = os.getppid()
status = os.open("/proc/self/statm", os.O_RDONLY)
is_enclosed = confinement.enclose(allowed, cpu_seconds=20)
kept = allowed.open("rb")
confinement.drop(
    own_user=own_user,
    is_enclosed=is_enclosed,
    more_bytes=64 << 20,
    mapped_bytes=confinement.mapped(status),
)
def attempt(do):
    try:
        do()
    except BaseException as error:
        return type(error).__name__
    return "done"
def write():
    out.write_bytes(b"x" * 10)
def run_program():
    os.posix_spawn("/bin/true", ["true"], {})
print(json.dumps({
    "read the file": attempt(lambda: kept.read(10)),
    "read another file": attempt(lambda: other.read_text()),
    "list a folder": attempt(lambda: os.listdir("/")),
    "write a file": attempt(write),
    "run a program": attempt(run_program),
    "reach the network": attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
    "signal the server": attempt(lambda: os.kill(parent, 0)),
    "become root": attempt(lambda: os.setuid(0) if os.getuid() else None),
    "take memory": attempt(lambda: bytearray(200 << 20)),
    "open many files": attempt(lambda: [os.dup(0) for _ in range(64)]),
}))
sys.stdout.flush()
os._exit(0)
"""


def test_a_confined_process_can_do_nothing_but_use_its_file(lab, tmp_path):
    """Failing means that foreign code in the engine would have the rights of the server."""
    held = broker.warm()
    other = lab / "other" / "secret.txt"
    ran = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, lab / "pub" / "warehouse.duckdb", other, tmp_path / "x"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    expected = {
        "read another file": held.landlock > 0,
        "list a folder": held.landlock > 0,
        "write a file": True,
        "run a program": held.landlock > 0,
        "reach the network": True,
        "signal the server": held.own_user or held.landlock >= 6,
        "become root": held.own_user,
        "take memory": True,
        "open many files": True,
    }
    assert found.pop("read the file") == "done"
    assert {name for name, result in found.items() if result != "done"} >= {
        name for name, must in expected.items() if must
    }, found
    assert not (tmp_path / "x").exists() or not (tmp_path / "x").read_bytes()


# Root that may not change its user, as many containers run it.
TIED_ROOT = """
import ctypes, dataclasses, json, os, sys
from pathlib import Path
# PR_CAPBSET_DROP of SETGID and SETUID, which holds from the next exec on.
assert all(ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0 for right in (6, 7))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""
ASKING = """
import json, os, sys, threading
from pathlib import Path
from dashboards.sqllab import broker, confinement
file, other = map(Path, sys.argv[1:])
held = broker.warm()
answers = []
for sql in ("select 1 as one", f"from read_text('{other}')"):
    request = broker._request(sql, file, ("mart",), broker.Limits()) | {"is_gated": False}
    answers.append(str(broker._Service.current().ask(request, threading.Event())))
confinement.landlock_version = lambda: 0
try:
    is_enclosed = confinement.enclose(file, cpu_seconds=20)
    confinement.drop(
        own_user=confinement.can_become_nobody(), is_enclosed=is_enclosed,
        more_bytes=1 << 30, mapped_bytes=1 << 30,
    )
    answers.append("runs")
except confinement.NotConfined as why:
    answers.append(str(why))
print(json.dumps([os.geteuid(), held.own_user, held.landlock, *answers]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can show what root without rights can do")
def test_root_that_cannot_change_its_user_is_confined_by_landlock_or_refused(lab, warehouse):
    """Failing means that in a container typed SQL breaks, or runs with the rights of the server."""
    ran = subprocess.run(
        [sys.executable, "-c", TIED_ROOT, ASKING, warehouse, lab / "other" / "secret.txt"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    user, own_user, landlock, plain, hostile, without_landlock = json.loads(ran.stdout)
    assert (user, own_user) == (0, False)
    if landlock:
        assert plain.startswith("QueryResult") and hostile.startswith("QueryRefused"), plain
    else:
        assert "typed SQL is off" in plain and "typed SQL is off" in hostile
    assert "LEAK" not in hostile
    assert "typed SQL is off" in without_landlock and "SETUID" in without_landlock


def test_nothing_runs_where_nothing_keeps_the_files_apart(ask, monkeypatch):
    """Failing means that typed SQL reads the server's files on a system that cannot confine it."""
    held = confinement.Protections(own_user=False, no_network=True, landlock=0)
    monkeypatch.setattr(broker._Service.current().start(), "protections", held)
    answer = ask("select 1")
    assert isinstance(answer, broker.QueryRefused) and "run the dashboards on" in answer.reason


def test_a_step_that_the_system_refuses_is_told_without_paths(warehouse, monkeypatch):
    """Failing means that a reader sees "ended without an answer", and nobody what to do."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted", "/srv/secret")

    monkeypatch.setattr(confinement, "enclose", refuse)
    request = broker._request("select 1", warehouse, ("mart",), broker.Limits())
    head, _ = wire.unpack(child._opened(broker._opening(request, own_user=True)), 0)
    told = broker._Query(request, threading.Event())._why(head)
    assert "refused a step (Operation not permitted)" in told and "secret" not in told
