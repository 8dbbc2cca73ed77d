"""The tables of alert_tables.py, as a fixture."""

import pytest

from pipelines.alerts.signals import Tables
from tests.pipelines.alerts.alert_tables import made


@pytest.fixture
def tables() -> Tables:
    return made()
