"""What every test room shares: the order of the rooms, their time, and the demo network."""

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.demo_home import Home, make_demo

ROOT = Path(__file__).resolve().parent.parent
# Rooms in the order they run, fast ones first; minutes they may take in all, of either worker
# (docs/testing.md). Seconds are reported, never asserted.
ROOMS = {
    "contracts": 1,
    "docs": 1,
    "pipelines": 12,
    "warehouse": 3,
    "dashboards": 2,
    "end_to_end": 46,
    "browser": 5,
}
_seconds: dict[str, float] = defaultdict(float)


def room_of(path: Path) -> str:
    """The test room a file belongs to: the first folder below tests."""
    return path.relative_to(ROOT / "tests").parts[0]


def pytest_collection_modifyitems(items):
    order = list(ROOMS)
    items.sort(key=lambda item: order.index(room_of(item.path)))


def pytest_runtest_logreport(report):
    _seconds[Path(report.nodeid).parts[1]] += report.duration


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("minutes per room")
    for room, budget in ROOMS.items():
        if room in _seconds:
            minutes = _seconds[room] / 60
            note = "" if minutes <= budget else "  over its budget"
            terminalreporter.write_line(f"{room:<12}{minutes:6.1f} of {budget}{note}")


@pytest.fixture(autouse=True)
def main_module():
    """Streamlit's AppTest leaves a page as the main module; processes begun later would run it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Home:
    """The demo at a fiftieth of its size, built once; copy it before changing anything."""
    return make_demo(tmp_path_factory.mktemp("demo"))
