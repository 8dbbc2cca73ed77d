"""The home of the demo: made again after an interruption, never made over other deliveries."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.journey import NotADemoHome, start_demo_home
from pipelines.settings import Settings
from pipelines.synthetic.generation import NotAScale
from pipelines.synthetic.offices import RegisterTooSmall


def settings(home: Path) -> Settings:
    return Settings(home=home, key_file=home / "keys.json")


def deliver(home: Path) -> Path:
    file = home / "inbox" / "hl7" / "2026-01-07" / "RMC_07.hl7"
    file.parent.mkdir(parents=True)
    file.write_text("MSH|")
    return file


def test_a_demo_interrupted_while_its_files_are_written_is_made_again(tmp_path):
    """Failing means that a first `make demo` that was stopped can never be repeated."""
    start_demo_home(settings(tmp_path))
    half = deliver(tmp_path)
    start_demo_home(settings(tmp_path))
    assert not half.exists()


def test_a_demo_of_an_impossible_size_leaves_the_one_before_it(tmp_path, monkeypatch):
    """Failing means that a typing error in --scale deletes a working demo."""
    monkeypatch.setenv("IMAGING_HOME", str(tmp_path))
    monkeypatch.setenv("IMAGING_KEY_FILE", str(tmp_path / "keys.json"))
    start_demo_home(settings(tmp_path))
    file = deliver(tmp_path)
    for scale, error in (("1.0", RegisterTooSmall), ("0", NotAScale)):
        result = CliRunner().invoke(app, ["demo", "--no-serve", "--scale", scale])
        assert isinstance(result.exception, error)
    assert file.exists()


@pytest.mark.parametrize("state", ["open", "closed", "read"])
def test_a_home_that_has_received_objects_is_no_demo_home(tmp_path, state: str):
    """Failing means that patients of a scanner are shown as invented ones."""
    segment = tmp_path / "spool" / "dicom" / f"20260611T141516.123456-0a1b2c3d.{state}"
    segment.parent.mkdir(parents=True)
    segment.touch()
    with pytest.raises(NotADemoHome, match="another folder"):
        start_demo_home(settings(tmp_path))
    assert segment.exists()


def test_a_home_with_other_deliveries_is_left_alone(tmp_path):
    """Failing means that the demo deletes what a hospital has sent."""
    file = deliver(tmp_path)
    with pytest.raises(NotADemoHome, match="another folder"):
        start_demo_home(settings(tmp_path))
    assert file.exists()
