"""The dashboards in a real browser: one server on a published build, one Chromium."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dashboards"))

import published_build

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
COMMAND = [sys.executable, "-m", "streamlit", "run", "dashboards/app.py"]
PATIENCE_SECONDS = 60
expect.set_options(timeout=30_000)


class Server:
    """One Streamlit process on its own port and its own published folder."""

    def __init__(
        self,
        published: Path,
        log: Path,
        *,
        host: str = "127.0.0.1",
        secrets: str = "",
        **settings: str,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self.published = published
        self.home = log.parent / "home"
        self.log = log.open("w")
        options = ["--server.port", str(self.port)]
        if secrets:
            told = log.parent / "secrets.toml"
            told.write_text(secrets.replace("{app}", self.url))
            options += ["--secrets.files", str(told)]
        self.process = subprocess.Popen(
            [*COMMAND, *options],
            cwd=ROOT,
            env=os.environ
            | {"IMAGING_PUBLISHED": str(published), "IMAGING_REFRESH_SECONDS": "1"}
            | {"IMAGING_HOME": str(self.home)}
            | settings,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self._wait(log)

    def _wait(self, log: Path) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2)
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the dashboards did not start: {log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()


@pytest.fixture(scope="session")
def tables() -> dict:
    return published_build.tables()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    servers = []

    def started(published: Path, **options: str) -> Server:
        log = tmp_path_factory.mktemp("server") / "streamlit.log"
        servers.append(Server(published, log, **options))
        return servers[-1]

    yield started
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(start, tmp_path_factory: pytest.TempPathFactory, tables: dict) -> Server:
    published = tmp_path_factory.mktemp("published")
    published_build.write_build(published, found=tables)
    return start(published)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One Chromium for a file; Playwright's event loop ends with it, other tests may follow."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: install the Debian package 'chromium'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(
        viewport={"width": 1440, "height": 900}, accept_downloads=True, reduced_motion="reduce"
    )
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_SECONDS * 500)
    yield opened
    context.close()
