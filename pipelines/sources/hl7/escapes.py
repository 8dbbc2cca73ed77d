"""Escape sequences of HL7 v2: what they stand for, and what is kept as it was sent."""

import re
from functools import cache

USUAL = "^~\\&|"
# Bytes (directly neighbouring ones together), or one named sequence, or one of the standard that
# is kept as sent: \C..\, \M..\, \Z..\ and the other formatting commands.
ESCAPE = re.compile(
    r"\\(?P<bytes>X(?:[0-9A-Fa-f]{2})+(?:\\\\X(?:[0-9A-Fa-f]{2})+)*)\\"
    r"|\\(?P<named>[FSTREHN]|\.br|\.sp|\.ce)\\"
    r"|\\[CMXZ.][^\\\s]*\\"
)


def unescape(value: str, separators: str, charset: str = "utf-8") -> str:
    """Resolve HL7 escape sequences; an unknown one, or a stray sign, stays as it was sent.

    `separators` are component, repetition, escape, sub-component, and the field separator (`|`
    where it is left out). Bytes (`\\X..\\`) are read in `charset`, as latin-1 where they are
    invalid there.
    """
    escape, named = separators[2], _named(separators)
    parts = value.split(escape)
    if len(parts) % 2 and all(part in named for part in parts[1::2]):
        # Nothing but whole named sequences, the case of nearly every value with an escape.
        parts[1::2] = [named[part] for part in parts[1::2]]
        return "".join(parts)

    def resolve(match: re.Match[str]) -> str:
        if match["named"] is not None:
            return named[match["named"]]
        if match["bytes"] is None:
            return match.group()
        raw = bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", match["bytes"]))
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    return _pattern(escape).sub(resolve, value)


@cache
def _named(separators: str) -> dict[str, str]:
    component, repetition, escape, sub = separators[:4]
    return {
        "F": separators[4:5] or "|",
        "S": component,
        "R": repetition,
        "E": escape,
        "T": sub,
        "H": "",
        "N": "",
        ".br": "\n",
        ".sp": "\n",
        ".ce": "\n",
    }


@cache
def _pattern(escape: str) -> re.Pattern[str]:
    """The escape sequences of a message, whose own sign may be another than the backslash."""
    return re.compile(ESCAPE.pattern.replace(r"\\", re.escape(escape)))
