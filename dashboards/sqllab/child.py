"""One typed query in a process of its own: confine, open, lock, judge, run, answer, end."""

import os
import select
import socket
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import pyarrow as pa

from dashboards.sqllab import confinement, gate, wire

# A process may grow by memory_mb; DuckDB ends a query in good order at this share of it.
ENGINE_SHARE = 0.75
# Stacks, code and fragments that take address space and no memory to speak of.
SLACK_BYTES = 96 << 20
THREADS = 2
_BATCH_ROWS = 2_048
# Made before there is foreign SQL: no memory may be left when they are needed.
_NO_MEMORY = wire.pack({"kind": "stopped", "why": "memory"})
_NO_TIME = wire.pack({"kind": "stopped", "why": "time"})
# polars has no such types: they are shown as DuckDB writes them.
_AS_TEXT = ("INTERVAL", "UNION", "BIT", "TIME WITH TIME ZONE", "BIGNUM", "VARINT", "VARIANT")
_AS_TEXT += ("GEOMETRY", "TIME_NS", "AGGREGATE_STATE")
# These hold many values in few bytes, so that bytes would not limit them: a text a million times,
# a list of a milliard nulls.
_AS_TEXT += ("ENUM(", '"NULL"')
_LOCKED = {
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
    "temp_directory": "",
    "max_temp_directory_size": "0GB",
    "threads": str(THREADS),
}
if int(version("duckdb").partition(".")[0]) >= 2:
    # Eight threads for remote files otherwise, which each query would start and stop.
    _LOCKED["async_threads"] = "1"


def serve(connection: socket.socket) -> NoReturn:
    """Open the file that the first message names, answer the one query of the second, and end.

    The second may come much later: a process is opened before somebody asks. It ends unused where
    nobody does in the time that the first message gives.
    """
    code = 0
    try:
        opening, _ = wire.receive(connection, 0)
        engine = _opened(opening)
        if not isinstance(engine, bytes) and not select.select([connection], [], [], 0)[0]:
            _rehearse(engine)
        if select.select([connection], [], [], opening["idle_seconds"])[0]:
            request, _ = wire.receive(connection, 0)
            connection.sendall(engine if isinstance(engine, bytes) else _answer(engine, request))
    except MemoryError:
        code = wire.OUT_OF_MEMORY
    except BaseException:
        code = wire.FAILED
    os._exit(code)


def _opened(opening: dict[str, Any]) -> duckdb.DuckDBPyConnection | bytes:
    """The engine, or what to answer because there is none."""
    try:
        return _open(Path(opening["file"]), opening)
    except Exception as error:
        return _told(error, opening["file"])


def _rehearse(engine: duckdb.DuckDBPyConnection) -> None:
    """Run a query of ours while nobody waits: the first of a process is slower by its page faults."""
    nothing = {"sql": "select 1 as n", "parameters": {}, "schemas": [], "rows": 1, "bytes": 1_000}
    # Where it fails, so does the next, which tells its reader why.
    with suppress(Exception):
        _run(engine, nothing | {"is_gated": True, "file": ""})


def _answer(engine: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> bytes:
    try:
        _interrupt(engine, time.monotonic() + request["seconds"])
        return _run(engine, request)
    except Exception as error:
        return _told(error, request["file"])


def _told(error: Exception, file: str) -> bytes:
    """The answer that an error makes; raises one that is none of a query."""
    if isinstance(error, duckdb.InterruptException):
        return _NO_TIME
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError | pa.ArrowMemoryError):
        return _NO_MEMORY
    if isinstance(error, confinement.NotConfined | OSError):
        # Not all of the text of the second, which may name a path of the server.
        refused = f"the system refused a step ({getattr(error, 'strerror', '')})"
        words = str(error) if isinstance(error, confinement.NotConfined) else refused
        return wire.pack({"kind": "stopped", "why": "confinement", "words": words})
    if isinstance(error, duckdb.Error | pa.ArrowException | RuntimeError | ValueError):
        if "bad_alloc" in str(error) or "bad allocation" in str(error):
            return _NO_MEMORY
        return wire.pack({"kind": "refused", "reason": _words(error, file)})
    raise error


def _open(file: Path, opening: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """The file, read only, with an engine that cannot be unlocked; no right is left but to use it."""
    if not file.is_file():
        raise duckdb.IOException("the published file is gone; reload the page to ask the newest")
    seconds, memory = opening["seconds"], int(opening["memory_mb"]) << 20
    statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    is_enclosed = confinement.enclose(file, cpu_seconds=int(seconds * THREADS) + 3)
    limit = f"{int(memory * ENGINE_SHARE) >> 20}MiB"
    engine = duckdb.connect(str(file), read_only=True, config=_LOCKED | {"memory_limit": limit})
    # Not in the configuration above, which DuckDB applies in no order: once access is closed, the
    # folder for spilling cannot be unset any more.
    for setting in (
        "TimeZone = 'UTC'",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        engine.execute(f"set {setting}")
    confinement.drop(
        own_user=opening["own_user"],
        is_enclosed=is_enclosed,
        more_bytes=memory + SLACK_BYTES,
        mapped_bytes=confinement.mapped(statm),
    )
    os.close(statm)
    return engine


def _interrupt(engine: duckdb.DuckDBPyConnection, deadline: float) -> None:
    """Stop what runs at the deadline, again and again: one statement may follow another."""

    def wait() -> None:
        time.sleep(max(0.0, deadline - time.monotonic()))
        while True:
            engine.interrupt()
            time.sleep(0.1)

    threading.Thread(target=wait, daemon=True).start()


def _run(engine: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> bytes:
    statement, values = request["sql"], wire.untag(request["parameters"])
    if request["is_gated"]:
        ((catalog,),) = engine.execute("select current_database()").fetchall()
        verdict = gate.judge(
            engine, statement, schemas=request["schemas"], catalog=catalog, parameters=values
        )
        if not verdict.allowed:
            reason = _words(verdict.reason, request["file"])
            return wire.pack({"kind": "refused", "reason": reason})
        statement = verdict.statement
    relation = _relation(engine, statement, values)
    if relation is None:
        return wire.pack({"kind": "refused", "reason": "the statement has no result"})
    if len(relation.columns) > wire.MOST_COLUMNS:
        reason = (
            f"the answer has {len(relation.columns):,} columns; {wire.MOST_COLUMNS:,} is the most"
        )
        return wire.pack({"kind": "refused", "reason": reason})
    relation = _in_known_types(engine, relation, statement, values)
    batches, truncated, schema = _first(relation, request["rows"], request["bytes"])
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    head = {"kind": "result", "truncated": truncated}
    return wire.pack(head, memoryview(out.getvalue()))


def _relation(
    engine: duckdb.DuckDBPyConnection, statement: str, values: dict[str, wire.Value]
) -> duckdb.DuckDBPyRelation | None:
    """What a statement gives, not run yet; its parameters are bound, never written into it."""
    return engine.sql(statement, params=values) if values else engine.sql(statement)


def _in_known_types(
    engine: duckdb.DuckDBPyConnection,
    relation: duckdb.DuckDBPyRelation,
    statement: str,
    values: dict[str, wire.Value],
) -> duckdb.DuckDBPyRelation:
    """The same rows with columns of unusual types as text; the statement has not run yet."""
    # A column of nulls is as long as the answer.
    types = [name if (name := str(one).upper()) != '"NULL"' else "" for one in relation.types]
    if not any(odd in one for one in types for odd in _AS_TEXT):
        return relation
    columns = ", ".join(
        (f"#{place}::varchar" if any(odd in one for odd in _AS_TEXT) else f"#{place}")
        + f' as "{name.replace(chr(34), chr(34) * 2)}"'
        for place, (name, one) in enumerate(zip(relation.columns, types, strict=True), 1)
    )
    del relation
    shown = _relation(engine, f"select {columns} from ({_without_end(statement)}\n)", values)
    assert shown is not None, "a SELECT has a result"
    return shown


def _without_end(statement: str) -> str:
    """The one statement of a text, without its semicolon and what comes after."""
    text = statement.encode()
    ends = [at for at, _ in duckdb.tokenize(statement) if text[at : at + 1] == b";"]
    return text[: ends[0]].decode() if ends else statement


def _first(
    relation: duckdb.DuckDBPyRelation, rows: int, most: int
) -> tuple[list[pa.RecordBatch], bool, pa.Schema]:
    """Rows up to both limits, whether there were more, and their schema with names made unique."""
    reader = relation.to_arrow_reader(min(rows + 1, _BATCH_ROWS))
    schema = _unique_names(reader.schema)
    batches: list[pa.RecordBatch] = []
    have, size = 0, 0
    for batch in reader:
        keep = min(batch.num_rows, rows - have)
        part = batch.slice(0, keep)
        if size + part.nbytes > most:
            # The last batch is cut where its average row says; at least a row less than all.
            keep = min(keep - 1, max(0, (most - size) * keep // max(1, part.nbytes)))
            part = batch.slice(0, max(0, keep))
        if part.num_rows:
            batches.append(pa.RecordBatch.from_arrays(part.columns, schema=schema))
        have, size = have + part.num_rows, size + part.nbytes
        if part.num_rows < batch.num_rows:
            return batches, True, schema
    return batches, False, schema


def _unique_names(schema: pa.Schema) -> pa.Schema:
    """Two columns may have one name in SQL, but not in a frame: the second becomes name_1."""
    taken: set[str] = set()
    fields = []
    for field in schema:
        name, number = field.name, 0
        while name in taken:
            number += 1
            name = f"{field.name}_{number}"
        taken.add(name)
        fields.append(field.with_name(name))
    return pa.schema(fields)


def _words(error: Exception | str, file: str) -> str:
    """What the engine says, without its guesses at hidden names and without a path of the server."""
    text = str(error)
    if isinstance(error, duckdb.CatalogException) or text.startswith("Catalog Error"):
        text = text.partition("\n")[0]
    for path in (file, str(Path(file).parent)):
        text = text.replace(path, "the published file")
    return text[:2_000]
