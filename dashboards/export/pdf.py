"""The pack as a tagged PDF (PDF/UA-1): title, language, headings, figures with words, tables."""

from __future__ import annotations

import base64
import re
from html import escape

from dashboards.components import theme
from dashboards.components.figure import definition
from dashboards.export import drawing, svg
from dashboards.export.model import Item, PackModel, Table

STYLE = """
@page {size: A4 landscape; margin: 14mm 14mm 16mm 14mm;
  @bottom-left {content: string(build); font: 8pt 'Liberation Sans', Arial; color: var(--label);}
  @bottom-right {content: counter(page) ' of ' counter(pages);
    font: 8pt 'Liberation Sans', Arial; color: var(--label);}}
body {font: 10pt/1.35 'Liberation Sans', Arial, sans-serif; color: var(--ink); margin: 0;}
h1 {font-size: 24pt; margin: 0 0 2mm; border-bottom: 1mm solid var(--accent); padding-bottom: 2mm;}
h2 {font-size: 18pt; margin: 0 0 1mm; border-bottom: .6mm solid var(--accent); break-before: page;}
h3 {font-size: 13pt; margin: 5mm 0 1mm; break-after: avoid;}
p {margin: 0 0 1.5mm;} ul {margin: 0 0 2mm; padding-left: 5mm;}
.build {string-set: build content(); color: var(--label);} .question {color: var(--label); font-size: 12pt;}
.strong {font-size: 12pt; font-weight: bold;} .takeaway {font-size: 11pt;}
.verdict {font-weight: bold; border-left: 1.5mm solid var(--axis); padding-left: 2mm;}
.verdict.improving {border-color: var(--accent);} .verdict.concerning {border-color: var(--concern);}
.takeaway, .verdict, .question {break-after: avoid;}
.note, .source {font-size: 8.5pt; color: var(--label);}
.figure {break-inside: avoid;} .figure.new {break-before: page;} img {width: 100%; max-height: 96mm;}
table {border-collapse: collapse; width: 100%; font-size: 8.5pt; margin: 1mm 0 3mm;}
thead {display: table-header-group;} tr {break-inside: avoid;}
th {text-align: left; vertical-align: bottom;} thead th {border-bottom: .4mm solid var(--axis);}
td, th {padding: 1mm 2mm 1mm 0; vertical-align: top;} tbody td, tbody th {
  border-bottom: .2mm solid var(--rule); font-weight: normal;}
tr.group th {background: var(--surface); font-weight: bold; padding-left: 1mm;}
.quiet {display: block; color: var(--label); font-size: 7.5pt; font-weight: normal;}
.tag {border: .2mm solid var(--axis); padding: 0 1mm; font-size: 7.5pt;}
.wide {font-size: 7.5pt;} .right {text-align: right;}
"""


def _coloured(style: str) -> str:
    """Style sheet in the colours of the light theme; foot lines of a page know no variables."""
    return re.sub(r"var\(--(\w+)\)", lambda found: getattr(theme.LIGHT, found[1]), style)


def write(pack: PackModel) -> bytes:
    """The document as bytes; the same pack gives the same bytes.

    Raises MissingLibrary when the system has no Pango, which lays out the text.
    """
    try:
        from weasyprint import HTML
    except OSError as error:
        raise MissingLibrary(
            "The PDF needs the library Pango, which this system lacks. On Debian: "
            "apt-get install libpango-1.0-0 libpangoft2-1.0-0"
        ) from error
    document = HTML(string=_html(pack))
    return document.write_pdf(
        pdf_variant="pdf/ua-1", pdf_identifier=pack.build_id.encode(), pdf_tags=True
    )


class MissingLibrary(RuntimeError):
    """A library of the system is not there; the text says which, and how to get it."""


def _html(pack: PackModel) -> str:
    made = f"{pack.made_at:%Y-%m-%dT%H:%M:%SZ}"
    body = [
        f"<h1>{escape(pack.title)}</h1>",
        '<p class="question">Are the promises arriving?</p>',
        f'<p class="build">Build {escape(pack.build_id)}, made {pack.made_at:%d %b %Y %H:%M} UTC, '
        f"for {escape(pack.audience)}</p>",
        "".join(f'<p class="strong">{escape(text)}</p>' for text in pack.answers),
        "<h3>What to bear in mind</h3>",
        "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in pack.caveats) + "</ul>",
        "<h3>Each promise in a sentence</h3>",
        _table(pack.promises),
    ]
    for section in pack.sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        body.append(f'<p class="question">{escape(section.question)}</p>')
        body += [_item(item, is_first=n == 0) for n, item in enumerate(section.items)]
        if not section.items:
            body.append("<p>Nothing is stored for this part in this build.</p>")
    body += ["<h2>Targets</h2>", _table(pack.targets)]
    body += ["<h2>How far the data reach</h2>", _table(pack.freshness)]
    body.append("<h2>Definitions</h2>")
    for row in pack.definitions.iter_rows(named=True):
        lines = definition(row).replace("**", "").split("\n")
        body.append(f"<h3>{escape(row['metric_id'])} {escape(row['name'])}</h3>")
        body.append(f"<p>{escape(lines[0])}</p><ul>")
        body += [f"<li>{escape(line.removeprefix('- '))}</li>" for line in lines[1:]]
        body.append("</ul>")
    body.append("<h2>The numbers behind the charts</h2>")
    for section in pack.sections:
        for item in section.items:
            if _is_drawn(item):
                body.append(f"<h3>{escape(item.figure.title)}: numbers</h3>{_table(item.table)}")
    return (
        f'<!DOCTYPE html><html lang="en-GB"><head><meta charset="utf-8">'
        f"<title>{escape(pack.title)}</title>"
        f'<meta name="dcterms.created" content="{made}"><meta name="dcterms.modified" '
        f'content="{made}"><meta name="author" content="Imaging network warehouse">'
        f"<style>{_coloured(STYLE)}</style></head><body>{''.join(body)}</body></html>"
    )


def _is_drawn(item: Item) -> bool:
    chart = item.figure.chart
    return chart is not None and bool(item.table.rows) and drawing.read(chart) is not None


def _item(item: Item, *, is_first: bool) -> str:
    shown = item.figure
    drawn = drawing.read(shown.chart) if shown.chart is not None and item.table.rows else None
    new = " new" if drawn is not None and not is_first else ""
    parts = [
        f'<div class="{"figure" if drawn else "text"}{new}">',
        f'<h3>{escape(shown.title)}</h3><p class="takeaway">{escape(shown.takeaway)}</p>',
    ]
    parts += [f'<p class="verdict {look}">{escape(text)}</p>' for _, text, look in shown.verdicts]
    if not item.table.rows:
        parts.append(f"<p>{escape(shown.nothing)}</p>")
    elif drawn is not None:
        data = base64.b64encode(svg.picture(drawn).encode()).decode()
        alt = escape(shown.alt or f"{shown.title}. {shown.takeaway}", quote=True)
        parts.append(f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">')
    elif shown.reading:
        parts.append(shown.reading)
    else:
        parts.append(_table(item.table))
    if shown.notes:
        parts.append(f'<p class="note">{escape(" ".join(shown.notes))}</p>')
    if shown.events:
        parts.append(f'<p class="note">Marked: {escape("; ".join(shown.events))}.</p>')
    counted = f" Counted as {', '.join(dict.fromkeys(item.metrics))}." if item.metrics else ""
    parts.append(f'<p class="source">Read from {item.source}.{counted}</p></div>')
    return "".join(parts)


def _is_number(cell: str) -> bool:
    return (
        not cell or cell in "–*" or cell.strip("£-+%").replace(",", "").replace(".", "").isdigit()
    )


def _table(table: Table) -> str:
    look = ' class="wide"' if len(table.headings) > 8 else ""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.headings)
    side = [' class="right"' if n and all(map(_is_number, cells)) else ""
            for n, cells in enumerate(columns)]  # fmt: skip
    heads = "".join(
        f'<th scope="col"{where}>{escape(name)}</th>'
        for name, where in zip(table.headings, side, strict=True)
    )
    body = ""
    for title, rows in table.groups:
        if title:
            body += (
                f'<tr class="group"><th scope="colgroup" colspan="{len(table.headings)}">'
                f"{escape(title)}</th></tr>"
            )
        for row in rows:
            cells = "".join(
                f"<td{where}>{escape(cell)}</td>"
                for cell, where in zip(row[1:], side[1:], strict=True)
            )
            body += f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'
    return f"<table{look}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
