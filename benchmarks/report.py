"""What a benchmark found, as JSON or as lines for a reader."""

import json
import sys
from typing import Any


def write_report(document: dict[str, Any], *, as_json: bool) -> None:
    """Write results, ratios with their aims, and what was not measured to standard output.

    `document`: `results` (name, value, unit, and least and most where several runs were made), and
    where there are such `ratios` and `aims` by name, `columns` by route, `missing` in words.
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
        lines.append(f"{name:<44}{value:>12,.2f}{aim}")
    lines += [f"aim: {name} {aim:,g}" for name, aim in aims.items() if name not in ratios]
    lines += [
        f"{route}: {', '.join(found)}" for route, found in document.get("columns", {}).items()
    ]
    return lines + [f"not measured: {line}" for line in document.get("missing", [])]
