"""Who waits longer: one bar per group of patients, and the distance between trusts over time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from dashboards.components import comparison, trend, wording
from dashboards.components.figure import Figure

KINDS = {"deprivation_quintile": "deprivation quintile", "ethnic_group": "ethnic group"}
SECTION = (
    "Who waits longer",
    "The same figures by deprivation of where patients live, by ethnic group, and between trusts.",
)
MOST_DEPRIVED = "1 most deprived"
UNADJUSTED = (
    "Groups are not made alike in age, test or urgency, and a difference between few patients can "
    "be chance: it asks a question, it is no proof of unequal treatment."
)
WITHHELD = (
    "Withheld: a group too small to be told, or one that would tell such a group by subtraction."
)
NO_PARTIES = (
    "Groups of patients are told for the network and for trusts, not for parties, and only where "
    "somebody waits or was tested. Choose a trust, the network, or all modalities."
)
NO_LIMITS = (
    "No control limits: the highest and the lowest are another trust from month to month, so no "
    "process is behind the line. Choose a trust to see its own control chart."
)
FEW_TRUSTS = "Fewer than two trusts have enough patients to be compared."


@dataclass(frozen=True)
class Measure:
    """A metric shown by group: its unit, its title, and when a month's value is of."""

    metric_id: str
    unit: str
    title: str
    counted: str
    timing: str
    source: str

    @property
    def metrics(self) -> list[str]:
        """The id, as page.figure asks for it."""
        return [self.metric_id]


MEASURES = (
    Measure(
        "W02",
        "rate",
        "Waiting 6 weeks or more",
        "on the list",
        "stock",
        "marts.rpt_equity_monthly",
    ),
    Measure(
        "W05",
        "days",
        "Median days from request to test",
        "tests",
        "flow",
        "marts.rpt_equity_monthly",
    ),
    Measure(
        "R01",
        "hours",
        "Median hours from exam to report",
        "exams",
        "flow",
        "statistics.turnaround_by_patient_group",
    ),
)


def bars(frame: pl.DataFrame, measure: Measure, kind: str, where: str) -> Figure:
    """One bar per patient group at the latest month; a withheld one has its name and no bar."""
    title = f"{measure.title} by {KINDS[kind]}, {where}"
    drawn = comparison.groups(
        frame,
        unit=measure.unit,
        counted=measure.counted,
        title=title,
        takeaway=_told(frame, measure),
    )
    notes = [*_known(frame, kind), UNADJUSTED]
    if frame["is_withheld"].any():
        notes.append(WITHHELD)
    return replace(drawn, notes=notes, nothing=NO_PARTIES)


def spread(frame: pl.DataFrame, measure: Measure, modality: str, events: pl.DataFrame) -> Figure:
    """The trusts with the highest and the lowest value each month."""
    title = f"{measure.title}: highest and lowest trust, {modality}"
    drawn = trend.lines(
        frame,
        on="period_start_on",
        series={
            "highest": "Highest trust",
            "upper_quartile": "Upper quartile",
            "lower_quartile": "Lower quartile",
            "lowest": "Lowest trust",
        },
        unit=measure.unit,
        title=title,
        what=f"{measure.title.lower()}, highest trust",
        timing=measure.timing,
        events=events,
    )
    # a month whose highest or lowest trust is hidden has no distance
    now = wording.last_row(frame, "gap")
    if now is None:
        return replace(drawn, nothing=FEW_TRUSTS)
    when = wording.when(now["period_start_on"], "period_start_on", measure.timing)
    takeaway = (
        f"{now['trust_count']} trusts {when}: from {_value(now, 'lowest', measure)} at "
        f"{now['lowest_trust']} to {_value(now, 'highest', measure)} at {now['highest_trust']}, "
        f"{_apart(now['gap'], measure.unit)} apart."
    )
    alt = drawn.alt.replace(drawn.takeaway, takeaway)
    notes = [
        *drawn.notes,
        NO_LIMITS,
        "Whole network, whatever organisation is chosen. Between the quartiles lies the middle half "
        "of the trusts; trusts of few patients or exams are left out (table).",
    ]
    return replace(drawn, takeaway=takeaway, alt=alt, notes=notes, nothing=FEW_TRUSTS)


def _told(frame: pl.DataFrame, measure: Measure) -> str:
    shown = frame.filter(pl.col("is_group_known") & pl.col("value").is_not_null())
    if shown.height < 2:
        return "Fewer than two groups have a value that may be told."
    when = wording.when(frame["period_start_on"][0], "period_start_on", measure.timing)
    most = shown.row(0, named=True)
    if most["patient_group"] == MOST_DEPRIVED and most["gap_to_least_deprived"] is not None:
        least = shown.row(shown.height - 1, named=True)
        return (
            f"Most deprived fifth {when}: {_of(most, measure)}; least deprived fifth: "
            f"{_of(least, measure)}; {_more(most['gap_to_least_deprived'], measure.unit)}."
        )
    ordered = shown.sort("value")
    low, top = ordered.row(0, named=True), ordered.row(ordered.height - 1, named=True)
    return (
        f"From {_of(low, measure)} ({low['patient_group']}) to {_of(top, measure)} "
        f"({top['patient_group']}) {when}."
    )


def _known(frame: pl.DataFrame, kind: str) -> list[str]:
    if frame.is_empty():
        return []
    share = frame["known_rate"][0]
    what = KINDS[kind]
    if share is None:
        return [f"For how many the {what} is known is withheld: those without one are too few."]
    return [f"The {what} is known for {wording.number(share, 'rate')} of them."]


def _value(row: dict[str, Any], name: str, measure: Measure) -> str:
    return wording.number(row[name], measure.unit)


def _of(row: dict[str, Any], measure: Measure) -> str:
    return f"{_value(row, 'value', measure)} of {row['denominator']:,.0f} {measure.counted}"


def _apart(gap: float, unit: str) -> str:
    written = wording.number(abs(gap), unit)
    return written.replace("%", " points") if unit == "rate" else written


def _more(gap: float, unit: str) -> str:
    if gap == 0:
        return "no difference"
    return f"the most deprived {_apart(gap, unit)} {'higher' if gap > 0 else 'lower'}"
