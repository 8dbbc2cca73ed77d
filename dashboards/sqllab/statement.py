"""What can be told of a statement by its text alone: where a name goes in, which values it asks for.

Nothing here judges a statement or changes what it asks: the broker does the first, and what goes in
is what the reader picked.
"""

import re
from collections.abc import Sequence

_FROM = re.compile(r"\bfrom\b", re.IGNORECASE)
_SELECT = re.compile(r"\bselect\b", re.IGNORECASE)
# Texts, quoted names, comments and texts between dollars hold no parameter, whatever they hold.
_SILENT = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_PARAMETER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def with_source(sql: str, source: str) -> str:
    """The text with a table or a call at its end; an empty text becomes a whole statement."""
    text = sql.rstrip()
    return f"{text} {source}" if text else f"from {source}"


def with_column(sql: str, column: str, source: str) -> str:
    """The text with one column more in its list; an empty text asks the source for it.

    A list of * becomes this column. Of a text that begins neither with select nor with from, as one
    with WITH, the end is where the column goes.
    """
    text = sql.rstrip()
    start = text.lower()
    if not text:
        return f"select {column}\nfrom {source}"
    if start.startswith("from"):
        told = _SELECT.search(text)
        return f"{text}, {column}" if told else f"{text}\nselect {column}"
    end = _FROM.search(text)
    if not start.startswith("select") or end is None:
        return f"{text} {column}"
    listed = text[len("select") : end.start()].strip()
    kept = "" if listed in ("", "*") else f"{listed.rstrip(',')}, "
    return f"select {kept}{column}\n{text[end.start() :]}"


def parameter_names(sql: str) -> Sequence[str]:
    """Names of the values that a statement asks for ($name), each once, in their order.

    Capital letters make no difference, as in SQL: the first way to write a name counts.
    """
    found: dict[str, str] = {}
    for name in _PARAMETER.findall(_SILENT.sub(" ", sql)):
        found.setdefault(name.lower(), name)
    return list(found.values())
