"""The tables of alert_tables.py, as a fixture."""

import sys
from pathlib import Path

import pytest

from pipelines.alerts.signals import Tables

sys.path.insert(0, str(Path(__file__).parent))

from alert_tables import made


@pytest.fixture
def tables() -> Tables:
    return made()
