"""Products of units in UCUM notation ("mGy.cm", "dGy.cm2"), exactly; anything else is unknown.

Only what doses and times are measured in: gray, metre, second, minute and hour, with a prefix and
a whole exponent, multiplied. A unit that is not written so is not guessed.
"""

import re
from decimal import Decimal

PREFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "c": Decimal("1e-2"),
    "d": Decimal("1e-1"),
    "k": Decimal("1e3"),
}
# By unit: its size in the base unit of its dimension, the dimension, whether it takes a prefix.
ATOMS = {
    "Gy": (Decimal(1), "dose", True),
    "m": (Decimal(1), "length", True),
    "s": (Decimal(1), "time", True),
    "min": (Decimal(60), "time", False),
    "h": (Decimal(3600), "time", False),
}
ANNOTATION = re.compile(r"\{[^{}]*\}")
PART = re.compile(r"([A-Za-z]+)(\d?)")


def factor(unit: str, wanted: str) -> Decimal | None:
    """How many `wanted` one `unit` is; None where either is unknown or they measure other things.

    `1` and a mere annotation ("{events}") are numbers without a unit.
    """
    given, asked = _measured(unit), _measured(wanted)
    if given is None or asked is None or given[1] != asked[1]:
        return None
    return given[0] / asked[0]


def _measured(unit: str) -> tuple[Decimal, dict[str, int]] | None:
    """Size in base units, and the exponent of each dimension."""
    bare = ANNOTATION.sub("", unit)
    if bare in ("", "1"):
        return (Decimal(1), {}) if unit else None
    size, dimensions = Decimal(1), {}
    for written in bare.split("."):
        part = PART.fullmatch(written)
        atom = _atom(part[1]) if part else None
        if part is None or atom is None:
            return None
        exponent = int(part[2] or 1)
        size *= atom[0] ** exponent
        dimensions[atom[1]] = dimensions.get(atom[1], 0) + exponent
    return size, dimensions


def _atom(name: str) -> tuple[Decimal, str] | None:
    if name in ATOMS:
        return ATOMS[name][:2]
    for unit, (size, dimension, takes_prefix) in ATOMS.items():
        prefix = name.removesuffix(unit)
        if takes_prefix and prefix != name and prefix in PREFIXES:
            return size * PREFIXES[prefix], dimension
    return None
