"""Reads the rows that a child sends: an Arrow stream that believes no size it states itself.

A child has run foreign SQL and may be somebody else's by now. Arrow checks that it reads inside its
memory, but follows what a stream says: compressed buffers of any size, dictionaries that grow, views
of one text a million times, rows without bytes. So only what `child` writes is read: a schema of
known types, then batches whose buffers lie one behind the other inside their message.
"""

import struct
from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException

from dashboards.sqllab import wire

_TIME_ZONES = (None, "UTC", "Etc/UTC")
_PLAIN = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal128,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_date32,
    pa.types.is_time,
)
_PAIR = struct.Struct("<qq")
# Places of what is needed in the tables of Arrow's format (Message.fbs).
_HEADER, _ROWS, _NODES, _BUFFERS, _COMPRESSION, _VIEWS = 2, 0, 1, 2, 3, 4


class Forged(Exception):
    """The stream is none that a child of ours writes; the message says in what."""


class NotShown(Exception):
    """A column has what a frame cannot hold; the message is the library's."""


def read(body: memoryview, *, rows: int) -> pl.DataFrame:
    """The frame of an answer of at most `rows` rows. Raises Forged and NotShown.

    It takes a few times the bytes of `body` at most, whatever these are.
    """
    try:
        table = pa.Table.from_batches(*_batches(body, rows))
        table.validate(full=True)
    except (
        pa.ArrowException,
        OSError,
        MemoryError,
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        raise Forged(f"that Arrow cannot read ({str(error)[:200]})") from error
    try:
        return pl.DataFrame(pl.from_arrow(table))
    except (pa.ArrowException, pl.exceptions.PolarsError, PanicException, ValueError) as error:
        raise NotShown(str(error)[:200]) from error


def _batches(body: memoryview, rows: int) -> tuple[list[pa.RecordBatch], pa.Schema]:
    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    first = next(_rest(messages), None)
    if first is None or first.type != "schema":
        raise Forged("without its columns")
    schema = pa.ipc.read_schema(first)
    if not 1 <= len(schema) <= wire.MOST_COLUMNS:
        raise Forged(f"of {len(schema):,} columns")
    for field in schema:
        # A name that is no text raises here; polars would panic.
        _ = field.name
        if not pa.types.is_null(field.type):
            _check_type(field.type)
    batches: list[pa.RecordBatch] = []
    for message in _rest(messages):
        if message.type != "record batch":
            raise Forged(f"with a {message.type}")
        size = message.body.size if message.body is not None else 0
        rows -= _check_batch(message.metadata.to_pybytes(), size, rows)
        batches.append(pa.ipc.read_record_batch(message, schema))
    return batches, schema


def _rest(messages: pa.ipc.MessageReader) -> Iterator[pa.ipc.Message]:
    while True:
        try:
            yield messages.read_next_message()
        except StopIteration:
            return


def _check_type(kind: pa.DataType) -> None:
    """Types whose every value takes bytes of its own: nothing can be many without being large."""
    if pa.types.is_timestamp(kind):
        if kind.tz not in _TIME_ZONES:
            raise Forged("with times of another zone")
        return
    if any(is_one(kind) for is_one in _PLAIN):
        return
    nested = pa.types.is_list(kind) or pa.types.is_map(kind) or pa.types.is_struct(kind)
    if not nested and not (pa.types.is_fixed_size_list(kind) and kind.list_size > 0):
        raise Forged(f"of type {str(kind)[:60]}")
    if kind.num_fields == 0:
        raise Forged("of rows without columns")
    for place in range(kind.num_fields):
        _ = kind.field(place).name
        _check_type(kind.field(place).type)


def _check_batch(metadata: bytes, size: int, most_rows: int) -> int:
    """Rows of a batch whose parts lie in its `size` bytes, none over another."""
    (root,) = _unpack("<I", metadata, 0)
    batch = _follow(metadata, _field(metadata, root, _HEADER))
    if _field(metadata, batch, _COMPRESSION) or _field(metadata, batch, _VIEWS):
        raise Forged("that is compressed or has views")
    place = _field(metadata, batch, _ROWS)
    (rows,) = _unpack("<q", metadata, place) if place else (0,)
    if not 1 <= rows <= most_rows:
        raise Forged(f"with {rows:,} rows where 1 to {most_rows:,} may be")
    for length, nulls in _vector(metadata, _field(metadata, batch, _NODES)):
        # No value but null takes less than a bit, and only a column may be of nulls.
        if not 0 <= nulls <= length <= max(rows, 8 * size):
            raise Forged(f"with {length:,} values in {size:,} bytes")
    end = 0
    for start, length in _vector(metadata, _field(metadata, batch, _BUFFERS)):
        if length and not (end <= start and 0 < length <= size - start):
            raise Forged(f"with a part of {length:,} bytes at {start:,} of {size:,}")
        end = max(end, start + length) if length else end
    return rows


# ---------------------------------------------------------------- tables of a flat buffer


def _unpack(form: str, data: bytes, place: int) -> Sequence[int]:
    if place < 0:
        raise Forged("with a place before its beginning")
    return struct.unpack_from(form, data, place)


def _field(data: bytes, table: int, slot: int) -> int:
    """Where a field of a table lies, 0 where it has none."""
    (back,) = _unpack("<i", data, table)
    (size,) = _unpack("<H", data, table - back)
    if 4 + 2 * slot >= size:
        return 0
    (offset,) = _unpack("<H", data, table - back + 4 + 2 * slot)
    return table + offset if offset else 0


def _follow(data: bytes, place: int) -> int:
    return place + _unpack("<I", data, place)[0]


def _vector(data: bytes, place: int) -> Iterator[tuple[int, int]]:
    if not place:
        return iter(())
    start = _follow(data, place)
    (count,) = _unpack("<I", data, start)
    inside = data[start + 4 : start + 4 + count * _PAIR.size]
    if len(inside) != count * _PAIR.size:
        raise Forged("with a list that ends early")
    return _PAIR.iter_unpack(inside)
