"""What every test room shares: the order of the rooms, their time, and the demo network."""

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.demo_home import Home, demo_in, make_demo
from tests.made_once import made_once

ROOT = Path(__file__).resolve().parent.parent
# Rooms in the order they run, fast ones first; minutes they may take in all, of either worker
# (docs/testing.md). Seconds are reported, never asserted.
ROOMS = {
    "contracts": 1,
    "docs": 1,
    "pipelines": 16,
    "warehouse": 14,
    "dashboards": 5,
    "end_to_end": 30,
    "browser": 12,
}
# Two workers take file by file. First the long ones, of which the first needs no demo while the other
# worker makes it; last the short ones, so that both workers end at about the same time.
LONG = (
    "end_to_end/test_deliveries.py",
    "end_to_end/test_kill.py",
    "end_to_end/test_archive_feed.py",
    "end_to_end/test_gate.py",
    "end_to_end/test_journey.py",
    "end_to_end/test_as_known_on.py",
    "browser/test_dashboards.py",
    "end_to_end/test_device_clocks.py",
    "browser/test_demo_numbers.py",
)
_seconds: dict[str, float] = defaultdict(float)


def room_of(path: Path) -> str:
    """The test room a file belongs to: the first folder below tests."""
    return path.relative_to(ROOT / "tests").parts[0]


def place_of(path: Path) -> tuple[int, int]:
    """When a file runs: room by room, and with the first of the rooms of LONG what is in it."""
    rooms, name = list(ROOMS), path.relative_to(ROOT / "tests").as_posix()
    if name in LONG:
        return rooms.index("end_to_end"), LONG.index(name)
    return rooms.index(room_of(path)), len(LONG)


def pytest_collection_modifyitems(items):
    gone = [name for name in LONG if not (ROOT / "tests" / name).exists()]
    if gone:
        raise pytest.UsageError(f"tests/conftest.py, LONG: there is no {', '.join(gone)}")
    items.sort(key=lambda item: place_of(item.path))


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
    folder = made_once(tmp_path_factory, "demo", make_demo)
    return demo_in(folder).copy(tmp_path_factory.mktemp("demo") / "home")
