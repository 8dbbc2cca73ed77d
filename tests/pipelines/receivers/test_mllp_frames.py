"""Frames: whole messages out of any stream of bytes, and no more memory than the limit."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.receivers.mllp_frames import HEAD_BYTES, Frames, TooLarge
from tests.hl7_sender import framed, message

CONTENT = st.binary(max_size=60).map(lambda b: b.translate(None, b"\x0b\x1c"))


def read(chunks: list[bytes], largest: int = 10_000) -> tuple[list[bytes | TooLarge], Frames]:
    frames, found = Frames(largest), []
    for chunk in chunks:
        frames.feed(chunk)
        while (one := frames.next()) is not None:
            found.append(one)
    return found, frames


@given(
    contents=st.lists(CONTENT, max_size=6),
    between=st.lists(st.sampled_from([b"", b"\r\n", b"\n", b"junk"]), min_size=7, max_size=7),
    ends=st.lists(st.sampled_from([b"\x1c\r", b"\x1c\n", b"\x1c\r\n"]), min_size=6, max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_messages_are_the_same_however_the_network_cuts_them(
    contents: list[bytes], between: list[bytes], ends: list[bytes], cuts: list[int]
):
    """Failing means that a message is lost or changed by where a packet ends."""
    pieces = [b"\x0b" + c + e + b for c, e, b in zip(contents, ends, between, strict=False)]
    stream = between[-1] + b"".join(pieces)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(bounds)]
    found, frames = read(chunks)
    assert found == contents
    skipped = [between[-1], *between[: len(contents)]]
    assert frames.skipped == 4 * skipped.count(b"junk")
    assert not frames.is_within


def test_a_frame_may_follow_without_its_carriage_return():
    """Failing means that a sender that leaves it out gets no answer."""
    found, frames = read([b"\x0bone\x1c\x0btwo\x1c", b""])
    assert found == [b"one"]
    assert frames.settle() == b"two"
    frames.feed(b"\r\x0bthree\x1c\r")
    assert frames.next() == b"three"
    assert frames.skipped == 0
    assert frames.settle() is None


def test_a_stray_separator_within_a_text_is_kept():
    """Failing means that half a report is acknowledged as a whole one."""
    text = b"MSH|^~\\&|\rOBX|1|TX|||line\x0bof a \x1c word processor"
    assert read([framed(text)])[0] == [text]


def test_a_sender_that_begins_again_is_taken_at_its_second_word():
    """Failing means that a broken-off message is glued to the front of the next one."""
    whole = message(1)
    found, frames = read([b"\x0b" + whole[:70], framed(whole)])
    assert found == [whole]
    assert frames.broken_off == 1


@pytest.mark.parametrize("piece", [1, 700, 100_000])
def test_a_frame_over_the_limit_is_given_up_at_the_limit(piece: int):
    """Failing means that one sender can fill the memory."""
    content = message(1) + b"x" * 20_000
    stream = framed(content)
    frames, found = Frames(10_000), None
    for start in range(0, len(stream), piece):
        frames.feed(stream[start : start + piece])
        assert len(frames._buffer) <= 10_000 + piece + 2
        found = frames.next()
        if found is not None:
            break
    assert found == TooLarge(content[:HEAD_BYTES], has_ended=piece > len(stream))


def test_a_frame_of_exactly_the_limit_is_whole():
    """Failing means that the limit is not the one that is documented."""
    assert read([framed(b"x" * 100)], largest=100)[0] == [b"x" * 100]
    assert read([framed(b"x" * 101)], largest=100)[0] == [TooLarge(b"x" * 101, True)]
