"""A table to read: every row, headings that wrap, groups with a line of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

# Longer tables scroll in a box of their own; the headings stay in sight.
MOST_ROWS = 40


@dataclass(frozen=True)
class Group:
    """Rows of written cells below a line; the first cell of a row is its heading.

    Without a title there is no line. quiet stands below the title in grey.
    """

    rows: Sequence[Sequence[str]]
    title: str = ""
    quiet: str = ""
    strong: Sequence[int] = field(default_factory=tuple)


def html(caption: str, headings: Sequence[str], groups: Sequence[Group], *, text: int = 1) -> str:
    """The table as HTML; the first `text` columns hold words, the others numbers to the right."""
    heads = "".join(
        f'<th scope="col"{_side(n, text)}>{escape(name)}</th>' for n, name in enumerate(headings)
    )
    body = ""
    for group in groups:
        if group.title:
            quiet = f'<span class="quiet">{escape(group.quiet)}</span>' if group.quiet else ""
            body += (
                f'<tr class="group"><th scope="colgroup" colspan="{len(headings)}">'
                f"{escape(group.title)}{quiet}</th></tr>"
            )
        for number, row in enumerate(group.rows):
            body += _line(row, headings, text, is_strong=number in group.strong)
    is_long = len([row for group in groups for row in group.rows]) > MOST_ROWS
    return (
        f'<div class="scroll{" tall" if is_long else ""}" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}"><table class="plain">'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(row: Sequence[str], headings: Sequence[str], text: int, *, is_strong: bool) -> str:
    first = f"<strong>{escape(row[0])}</strong>" if is_strong else escape(row[0])
    cells = f'<th scope="row">{first}</th>'
    for n, (heading, value) in enumerate(zip(headings[1:], row[1:], strict=True), start=1):
        written = f"<strong>{escape(value)}</strong>" if is_strong else escape(value)
        cells += f'<td data-label="{escape(heading)}"{_side(n, text)}>{written}</td>'
    return f"<tr>{cells}</tr>"


def _side(place: int, text: int) -> str:
    return "" if place < text else ' class="right"'
