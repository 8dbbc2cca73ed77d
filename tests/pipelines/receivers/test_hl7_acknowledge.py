"""Answers: what the standard asks for, from the header alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.receivers.hl7_acknowledge import (
    NO_HEADER,
    Outcome,
    acknowledgement,
    header_of,
    reply_code,
)
from pipelines.sources.hl7 import read_messages
from tests.hl7_sender import framed, message

REPORT = (
    b"MSH|^~\\&|RIS|ZZA|GMDW|GM|20260520161006||ORU^R01|ZZA0000490|P|2.4|||{}|GBR|UNICODE UTF-8\r"
    b"PID|1\r"
)


def test_an_answer_goes_back_with_the_senders_own_number():
    """Failing means that an integration engine does not know what was acknowledged."""
    header = header_of(REPORT.replace(b"{}", b"|"))
    answer = acknowledgement(header, "AA", control_id=b"GMDW00000901", at=b"20260520161006")
    assert answer == (
        b"MSH|^~\\&|GMDW|GM|RIS|ZZA|20260520161006||ACK^R01|GMDW00000901|P|2.4||||||UNICODE UTF-8\r"
        b"MSA|AA|ZZA0000490\r"
    )


def test_an_answer_speaks_in_the_senders_separators():
    """Failing means that a sender with separators of its own cannot read its answer."""
    header = header_of(b"MSH#@!%$#RIS#ZZA#GMDW#GM#2026##OMG@O19#17#P#2.5\rPID#1")
    answer = acknowledgement(header, "AE", control_id=b"1", at=b"2026", text="no #room")
    assert answer == b"MSH#@!%$#GMDW#GM#RIS#ZZA#2026##ACK@O19#1#P#2.5\rMSA#AE#17#no  room\r"


def test_what_has_no_header_is_answered_in_the_standards_separators():
    """Failing means that a sender without MSH waits for ever."""
    answer = acknowledgement(NO_HEADER, "AR", control_id=b"1", at=b"2026", text="why")
    assert answer == b"MSH|^~\\&|||||2026||ACK|1|P|2.5\rMSA|AR||why\r"


@pytest.mark.parametrize(
    ("accept", "safe", "not_kept", "refused"),
    [
        (b"|", "AA", "AE", "AR"),
        (b"|NE", "AA", "AE", "AR"),
        (b"AL|NE", "CA", "CE", "CR"),
        (b"AL|AL", "CA", "CE", "CR"),
        (b"ER|", None, "CE", "CR"),
        (b"SU|", "CA", None, None),
        (b"NE|NE", None, None, None),
        (b"NE|AL", "AA", "AE", "AR"),
        (b"yes|no", "AA", "AE", "AR"),
    ],
)
def test_msh_15_and_16_decide_the_code(accept: bytes, safe, not_kept, refused):
    """Failing means that a sender gets another answer than it asked for, and stops."""
    header = header_of(REPORT.replace(b"{}", accept))
    assert [reply_code(outcome, header) for outcome in Outcome] == [safe, not_kept, refused]
    assert [reply_code(o, header, always_aa=True) for o in Outcome] == ["AA", "AE", "AR"]


@given(
    st.binary(max_size=80), st.sampled_from([b"", b"MSH", b"MSH|", b"\r\n MSH|^~\\&|", b"FHS|\r"])
)
def test_no_header_means_the_same_here_and_to_the_readers(content: bytes, start: bytes):
    """Failing means that a message is refused that could be read, or the other way round."""
    whole = (start + content).translate(None, b"\x0b\x1c")
    found = header_of(whole)
    rules = set(read_messages(framed(whole), feed="hl7_RMC").rejected["rule"])
    if found is None:
        assert rules <= {"has_message_header"}
    else:
        acknowledgement(found, "AA", control_id=b"1", at=b"2026")


def test_a_header_behind_a_byte_order_mark_or_an_envelope_is_found():
    """Failing means that batches and exports of some editors are refused."""
    for start in (b"\xef\xbb\xbf", b"\r\n ", b"FHS|^~\\&\rBHS|^~\\&\r"):
        assert header_of(start + message(7)).first(10) == b"C000007"


def test_an_answer_cannot_be_broken_by_what_it_repeats():
    """Failing means that a crafted message puts segments or frames into its answer."""
    header = header_of(b"MSH|^~\\&|A\x1c|B\x0b|C|D|1||ORU^R01|1\x1c2|P|2.4")
    answer = acknowledgement(header, "AA", control_id=b"1", at=b"2026")
    assert not {0x0B, 0x1C} & set(answer)
    assert answer.count(b"\r") == 2
