"""A broken delivery is refused, yesterday's build stays served, and everybody is told."""

import json
import shutil
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from pipelines.landing.writer import PARSER_VERSION
from pipelines.settings import PROJECT_ROOT
from pipelines.synthetic.faults import break_batch

FAULTS = {
    "missing_column": "has_all_columns",
    "wrong_type": "_is_a_timestamp",
    "future_dates": "_is_not_in_the_future",
}


@pytest.fixture
def home(demo, tmp_path):
    return demo.copy(tmp_path / "home")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_batch_leaves_the_earlier_build_served(home, fault):
    """The worst a bad delivery may do is to be late."""
    before = home.manifest()
    delivered = break_batch(fault, home.path / "inbox")
    result = home.imaging("run")
    assert result.returncode == 1
    assert home.manifest() == before
    assert "ris_extract.odcs.yaml" in result.stderr
    assert FAULTS[fault] in result.stderr
    assert f"build {before['build_id']} stays served" in result.stderr
    verdict = json.loads((home.published / "gate.json").read_text())
    failure = verdict["failures"][0]
    assert verdict["passed"] is False
    assert failure["contract"] == "ris_extract.odcs.yaml"
    assert FAULTS[fault] in failure["rule"]
    assert failure["file_name"] == delivered.name
    assert failure["count"] > 0
    assert (home.path / failure["rejects_path"]).exists()


def test_the_dashboard_says_that_a_delivery_was_refused(home, monkeypatch):
    """A reader must know that newer data exist and why they are not shown."""
    break_batch("missing_column", home.path / "inbox")
    assert home.imaging("run").returncode == 1
    monkeypatch.setenv("IMAGING_HOME", str(home.path))
    monkeypatch.delenv("IMAGING_PUBLISHED", raising=False)
    page = AppTest.from_file(str(PROJECT_ROOT / "dashboards" / "app.py"), default_timeout=60).run()
    shown = " ".join(str(element.value) for element in [*page.warning, *page.error, *page.markdown])
    assert not page.exception
    assert home.manifest()["build_id"] in shown
    assert "ris_extract.odcs.yaml" in shown
    assert "has_all_columns" in shown


def test_refused_deliveries_are_closed_by_a_good_one_or_by_a_dismissal_with_a_reason(home):
    """The supplier can mend a file alone; an operator can go on without one, and has to say why."""
    entries = home.path / "quarantine" / "ris_extract"
    break_batch("wrong_type", home.path / "inbox", day=date(2026, 4, 2))
    assert home.imaging("run").returncode == 1
    (spoiled,) = entries.glob("*.file.json")
    delivered = break_batch("missing_column", home.path / "inbox")
    assert FAULTS["missing_column"] in home.imaging("run").stderr
    good = next((home.path / "inbox" / "ris_extract" / "2026-01-07").glob(delivered.name))
    text = good.read_text()
    delivered.write_text(text + text.splitlines(keepends=True)[-1])
    still = home.imaging("run")
    assert still.returncode == 1
    assert FAULTS["missing_column"] not in still.stderr
    assert home.imaging("gate", "--dismiss", spoiled.stem).returncode == 2
    dismissed = home.imaging("gate", "--dismiss", spoiled.stem, "--reason", "sent by mistake")
    assert dismissed.returncode == 0, dismissed.stderr
    result = home.imaging("run", "--force")
    assert result.returncode == 0, result.stderr
    assert json.loads((home.published / "gate.json").read_text())["passed"] is True


def test_a_build_without_a_key_stops_before_anything_is_read(home, tmp_path):
    """A missing key must not end in data without pseudonyms."""
    shutil.rmtree(home.path / "landing")
    lost = type(home)(home.path, tmp_path / "no" / "keys.json")
    result = lost.imaging("run")
    assert result.returncode == 2
    assert "imaging keys create" in result.stderr
    assert not list((home.path / "landing").rglob(f"*.p{PARSER_VERSION}.parquet"))
