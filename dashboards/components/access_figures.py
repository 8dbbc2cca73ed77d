"""The figures of image access: who opens images from where, what fails, how long it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from dashboards.components import comparison, plain_table, trend, wording
from dashboards.components.figure import Figure

FEED = "image_access"
NETWORK = "Whole network"
BY_PARTY = "Image access is counted by party, not by trust: choose a party or the network."


def missing(lacking: pl.DataFrame, org_level: str, org_code: str) -> str:
    """What it means that the chosen organisation has no row, and which feed would bring one.

    lacking holds one row per party and metric or benefit line that lacks a feed.
    """
    if org_level == "trust":
        return BY_PARTY
    feed = f"{wording.FEED_KINDS[FEED]} ({FEED})"
    without = lacking.filter(pl.col("missing_feeds").str.contains(FEED, literal=True))
    if org_level == "party":
        without = without.filter(pl.col("party_code") == org_code)
    parties = without["party"].unique(maintain_order=True).to_list()
    if parties:
        return (
            f"Not known, and not 0: no {feed} has come from {', '.join(parties)}. "
            "That feed would bring these figures."
        )
    return (
        f"Not known, and not 0: the {feed} that came covers no whole month of this choice. "
        "Choose more months, or see on Data quality how far each feed reaches."
    )


def views_by_context(
    frame: pl.DataFrame,
    measure: dict[str, Any] | None,
    where: str,
    events: pl.DataFrame,
    nothing: str,
) -> Figure:
    """Image views each month by the way in; one row per month."""
    known = [name for name in wording.WAYS_IN if name in frame.columns]
    used = {name: wording.WAYS_IN[name] for name in known if frame[name].count()}
    drawn = trend.bars(
        frame,
        on="month_on",
        series=used or {"own_record": wording.WAYS_IN["own_record"]},
        unit="count",
        title=f"Image views by way in, {where}",
        what="image views",
        events=events,
        hatched=True,
        more_notes=certainty(measure),
    )
    said = wording.latest(
        drawn.table, on="month_on", value="all_views", unit="count", what="image views, all ways in"
    )
    alt = drawn.alt.replace(drawn.takeaway, said)
    return replace(drawn, takeaway=said, alt=alt, nothing=nothing)


def over_time(
    frame: pl.DataFrame, measure: dict[str, Any], where: str, events: pl.DataFrame, nothing: str
) -> Figure:
    """One measure of the chosen organisation beside the network; one row per month."""
    title = f"{measure['name']}, {where}"
    series = {"value": where}
    is_network = frame["value"].equals(frame["network_value"])
    if not is_network:
        series |= {"network_value": NETWORK}
    drawn = trend.lines(
        frame,
        on="month_on",
        series=series,
        unit=measure["unit"],
        title=title,
        what=_small(measure["name"]),
        events=events,
        more_notes=[*_spoken_for(frame), *certainty(measure)],
    )
    return replace(drawn, nothing=nothing)


def peers(frame: pl.DataFrame, measure: dict[str, Any], nothing: str) -> Figure:
    """One measure of the latest month; one row per party."""
    drawn = comparison.peers(
        frame,
        on="month_on",
        value="value",
        unit=measure["unit"],
        title=f"{measure['name']} against peers",
    )
    whole = frame["network_value"][0] if frame.height else None
    notes = [f"{NETWORK}: {wording.number(whole, measure['unit'])}.", *certainty(measure)]
    return replace(
        drawn, notes=[*drawn.notes, *notes], alt=f"{drawn.alt} {notes[0]}", nothing=nothing
    )


def opened_from_records(
    frame: pl.DataFrame, metric: dict[str, Any], where: str, events: pl.DataFrame, nothing: str
) -> Figure:
    """Images opened from a record for each 1,000 exams; one row per month."""
    drawn = trend.lines(
        frame,
        on="period_start_on",
        series={"value": "Opened for each 1,000 exams"},
        unit="count",
        title=f"Images opened from a record, {where}",
        what="images opened from a record for each 1,000 exams performed",
        events=events,
        more_notes=certainty(metric),
    )
    return replace(drawn, nothing=nothing)


def transfers(
    frame: pl.DataFrame,
    measure: dict[str, Any] | None,
    where: str,
    events: pl.DataFrame,
    nothing: str,
) -> Figure:
    """Studies sent from one party to another; one row per month."""
    drawn = trend.lines(
        frame,
        on="month_on",
        series={"value": "Studies received from another party"},
        unit="count",
        title=f"Transfers between parties, {where}",
        what="studies sent from one party to another",
        events=events,
        more_notes=[*_spoken_for(frame), *certainty(measure)],
    )
    return replace(drawn, nothing=nothing)


def contexts(frame: pl.DataFrame, where: str, nothing: str) -> Figure:
    """The ways in of the latest month side by side; one row per way in, all of them last."""
    title = f"Ways in side by side, {where}"
    when = wording.month(frame["month_on"][0] if frame.height else None)
    takeaway = "No way in has a stored value for this choice."
    ways = frame.filter((pl.col("access_context") != "All") & (pl.col("views") > 0))
    if ways.height:
        top = ways.row(0, named=True)
        takeaway = (
            f"{when}: most views, {wording.number(top['views'], 'count')}, "
            f"were {_small(wording.way_in(top['access_context']))}."
        )
    rows = [
        (
            wording.way_in(row["access_context"]),
            wording.told(row, "views", "count"),
            wording.told(row, "other_party_rate", "rate"),
            wording.told(row, "failed_rate", "rate"),
            wording.told(row, "first_image_seconds", "seconds"),
            wording.told(row, "slow_rate", "rate"),
            wording.told(row, "timed_rate", "rate"),
            wording.told(row, "viewing_people", "count"),
        )
        for row in frame.to_dicts()
    ]
    heads = (
        "Way in", "Views", "Of another party's images", "Failed launches", "To the first image",
        "Slow first images", "Views with that time", "People",
    )  # fmt: skip
    last = [len(rows) - 1] if rows and frame["access_context"][-1] == "All" else []
    reading = plain_table.html(title, heads, [plain_table.Group(rows, strong=last)])
    notes = [
        "No value: nothing to divide by, no viewer that notes the time, or too few people to "
        "be told. People do not add up: one may use several ways in."
    ]
    return Figure(
        title=title, takeaway=takeaway, table=frame, reading=reading, notes=notes, nothing=nothing
    )


def certainty(measure: dict[str, Any] | None) -> list[str]:
    """How sure the definition is and where it comes from, as one line; none without a stored row."""
    if measure is None:
        return []
    return [
        f"Certainty of the definition: {wording.status(measure['source_status'])}. "
        f"Source: {measure['source']}."
    ]


def counted(frame: pl.DataFrame) -> Figure:
    """How each measure is counted; one row per measure."""
    title = "How image access is counted, whole network"
    rows = [
        (
            row["name"],
            row["definition"],
            row["numerator"],
            row["denominator"],
            row["source"],
            wording.status(row["source_status"]),
        )
        for row in frame.to_dicts()
    ]
    heads = ("Measure", "What it is", "Counted", "Divided by", "Source", "Certainty")
    return Figure(
        title=title,
        takeaway="Views are use of images, not yet a benefit; never counted by person.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=6),
        nothing="No audit message has been counted yet, so there is nothing to explain.",
    )


def _spoken_for(frame: pl.DataFrame) -> list[str]:
    newest = wording.last_row(frame, "audited_party_count")
    if newest is None:
        return []
    parties = wording.counted(newest["audited_party_count"], "party", "parties")
    return [
        f"{NETWORK}: {parties} with audit messages of all of {wording.month(newest['month_on'])}."
    ]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
