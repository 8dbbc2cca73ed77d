"""A demo home: an IMAGING_HOME with its key, made and driven by the command a user types."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Share of a region; a larger network proves more and takes longer.
SCALE = float(os.environ.get("IMAGING_TEST_SCALE", "0.0002"))
# No limit on speed: a command that has not ended by then never will.
HANG_SECONDS = 900


@dataclass(frozen=True)
class Home:
    """An IMAGING_HOME with its key, and how to call `imaging` in it."""

    path: Path
    key_file: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"IMAGING_HOME": str(self.path), "IMAGING_KEY_FILE": str(self.key_file)}

    @property
    def published(self) -> Path:
        return self.path / "published"

    def take_beside(self, delivered: "Home") -> None:
        """Copy what a network landed at once lacks: dose reports, diaries, what becomes of images."""
        sent = delivered.path / "inbox"
        lists = ("image_access", "image_transfers", "meeting_lists", "booking_diary")
        lacking = ("dicom/*/*/*/SR*.dcm", *(f"{feed}/**/*" for feed in lists))
        for file in (file for pattern in lacking for file in sent.glob(pattern)):
            if file.is_file():
                beside = self.path / "inbox" / file.relative_to(sent)
                beside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, beside)

    def imaging(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )

    def manifest(self) -> dict:
        return json.loads((self.published / "manifest.json").read_text())

    def published_file(self) -> Path:
        return self.published / self.manifest()["audiences"]["demo"]["file"]

    def copy(self, target: Path, *, without: tuple[str, ...] = ()) -> "Home":
        """The same home elsewhere, with the same key; `without` names parts to leave out."""
        skipped = shutil.ignore_patterns(*without) if without else None
        shutil.copytree(self.path, target, ignore=skipped)
        return Home(target, self.key_file)


def demo_in(folder: Path) -> Home:
    """The home that `make_demo` makes below `folder`."""
    return Home(folder / "home", folder / "keys.json")


def make_demo(folder: Path, scale: float = SCALE) -> Home:
    """Run `imaging demo` into a new home below `folder`."""
    home = demo_in(folder)
    made = home.imaging("demo", "--no-serve", "--scale", str(scale))
    assert made.returncode == 0, made.stderr[-3000:]
    return home
