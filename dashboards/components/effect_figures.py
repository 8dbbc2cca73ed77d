"""The effect of go-lives: verdict, months since go-live, parties, checks, and what is not told."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboards.components import plain_table, theme, trend, wording
from dashboards.components.figure import Figure

# Stored verdict: its sign and look, and what it means in a sentence.
VERDICTS = {
    "consistent with improvement": (
        "✓",
        "improving",
        "The interval leaves out 0 on the good side, chance alone seldom does as much, and no single "
        "party makes it.",
    ),
    "consistent with worsening": (
        "✗",
        "concerning",
        "The interval leaves out 0 on the bad side, chance alone seldom does as much, and no single "
        "party makes it.",
    ),
    "not shown": (
        "?",
        "",
        "This is no proof that nothing changed: what was seen may be chance, or rest on one party.",
    ),
    "could not have been seen": (
        "?",
        "",
        "An effect of the size that was promised is too small to be told from chance here.",
    ),
}
NOT_ESTIMATED = "not estimated"
CHECKS = {
    "placebo": "Go-lives pretended earlier: should show nothing",
    "horizon": "Other months after go-live",
    "trends": "Parties' own trends treated the other way",
    "not yet live": "Another method: change since the last month before go-live",
    "shock months": "Months of common shocks treated the other way",
}
SHOCKS = {
    "left out": "left out for all parties",
    "kept": "kept: without them too few months remain before the first go-live",
    "none": "none in the months compared",
}
NO_PICTURE = "There is no estimate to draw, for the reason above."


def title_of(row: dict[str, Any]) -> str:
    """Cross-site reports after archive go-live."""
    return f"{row['metric']} after {go_live(row['go_live_type']).lower()}"


def go_live(kind: str) -> str:
    """A stored type of go-live in words."""
    return wording.EVENT_TYPES.get(f"go_live_{kind}", kind.replace("_", " "))


def change(value: float | None, unit: str | None) -> str:
    """A stored change with its sign: of a rate in points, a relative one in per cent."""
    if value is None:
        return wording.NO_VALUE
    # A minus before nothing would seem to say something.
    value = value if abs(value) >= 0.00005 else abs(value)
    if unit == "relative":
        return f"{value:+.1%}"
    return wording.change(value, unit) if unit == "rate" else f"{value:+,.3g} {unit}"


def between(row: dict[str, Any], unit: str | None, stem: str = "change") -> str:
    """A stored interval in words, or that there is none."""
    low, high = row[f"{stem}_low"], row[f"{stem}_high"]
    if low is None or high is None:
        return "no interval"
    return f"{change(low, unit)} to {change(high, unit)}"


def chance(p: float | None) -> str:
    """A stored p; 0.049, or below 0.001."""
    if p is None:
        return wording.NO_VALUE
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def verdict(frame: pl.DataFrame) -> Figure:
    """What is told of one measure; the frame holds its one row."""
    row = frame.row(0, named=True)
    title, unit = f"{title_of(row)}, whole network", row["change_unit"]
    if row["verdict"] is None:
        return Figure(
            title=title,
            takeaway=f"No effect can be told: {row['not_estimated_because']}.",
            table=frame,
            reading=plain_table.html(
                title, ("What", "Answer"), [plain_table.Group(_about(row))], text=2
            ),
            verdicts=[("–", NOT_ESTIMATED.capitalize(), "")],
        )
    sign, look, meaning = VERDICTS[row["verdict"]]
    takeaway = (
        f"{row['verdict'].capitalize()}: {change(row['change'], unit)} in the months after go-live "
        f"that can be compared, against what would have been without it (95 % interval {between(row, unit)}). "
        f"{meaning}"
    )
    rows = [
        ("Effect, mean of the months after go-live", change(row["change"], unit)),
        ("95 % interval", between(row, unit)),
        ("Better when it", {"increase": "rises", "decrease": "falls"}[row["improvement"]]),
        ("p after Holm's adjustment over all measures", chance(row["p_adjusted"])),
        (
            "p of this measure alone",
            f"{chance(row['p_randomisation'])} ({row['ri_count']:,} of {row['order_count']:,} orders of "
            "the go-lives show as much)",
        ),
        ("Size that such a programme could show", size(row["detectable_change"], unit)),
        ("Size that was promised", size(row["promised_change"], unit)),
        *_about(row),
    ]
    return Figure(
        title=title,
        takeaway=takeaway,
        table=frame,
        reading=plain_table.html(title, ("What", "Answer"), [plain_table.Group(rows)], text=2),
        verdicts=[(sign, row["verdict"].capitalize(), look)],
        notes=_scale(row),
    )


def size(value: float | None, unit: str | None) -> str:
    """A stored size without sign."""
    return "not told by the register" if value is None else change(value, unit).lstrip("+")


def by_month_since(frame: pl.DataFrame, row: dict[str, Any]) -> Figure:
    """The event study; one row per month since go-live, row is that of the measure."""
    unit, title = row["change_unit"], f"Month by month since go-live, {row['metric']}"
    chart, palette = go.Figure(), theme.active()
    parts = (
        (frame.filter(pl.col("months_since") < 0), "Pretended earlier go-live", palette.other,
         "square-open"),
        (frame.filter(pl.col("months_since") >= 0), "After go-live", palette.accent, "circle"),
    )  # fmt: skip
    for part, label, colour, symbol in parts:
        chart.add_trace(
            go.Scatter(
                x=part["months_since"].to_list(),
                y=part["change"].to_list(),
                name=label,
                mode="markers",
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 2}},
                error_y=_reach(part, "change", colour),
                text=[_said(one, unit) for one in part.iter_rows(named=True)],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    theme.lay_out(chart, title=title)
    chart.update_layout(showlegend=True, height=chart.layout.height + 2 * trend.LEGEND_LINE)
    chart.add_hline(y=0, line={"width": 1.5, "color": palette.ink})
    chart.add_vline(x=-0.5, line={"width": 1, "dash": "dot", "color": palette.other})
    chart.update_xaxes(title_text="Months since the month of go-live, which is 0", dtick=3)
    chart.update_yaxes(tickformat="+.1~%" if unit in {"rate", "relative"} else "+,.3~g")
    after = parts[1][0].drop_nulls("change")
    takeaway = "No month since go-live has an effect that can be told."
    if after.height:
        last = after.row(after.height - 1, named=True)
        first = after.row(0, named=True)
        takeaway = (
            f"From {change(first['change'], unit)} in the month of go-live to "
            f"{change(last['change'], unit)} in month {last['months_since']}."
        )
    notes = [
        "Dots are means of the parties of that month, bars their 95 % intervals; the unbroken line is no "
        "effect. Left of the dotted line stand months before go-live, as if it had come earlier: they "
        "should lie about the unbroken line.",
        "The months are of different parties: few are compared in the last ones (table), and too few "
        "have no interval.",
    ]
    told = "; ".join(_said(one, unit) for one in after.iter_rows(named=True))
    alt = f"{title}. Dots with intervals by month since go-live, and a line at no effect. {takeaway} {told}."
    return Figure(title, takeaway, frame, chart, alt, notes, nothing=NO_PICTURE)


def by_party(frame: pl.DataFrame, row: dict[str, Any]) -> Figure:
    """Own effect of each party, and the estimate without it; one row per party."""
    unit, title = row["change_unit"], f"By party, {row['metric']}"
    parties = frame["party"].to_list()
    chart, palette = go.Figure(), theme.active()
    for column, label, colour, symbol in (
        ("change_without_it", "All others without this party", palette.other, "square-open"),
        ("change", "This party alone", palette.accent, "circle"),
    ):
        reach = {"error_x": _reach(frame, column, colour)} if column != "change" else {}
        chart.add_trace(
            go.Scatter(
                x=frame[column].to_list(),
                y=parties,
                orientation="h",
                name=label,
                mode="markers",
                marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2}},
                text=[change(value, unit) for value in frame[column]],
                hovertemplate=f"%{{y}}<br>{label}: %{{text}}<extra></extra>",
                **reach,
            )
        )
    theme.lay_out(chart, title=title, height=150 + 34 * max(len(parties), 1))
    chart.update_layout(showlegend=True)
    chart.add_vline(x=0, line={"width": 1.5, "color": palette.ink})
    chart.update_xaxes(tickformat="+.1~%" if unit in {"rate", "relative"} else "+,.3~g", nticks=6)
    chart.update_yaxes(
        autorange="reversed", type="category", categoryorder="array", categoryarray=parties
    )
    known = frame.drop_nulls("change").sort("change")
    takeaway = "No party has an effect that can be told."
    if known.height:
        low, top = known.row(0, named=True), known.row(known.height - 1, named=True)
        takeaway = (
            f"From {change(low['change'], unit)} at {low['party']} to {change(top['change'], unit)} at "
            f"{top['party']}."
        )
    alone = frame.filter(pl.col("n_effect_cells") == 0)["party"].to_list()
    notes = [
        "A party's own dot has no interval: a difference between parties may be chance. Grey is the "
        "estimate if the party had not been there, with its 95 % interval: it should stay on one side.",
    ]
    if alone:
        notes.append(
            f"Without a dot of its own: {', '.join(alone)}. Nobody not yet live was left to compare with."
        )
    names = "; ".join(
        f"{one['party']} {change(one['change'], unit)}" for one in frame.iter_rows(named=True)
    )
    alt = f"{title}. Dots by party in the order of go-lives, and a line at no effect. {takeaway} {names}."
    return Figure(title, takeaway, frame, chart, alt, notes, nothing=NO_PICTURE)


def checks(frame: pl.DataFrame, row: dict[str, Any]) -> Figure:
    """What the estimate would be otherwise; one row per check and variant."""
    unit, title = row["change_unit"], f"Checks, {row['metric']}"
    rows = [
        (
            CHECKS.get(one["check_name"], one["check_name"]),
            one["variant"],
            change(one["change"], unit),
            between(one, unit),
            one["note"] or "–",
        )
        for one in frame.iter_rows(named=True)
    ]
    heads = ("Check", "Done otherwise", "Effect then", "95 % interval", "Why none")
    return Figure(
        title=title,
        takeaway="The estimate is as good as these stay close to it, and the pretended go-lives to 0.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=5),
        nothing=NO_PICTURE,
    )


def caveats(frame: pl.DataFrame) -> Figure:
    """What no method can tell of one measure; the frame holds its one row."""
    row = frame.row(0, named=True)
    title = f"What no method can tell, {row['metric']}"
    rows = [
        ("What cannot be told from this calendar", row["cannot_tell"] or "nothing was compared"),
        ("What else happened in these months", row["co_interventions"] or "nothing that is stored"),
        ("Months of common shocks", SHOCKS.get(row["shock_months"], wording.NO_VALUE)),
        (
            "Months left out for want of a value",
            wording.number(row["missing_month_count"], "count"),
        ),
        ("Parties left out for want of months", row["left_out_parties"] or "none"),
    ]
    return Figure(
        title=title,
        takeaway="An event that meets the parties unequally and at the time of their go-lives looks "
        "like an effect.",
        table=frame,
        reading=plain_table.html(title, ("What", "Answer"), [plain_table.Group(rows)], text=2),
    )


def overview(frame: pl.DataFrame) -> Figure:
    """Every measure of the benefit register; one row per metric and type of go-live."""
    title = "Every measure of the benefit register, whole network"
    rows = [
        (
            f"{one['metric_id']} {one['metric']}",
            go_live(one["go_live_type"]),
            one["verdict"] or NOT_ESTIMATED,
            change(one["change"], one["change_unit"]),
            between(one, one["change_unit"]) if one["verdict"] else wording.NO_VALUE,
            chance(one["p_adjusted"]),
            one["not_estimated_because"] or "–",
        )
        for one in frame.iter_rows(named=True)
    ]
    heads = ("Metric", "Go-live", "Verdict", "Effect", "95 % interval", "p after Holm", "Why none")
    told = frame.filter(pl.col("verdict").is_not_null())
    better = told.filter(pl.col("verdict") == "consistent with improvement")
    return Figure(
        title=title,
        takeaway=f"Estimated: {told.height} of {frame.height}. Consistent with improvement: "
        f"{better.height}.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=7),
        notes=[
            "The list of measures was fixed before anybody looked; Holm's adjustment is over all that "
            "could be estimated. A rate changes in points, any other metric in per cent of what would "
            "have been, or in its own unit where a month of it is 0."
        ],
    )


def _about(row: dict[str, Any]) -> list[tuple[str, str]]:
    if row["party_count"] is None:
        return [
            ("Metric", f"{row['metric_id']} {row['metric']}"),
            ("Go-live", go_live(row["go_live_type"])),
        ]
    compared = "each other, while some were not yet live"
    if row["comparator"]:
        compared += f", and {row['comparator']}"
    span = f"{wording.month(row['first_month_on'])} to {wording.month(row['last_month_on'])}"
    return [
        ("Parties", wording.number(row["party_count"], "count")),
        ("Compared with", compared),
        ("Months compared", span),
        (
            "Party months after go-live, and not live yet",
            f"{wording.number(row['n_effect_cells'], 'count')} and "
            f"{wording.number(row['n_untreated_cells'], 'count')}",
        ),
    ]


def _scale(row: dict[str, Any]) -> list[str]:
    if row["is_logged"]:
        return [
            "Effects of this metric multiply: they are told in per cent of what would have been."
        ]
    return []


def _said(row: dict[str, Any], unit: str | None) -> str:
    parties = wording.counted(row["party_count"], "party", "parties")
    return f"month {row['months_since']}: {change(row['change'], unit)} ({between(row, unit)}, {parties})"


def _reach(frame: pl.DataFrame, stem: str, colour: str) -> dict[str, Any]:
    # Plotly wants the lengths of both arms; they are drawn from the stored ends.
    middle, low, high = (frame[name].to_list() for name in (stem, f"{stem}_low", f"{stem}_high"))
    up = [None if m is None or h is None else h - m for m, h in zip(middle, high, strict=True)]
    down = [
        None if m is None or one is None else m - one for m, one in zip(middle, low, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "color": colour,
        "thickness": 1.5,
    }
