"""Pictures of every page for the documentation: `imaging screenshots` starts this module.

Serves the published folder of the settings on a free port, opens each page of contents.py in
Chromium on a wide screen and on a phone, light and dark, and writes WebP pictures and a page that
names them. Only a build of a synthetic network is shown: pictures in a repository stay there.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.contents import ENTRIES, Entry
from dashboards.data.published import PublishedFilesBroken, current_build
from dashboards.data.queries import organisations
from dashboards.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "screenshots"
CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = {"wide": 1440, "phone": 390}
THEMES = ("light", "dark")
QUALITY = 55
PATIENCE_SECONDS = 60


class Lacking(Exception):
    """What the pictures need and this machine, or the published folder, does not have."""


def picture(entry: Entry, width: str, theme: str) -> str:
    """The file name of one picture."""
    return f"{entry.view}_{width}_{theme}.webp"


def page_text(build_id: str) -> str:
    """The page that names every picture, as Markdown."""
    lines = [
        "# What the dashboards look like",
        "",
        "The top of every page, on a wide screen (1440 px) and on a phone (390 px), in the light and "
        "the dark theme. The",
        f"network is synthetic: no real patient, no real figure. Build `{build_id}`.",
        "",
        "Written by `imaging screenshots`, which serves the published folder, opens each page in "
        "Chromium and overwrites this",
        "page and its pictures; it refuses a build that is not synthetic.",
        "",
        "A reader chooses light, dark or the setting of the system in the menu at the top right of "
        "every page.",
    ]
    for entry in ENTRIES:
        lines += ["", f"## {entry.title}", "", f"{entry.reader}: {entry.question}", ""]
        lines += ["| | Light | Dark |", "|---|---|---|"]
        for width, pixels in WIDTHS.items():
            shown = [
                f"![{entry.title}, {pixels} px, {theme}]({picture(entry, width, theme)})"
                for theme in THEMES
            ]
            lines.append(f"| {pixels} px | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def synthetic_build(settings: Settings) -> str:
    """The id of the published build. Raises Lacking when there is none or it is of real patients."""
    try:
        build = current_build(settings.published_folder, settings.audience)
    except PublishedFilesBroken as broken:
        raise Lacking(str(broken)) from broken
    if build is None:
        raise Lacking(f"nothing is published in {settings.published_folder}: run `imaging demo`")
    if not organisations.build_facts(build).row(0, named=True)["is_synthetic"]:
        raise Lacking("this build is not synthetic: no picture of it is made")
    return build.build_id


@contextmanager
def served(published: Path) -> Generator[str]:
    """The address of the dashboards of a published folder, served for as long as it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "dashboards/app.py"]
    with subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=ROOT,
        env=Settings.with_published(published),
        stdout=subprocess.DEVNULL,
    ) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait(url: str, server: subprocess.Popen) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.2)
    raise Lacking("the dashboards did not start")


def settle(page: Page) -> None:
    """Wait until the script has run and every drawing is there."""
    app = page.get_by_test_id("stApp")
    # More than once: the script starts a moment after the page says that none is running, and runs
    # again when the theme is told.
    for _ in range(3):
        page.wait_for_timeout(500)
        app.and_(page.locator("[data-test-script-state=notRunning]")).wait_for()
    page.wait_for_function(
        "() => !document.querySelector('[data-stale=true], [data-testid=stSkeleton]') && "
        "[...document.querySelectorAll('[data-testid=stPlotlyChart]')]"
        ".every(chart => chart.querySelector('.main-svg'))"
    )
    page.wait_for_timeout(500)


def say(line: str) -> None:
    """One line of progress, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def take(url: str, folder: Path, height: int) -> int:
    """Write every picture; returns how many bytes they are together."""
    try:
        from PIL import Image
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as missing:
        raise Lacking(
            f"the Python package {missing.name} is missing: install the project with [dev]"
        ) from missing
    if not CHROMIUM.exists():
        raise Lacking(f"{CHROMIUM} is missing: install the Debian package 'chromium'")
    written = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        for theme in THEMES:
            for width, pixels in WIDTHS.items():
                context = browser.new_context(
                    viewport={"width": pixels, "height": height},
                    color_scheme="dark" if theme == "dark" else "light",
                    reduced_motion="reduce",
                )
                page = context.new_page()
                page.set_default_timeout(PATIENCE_SECONDS * 1000)
                for entry in ENTRIES:
                    page.goto(f"{url}/{entry.view}")
                    page.get_by_role("heading", level=1, name=entry.title).wait_for()
                    settle(page)
                    path = folder / picture(entry, width, theme)
                    Image.open(BytesIO(page.screenshot())).save(path, quality=QUALITY, method=6)
                    written += path.stat().st_size
                    say(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")
                context.close()
        browser.close()
    return written


def main() -> int:
    """Write the pictures and their page; 2 with one plain line when something is lacking."""
    parser = argparse.ArgumentParser(prog="imaging screenshots", description=__doc__)
    parser.add_argument("--published", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--height", type=int, default=1400)
    chosen = parser.parse_args()
    try:
        settings = Settings() if chosen.published is None else Settings(published=chosen.published)
        build_id = synthetic_build(settings)
        chosen.folder.mkdir(parents=True, exist_ok=True)
        with served(settings.published_folder) as url:
            written = take(url, chosen.folder, chosen.height)
    except Lacking as lacking:
        sys.stderr.write(f"imaging screenshots: {lacking}\n")
        return 2
    named = {
        picture(entry, width, theme) for entry in ENTRIES for width in WIDTHS for theme in THEMES
    }
    for old in chosen.folder.glob("*.webp"):
        if old.name not in named:
            old.unlink()
    (chosen.folder / "README.md").write_text(page_text(build_id))
    say(f"{len(named)} pictures, {written / 1e6:.1f} MB together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
