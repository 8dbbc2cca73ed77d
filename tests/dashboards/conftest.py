"""A published build for the whole room, and a way to open one view in it."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

sys.path.insert(0, str(Path(__file__).parent))

import audience_files
import published_build

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "dashboards" / "app.py"
VIEWS = {
    "benefits_summary": "Benefits summary",
    "go_live_effect": "Effect of go-live",
    "throughput": "Throughput",
    "waiting_times": "Waiting times",
    "scanner_utilisation": "Scanner utilisation",
    "image_access": "Image access",
    "what_if": "What if",
    "staff": "Staff",
    "data_quality": "Data quality",
    "metric_dictionary": "Metric dictionary",
    "sql_workbench": "SQL workbench",
    "steward": "Stewardship",
}
PENNINE = "Pennine Acute Hospitals NHS Trust (party)"


@pytest.fixture(scope="session")
def tables() -> dict:
    return published_build.tables()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, tables: dict) -> Path:
    folder = tmp_path_factory.mktemp("published")
    published_build.write_build(folder, found=tables)
    return folder


@pytest.fixture(scope="session")
def audiences(tmp_path_factory: pytest.TempPathFactory, published: Path, tables: dict) -> Path:
    """A published folder with files for demo, the network and analysts."""
    folder = tmp_path_factory.mktemp("audiences")
    audience_files.write(folder, published, tables)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the dashboards keep what they write, in a test."""
    return tmp_path / "home"


@pytest.fixture
def open_view(
    published: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    def opened(view: str, folder: Path = published, **query: str) -> AppTest:
        monkeypatch.setenv("IMAGING_PUBLISHED", str(folder))
        monkeypatch.setenv("IMAGING_HOME", str(home))
        app = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        return app.switch_page(f"views/{view}.py").run()

    return opened


@pytest.fixture
def signed_in(monkeypatch):
    """Patches the sign-in: a provider is configured, and these are the claims."""

    def patched(role: str | None, age: timedelta = timedelta(minutes=1), **claims: object):
        user = mock.Mock()
        at = (datetime.now(UTC) - age).timestamp()
        user.to_dict.return_value = {
            "is_logged_in": role != "out",
            "sub": "s",
            "auth_time": at,
            "imaging_role": role,
        } | claims
        monkeypatch.setattr(st, "user", user)
        monkeypatch.setattr("dashboards.auth.door.has_provider", lambda: True)

    return patched
