"""What a child sends is somebody else's bytes: no size in it is believed before it is checked."""

import json
import random
import struct

import polars as pl
import pyarrow as pa
import pytest

from dashboards.sqllab import answer, broker, wire

ROWS = 10_000
GOOD = {
    "text": ["a", None, "ccc"],
    "list": [[1, 2], [], None],
    "struct": [{"k": True}, None, {"k": False}],
    "nothing": [None, None, None],
}


def stream(table: pa.Table, **options) -> bytes:
    """A table as a child writes it."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue().to_pybytes()


def read(data: bytes) -> pl.DataFrame:
    return answer.read(memoryview(data), rows=ROWS)


def with_number(data: bytes, old: int, new: int, *, nth: int = 0) -> bytes:
    """The stream with one of its sizes, told by its value, set to another."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(struct.pack("<q", old), at + 1)
    return data[:at] + struct.pack("<q", new) + data[at + 8 :]


def test_what_a_child_writes_is_read_as_it_was():
    """Failing means that a check turns away an answer."""
    table = pa.table(GOOD)
    assert read(stream(table)).rows() == pl.DataFrame(pl.from_arrow(table)).rows()
    assert read(stream(table.slice(0, 0))).columns == table.column_names


HUGE = 1 << 40
LISTS = pa.ListViewArray.from_arrays(pa.array([0] * 9, pa.int32()), [5] * 9, range(5))
AMPLIFIED = {
    "compressed": stream(pa.table({"x": [0] * 5_000}), compression="zstd"),
    "repeated text": stream(pa.table({"x": pa.array(["x"] * 9).dictionary_encode()})),
    "runs": stream(
        pa.table({"x": pa.RunEndEncodedArray.from_arrays(pa.array([9], pa.int32()), [1])})
    ),
    "views of a text": stream(pa.table({"x": pa.array(["x" * 50] * 9, pa.string_view())})),
    "views of a list": stream(pa.table({"x": LISTS})),
    "rows without columns": stream(pa.table({"x": pa.array([{}] * 9, pa.struct([]))})),
    "empty lists of a size": stream(pa.table({"x": pa.array([[]] * 9, pa.list_(pa.int8(), 0))})),
    "lists of nulls": stream(pa.table({"x": [[None] * 9]})),
    "more rows": stream(pa.table({"x": pa.nulls(ROWS + 1)})),
    "more rows in parts": stream(pa.table({"x": pa.nulls(ROWS)}))[:-8] * 2,
    "another zone": stream(pa.table({"x": pa.array([0], pa.timestamp("us", "Mars/Base"))})),
    "many columns": stream(pa.table({f"c{n}": pa.nulls(1) for n in range(10_001)})),
}
# Sizes of it: 24 bytes of numbers; rows, values of each column and bytes of texts are 3 each.
NUMBERS = stream(pa.table({"x": pa.array([7, 8, 9]), "y": ["u", "v", "w"]}))


@pytest.mark.parametrize("size", [-1, 0, 65, 1 << 20, HUGE, (1 << 63) - 1])
@pytest.mark.parametrize(("old", "nth"), [(24, 0), (3, 0), (3, 1), (3, 2), (3, 3)])
def test_a_size_that_is_not_true_is_thrown_away(size, old, nth):
    """Failing means that the server reads, or reserves, what a child claims."""
    with pytest.raises(answer.Forged):
        read(with_number(NUMBERS, old, size, nth=nth))


def test_parts_that_lie_over_one_another_are_thrown_away():
    """Failing means that few bytes are read as many columns."""
    table = pa.table({"x": pa.array(range(512)), "y": pa.array(range(512))})
    data = stream(table)
    assert read(data).shape == (512, 2)
    with pytest.raises(answer.Forged, match="a part of"):
        read(with_number(data, 4096, 0, nth=2))


def test_any_changed_byte_gives_a_frame_or_is_thrown_away():
    """Failing means that one wrong byte of a child is an error in the server."""
    data = stream(pa.table(GOOD))
    chance = random.Random(7)
    for _ in range(3_000):
        forged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            forged[chance.randrange(len(data))] = chance.choice((0, 1, 127, 128, 255))
        if chance.random() < 0.1:
            del forged[chance.randrange(len(data)) :]
        try:
            frame = read(bytes(forged))
        except (answer.Forged, answer.NotShown):
            continue
        assert frame.height <= ROWS
        frame.write_csv() if not frame.select(pl.selectors.nested()).width else frame.rows()


def _answered(head: dict, body: bytes = b"") -> broker.Answer:
    """What the broker makes of a child's message."""
    request = broker._request("select 1", broker._ROOT / "x", ("marts",), broker.Limits())
    query = broker._Query(request, None)
    message = wire.unpack(wire.pack(head, body), query.most)
    life, other = broker.socket.socketpair(broker.socket.AF_UNIX, broker.socket.SOCK_SEQPACKET)
    with life, other:
        other.close()
        return query._answer(*message, life)


def test_a_forged_answer_is_a_stop_in_words():
    """Failing means that a reader sees an error page for what a child did."""
    told = _answered({"kind": "result"}, AMPLIFIED["compressed"])
    assert isinstance(told, broker.QueryStopped) and "thrown away" in told.reason
    assert isinstance(_answered({"kind": "result"}, b"no stream"), broker.QueryStopped)
    assert isinstance(_answered({"kind": "result"}), broker.QueryStopped)


@pytest.mark.parametrize("kind", ["refused", "stopped", ["odd"]])
def test_a_reason_is_a_text_that_can_be_shown(kind):
    """Failing means that a child writes megabytes, or half signs, into the reader's page."""
    told = _answered({"kind": kind, "reason": "a\0\ud800" * 9_999, "words": "b\0\ud800" * 9_999})
    assert len(told.reason) < 2_200 and "..." in told.reason
    json.dumps(told.reason, ensure_ascii=False).encode()
    assert _answered({"kind": kind, "reason": 7, "words": []}).reason
