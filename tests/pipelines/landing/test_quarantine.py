"""Quarantine: what did not land must neither be lost nor be readable by others."""

import base64
import stat
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.landing.keys import Keys
from pipelines.landing.quarantine import Entry, Quarantine, entry_for

STORAGE = base64.urlsafe_b64encode(b"s" * 32)
KEYS = Keys(b"p" * 32, b"e" * 32, STORAGE)
PAYLOAD = b"nhs_number\n9990001235\n"


def entry(**changes: object) -> Entry:
    stated = {"scope": "row", "rule": "sex_is_a_known_code", "record_count": 1} | changes
    return entry_for("ris_extract", "ris_extract_RMC.csv", "a" * 64, date(2026, 1, 7), **stated)


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine", KEYS)


def test_records_are_kept_encrypted_and_can_be_read_back(quarantine: Quarantine):
    """Failing means that rejected patients lie open on disk, or can never be mended."""
    quarantine.keep(entry(), PAYLOAD)
    assert quarantine.payload(entry()) == PAYLOAD
    for path in quarantine.root.rglob("*"):
        assert path.is_dir() or b"9990001235" not in path.read_bytes()


def test_only_the_owner_can_read_the_folder_and_its_files(quarantine: Quarantine):
    """Failing means that other users of the machine can take the files away."""
    quarantine.keep(entry(), PAYLOAD)
    assert stat.S_IMODE(quarantine.root.stat().st_mode) == 0o700
    files = [path for path in quarantine.root.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_another_key_cannot_read_and_says_which_key_is_needed(quarantine: Quarantine):
    """Failing means that a lost key looks like damaged data."""
    quarantine.keep(entry(), PAYLOAD)
    other = Keys(b"p" * 32, b"e" * 32, base64.urlsafe_b64encode(b"t" * 32))
    with pytest.raises(ValueError, match="another storage key"):
        Quarantine(quarantine.root, other).payload(entry())


def test_keeping_the_same_records_again_makes_no_second_entry(quarantine: Quarantine):
    """Failing means that a repeated run fills quarantine with copies."""
    quarantine.keep(entry(), PAYLOAD)
    quarantine.keep(entry(), PAYLOAD)
    assert quarantine.entries() == [entry()]


@pytest.mark.parametrize("state", ["replayed", "dismissed"])
def test_a_closed_entry_keeps_its_description_and_loses_its_records(
    quarantine: Quarantine, state: str
):
    """Failing means that identities outlive the reason to keep them, or that the trace goes."""
    quarantine.keep(entry(), PAYLOAD)
    quarantine.keep(entry(scope="file"), PAYLOAD)
    quarantine.close(entry(), state, "agreed on 3 March")
    (closed,) = quarantine.entries(state=state)
    assert (closed.note, closed.record_count) == ("agreed on 3 March", 1)
    assert [e.scope for e in quarantine.entries(state="open")] == ["file"]
    assert len(list(quarantine.root.rglob("*.enc"))) == 1
    with pytest.raises(FileNotFoundError):
        quarantine.payload(entry())


@pytest.mark.parametrize("scope", ["row", "file"])
def test_what_was_dismissed_stays_dismissed_when_it_is_read_again(
    quarantine: Quarantine, scope: str
):
    """Failing means that a newer reader stops publishing over what somebody has settled."""
    quarantine.keep(entry(scope=scope), PAYLOAD)
    quarantine.close(entry(scope=scope), "dismissed", "agreed on 3 March")
    quarantine.keep(entry(scope=scope), PAYLOAD)
    (settled,) = quarantine.entries()
    assert (settled.state, settled.note) == ("dismissed", "agreed on 3 March")
    assert not list(quarantine.root.rglob("*.enc"))


@pytest.mark.parametrize(
    "changes",
    [
        {"record_count": 2},
        {"rule": "date_is_read"},
        {"delivered_on": "2026-01-14"},
        {"file_name": "ris_extract_RMC_again.csv"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_nobody_has_judged_waits_though_its_bytes_were_dismissed(
    quarantine: Quarantine, changes: dict[str, Any]
):
    """Failing means that one dismissal hides records that nobody has looked at."""
    quarantine.keep(entry(), PAYLOAD)
    quarantine.close(entry(), "dismissed", "agreed on 3 March")
    quarantine.keep(replace(entry(), **changes), PAYLOAD)
    (waiting,) = quarantine.entries(state="open")
    assert quarantine.payload(waiting) == PAYLOAD


def test_records_that_come_back_after_a_replay_wait_again(quarantine: Quarantine):
    """Failing means that records a newer reader rejects are gone for good."""
    quarantine.keep(entry(), PAYLOAD)
    quarantine.close(entry(), "replayed", "")
    quarantine.keep(entry(), PAYLOAD)
    assert quarantine.entries(state="open") == [entry()]


def test_records_that_a_killed_command_left_behind_go_with_the_next(
    quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that identities outlive the reason to keep them."""

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    quarantine.keep(entry(), PAYLOAD)
    quarantine.keep(entry(scope="file"), PAYLOAD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            quarantine.close(entry(), "replayed", "")
    assert len(list(quarantine.root.rglob("*.enc"))) == 2
    assert (quarantine.remove_closed(), quarantine.remove_closed()) == (1, 0)
    assert quarantine.payload(entry(scope="file")) == PAYLOAD
