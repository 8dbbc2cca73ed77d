"""The button of the board's page: makes the pack of the build that is shown, and hands it over."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from dashboards.components import purpose_form
from dashboards.data.published import Build
from dashboards.settings import Settings

PROJECT_ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
KINDS = {
    "pdf": ("PDF", "application/pdf"),
    "pptx": (
        "PowerPoint",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
}


class PackNotMade(RuntimeError):
    """The pack could not be made; the text says why."""


def show(build: Build, taken: Callable[[str, int | None], None]) -> None:
    """A button that makes the pack of the reader's own file, then one for each of its two files.

    taken is told the name of a file before it is given; where it fails there is no file. Where the
    reader has yet to state a purpose that is asked instead of giving them.
    """
    wanted = f"board_pack_{build.build_id}_{build.audience}"
    with st.container(horizontal=True, key="board_pack"):
        if st.button("Make the board pack", key="make_pack", help="PDF and PowerPoint"):
            st.session_state["board_pack"] = wanted
        if st.session_state.get("board_pack") != wanted:
            return
        try:
            with st.spinner("Making the board pack"):
                made = _made(str(Settings().published_folder), build.build_id, build.audience)
        except PackNotMade as error:
            st.error(str(error))
            return
        if purpose_form.instead_of_buttons("pack"):
            return
        for ending, (label, mime) in KINDS.items():
            name = f"{wanted}.{ending}"
            st.download_button(
                f"Download {label}",
                partial(_given, made[ending], name, taken),
                file_name=name,
                mime=mime,
                key=f"pack_{ending}",
                on_click="ignore",
            )


def _given(data: bytes, name: str, taken: Callable[[str, int | None], None]) -> bytes:
    taken(name, None)
    return data


@st.cache_data(max_entries=4, show_spinner=False)
def _made(published: str, build_id: str, audience: str) -> dict[str, bytes]:
    """Ending -> bytes of the pack of a build for an audience; made once, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dashboards.export", "--to", folder]
        command += ["--published", str(Path(published).resolve())]
        command += ["--build", build_id, "--audience", audience]
        try:
            done = subprocess.run(
                command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise PackNotMade(f"The board pack was not ready after {SECONDS} s.") from error
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
            raise PackNotMade(f"The board pack could not be made: {last[0]}")
        found = {path.suffix[1:]: path.read_bytes() for path in Path(folder).iterdir()}
    return {ending: found[ending] for ending in KINDS}
