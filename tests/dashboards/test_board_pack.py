"""The board pack: the numbers of the screen, words for every picture, the same file each time."""

import io
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pptx import Presentation
from pypdf import PdfReader

from dashboards.data.published import PublishedFilesBroken, stored_build
from dashboards.data.queries import benefits
from dashboards.export import drawing, pack, pdf, slides
from dashboards.export.model import PackModel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(published: Path) -> PackModel:
    return pack.make(stored_build(published, "demo"), "demo")


@pytest.fixture(scope="module")
def deck(made: PackModel) -> bytes:
    return slides.write(made)


@pytest.fixture(scope="module")
def document(made: PackModel) -> bytes:
    return pdf.write(made)


def charts(deck: bytes) -> list:
    found = Presentation(io.BytesIO(deck)).slides
    return [shape for slide in found for shape in slide.shapes if shape.has_chart]


def test_a_slide_draws_the_values_that_the_page_asks_for(published: Path, deck: bytes):
    register = benefits.summary(stored_build(published, "demo"))
    stored = register.drop_nulls("planned_value_gbp_per_year")["planned_value_gbp_per_year"]
    shown = next(s.chart for s in charts(deck) if s.name.startswith("Planned value"))
    drawn = [v for s in shown.plots[0].series if s.name != "After optimism" for v in s.values]
    assert sorted(v for v in drawn if v is not None) == sorted(round(float(v)) for v in stored)


def test_every_chart_of_the_slides_has_words_and_the_values_of_its_figure(
    made: PackModel, deck: bytes
):
    shown = {shape.name: shape for shape in charts(deck)}
    items = [item for part in made.sections for item in part.items]
    drawn = [(i, drawing.read(i.figure.chart)) for i in items if i.figure.chart and i.table.rows]
    drawn = [(item, one) for item, one in drawn if one is not None]
    assert drawn and set(shown) == {item.figure.title for item, _ in drawn}
    for item, one in drawn:
        shape = shown[item.figure.title]
        assert shape._element.nvGraphicFramePr.cNvPr.get("descr") == item.figure.alt
        first = shape.chart.plots[0].series[0]
        assert list(first.values) == one.values(one.series[0])


def test_the_document_is_tagged_and_every_picture_has_words(made: PackModel, document: bytes):
    root = PdfReader(io.BytesIO(document)).trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en-GB"
    assert b"pdfuaid" in root["/Metadata"].get_data()
    assert PdfReader(io.BytesIO(document)).metadata.title == made.title
    kinds: list[tuple[str, str]] = []
    waiting = [root["/StructTreeRoot"]]
    while waiting:
        node = waiting.pop()
        if "/S" in node:
            kinds.append((node["/S"], node.get("/Alt", "")))
        below = node.get("/K", [])
        for one in below if isinstance(below, list) else [below]:
            found = one.get_object()
            if isinstance(found, dict) and ("/S" in found or "/K" in found):
                waiting.append(found)
    pictures = [words for kind, words in kinds if kind == "/Figure"]
    assert len(pictures) > 5 and all(pictures)
    assert any(kind == "/TH" for kind, _ in kinds)


def test_the_document_prints_what_the_page_says(made: PackModel, document: bytes):
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(document)).pages]
    text = " ".join(" ".join(pages).split())
    assert made.build_id in text
    assert " ".join(made.answers[0].split()) in text
    for row in made.promises.rows:
        assert row[0] in text


def test_the_same_build_gives_the_same_files(published: Path, deck: bytes, document: bytes):
    again = pack.make(stored_build(published, "demo"), "demo")
    assert pdf.write(again) == document
    assert slides.write(again) == deck


def test_an_unknown_build_or_audience_is_named(published: Path, tmp_path: Path):
    with pytest.raises(PublishedFilesBroken, match="no published build 1999"):
        stored_build(published, "demo", "1999")
    command = [sys.executable, "-m", "dashboards.export", "--published", str(published)]
    command += ["--audience", "nobody", "--to", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "no file for the audience 'nobody'" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_a_hidden_count_is_a_star_and_never_nought():
    rows = pl.DataFrame(
        {"party": ["A", "B"], "exam_count": [None, 10], "withheld": ["exam_count", None]}
    )
    assert pack.written(rows).rows == [["A", "*"], ["B", "10"]]


def test_the_pack_of_the_network_says_that_small_counts_are_hidden(audiences: Path):
    build = stored_build(audiences, "network")
    said = pack.make(build, "network")
    assert any(build.rule in caveat for caveat in said.caveats)
