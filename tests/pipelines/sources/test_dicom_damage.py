"""Damaged DICOM headers: a fast reader declines them, or reads what pydicom reads."""

import os
import random
from itertools import islice
from pathlib import Path

import pytest

from tests import dicom_damage
from tests.dicom_damage import Base, Kind, bases, malformed, mutants, run
from tests.dicom_readers import READERS

IN_FULL = bool(os.environ.get("IMAGING_TEST_FULL"))
# Files of the default run, and in full.
MALFORMED = 5_000 if IN_FULL else 840
MUTANTS = 40_000 if IN_FULL else 4_000
COPIES = 100 if IN_FULL else 25

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def sound() -> list[Base]:
    return bases(random.Random(dicom_damage.SEED))


def test_of_every_kind_of_damage_no_value_is_read_that_pydicom_does_not_read(tmp_path: Path):
    """Failing means that a damaged file gives a plausible wrong row, and nobody is told."""
    tally = run(malformed(MALFORMED), tmp_path)
    assert tally.different == []
    assert sum(tally.files.values()) == MALFORMED
    for kind in ("garbage_after_pixels", "pixels_truncated"):
        assert tally.accepted[kind, "scanner"] == tally.files[kind]
    for kind in ("zeros", "plain_text", "no_preamble", "no_file_meta", "syntax_missing"):
        assert not any(tally.accepted[kind, reader] for reader in READERS)


def test_a_header_with_any_fault_is_never_read_as_something_else(tmp_path: Path):
    """Failing means that a wrong length or tag moves values without anybody being told."""
    tally = run(islice(mutants(), MUTANTS), tmp_path)
    assert tally.different == []
    for reader in READERS:
        accepted = sum(n for (_, name), n in tally.accepted.items() if name == reader)
        assert accepted > MUTANTS // 8


@pytest.mark.parametrize(
    "kind",
    [
        dicom_damage.wrong_length_in_pixels,
        dicom_damage.length_ffff,
        dicom_damage.length_one,
        dicom_damage.odd_length,
        dicom_damage.delimiter_at_the_top,
        dicom_damage.duplicate_tag,
        dicom_damage.unknown_vr,
    ],
)
def test_a_fast_reader_loses_nothing_of_a_header_where_pydicom_would(
    tmp_path: Path, sound: list[Base], kind: Kind
):
    """Failing means that everything after one wrong length is missing, and pydicom agrees."""
    rng = random.Random(f"{dicom_damage.SEED} {kind.__name__}")
    whole, damaged = {}, {}
    for number in range(COPIES):
        base = rng.choice(sound)
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(base.final(base.data))
        other = tmp_path / f"{number}.bad.dcm"
        other.write_bytes(kind(base, rng))
        whole[other], damaged[other] = path, base
    for reader in READERS.values():
        expected = reader(list(whole.values()))
        for path, row in reader(list(damaged)).items():
            assert row == expected[whole[path]]


def test_every_sound_file_of_the_bench_corpus_is_read_as_pydicom_reads_it(
    tmp_path: Path, sound: list[Base]
):
    """Failing means that speed is measured over headers that are not read."""
    tally = run(((base.syntax, base.final(base.data)) for base in sound), tmp_path)
    assert tally.different == []
    assert sum(tally.accepted.values()) >= 2 * len(sound) - 2
    kinds = {kind for kind, reader in tally.accepted if reader == "first_window"}
    assert kinds == set(dicom_damage.SYNTAXES)


def test_a_private_value_of_any_length_around_that_of_a_window_hides_nothing(
    tmp_path: Path, sound: list[Base]
):
    """Failing means that the end of a header is lost where two reads of a file meet."""
    rng = random.Random(f"{dicom_damage.SEED} windows")
    plain = [base for base in sound if base.syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")]
    files = (
        (base.syntax, dicom_damage.long_private_value(base, rng))
        for base in plain
        for _ in range(COPIES // 3)
    )
    tally = run(files, tmp_path)
    assert tally.different == []
    for kind, count in tally.files.items():
        assert tally.accepted[kind, "first_window"] == count
