"""The reader of HL7 messages at its edges: other signs, broken pieces, and an independent reader."""

import re
from itertools import pairwise

import hl7
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.bench_hl7 import NARROW, differing_rows
from benchmarks.hl7_corpus import framed, messages
from pipelines.sources.hl7 import read_batches, read_messages, reading, split_messages, stated_count
from pipelines.sources.hl7.framing import ENVELOPE

MESSAGE = (
    r"MSH|^~\&|RIS|ZZC|HUB|NET|20260612101520||ORU^R01|C4|P|2.4|||AL|NE|GBR|UNICODE UTF-8",
    "PID|1||C0700311^^^ZZC^MR~9990001235^^^NHS^NH||EXAMPLEPERSON^RENÉE|",
    "ORC|RE|PL7001^EPR|C26007001^RIS||CM",
    r"OBR|1|PL7001^EPR|C26007001^RIS|CTHOR^CT \T\ more^NICIP|||20260611142012|||||||||||C26007001"
    "|||||||F|||||||RP0088&WRITER&EXAMPLE^20260612101500",
    r"OBX|1|TX|CTHOR&GDT^CT^NICIP||Heart \T\ vessels \F\ \S\ \R\ \E\ here.||||||F",
    "OBX|2|HD|110180^Study Instance UID^DCM||2.25.77||||||F",
)
SIGNS = "!\"#$%'()*+,-./:;<=>?@[]_`{}|^~\\&"


def text_of(*lines: str) -> bytes:
    return "".join(line + "\r" for line in lines).encode()


def test_the_messages_of_the_benchmark_read_as_python_hl7_reads_them():
    """Failing means that a speed is quoted for values that are not the same."""
    assert differing_rows(list(messages(800))) == 0


@settings(max_examples=40, deadline=None)
@given(st.permutations(SIGNS).map(lambda signs: "".join(signs[:5])))
def test_any_separators_give_the_same_values(signs: str):
    """Failing means that a sender's choice of signs changes what its messages say."""
    usual = "^~\\&|"
    assume(not set(signs) & set("".join(MESSAGE)) - set(usual))
    table = str.maketrans(usual, signs)
    found = read_messages(text_of(*(line.translate(table) for line in MESSAGE)), feed="x")
    expected = read_messages(text_of(*MESSAGE), feed="x")
    apart = ("content_sha", "report_text", "exam_name")
    assert found.rejected.is_empty()
    assert found.rows.drop(apart).equals(expected.rows.drop(apart), null_equal=True)
    meant = [f"Heart {signs[3]} vessels {signs[4]} {signs[0]} {signs[1]} {signs[2]} here."]
    assert found.rows["report_text"].to_list() == meant


def test_messages_with_other_separators_keep_their_places_among_the_rest():
    """Failing means that a reject or an event is told of the message beside."""
    other = text_of(*(line.translate(str.maketrans("|^~\\&", "#@!%$")) for line in MESSAGE))
    named = [text_of(*MESSAGE).replace(b"|C4|", b"|%d|" % n) for n in range(3)]
    rows = read_messages(named[0] + other + named[1] + other + named[2], feed="x").rows
    assert rows["message_no"].to_list() == [1, 2, 3, 4, 5]
    assert rows["control_id"].to_list() == ["0", "C4", "1", "C4", "2"]


@pytest.mark.parametrize("signs", ["|^^\\&", "|^~\\\\", "|^a\\&"])
def test_one_sign_for_two_purposes_is_rejected_by_name(signs: str):
    """Failing means that fields are cut at signs that mean two things, and believed."""
    batch = read_messages(text_of(f"MSH{signs}|RIS|ZZC", *MESSAGE[1:]), feed="x")
    assert batch.rows.is_empty()
    assert batch.rejected["rule"].to_list() == ["has_distinct_separators"]


def test_the_size_of_a_batch_changes_no_row(monkeypatch: pytest.MonkeyPatch):
    """Failing means that a message reads otherwise by what was sent beside it."""
    data = framed(messages(300))
    expected = read_messages(data, feed="x")
    monkeypatch.setattr(reading, "CHUNK", 7)
    found = read_messages(data, feed="x")
    assert found.rows.equals(expected.rows, null_equal=True)
    assert found.rejected.equals(expected.rejected)
    alone = [read_messages(piece, feed="x").rows for piece in split_messages(data)[:25]]
    same = pl.concat(alone).drop("message_no")
    assert same.equals(expected.rows.drop("message_no")[: len(same)], null_equal=True)


def test_files_that_are_read_together_give_what_each_gives_alone():
    """Failing means that the messages of one file are counted with those of another."""
    ones = [
        framed(messages(30)),
        b"",
        b"no header",
        text_of(*MESSAGE),
        framed(messages(400))[9000:],
    ]
    together = read_batches(ones, feed="x")
    for one, batch in zip(ones, together, strict=True):
        alone = read_messages(one, feed="x")
        assert batch.rows.equals(alone.rows, null_equal=True)
        assert batch.rejected.equals(alone.rejected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 699), st.sampled_from([b"", b"\x00", b"|", b"\\", b"\xff", b"\r\n", b"~"]))
def test_a_message_cut_anywhere_is_a_row_or_a_reject(at: int, inserted: bytes):
    """Failing means that a broken connection stops the delivery of the night."""
    whole = text_of(*MESSAGE)
    cut = whole[: at % len(whole)] + inserted
    batch = read_messages(cut + b"\r" + whole, feed="x")
    assert len(set(batch.rows["message_no"]) | set(batch.rejected["message_no"])) == len(
        split_messages(cut + b"\r" + whole)
    )
    assert batch.rows["control_id"].to_list()[-1] == "C4"


def plainly_split(data: bytes) -> list[bytes]:
    """The rules of splitting as two patterns, slow."""
    start = re.compile(rb"(?:^|[\r\n])[ \t]*(?:\xef\xbb\xbf)?(MSH)(?=[!-/:-@\[-`{-~])")
    found = []
    for frame in re.split(rb"\x1c[\r\n]*(?:\x0b|$)", data):
        frame = frame.replace(b"\x0b", b"\r").replace(b"\x1c", b"\r").removeprefix(b"\xef\xbb\xbf")
        bounds = [0, *(match.start(1) for match in start.finditer(frame)), len(frame)]
        for begin, end in pairwise(bounds):
            lines = re.split(rb"[\r\n]+", frame[begin:end].removesuffix(b"\xef\xbb\xbf"))
            kept = [one for one in lines if one.strip() and one.lstrip()[:3] not in ENVELOPE]
            found.append(b"\r".join(kept).strip())
    return [piece for piece in found if piece]


PARTS = [b"MSH|", b"MSH", b"\r", b"\n", b"\x0b", b"\x1c", b"\x1c\r\x0b", b"\xef\xbb\xbf", b" ",
         b"\t", b"BTS|1", b"FHS|", b"a|b", b"OBR|1"]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=24).map(b"".join))
def test_messages_begin_and_end_where_the_rules_say(data: bytes):
    """Failing means that one message is lost in another, or counted twice."""
    assert split_messages(data) == plainly_split(data)


@pytest.mark.parametrize(
    ("trailers", "count"),
    [
        (b"BTS|2\r", 2),
        (b"BTS|2\rBHS|^~\\&\rBTS#1#x\rFTS|2", 3),
        (b"BTS|\rBTS|1", None),
        (b"NTE|BTS|1\r", None),
        (b"", None),
    ],
)
def test_a_batch_says_how_many_messages_it_holds(trailers: bytes, count: int | None):
    """Failing means that half a file passes for a whole one."""
    assert stated_count(b"BHS|^~\\&\r" + text_of(*MESSAGE) + trailers) == count


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_a_file_of_wide_characters_is_read(codec: str):
    """Failing means that an engine on another system delivers nothing but rejects."""
    data = "\ufeff".encode(codec) + text_of(*MESSAGE).decode().encode(codec)
    batch = read_messages(data, feed="x")
    assert batch.rejected.is_empty()
    assert batch.rows["study_uid"].to_list() == ["2.25.77"]


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("8859/2", "iso8859-2", "Dvořák"),
        ("8859/5", "iso8859-5", "Иванов"),
        ("GB 18030-2000", "gb18030", "检查"),
        ("BIG-5", "big5", "檢功許"),
        ("KS X 1001", "euc_kr", "검사"),
        ("WINDOWS-1252", "cp1252", "size: “large”"),
    ],
)
def test_declared_character_sets_are_read(label: str, codec: str, text: str):
    """Failing means that the second byte of a letter is taken for a separator."""
    lines = [
        MESSAGE[0].replace("UNICODE UTF-8", label),
        *MESSAGE[1:4],
        f"OBX|1|TX|A||{text}||||||F",
    ]
    batch = read_messages("".join(line + "\r" for line in lines).encode(codec, "replace"), feed="x")
    assert batch.rows["report_text"].to_list() == [text]
    assert batch.rows["charset_fallback"].to_list() == [False]


def test_an_embedded_document_is_no_text_and_breaks_no_message():
    """Failing means that the bytes of a scanned letter are hashed and counted as a report."""
    pdf = "OBX|3|ED|PDF^Document||RIS^application^pdf^Base64^JVBERi0xLjQK\nJcOkw7zDtsOfCjIg||||||F"
    batch = read_messages(text_of(*MESSAGE[:5], pdf, MESSAGE[5]), feed="x")
    row = batch.rows.row(0, named=True)
    assert row["report_text"] == "Heart & vessels | ^ ~ \\ here."
    assert (row["study_uid"], len(batch.rejected)) == ("2.25.77", 0)


# Per class: what is sent, what we read, what python-hl7 reads.
CLASSES = [
    (r"a\T\b\F\c\S\d\R\e\E\f", "a&b|c^d~e\\f", "a&b|c^d~e\\f"),
    (r"one\.br\two", "one\ntwo", "one\rtwo"),
    (r"\H\loud\N\ quiet", "loud quiet", "_loud_ quiet"),
    (r"caf\XC3A9\ ", "café", "cafÃ©"),
    (r"\Zfoo\ bar", r"\Zfoo\ bar", "bar"),
    (r"C:\temp\x.y", r"C:\temp\x.y", "C:x.y"),
]


@pytest.mark.parametrize(("sent", "meant", "theirs"), CLASSES)
def test_escapes_differ_from_python_hl7_only_where_the_page_says(
    sent: str, meant: str, theirs: str
):
    """Failing means that the list of differences in docs/hl7.md is not true."""
    lines = [*MESSAGE[:4], f"OBX|1|TX|A||{sent}||||||F"]
    rows = read_messages(text_of(*lines), feed="x").rows
    assert rows["report_text"].str.strip_chars().to_list() == [meant]
    message = hl7.parse("\r".join(lines))
    assert message.unescape(str(message.segment("OBX")[5])).strip() == theirs


def test_the_narrow_map_of_the_benchmark_finds_what_the_default_map_finds():
    """Failing means that a feed file changes columns that it does not name."""
    data = framed(messages(60))
    narrow, whole = (read_messages(data, feed=feed).rows for feed in (NARROW, "x"))
    same = [name for name in whole.columns if name not in NARROW.fields]
    assert narrow.select(same).equals(whole.select(same), null_equal=True)
