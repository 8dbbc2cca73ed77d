"""Problems that a user can mend: the message says what, where, and the next step."""

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """A known problem; the command line prints its message and ends with exit code 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Ask whether the known word most like it was meant; empty where none is like it."""
    found = difflib.get_close_matches(word, sorted(known), n=1)
    return f", do you mean {found[0]}?" if found else ""
