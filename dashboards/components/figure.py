"""A figure with everything it must carry: title, sentence, drawing, description, same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboards.components import downloads, theme, wording

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig

ROW_HEIGHT, MOST_ROWS = 35, 12


@dataclass(frozen=True)
class Figure:
    """One figure; table holds exactly the rows that were drawn, chart is None for a plain table.

    verdicts are a sign, a text and a look each, below the sentence.
    notes are short lines below the drawing: targets, conventions. events names what is marked.
    on is the column of the dates of a time chart.
    A wide drawing keeps its width on a phone and is scrolled sideways. reading is the table as
    HTML where a grid would cut it (see plain_table); the rows stand below it as they are stored.
    nothing says what it means that there is no row, where that is not for want of data.
    asked are the reader's own numbers, one line each, which head the download.
    """

    title: str
    takeaway: str
    table: pl.DataFrame
    chart: go.Figure | None = None
    alt: str = ""
    notes: Sequence[str] = field(default_factory=tuple)
    events: Sequence[str] = field(default_factory=tuple)
    verdicts: Sequence[tuple[str, str, str]] = field(default_factory=tuple)
    on: str = ""
    is_wide: bool = False
    reading: str = ""
    nothing: str = (
        "Nothing is stored for this choice. Choose another organisation, more months or all "
        "modalities."
    )
    asked: Sequence[str] = field(default_factory=tuple)


def show(
    figure: Figure,
    *,
    definitions: pl.DataFrame,
    source: str,
    described: str,
    provenance: Sequence[str],
    key: str,
    taken: Callable[[str, int], None] | None = None,
) -> None:
    """Draw one figure as a card.

    definitions holds one row per metric used, described the text of the table it was read from,
    provenance the lines every download starts with.
    """
    with st.container(border=True, height="stretch"):
        st.header(figure.title, anchor=False)
        st.html(f'<p class="takeaway">{escape(figure.takeaway)}</p>')
        if figure.verdicts:
            st.html("".join(_verdict(*verdict) for verdict in figure.verdicts))
        if figure.table.is_empty():
            st.info(figure.nothing)
        elif figure.reading:
            st.html(figure.reading)
        elif figure.chart is None:
            show_table(figure.table, alt=figure.title, key=f"{key}_table")
        else:
            with st.container(key=f"{'wide' if figure.is_wide else 'narrow'}_{key}"):
                st.plotly_chart(
                    figure.chart,
                    alt=figure.alt,
                    key=f"{key}_chart",
                    theme=None,
                    config=theme.CHART_CONFIG,
                )
        for note in [*figure.notes, *hidden_note(figure.table)]:
            st.caption(note)
        footer(
            figure,
            definitions=definitions,
            source=source,
            described=described,
            provenance=provenance,
            key=key,
            taken=taken,
        )


def _verdict(sign: str, text: str, look: str) -> str:
    return (
        f'<span class="verdict {look}"><span aria-hidden="true">{escape(sign)}</span> '
        f"{escape(text)}</span> "
    )


def show_table(table: pl.DataFrame, *, alt: str, key: str) -> None:
    """A table with plain headings; rates are shown as per cent, values stay as stored.

    A hidden figure is shown as a star; the column that names what is hidden is not shown.
    """
    table = starred(table)
    st.dataframe(
        table,
        alt=alt,
        key=key,
        hide_index=True,
        height=ROW_HEIGHT * min(table.height + 1, MOST_ROWS) + 3,
        column_config={name: _column(name, table.schema[name]) for name in table.columns},
    )


def hidden_note(table: pl.DataFrame) -> list[str]:
    """The note below a figure that has hidden values; none where nothing is hidden."""
    hidden = [name for name in table.columns if wording.any_hidden(table, name)]
    if not hidden:
        return []
    return [
        f"{wording.HIDDEN} or a gap: a small count, or what would tell one, that readers of this "
        "file may not see. It is not 0."
    ]


def starred(table: pl.DataFrame) -> pl.DataFrame:
    """The table with hidden figures as stars; a column that has one becomes text."""
    if wording.WITHHELD not in table.columns:
        return table
    starred = []
    for name in table.columns:
        if wording.any_hidden(table, name):
            written = [
                wording.HIDDEN if hidden else _plain(value, name)
                for value, hidden in zip(table[name], wording.is_hidden(table, name), strict=True)
            ]
            starred.append(pl.Series(name, written, dtype=pl.String))
    return table.with_columns(starred).drop(wording.WITHHELD)


def _plain(value: Any, name: str) -> str | None:
    """A stored value beside stars: a rate as per cent, any other with what decimals it has."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name.endswith("_rate"):
        return wording.number(value, "rate")
    whole, _, decimals = f"{value:,.3f}".partition(".")
    return f"{whole}.{decimals.rstrip('0')}".rstrip(".")


def _column(name: str, kind: pl.DataType) -> ColumnConfig:
    label = wording.column(name)
    if name.endswith("_rate") and kind.is_numeric():
        return st.column_config.NumberColumn(label, format="percent")
    if kind.is_numeric():
        return st.column_config.NumberColumn(label, format="localized")
    if kind == pl.Date:
        monthly = name in {"period_start_on", "month_on", "acquired_month_on"}
        return st.column_config.DateColumn(label, format="MMM YYYY" if monthly else "DD MMM YYYY")
    if isinstance(kind, pl.Datetime):
        return st.column_config.DatetimeColumn(label, format="DD MMM YYYY HH:mm")
    return st.column_config.Column(label)


def footer(
    figure: Figure,
    *,
    definitions: pl.DataFrame,
    source: str,
    described: str,
    provenance: Sequence[str],
    key: str,
    taken: Callable[[str, int], None] | None = None,
) -> None:
    """What stands below a drawing: marked events, the same rows to take away, how it is counted."""
    if figure.events:
        with st.expander(f"Marked events: {len(figure.events)}", key=f"{key}_ev", type="compact"):
            st.markdown("\n".join(f"- {event}" for event in figure.events))
    if not figure.table.is_empty():
        is_grid = figure.chart is None and not figure.reading
        label = "Download" if is_grid else "Show as table and download"
        with st.expander(label, key=f"{key}_rows", type="compact"):
            if not is_grid:
                show_table(figure.table, alt=figure.title, key=f"{key}_table")
            head = downloads.header(figure.title, definitions, [*figure.asked, *provenance])
            downloads.buttons(figure.table, head, file_stem=key, taken=taken)
    with st.expander("How this is counted", key=f"{key}_counted", type="compact"):
        for row in definitions.iter_rows(named=True):
            st.markdown(definition(row))
        st.caption(f"Read from {source}. {described}")


def definition(row: dict[str, Any]) -> str:
    """The text of one metric as a Markdown list; a measure outside the registry has fewer lines."""
    lines = [
        f"**{row['name']}** ({row['metric_id']}): {row['definition']}",
        f"- Numerator: {row['numerator'] or 'none'}",
        f"- Denominator: {row['denominator'] or 'none'}",
        f"- Exclusions: {row['exclusions'] or 'none'}" if "exclusions" in row else "",
        f"- Unit: {row['unit']}; {_direction(row['improvement'])}",
        f"- Clock: {row['clock']}" if "clock" in row else "",
        f"- Owner: {row['owner']}" if "owner" in row else "",
        f"- Source: {row['source']} ({wording.status(row['source_status'])})",
    ]
    return "\n".join(filter(None, lines))


def _direction(improvement: object) -> str:
    words = {"increase": "better when it rises", "decrease": "better when it falls"}
    return words.get(str(improvement), "no good direction")
