"""How a stored value is written: one spelling for text, axis, table and download."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from typing import Any

import polars as pl

NO_VALUE = "no value"
HIDDEN = "*"
WITHHELD = "withheld"
NOT_TOLD = "Not stored for this choice, or not told to readers of this file."
NOT_TOLD_WHY = (
    "No row. Small numbers are hidden from the readers of this file, and some tables are left out of "
    "it for that reason."
)
COMPARATORS = {"at_least": "at least", "at_most": "at most", "less_than": "below"}
STATUS = {
    "verified": "verified",
    "from_memory": "unverified",
    "synthetic": "invented for the demonstration",
    "illustrative": "illustrative, to be replaced by finance",
    "design": "set by this project",
    "local": "set locally",
    "delivered": "as delivered",
}
CLASSES = {
    "CRB": "Cash-releasing (CRB)",
    "NCRB": "Non-cash-releasing (NCRB)",
    "SB": "Societal (SB)",
    "UB": "Unquantified (UB)",
}
EVENT_TYPES = {
    "go_live_archive": "Archive go-live",
    "go_live_viewing": "Viewing go-live",
    "go_live_network_reporting": "Network reporting go-live",
    "external": "External event",
    "organisation_change": "Organisation change",
    "outage": "Outage of the image system",
    "definition_change": "Definition or standard changed",
}
TESTS = {
    "All": "all DM01 imaging tests",
    "CT": "CT",
    "MRI": "MRI",
    "NON_OBSTETRIC_ULTRASOUND": "Non-obstetric ultrasound",
    "BARIUM_ENEMA": "Barium enema",
    "DEXA_SCAN": "DEXA",
}
END_METHODS = {
    "last_acquisition": "Start of the last image, with the length of its exposure",
    "acquisition": "Start of the last image",
    "duration": "Start and duration, as the header states them",
    "frames": "The frames of the image and how long each took",
    "rdsr": "End of irradiation in a dose report",
    "step_end": "End of the performed procedure step",
    "list": "The archive's list of series",
    "none": "Not known",
}
WAYS_IN = {
    "own_record": "Own record",
    "shared_record": "Shared record",
    "gp": "General practice",
    "meeting": "Meeting (MDT)",
    "archive_viewer": "Archive's own viewer",
    "not_known": "Way in not known",
}
FEED_KINDS = {
    "dicom": "image files",
    "dicom_series": "series list",
    "hl7": "HL7 messages",
    "ris_extract": "RIS extract",
    "rota": "rota",
    "downtime": "downtimes",
    "epic_audit": "audit of orders",
    "fhir": "FHIR resources",
    "dids_v1": "DIDS version 1",
    "dids_v2": "DIDS version 2",
    "image_access": "image access audit",
    "opening_hours": "opening hours",
    "go_lives": "go-lives",
    "benefit_register": "benefit register",
    "unit_costs": "unit costs",
    "meeting_lists": "meeting lists",
    "image_transfers": "image transfers",
    "reporting_rota": "reporting rota",
    "outsourcing_invoices": "outsourcing invoices",
    "storage": "storage",
    "contract_lines": "contract lines",
    "workforce": "workforce",
    "admissions": "admissions",
    "staff_survey": "staff survey",
    "booking_diary": "booking diary",
    "time_studies": "time studies",
    "dm01_extract": "published waits",
    "monthly_workbook": "monthly workbook",
}
CLOCK_STATES = {
    "right": "right",
    "wrong": "wrong",
    "unsure": "not sure",
    "dst_not_put_forward": "not put forward in spring",
    "dst_not_put_back": "not put back in autumn",
    "too_few": "too few studies to say",
    "no_peers": "too few scanners of its kind to say",
    "not_told": "archive tells no time of receipt",
}
_COLUMNS = {
    "source_status": "Certainty",
    "unit_cost_source_status": "Certainty of the unit cost",
    "ris_exam_count": "Exams completed in the RIS",
    "covered_exam_count": "Of these with images known",
    "downtime_known_day_count": "Days with known downtimes",
    "is_at_most_one": "At most 100 %",
    "movement": "Movement since the baseline",
    "lpl": "Lower process limit",
    "upl": "Upper process limit",
    "withheld": "Hidden in this row",
    "at": "At (UTC)",
    "at_local": "At (local)",
    "on": "Day (UTC)",
    "view": "Page",
    "purpose_words": "Words to the purpose",
    "sql_sign": "Sign of the SQL",
}
_SPOKEN = {
    "dm01": "DM01",
    "dna": "DNA",
    "gbp": "(GBP)",
    "p50": "median",
    "p90": "90th percentile",
    "id": "id",
    "plus": "or more",
}


MODALITIES = {"All": "all modalities"}


def modality(group: str) -> str:
    """A modality group inside a title."""
    return MODALITIES.get(group, group)


def way_in(context: str) -> str:
    """Where images were opened from; an unknown one is shown as it is stored."""
    if context == "All":
        return "All ways in"
    return WAYS_IN.get("not_known" if context == "Unknown" else context, context)


def status(word: str | None) -> str:
    """A source status in plain words; an unknown one is shown as it is stored."""
    if not word:
        return "no status given"
    return STATUS.get(word, word.replace("_", " "))


def number(value: Any, unit: str | None) -> str:
    """A value with its unit: rate as per cent, gbp in pounds, hours, days, weeks, or a count."""
    if value is None:
        return NO_VALUE
    if unit == "rate":
        return f"{value:.2%}" if _is_small(value) else f"{value:.1%}"
    if unit == "gbp":
        return f"-£{-value:,.0f}" if value <= -0.5 else f"£{abs(value):,.0f}"
    if unit == "hours":
        written = f"{value:,.0f}"
        return f"{written} hour" if written == "1" else f"{written} hours"
    if unit in {"days", "weeks"}:
        written = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
        return f"{written} {unit[:-1] if written == '1' else unit}"
    if unit == "exams per hour":
        return f"{value:.2f} an hour"
    if unit == "seconds":
        return f"{value:,.1f} seconds"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """1 record, 2 records; 1 party, 2 parties where the plural is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _is_small(rate: float) -> bool:
    return 0 < abs(rate) < 0.01


def change(value: Any, unit: str | None) -> str:
    """A stored change with its sign; a change of a rate is in percentage points.

    Less than one point has two decimals, as a rate below 1 % has.
    """
    if value is None:
        return NO_VALUE
    if unit == "rate":
        written = f"{value:+.2%}" if _is_small(value) else f"{value:+.1%}"
        return written.replace("%", " points")
    return f"{value:+,.0f}" if float(value).is_integer() else f"{value:+,.2f}"


def month(value: date | None) -> str:
    """March 2026."""
    return f"{value:%B %Y}" if value else "no month"


def day(value: date | None) -> str:
    """31 March 2026."""
    return f"{value.day} {value:%B %Y}" if value else "no date"


def instant(value: datetime | None) -> str:
    """31 Mar 2026 22:40, in the zone the value is stored in."""
    return f"{value:%d %b %Y %H:%M}" if value else "nothing received"


def column(name: str) -> str:
    """A column name as a table heading; the last word of the name is its unit."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    words = name.removeprefix("is_").removesuffix("_on").split("_")
    if words[-1] == "rate":
        words = [*words[:-1], "(%)"]
    text = " ".join(_SPOKEN.get(w, w) for w in words if w)
    return text[:1].upper() + text[1:]


def band(name: str) -> str:
    """Whole weeks waited: band_00 is under one week, band_13 thirteen weeks and longer."""
    weeks = int(name.removeprefix("band_"))
    return "13+" if weeks == 13 else str(weeks)


def target(row: dict[str, Any]) -> str:
    """Target at most 5.0% (unverified)."""
    sign = COMPARATORS.get(row["comparator"], row["comparator"])
    value = number(row["target_value"], row["unit"])
    return f"Target {sign} {value} ({status(row['source_status'])})"


def feeds(needed: str) -> str:
    """Kinds of feed in words: 'hl7 or ris_extract; rota' is HL7 messages or RIS extract, and rota."""
    groups = [
        " or ".join(FEED_KINDS.get(kind, kind) for kind in group.split(" or "))
        for group in needed.split("; ")
    ]
    return ", and ".join(groups)


def missing_feeds(lacking: pl.DataFrame) -> list[str]:
    """A line per set of missing feeds; lacking holds one row per party and metric that lacks one."""
    lines = []
    for needed in lacking["missing_feeds"].unique(maintain_order=True):
        rows = lacking.filter(pl.col("missing_feeds") == needed)
        parties = rows["party"].unique(maintain_order=True).to_list()
        metrics = rows["metric_id"].unique(maintain_order=True).to_list()
        lines.append(
            f"Missing feed: {feeds(needed)}, from {', '.join(parties)}. What only it tells "
            f"({', '.join(metrics)}) is not known, which is not 0."
        )
    return lines


def told(row: dict[str, Any], name: str, unit: str | None) -> str:
    """The figure of a column with its unit, or a star where readers may not see it."""
    hidden = name in (row.get(WITHHELD) or "").split(", ")
    return HIDDEN if hidden else number(row[name], unit)


def is_hidden(frame: pl.DataFrame, name: str) -> list[bool]:
    """For each row, whether readers of this file may not see the figure of a column."""
    if WITHHELD not in frame.columns:
        return [False] * frame.height
    return [name in (told or "").split(", ") for told in frame[WITHHELD]]


def all_told(frame: pl.DataFrame, name: str, unit: str | None) -> list[str]:
    """The figures of a column with their unit, each a star where readers may not see it."""
    return [told(row, name, unit) for row in frame.iter_rows(named=True)]


def any_hidden(frame: pl.DataFrame, name: str) -> bool:
    """Some figure of a column is hidden."""
    return any(is_hidden(frame, name))


def last_row(frame: pl.DataFrame, value: str) -> dict[str, Any] | None:
    """The last row that holds a value in a column, or None."""
    known = frame.filter(pl.col(value).is_not_null())
    return known.row(known.height - 1, named=True) if known.height else None


def latest(
    frame: pl.DataFrame, *, on: str, value: str, unit: str, what: str, timing: str = ""
) -> str:
    """One sentence: the latest stored value beside that of a year before, or the first shown.

    A week stands beside the week before it, never beside the first stored one, which may be a
    part week. timing "flow" says that the value is of the whole month, "stock" of its last day.
    """
    now = last_row(frame, value)
    if now is None and any_hidden(frame, value):
        return f"Every value of {what} is hidden for this choice: the counts are too small to tell."
    if now is None:
        return f"No value of {what} is stored for this choice."
    known = frame.filter(pl.col(value).is_not_null())
    earlier = known.filter(
        (pl.col(on).dt.year() == now[on].year - 1) & (pl.col(on).dt.month() == now[on].month)
    )
    text = f"{what[:1].upper()}{what[1:]}: {number(now[value], unit)} {when(now[on], on, timing)}"
    weeks = known[1:] if on == "week_start_on" else known
    if weeks.height > 1 and on != "day_on":
        before = (earlier if earlier.height == 1 else weeks).row(0, named=True)
        if on == "week_start_on":
            before = weeks.row(weeks.height - 2, named=True)
        text += f", {number(before[value], unit)} {when(before[on], on, timing)}"
    return text + "."


def when(value: date, on: str, timing: str = "") -> str:
    """A date as its column means it: a day, a census, a week or a month.

    timing "flow" makes it the month of the date, "stock" the last day of that month.
    """
    if timing == "stock":
        return f"at {day(value.replace(day=monthrange(value.year, value.month)[1]))}"
    if timing == "flow":
        return f"in {month(value)}"
    if on == "day_on":
        return f"on {day(value)}"
    if on == "census_on":
        return f"at {day(value)}"
    if on == "week_start_on":
        return f"in the week from {day(value)}"
    if on == "year_on":
        return f"in the financial year {value.year}/{(value.year + 1) % 100:02d}"
    return f"in {month(value)}"
