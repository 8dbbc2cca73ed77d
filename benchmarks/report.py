"""What a benchmark found, as JSON or as lines for a reader."""

import json
import sys
from typing import Any


def write_report(document: dict[str, Any], *, as_json: bool) -> None:
    """Write results, ratios with their aims, and what was not measured to standard output.

    `document`: `results` (name, value, unit, and least and most where several runs were made), and
    where there are such `ratios` and `aims` by name, `columns` by route, `tables` (rows with equal
    names) by title, `missing` in words.
    """
    lines = json.dumps(document, indent=1).splitlines() if as_json else _lines(document)
    sys.stdout.write("\n".join(lines) + "\n")


def _lines(document: dict[str, Any]) -> list[str]:
    lines = []
    ratios, aims = document.get("ratios", {}), document.get("aims", {})
    for result in document["results"]:
        line = f"{result['name']:<44}{result['value']:>12,.2f} {result['unit']}"
        if "least" in result:
            line += f" ({result['least']:,.1f} to {result['most']:,.1f})"
        lines.append(line)
    for name, value in ratios.items():
        aim = f" (aim {aims[name]:g})" if name in aims else ""
        # A share of a few per cent has its figures behind the second place.
        lines.append(f"{name:<44}{value:>12,.{2 if value >= 1 else 4}f}{aim}")
    lines += [f"aim: {name} {aim:,g}" for name, aim in aims.items() if name not in ratios]
    lines += [
        f"{route}: {', '.join(found)}" for route, found in document.get("columns", {}).items()
    ]
    for title, rows in document.get("tables", {}).items():
        lines += ["", title, *_table(rows)]
    return lines + [f"not measured: {line}" for line in document.get("missing", [])]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows under their names, the first column to the left."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
