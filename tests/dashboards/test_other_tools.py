"""The published file outside the pages: what the analyst guide shows, and the copies as Parquet."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from conftest import ROOT

from pipelines.exports.dids import ExportProblem
from pipelines.exports.tables import copy_tables, record

GUIDE = (ROOT / "docs" / "guides" / "analyst.md").read_text()
NOW = datetime(2026, 4, 2, 9, tzinfo=UTC)


def test_the_python_example_of_the_guide_runs(
    audiences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that the first thing an analyst copies from the guide ends in an error."""
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "published").symlink_to(audiences)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    waits = names["waits"]
    assert isinstance(waits, pl.DataFrame)
    assert waits.height > 12


def test_copies_hold_the_suppressed_tables_without_rows_of_exams(audiences: Path, tmp_path: Path):
    """Failing means that a small count, or a row of an exam, leaves the house in a file."""
    copied = copy_tables(audiences, "network", tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {*copied.rows, "data_dictionary.csv", "about.txt"}
    assert not [name for name in files if ".fct_" in name]
    metrics = pl.read_parquet(tmp_path / "out" / "marts.rpt_metrics_monthly.parquet")
    assert metrics.height == copied.rows["marts.rpt_metrics_monthly.parquet"] > 0
    assert metrics["withheld"].is_not_null().any()
    text = (tmp_path / "out" / "data_dictionary.csv").read_text(encoding="utf-8-sig")
    told = {(row["table_name"], row["column_name"]) for row in csv.DictReader(text.splitlines())}
    assert ("marts.rpt_metrics_monthly", "value") in told
    assert "Small numbers: counts of 1 to 4" in (tmp_path / "out" / "about.txt").read_text()
    record(tmp_path / "exports.jsonl", copied, tmp_path / "out", NOW)
    line = json.loads((tmp_path / "exports.jsonl").read_text())
    assert (line["audience"], line["at"]) == ("network", "2026-04-02T09:00:00.000+00:00")
    with pytest.raises(ExportProblem, match="Choose one of: network"):
        copy_tables(audiences, "demo", tmp_path / "none")
    assert not (tmp_path / "none").exists()
