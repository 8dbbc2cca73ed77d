"""Light and dark: words that can be read, colours that can be told apart, one place that has them."""

import ast
import json
import re
import tomllib
from itertools import combinations

import plotly.graph_objects as go
import pytest
from colour_vision import SEEN_BY, ciede2000, contrast, difference
from conftest import ROOT, VIEWS

from dashboards.components import theme

PALETTES = {"light": theme.LIGHT, "dark": theme.DARK}
WITHOUT_CHARTS = {"metric_dictionary", "sql_workbench", "steward", "what_if"}
WITH_CHARTS = [view for view in VIEWS if view not in WITHOUT_CHARTS]
COLOUR = re.compile(r"#(?:[0-9a-f]{3,4}){1,2}\b|\b(?:rgb|hsl)a?\(", re.IGNORECASE)
NAMED = {"black", "white", "grey", "gray", "red", "green", "blue", "orange", "purple", "yellow"}
# CIEDE2000; about 2 is what a trained eye sees side by side. Markers, dashes and hatching add to it.
APART = 10.0
both = pytest.mark.parametrize("name", PALETTES)


@both
def test_words_have_contrast_on_every_ground_they_stand_on(name):
    """Grey words on a grey strip are read by nobody over sixty."""
    colours = PALETTES[name]
    own = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"][name]
    grounds = (colours.background, own["secondaryBackgroundColor"])
    for words in (colours.ink, colours.label, colours.quiet, colours.accent):
        assert all(contrast(words, ground) >= 4.5 for ground in grounds), words
    for words in (colours.ink, colours.label, colours.quiet):
        assert contrast(words, colours.surface) >= 4.5, words
    assert contrast(colours.label, colours.band) >= 4.5
    assert all(contrast(colours.ink, shade) >= 4.5 for shade in colours.shades)


@both
def test_what_is_drawn_stands_out_from_the_ground(name):
    """A line that a projector swallows is not evidence. A pale bar stands out by its edge."""
    colours = PALETTES[name]
    drawn = (colours.axis, colours.edge, colours.focus, colours.accent, colours.other)
    drawn += (colours.limit, colours.mark, colours.improvement, colours.concern, colours.neutral)
    for colour in (*drawn, colours.target, *colours.series):
        assert contrast(colour, colours.background) >= 3, colour


@both
@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colours_of_one_drawing_are_told_apart_by_every_reader(name, seen_by):
    """One man in twelve does not see red and green as the others do."""
    colours = PALETTES[name]
    drawings = (
        colours.series,
        colours.nested,
        tuple(fill for fill, _ in colours.classes),
        (colours.accent, colours.other),
        (colours.improvement, colours.concern, colours.neutral),
    )
    for drawing in drawings:
        for one, other in combinations(drawing, 2):
            found = difference(one, other, seen_by)
            assert found >= APART, f"{one} and {other}: {found:.1f}"


def test_the_difference_is_that_of_its_authors():
    """Pairs 1, 17 and 25 of the test data of Sharma, Wu and Dalal."""
    pairs = (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    )
    for one, other, expected in pairs:
        assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)


@both
def test_streamlits_own_parts_have_the_same_colours(name):
    """Two blues on one page look like two meanings."""
    own = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"][name]
    colours = PALETTES[name]
    expected = {
        "primaryColor": colours.accent,
        "linkColor": colours.accent,
        "backgroundColor": colours.background,
        "textColor": colours.ink,
        "grayTextColor": colours.quiet,
        "borderColor": colours.rule,
        "chartCategoricalColors": list(colours.series),
    }
    assert {key: own[key] for key in expected} == expected


def test_no_colour_is_written_outside_the_theme():
    """A colour in a component stays what it is when the reader turns the lights off."""
    for module in sorted((ROOT / "dashboards").rglob("*.py")):
        if module.name == "theme.py":
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = COLOUR.search(node.value) or node.value in NAMED
                assert not found, f"{module.relative_to(ROOT)}:{node.lineno} {node.value!r}"


@pytest.mark.parametrize("view", WITH_CHARTS)
def test_every_drawing_is_made_in_the_colours_of_the_active_theme(open_view, monkeypatch, view):
    """A figure kept from a light page, or a colour read at start, is black on black."""
    monkeypatch.setattr(theme, "active", lambda: theme.DARK)
    charts = open_view(view).get("plotly_chart")
    assert charts
    dark_only = re.findall(r"#[0-9A-F]{6}", repr(theme.DARK))
    for chart in charts:
        drawn = json.loads(chart.proto.spec)
        drawn["layout"].pop("template", None)
        assert set(re.findall(r"#[0-9A-Fa-f]{6}\b", json.dumps(drawn))) <= set(dark_only)


def test_what_is_laid_over_a_figure_takes_the_place_of_that_alone():
    """Failing means that a later choice of a drawing undoes an earlier one, or is lost."""
    figure = theme.lay_out(go.Figure(), title="Any")
    theme.change(figure, {"yaxis": {"title": {"text": "hours"}, "dtick": 1}, "height": 400})
    axis = figure.layout.yaxis
    assert (axis.title.text, axis.title.font.size, axis.dtick) == ("hours", 13, 1)
    assert (figure.layout.height, figure.layout.meta) == (400, {"title": "Any"})
    theme.add_shapes(figure, [theme.upright(1, width=1)])
    theme.add_shapes(figure, [theme.upright(2, width=1)])
    assert [shape.x0 for shape in figure.layout.shapes] == [1, 2]
    with pytest.raises(ValueError, match="colour"):
        theme.change(figure, {"xaxis": {"colour": "red"}})


def test_no_figure_carries_the_template_of_plotly(open_view):
    """It is longer than most drawings, and every reader would wait for it with every figure."""
    for chart in open_view("throughput").get("plotly_chart"):
        assert "template" not in json.loads(chart.proto.spec)["layout"]
