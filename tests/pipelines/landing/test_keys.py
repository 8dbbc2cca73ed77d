"""The key file: who can read it can undo every pseudonym."""

import json
import stat
from pathlib import Path

import pytest

from pipelines.landing.keys import KeyFileProblem, create_key_file, load_keys


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "private" / "keys.json"
    create_key_file(path)
    return path


def test_a_new_key_file_is_for_its_owner_only_and_never_replaced(key_file: Path):
    """Failing means that others can read the keys, or that a second call destroys them."""
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    before = key_file.read_bytes()
    with pytest.raises(FileExistsError):
        create_key_file(key_file)
    assert key_file.read_bytes() == before


def test_two_key_files_hold_different_keys(key_file: Path, tmp_path: Path):
    """Failing means that two networks can read each other's pseudonyms."""
    create_key_file(tmp_path / "other.json")
    first, second = load_keys(key_file), load_keys(tmp_path / "other.json")
    assert first.pseudonym != second.pseudonym and first.pseudonym != first.event_identity
    assert len(first.pseudonym) == len(first.event_identity) == 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_a_key_file_that_others_can_read_is_refused(key_file: Path, mode: int):
    """Failing means that a leaked key is used as if it were secret."""
    key_file.chmod(mode)
    with pytest.raises(KeyFileProblem, match="chmod 600"):
        load_keys(key_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {k: v for k, v in d.items() if k != "storage"}, "storage missing"),
        (lambda d: d | {"pseudonym": "not hexadecimal"}, "damaged"),
        (lambda d: d | {"event_identity": 7}, "damaged"),
        (lambda d: d | {"pseudonym": ""}, "shorter"),
        (lambda d: d | {"event_identity": "ab"}, "shorter"),
        (lambda d: d | {"storage": ""}, "shorter"),
    ],
)
def test_a_damaged_or_empty_key_is_refused_with_the_next_step(key_file: Path, change, message: str):
    """Failing means that pseudonyms are made with a key that anybody can guess."""
    key_file.write_text(json.dumps(change(json.loads(key_file.read_text()))))
    with pytest.raises(KeyFileProblem, match=message):
        load_keys(key_file)


def test_a_missing_or_unreadable_key_file_says_what_to_do(tmp_path: Path, key_file: Path):
    """Failing means that an operator meets a traceback instead of a way on."""
    with pytest.raises(KeyFileProblem, match="imaging keys create"):
        load_keys(tmp_path / "none.json")
    key_file.write_text("{")
    with pytest.raises(KeyFileProblem, match="not JSON"):
        load_keys(key_file)


def test_keys_do_not_show_themselves(key_file: Path):
    """Failing means that a traceback or a log holds the keys."""
    keys = load_keys(key_file)
    assert keys.pseudonym.hex() not in repr(keys) + str(keys) + f"{keys!r}"
