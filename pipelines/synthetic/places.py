"""Where a synthetic network may be written: invented files never among others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.problems import Problem
from pipelines.synthetic.writer import write_json

# In the truth folder: which network the inbox beside it holds.
CLAIM = "network.json"


class InboxInUse(Problem, ValueError):
    """The inbox is no folder for this network; the message says which to name instead."""


def claim(inbox: Path, truth: Path, wanted: Mapping[str, object]) -> None:
    """Note in the truth folder which network the inbox is filled with.

    Raises InboxInUse when the inbox is not a folder, when it holds files that the truth folder
    does not know as those of this very network, or when the truth would lie where pipelines read.
    Writing the same network again is allowed.
    """
    for place in (inbox, truth):
        if place.exists() and not place.is_dir():
            raise InboxInUse(f"{place} is a file; name a folder")
    if truth.resolve().is_relative_to(inbox.resolve()):
        raise InboxInUse(
            f"{truth} lies in the inbox, where a pipeline would read the truth; name another "
            "folder with --truth"
        )
    stamp = truth / CLAIM
    held = json.loads(stamp.read_text()) if stamp.exists() else None
    if held != wanted and inbox.exists() and any(p.is_file() for p in inbox.rglob("*")):
        raise InboxInUse(
            f"{inbox} holds other files, and these are invented; name an empty folder with --to, "
            "or another IMAGING_HOME"
        )
    write_json(stamp, dict(wanted))
