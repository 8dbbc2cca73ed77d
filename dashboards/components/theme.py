"""Colours of the light and the dark theme, fonts and page styles.

The only module with colours in it. Contrast (WCAG 2.2: words 4.5:1, graphics 3:1) and the
difference between colours for readers without one of the three kinds of cone are tested:
tests/dashboards/test_theme.py. Streamlit's own parts take the same colours from
.streamlit/config.toml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import plotly.graph_objects as go
import plotly.io
import streamlit as st


@dataclass(frozen=True)
class Palette:
    """The colours of one theme by what they mean, each as #RRGGBB.

    Words: ink, label (of axes and marks), quiet (small print), accent. Areas: background, surface
    (a strip or heading of a group), band (an external event), veil (below a number on a drawing;
    with transparency). Lines: grid, rule, axis, edge (round a bar), focus. Drawings: accent, other
    (not mine), limit, mark (an event), improvement, concern, neutral, target; series for lines and
    parts, nested for bars inside each other from the outermost in, classes with their hatching for
    many parts, shades from few to many.
    """

    background: str
    surface: str
    band: str
    veil: str
    ink: str
    label: str
    quiet: str
    grid: str
    rule: str
    axis: str
    edge: str
    focus: str
    accent: str
    other: str
    limit: str
    mark: str
    improvement: str
    concern: str
    neutral: str
    target: str
    series: tuple[str, ...]
    nested: tuple[str, ...]
    classes: tuple[tuple[str, str], ...]
    shades: tuple[str, ...]


# Series differ in lightness as well as in hue, and every line has its own marker too.
LIGHT = Palette(
    background="#FFFFFF",
    surface="#E8EDEE",
    band="#D8DDE0",
    veil="rgba(255, 255, 255, 0.8)",
    ink="#212B32",
    label="#425563",
    quiet="#4C6272",
    grid="#E8EDEE",
    rule="#D8DDE0",
    axis="#768692",
    edge="#425563",
    focus="#B35A00",
    accent="#005EB8",
    other="#768692",
    limit="#768692",
    mark="#212B32",
    improvement="#005EB8",
    concern="#D5541A",
    neutral="#7C2855",
    target="#00703C",
    series=("#005EB8", "#D5541A", "#212B32", "#AE2573"),
    nested=("#A9CCEC", "#005EB8", "#003087"),
    classes=(
        ("#A9CCEC", ""),
        ("#D5541A", ""),
        ("#003087", ""),
        ("#768692", ""),
        ("#005A30", "/"),
        ("#7C2855", "x"),
        ("#D8DDE0", "."),
    ),
    shades=("#F0F4F5", "#8FB8DE", "#41B6E6"),
)
DARK = Palette(
    background="#10181F",
    surface="#24323C",
    band="#34444F",
    veil="rgba(16, 24, 31, 0.8)",
    ink="#E8EDEE",
    label="#C3CDD3",
    quiet="#B4C0C7",
    grid="#24323C",
    rule="#3A4A55",
    axis="#8A9AA5",
    edge="#C3CDD3",
    focus="#FFB81C",
    accent="#5FA8EE",
    other="#8A9AA5",
    limit="#8A9AA5",
    mark="#E8EDEE",
    improvement="#5FA8EE",
    concern="#F29A4A",
    neutral="#C2588F",
    target="#4DB27C",
    series=("#4C9BE8", "#F29A4A", "#E8EDEE", "#C2588F"),
    nested=("#2F5F8F", "#5FA8EE", "#CBE5FF"),
    classes=(
        ("#3D4EAE", ""),
        ("#F29A4A", ""),
        ("#9CCBF7", ""),
        ("#97A495", ""),
        ("#2E8B57", "/"),
        ("#D05E9F", "x"),
        ("#F3F6F8", "."),
    ),
    shades=("#1B2730", "#24507C", "#2A6AA5"),
)
MARKERS = ("circle", "square", "diamond", "triangle-up")
DASHES = ("solid", "solid", "dash", "dot")
FONT = "Arial, 'Liberation Sans', sans-serif"
CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": "reset"}
# Plotly's own template is twice as long as a line of eight years, goes to the browser with every
# figure and is checked anew each time a figure is copied: lay_out says what is wanted instead.
plotly.io.templates.default = None

_CSS = """
[data-testid="stMainBlockContainer"] {padding-top: 3.25rem; max-width: 1360px;}
[data-testid="stCaptionContainer"] p, [data-testid="stCaptionContainer"] {
    color: var(--quiet) !important; opacity: 1 !important; font-size: 0.875rem;}
.reader {margin: 0.75rem 0 0 0; color: var(--label); font-size: 0.9375rem; font-weight: 700;}
.saved {margin: 0.25rem 0 0 0; padding-left: 1.25rem; font-size: 0.875rem; overflow-wrap: anywhere;}
.saved a {color: inherit;}
[data-testid="stSidebar"] [data-testid="stVerticalBlock"] {gap: 0.35rem;}
h1 {border-bottom: 4px solid var(--accent); padding-bottom: 0.4rem !important;}
.headline {font-size: 1.25rem; font-weight: 700; margin: 0; color: var(--ink);}
.takeaway {font-size: 1.0625rem; margin: 0 0 0.25rem 0; color: var(--ink);}
h2 {padding: 0 0 0.25rem 0 !important;}
[data-testid="stDialog"] h2 {padding: 1.25rem 1.5rem 0.25rem 1.5rem !important;}
.verdict {display: inline-block; border: 1px solid var(--axis); border-left-width: 6px; border-radius: 3px;
    padding: 0.1rem 0.5rem; margin: 0 0.25rem 0.25rem 0; font-size: 0.9375rem; color: var(--ink);}
.verdict.improving {border-color: var(--improvement);}
.verdict.concerning {border-color: var(--concern);}
[data-testid="stExpander"] summary, [data-testid="stExpander"] summary p {
    color: var(--accent) !important; opacity: 1 !important;}
.question {font-size: 1.125rem; margin: 0; color: var(--label);}
.strip {background: var(--surface); border-left: 6px solid var(--accent); padding: 0.4rem 0.75rem; margin: 0;
    color: var(--ink); font-weight: 700;}
.scroll {overflow-x: auto;}
.scroll:focus-visible {outline: 3px solid var(--focus);}
table.plain {border-collapse: collapse; width: 100%; font-size: 0.9375rem;}
table.plain caption {text-align: left; color: var(--quiet); padding: 0 0 0.4rem 0;}
table.plain th {text-align: left; vertical-align: bottom; padding: 0.5rem 0.75rem 0.5rem 0;
    border-bottom: 2px solid var(--axis); color: var(--ink);}
table.plain td, table.plain tbody th {vertical-align: top; padding: 0.5rem 0.75rem 0.5rem 0;
    border-bottom: 1px solid var(--rule); font-weight: 400;}
table.plain tbody th strong {display: block;}
table.plain tr.group th {background: var(--surface); font-weight: 700; padding: 0.4rem 0.5rem;
    border-bottom: 1px solid var(--axis);}
table.plain .number {white-space: nowrap;}
table.plain .right {text-align: right; white-space: nowrap;}
table.plain thead .right {white-space: normal;}
table.plain tr.group .quiet {font-weight: 400;}
.scroll.tall {max-height: 36rem; overflow-y: auto;}
.scroll.tall thead th {position: sticky; top: 0; background: var(--background);}
table.plain .quiet {color: var(--quiet); font-size: 0.875rem; display: block;}
table.plain .tag {display: inline-block; border: 1px solid var(--axis); border-radius: 3px;
    padding: 0 0.35rem; font-size: 0.8125rem; color: var(--label); white-space: nowrap;}
[data-testid="stAlert"] p, [data-testid="stAlert"] li, [data-testid="stAlert"] code {
    color: var(--ink) !important;}
@media (max-width: 640px) {
    table.plain thead {position: absolute; left: -9999px;}
    table.plain, table.plain caption, table.plain tbody, table.plain tr, table.plain td,
    table.plain tbody th {display: block;}
    table.plain td {border: 0; padding: 0.2rem 0;}
    table.plain td::before {content: attr(data-label) ": "; color: var(--quiet);}
    table.plain tbody th {border: 0; padding: 0.6rem 0 0 0; font-weight: 700;}
    table.plain tbody th .quiet {font-weight: 400;}
    table.plain .right {text-align: left;}
    table.plain tbody tr {border-bottom: 1px solid var(--rule); padding-bottom: 0.5rem;}
}
[class*="st-key-wide_"] {overflow-x: auto;}
[class*="st-key-wide_"] > * {min-width: 680px;}
[data-testid="stBaseButton-primary"] p {color: var(--background) !important;}
pre.plan {font-family: monospace; font-size: 0.875rem; line-height: 1.25; color: var(--ink);
    background: none; border: 0; margin: 0; white-space: pre;}
.st-key-workbench_sql textarea {font-family: monospace; font-size: 0.875rem;}
/* A grid's own file has no head, asks no purpose and is in no record; the buttons below it have all. */
[data-testid="stElementToolbar"] button[aria-label^="Download as CSV"] {display: none !important;}
@media print {
    /* The paper is as the screen: light words on white would be lost. */
    html, body, .stApp {print-color-adjust: exact; -webkit-print-color-adjust: exact;}
    [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stToolbar"],
    .stDownloadButton, [data-testid="stToastContainer"] {display: none !important;}
    [data-testid="stMainBlockContainer"] {max-width: none; padding: 0;}
    [data-testid="stVerticalBlockBorderWrapper"] {break-inside: avoid;}
}
"""


def active() -> Palette:
    """The palette of the theme on the reader's screen; light where nobody looks, as in a file."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def apply_styles() -> None:
    """Put the page styles in place, in the colours of the active theme; once per run."""
    palette = active()
    values = ((field.name, getattr(palette, field.name)) for field in fields(palette))
    colours = " ".join(f"--{name}: {value};" for name, value in values if isinstance(value, str))
    st.html(f"<style>\n:root {{{colours}}}\n{_CSS}</style>")


def lay_out(figure: go.Figure, *, title: str, height: int = 320) -> go.Figure:
    """Give a figure its name, fonts and a calm grid.

    The visible title is a heading of the page; the figure keeps the same words as its name.
    """
    palette = active()
    axis = {
        "gridcolor": palette.grid,
        "linecolor": palette.axis,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        "tickfont": {"size": 13, "color": palette.ink},
        "title": {"font": {"size": 13, "color": palette.label}, "standoff": 15},
    }
    change(
        figure,
        {
            "meta": {"title": title},
            # A name that is a number is no place on a scale.
            "autotypenumbers": "strict",
            "height": height,
            "margin": {"l": 8, "r": 16, "t": 12, "b": 8},
            "font": {"family": FONT, "size": 14, "color": palette.ink},
            "paper_bgcolor": palette.background,
            "plot_bgcolor": palette.background,
            "hovermode": "closest",
            "hoverlabel": {
                "font": {"family": FONT, "size": 14, "color": palette.ink},
                "bgcolor": palette.background,
                "bordercolor": palette.axis,
                "align": "left",
            },
            "legend": {
                "orientation": "h",
                "yanchor": "bottom",
                "y": 1.02,
                "x": 0,
                "font": {"size": 14, "color": palette.ink},
            },
            "showlegend": False,
            "xaxis": axis,
            "yaxis": axis,
        },
    )
    return figure


def change(figure: go.Figure, layout: Mapping[str, Any]) -> None:
    """Lay changes over the layout of a figure, at once: a list takes the place of what was there.

    Plotly's update_layout does the same by a path for each leaf, in ten times as long.
    """
    figure.layout = _laid_over(figure.layout.to_plotly_json(), layout)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for name, value in above.items():
        held = laid.get(name)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        laid[name] = _laid_over(held, value) if both else value
    return laid


def add_shapes(figure: go.Figure, shapes: Sequence[Mapping[str, Any]]) -> None:
    """Draw further lines and areas; all in one call, as Plotly checks all of them in each."""
    figure.layout.shapes = [*figure.layout.shapes, *shapes]


def upright(at: object, **look: Any) -> dict[str, Any]:
    """The shape of a line from the foot to the top of the drawing, at a place of its x axis."""
    return {
        "type": "line",
        "x0": at,
        "x1": at,
        "xref": "x",
        "y0": 0,
        "y1": 1,
        "yref": "y domain",
        "line": look,
    }
