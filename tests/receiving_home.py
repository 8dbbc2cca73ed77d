"""A home in which receivers are started and killed by the command a user types."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.landing.keys import create_key_file
from pipelines.settings import PROJECT_ROOT


@dataclass
class Receiving:
    """A home, the arguments of its receiver, and the processes that were started."""

    home: Path
    environment: dict[str, str]
    arguments: tuple[str, ...]
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.home / "spool" / self.arguments[0]

    def start(self) -> tuple[subprocess.Popen, int]:
        """A receiver on a port the system chose, when it listens."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "receive", *self.arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line + process.stderr.read()
        return process, int(line.split(":")[1].split()[0])

    def all_bytes(self) -> bytes:
        """Every file of the home and its name."""
        return b"".join(
            str(path).encode() + (path.read_bytes() if path.is_file() else b"")
            for path in self.home.rglob("*")
        )


@contextmanager
def receiving_home(
    folder: Path, arguments: tuple[str, ...], files: dict[str, str], **settings: str
) -> Iterator[Receiving]:
    """A home with a key and these files; what was started ends with the context."""
    home = folder / "home"
    home.mkdir()
    create_key_file(folder / "keys.json")
    for name, text in files.items():
        (home / name).write_text(text)
    given = {
        "IMAGING_HOME": str(home),
        "IMAGING_KEY_FILE": str(folder / "keys.json"),
        "IMAGING_SPOOL_FREE_MB": "0",
    }
    found = Receiving(home, os.environ | given | settings, arguments)
    yield found
    for process in found.processes:
        process.kill()
        process.communicate()
