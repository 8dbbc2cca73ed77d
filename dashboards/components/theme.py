"""Colours, fonts and page styles: NHS identity colours, chosen for contrast on white."""

import plotly.graph_objects as go
import streamlit as st

BLUE = "#005EB8"
DARK_BLUE = "#003087"
PALE_BLUE = "#A9CCEC"
GREY = "#768692"
DARK_GREY = "#425563"
PALE_GREY = "#D8DDE0"
INK = "#212B32"
ORANGE = "#D5541A"
GREEN = "#00703C"
PLUM = "#7C2855"
# Line colours differ in lightness as well as in hue, and every line has its own marker too.
SERIES = (BLUE, ORANGE, DARK_GREY, PLUM)
MARKERS = ("circle", "square", "diamond", "triangle-up")
DASHES = ("solid", "solid", "dash", "dot")
# Many classes in one stack differ in colour, in lightness and in hatching.
CLASSES = (
    (PALE_BLUE, ""),
    (ORANGE, ""),
    (DARK_BLUE, ""),
    (GREY, ""),
    (GREEN, "/"),
    (PLUM, "x"),
    (PALE_GREY, "."),
)
FONT = "Arial, 'Liberation Sans', sans-serif"
CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": "reset"}

_CSS = """
<style>
[data-testid="stMainBlockContainer"] {padding-top: 3.25rem; max-width: 1360px;}
[data-testid="stCaptionContainer"] p, [data-testid="stCaptionContainer"] {
    color: #4C6272 !important; opacity: 1 !important; font-size: 0.875rem;}
.reader {margin: 0.75rem 0 0 0; color: #425563; font-size: 0.9375rem; font-weight: 700;}
[data-testid="stSidebar"] [data-testid="stVerticalBlock"] {gap: 0.35rem;}
h1 {border-bottom: 4px solid #005EB8; padding-bottom: 0.4rem !important;}
.headline {font-size: 1.25rem; font-weight: 700; margin: 0; color: #212B32;}
.takeaway {font-size: 1.0625rem; margin: 0 0 0.25rem 0; color: #212B32;}
h2 {padding: 0 0 0.25rem 0 !important;}
.verdict {display: inline-block; border: 1px solid #768692; border-left-width: 6px; border-radius: 3px;
    padding: 0.1rem 0.5rem; margin: 0 0.25rem 0.25rem 0; font-size: 0.9375rem; color: #212B32;}
.verdict.improving {border-color: #005EB8;}
.verdict.concerning {border-color: #D5541A;}
[data-testid="stExpander"] summary, [data-testid="stExpander"] summary p {
    color: #005EB8 !important; opacity: 1 !important;}
.question {font-size: 1.125rem; margin: 0; color: #425563;}
.strip {background: #E8EDEE; border-left: 6px solid #005EB8; padding: 0.4rem 0.75rem; margin: 0;
    color: #212B32; font-weight: 700;}
.scroll {overflow-x: auto;}
.scroll:focus-visible {outline: 3px solid #FFB81C;}
table.plain {border-collapse: collapse; width: 100%; font-size: 0.9375rem;}
table.plain caption {text-align: left; color: #4C6272; padding: 0 0 0.4rem 0;}
table.plain th {text-align: left; vertical-align: bottom; padding: 0.5rem 0.75rem 0.5rem 0;
    border-bottom: 2px solid #768692; color: #212B32;}
table.plain td, table.plain tbody th {vertical-align: top; padding: 0.5rem 0.75rem 0.5rem 0;
    border-bottom: 1px solid #D8DDE0; font-weight: 400;}
table.plain tbody th strong {display: block;}
table.plain tr.group th {background: #E8EDEE; font-weight: 700; padding: 0.4rem 0.5rem;
    border-bottom: 1px solid #768692;}
table.plain .number {white-space: nowrap;}
table.plain .right {text-align: right; white-space: nowrap;}
table.plain thead .right {white-space: normal;}
table.plain tr.group .quiet {font-weight: 400;}
.scroll.tall {max-height: 36rem; overflow-y: auto;}
.scroll.tall thead th {position: sticky; top: 0; background: white;}
table.plain .quiet {color: #4C6272; font-size: 0.875rem; display: block;}
table.plain .tag {display: inline-block; border: 1px solid #768692; border-radius: 3px;
    padding: 0 0.35rem; font-size: 0.8125rem; color: #425563; white-space: nowrap;}
[data-testid="stAlert"] p, [data-testid="stAlert"] li, [data-testid="stAlert"] code {
    color: #212B32 !important;}
@media (max-width: 640px) {
    table.plain thead {position: absolute; left: -9999px;}
    table.plain, table.plain caption, table.plain tbody, table.plain tr, table.plain td,
    table.plain tbody th {display: block;}
    table.plain td {border: 0; padding: 0.2rem 0;}
    table.plain td::before {content: attr(data-label) ": "; color: #4C6272;}
    table.plain tbody th {border: 0; padding: 0.6rem 0 0 0;}
    table.plain tbody tr {border-bottom: 1px solid #D8DDE0; padding-bottom: 0.5rem;}
}
[class*="st-key-wide_"] {overflow-x: auto;}
[class*="st-key-wide_"] > * {min-width: 680px;}
.st-key-workbench_sql textarea {font-family: monospace; font-size: 0.875rem;}
@media print {
    [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stToolbar"],
    .stDownloadButton, [data-testid="stToastContainer"] {display: none !important;}
    [data-testid="stMainBlockContainer"] {max-width: none; padding: 0;}
    [data-testid="stVerticalBlockBorderWrapper"] {break-inside: avoid;}
}
</style>
"""


def apply_styles() -> None:
    """Put the page styles in place; once per run."""
    st.html(_CSS)


def lay_out(figure: go.Figure, *, title: str, height: int = 320) -> go.Figure:
    """Give a figure its name, fonts and a calm grid.

    The visible title is a heading of the page; the figure keeps the same words as its name.
    """
    figure.update_layout(
        meta={"title": title},
        height=height,
        margin={"l": 8, "r": 16, "t": 12, "b": 8},
        font={"family": FONT, "size": 14, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        hovermode="closest",
        hoverlabel={"font": {"family": FONT, "size": 14}},
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "x": 0,
            "font": {"size": 14, "color": INK},
        },
        showlegend=False,
    )
    axis = {
        "gridcolor": "#E8EDEE",
        "linecolor": GREY,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        "tickfont": {"size": 13, "color": INK},
        "title": {"font": {"size": 13, "color": DARK_GREY}},
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
