"""The tables of stewardship: access, what was taken, what is kept, what waits, what was decided."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from dashboards.auth import purpose
from dashboards.components import plain_table, wording
from dashboards.components.figure import Figure

PLACES = {
    "inbox": "Inbox",
    "spool": "Spools of the receivers",
    "quarantine": "Quarantine",
    "landing": "Landing",
    "warehouse": "Warehouse",
    "published": "Published files",
    "history": "History",
    "exports": "Exports",
}
KINDS = {"rule": "The rule", "practice": "What happens here", "decision": "What was decided"}
SUBJECTS = {"national_data_opt_out": "National data opt-out"}
NO_CUSTODY = "No run of the pipeline has said yet what it keeps. It does at the next `imaging run`."


def access(frame: pl.DataFrame) -> Figure:
    """Who may open which page and whose file that shows; one row per role."""
    title = "Access by role"
    rows = [
        (
            row["role"],
            row["pages"].replace("; ", ", "),
            row["closed_pages"].replace("; ", ", ") or "none",
            row["pages_read"],
            row["typed_sql_reads"] or "closed",
        )
        for row in frame.to_dicts()
    ]
    heads = ("Role", "Opens", "Closed", "Pages read the file of", "Typed SQL asks the file of")
    return Figure(
        title=title,
        takeaway="A role opens its pages and reads one file; nothing else widens what it sees.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=len(heads)),
    )


def audiences(frame: pl.DataFrame) -> Figure:
    """What each published file withholds; one row per audience."""
    title = "Published files and what they withhold"
    rows = [
        (
            row["audience"],
            row["kind"] or "not told",
            "yes" if row["is_suppressed"] else "no",
            row["rule"] or "not told",
        )
        for row in frame.to_dicts()
    ]
    heads = ("Audience", "Kind", "Small counts hidden", "Rule")
    return Figure(
        title=title,
        takeaway=f"{wording.counted(frame.height, 'file')} in the build that is served.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=len(heads)),
    )


def who_came(frame: pl.DataFrame, period: str) -> Figure:
    """Events of the record; one row per day, role, kind and outcome."""
    return Figure(
        title=f"Who came and what they did, {period}",
        takeaway="Events by day (UTC), role and kind. Readers are counted once in each row.",
        table=frame,
        nothing="The record has no such event in this time.",
    )


def purposes(frame: pl.DataFrame, period: str) -> Figure:
    """Files taken away; one row per purpose and role."""
    frame = _named(frame)
    title = f"Downloads by purpose, {period}"
    rows = [
        (
            row["purpose"],
            row["role"],
            wording.number(row["file_count"], "count"),
            wording.number(row["reader_count"], "count"),
        )
        for row in frame.to_dicts()
    ]
    heads = ("Purpose", "Role", "Files", "Readers")
    return Figure(
        title=title,
        takeaway="What readers said files are for, board packs included.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=2),
        nothing="No file was taken away in this time.",
    )


def taken(frame: pl.DataFrame, period: str) -> Figure:
    """Files taken away; one row per file, newest first."""
    return Figure(
        title=f"Files taken away, {period}",
        takeaway=f"{wording.counted(frame.height, 'file')} taken away.",
        table=_named(frame),
        notes=[
            "A reader is a sign that stays the same; the record itself has the subject of the sign-in."
        ],
        nothing="No file was taken away in this time.",
    )


def refused(frame: pl.DataFrame, period: str) -> Figure:
    """Refusals; one row per refusal, newest first."""
    return Figure(
        title=f"Refusals, {period}",
        takeaway=f"{wording.counted(frame.height, 'refusal')}: pages, sign-ins, files and typed SQL.",
        table=frame,
        nothing="Nothing was refused in this time.",
    )


def kept(frame: pl.DataFrame, written_at: datetime | None, since: str | None) -> Figure:
    """What is kept where, for how long and what leaves next; one row per place.

    since is the oldest month of the record of access, YYYY-MM.
    """
    title = "What is kept, for how long, and what leaves next"
    rows = [
        (
            PLACES.get(row["place"], row["place"]),
            row["holds"],
            row["kept"],
            "not counted" if row["items"] is None else wording.number(row["items"], "count"),
            f"{wording.counted(row['next_due_items'], 'item')} from "
            f"{wording.instant(row['next_due_at'])} UTC"
            if row["next_due_at"]
            else "no date",
        )
        for row in frame.to_dicts()
    ]
    record = f"monthly files since {since}" if since else "nothing yet"
    rows.append(
        (
            "Record of access",
            f"who saw, asked for and took what; {record}",
            "as the records policy says: nothing here deletes it",
            "not counted",
            "no date",
        )
    )
    heads = ("Place", "Holds", "Kept", "Items", "Leaves next")
    told = f"As of {wording.instant(written_at)} UTC." if written_at else NO_CUSTODY
    return Figure(
        title=title,
        takeaway=told,
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=len(heads)),
        notes=["What is due leaves in the next run of the pipeline, not before."],
        nothing=NO_CUSTODY,
    )


def quarantine(frame: pl.DataFrame, written_at: datetime | None) -> Figure:
    """What quarantine holds; one row per feed, rule, scope and state."""
    title = "Quarantine by feed and rule"
    waits = frame.filter(pl.col("state") == "open")
    takeaway = "Nothing waits in quarantine."
    if waits.height:
        oldest = waits.row(0, named=True)
        takeaway = (
            f"The longest waiting: {_feed(oldest['feed_kind'])}, "
            f"{oldest['rule'].replace('_', ' ')}, {wording.number(oldest['oldest_days'], 'days')}."
        )
    rows = [
        (
            _feed(row["feed_kind"]),
            row["rule"].replace("_", " "),
            "whole files" if row["scope"] == "file" else "records",
            row["state"],
            wording.number(row["entries"], "count"),
            wording.number(row["records"], "count"),
            wording.day(row["oldest_delivered_on"]),
            "closed" if row["oldest_days"] is None else wording.number(row["oldest_days"], "days"),
        )
        for row in frame.to_dicts()
    ]
    heads = ("Feed", "Rule", "Holds", "State", "Entries", "Records", "Oldest delivery", "Age")
    return Figure(
        title=title,
        takeaway=takeaway if written_at else NO_CUSTODY,
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=4),
        notes=["Counts only; `imaging quarantine list` names the deliveries and the way out."],
        nothing="Nothing was ever rejected." if written_at else NO_CUSTODY,
    )


def positions(frame: pl.DataFrame) -> Figure:
    """Rule, practice and decision on opt-outs, each with its certainty; one row per statement."""
    title = "Opt-outs: rule, practice and decision"
    groups = [
        plain_table.Group(
            [
                (
                    f"{SUBJECTS.get(row['subject'], row['subject'])}: "
                    f"{KINDS.get(row['kind'], row['kind']).lower()}",
                    row["statement"],
                    row["decided_by"] or "nobody named",
                    row["valid_from"] or "no date",
                    f"{row['source']} ({wording.status(row['source_status'])})",
                )
                for row in frame.to_dicts()
            ]
        )
    ]
    heads = ("Subject", "Statement", "Decided by", "Holds from", "Source and certainty")
    return Figure(
        title=title,
        takeaway="What applies, what is done here and what the network has decided.",
        table=frame,
        reading=plain_table.html(title, heads, groups, text=len(heads)),
        nothing=NO_CUSTODY,
    )


def unreadable(count: int) -> str:
    """A sentence on lines of the record that are in no table; empty where there are none."""
    lines = wording.counted(count, "line")
    return f"{lines} of the record cannot be read and are in no table here." if count else ""


def _feed(kind: str) -> str:
    return wording.FEED_KINDS.get(kind, kind)


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with purposes in the words of the list; one that is no longer there as its key."""
    labels = {one.key: one.label for one in purpose.purposes()} | {"": "none stated"}
    return frame.with_columns(pl.col("purpose").replace(labels))
