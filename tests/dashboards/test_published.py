"""What is served when builds come, are refused, or are not there yet."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import published_build
import pytest
from conftest import VIEWS
from test_views import text_of

from dashboards.data.published import PublishedFilesBroken, current_build, read

SECOND = "20260402T060000Z"


def smaller(tables: dict) -> dict:
    """The same tables with a smaller register, so that a new build can be told apart."""
    changed = tables["marts.rpt_benefits_summary"].filter(pl.col("benefit_id") == "B01")
    return tables | {"marts.rpt_benefits_summary": changed}


def publish_second(folder: Path, tables: dict, *, is_synthetic: bool = True) -> None:
    published_build.write_build(
        folder,
        build_id=SECOND,
        created_at=datetime(2026, 4, 2, 6, 0, tzinfo=UTC),
        is_synthetic=is_synthetic,
        found=smaller(tables),
    )


def test_an_open_page_shows_the_new_build_and_keeps_the_choices(open_view, tmp_path, tables):
    """A dashboard that is left open must not go on showing last week."""
    published_build.write_build(tmp_path, found=tables)
    app = open_view("benefits_summary", tmp_path, programme_months="Last 3 years")
    assert "B06" in text_of(app)
    publish_second(tmp_path, tables)
    app.run()
    assert "B06" not in text_of(app)
    assert any(SECOND in box.label for box in app.expander)
    assert app.selectbox(key="programme_months").value == "Last 3 years"
    assert any(SECOND in toast.value for toast in app.toast)


def test_two_builds_in_one_process_are_two_files(tmp_path, tables):
    """Reading a replaced file under its old path returns the old rows without a word."""
    published_build.write_build(tmp_path, found=tables)
    first = current_build(tmp_path, "demo")
    publish_second(tmp_path, tables)
    second = current_build(tmp_path, "demo")
    counted = "select benefit_id from marts.rpt_benefits_summary"
    assert read(first, counted).height == 9
    assert read(second, counted).height == 1
    assert first.path != second.path


def test_a_refused_delivery_is_announced_on_every_page(open_view, tmp_path, tables):
    """A reader must know that newer data exist and why they are not shown."""
    published_build.write_build(tmp_path, found=tables)
    published_build.write_gate(
        tmp_path, passed=False, checked_at=datetime(2026, 4, 2, 6, 0, tzinfo=UTC)
    )
    for view in VIEWS:
        app = open_view(view, tmp_path)
        (banner,) = app.warning
        assert banner.value == (
            "A delivery was refused on 2 April 2026: ris_extract_RMC.csv; figures are those of the "
            "build before, of 1 April 2026."
        )
        for words in (
            "contract `inbound/ris_extract`",
            "rule `verified_before_completed`",
            "count 214 records, file `ris_extract_RMC.csv`",
            "var/landing/rejects/ris_extract_RMC.parquet",
            "Serving build 20260401T060000Z",
        ):
            assert any(words in text.value for text in app.markdown)


def test_the_refused_rule_is_shown_to_the_analyst(open_view, tmp_path, tables):
    """The one who can mend the delivery needs contract, rule, count and rejects together."""
    published_build.write_build(tmp_path, found=tables)
    published_build.write_gate(
        tmp_path, passed=False, checked_at=datetime(2026, 4, 2, 6, 0, tzinfo=UTC)
    )
    app = open_view("data_quality", tmp_path)
    assert "Nothing was published" in app.error[0].value
    gate = next(table.value for table in app.dataframe if "rejects_path" in table.value)
    assert gate["count"].tolist() == [214]


def test_before_the_first_build_the_page_says_what_to_run(open_view, tmp_path, monkeypatch):
    """A new installation that shows an error looks broken."""
    app = open_view("throughput", tmp_path)
    assert not app.exception
    assert app.title[0].value == "Nothing has been published yet"
    assert "imaging run" in text_of(app)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"audiences": {"board": {"file": "x"}}}, "IMAGING_AUDIENCE"),
        ({"audiences": {"demo": {"file": "gone.duckdb"}}}, "gone.duckdb"),
    ],
)
def test_an_unusable_manifest_names_the_next_step(open_view, tmp_path, tables, change, words):
    """A manifest that cannot be used must say so in words, not as a stack of code."""
    published_build.write_build(tmp_path, found=tables)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    published_build.write_json(tmp_path / "manifest.json", manifest | change)
    with pytest.raises(PublishedFilesBroken, match=words):
        current_build(tmp_path, "demo")
    app = open_view("throughput", tmp_path)
    assert not app.exception
    assert words in app.error[0].value


def test_real_data_carry_no_synthetic_banner(open_view, tmp_path, tables):
    """Calling real data synthetic would make every figure look like a toy."""
    publish_second(tmp_path, tables, is_synthetic=False)
    assert "Synthetic data" not in text_of(open_view("throughput", tmp_path))
