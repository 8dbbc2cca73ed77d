"""Figures of the whole network: the go-live timeline and who reads for whom."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards.components import theme, trend, wording
from dashboards.components.figure import Figure
from dashboards.components.marks import SYMBOLS


def timeline(frame: pl.DataFrame, *, title: str) -> Figure:
    """One row of markers per party: archive, viewing and network reporting go-live."""
    chart, palette = go.Figure(), theme.active()
    fills = {
        "go_live_archive": palette.series[0],
        "go_live_viewing": palette.series[1],
        "go_live_network_reporting": palette.series[2],
    }
    for kind in frame["event_type"].unique(maintain_order=True).sort():
        rows = frame.filter(pl.col("event_type") == kind)
        sure = [status == "verified" for status in rows["source_status"]]
        chart.add_trace(
            go.Scatter(
                x=rows["event_on"].to_list(),
                y=rows["party"].to_list(),
                mode="markers",
                name=wording.EVENT_TYPES.get(kind, kind),
                marker={
                    "symbol": [SYMBOLS[kind] if s else f"{SYMBOLS[kind]}-open" for s in sure],
                    "size": 13,
                    "color": fills.get(kind, palette.mark),
                    "line": {"width": 2},
                },
                text=[wording.status(s) for s in rows["source_status"]],
                hovertemplate="%{y}, %{x|%d %b %Y}<br>%{text}<extra></extra>",
            )
        )
    theme.lay_out(chart, title=title, height=360)
    parties = frame["party"].unique(maintain_order=True).to_list()
    chart.update_yaxes(
        autorange="reversed", type="category", categoryorder="array", categoryarray=parties
    )
    chart.update_layout(showlegend=True)
    archive = frame.filter(pl.col("event_type") == "go_live_archive").sort("event_on")
    takeaway = "No go-live date is stored."
    if archive.height:
        first, last = archive.row(0, named=True), archive.row(archive.height - 1, named=True)
        takeaway = f"The shared archive went live in {wording.month(first['event_on'])}."
    if archive.height > 1:
        takeaway = (
            f"The shared archive went live from {wording.month(first['event_on'])} "
            f"({first['party']}) to {wording.month(last['event_on'])} ({last['party']})."
        )
    notes = ["Filled markers: date verified by a public source. Open markers: date not verified."]
    alt = f"{title}. Timeline, one row per party. {takeaway} {notes[0]}"
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt, notes=notes)


def shared(frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame) -> Figure:
    """Share of reports read by another party, one row per month."""
    return trend.lines(
        frame,
        on="month_on",
        series={"cross_site_rate": "Read by another party"},
        unit="rate",
        title=f"Reports shared across sites, {where}",
        what="network reports read by another party than the one that acquired the images",
        events=events,
        targets=targets,
    )


def shared_by_year(
    frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame
) -> Figure:
    """The same, one row per financial year, which small parties have figures for too."""
    return trend.lines(
        frame,
        on="year_on",
        series={"cross_site_rate": "Read by another party"},
        unit="rate",
        title=f"Reports shared across sites by financial year, {where}",
        what="network reports read by another party than the one that acquired the images",
        events=events,
        targets=targets,
        more_notes=[
            "Financial years from April to March, each drawn at its first day. The page Throughput "
            "has the months, by modality.",
            *(
                f"The last one holds months to {wording.month(last)}."
                for last in frame["last_month_on"][-1:]
            ),
            trend.TOO_FEW_PERIODS,
        ],
    )


def matrix(frame: pl.DataFrame, *, title: str) -> Figure:
    """Acquired by (rows) against reported by (columns); own reports stay uncoloured."""
    rows = frame["acquired_by"].unique(maintain_order=True).to_list()
    columns = frame["reported_by"].unique(maintain_order=True).to_list()
    columns = [*[r for r in rows if r in columns], *[c for c in columns if c not in rows]]
    palette = theme.active()
    cells = {(r["acquired_by"], r["reported_by"]): r for r in frame.to_dicts()}
    shown = [[cells.get((row, column)) for column in columns] for row in rows]
    chart = go.Figure(
        go.Heatmap(
            x=columns,
            y=rows,
            z=[
                [c["report_count"] if c and not c["is_own"] else None for c in line]
                for line in shown
            ],
            colorscale=[[place / 2, shade] for place, shade in enumerate(palette.shades)],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y} read by %{x}: %{z:,}<extra></extra>",
        )
    )
    # At once: Plotly checks every annotation again with each that is added.
    chart.layout.annotations = [
        {
            "x": column,
            "y": row,
            "text": wording.told(cell, "report_count", "count") if cell else "",
            "showarrow": False,
            "font": {"size": 13, "color": palette.ink},
        }
        for row, line in zip(rows, shown, strict=True)
        for column, cell in zip(columns, line, strict=True)
    ]
    theme.lay_out(chart, title=title, height=460)
    chart.update_xaxes(side="top", tickangle=-35, showgrid=False)
    chart.update_yaxes(autorange="reversed", showgrid=False)
    when = "No year"
    if frame.height:
        year = wording.when(frame["year_on"][0], "year_on").removeprefix("in the ")
        when = f"{year[:1].upper()}{year[1:]} to {wording.month(frame['last_month_on'][0])}"
    away = frame.filter(~pl.col("is_own"), pl.col("report_count").is_not_null())
    away = away.sort("report_count", descending=True)
    takeaway = f"{when}: no report was read by another organisation."
    if wording.any_hidden(frame, "report_count"):
        takeaway = (
            f"{when}: what one organisation read for another is hidden: the counts are small."
        )
    if away.height:
        top = away.row(0, named=True)
        takeaway = (
            f"{when}: the largest flow is {top['acquired_by']} read by {top['reported_by']}, "
            f"{wording.counted(top['report_count'], 'report')}."
        )
    notes = [
        "Rows: who acquired the images. Columns: who reported. Uncoloured: own reports. "
        "A code without a name is an organisation outside the network."
    ]
    alt = f"{title}. Table with shaded cells. {takeaway}"
    return Figure(
        title=title,
        takeaway=takeaway,
        table=frame,
        chart=chart,
        alt=alt,
        notes=notes,
        is_wide=True,
    )
