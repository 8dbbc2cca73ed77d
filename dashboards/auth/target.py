"""The page and filters a reader asked for, kept while they sign in.

The provider sends the browser back to the bare address. A cookie of ten minutes keeps the rest; it
is no more trusted than a link: only a known page is opened, with the rights of who signed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import parse_qs, quote, unquote, urlencode

COOKIE = "imaging_target"
KEPT_SECONDS = 600
LONGEST = 2000


def pack(view: str, query: Mapping[str, Sequence[str]]) -> str:
    """View and query as the value of a cookie, percent-encoded; without the query if too long."""
    whole = quote(f"{view}?{urlencode(dict(query), doseq=True)}", safe="")
    return whole if len(whole) <= LONGEST else quote(f"{view}?", safe="")


def unpack(value: str, views: Collection[str]) -> tuple[str, dict[str, list[str]]] | None:
    """View and query of a cookie's value; None unless it names one of the views."""
    if len(value) > LONGEST:
        return None
    view, _, query = unquote(value).partition("?")
    try:
        return (view, parse_qs(query, max_num_fields=30)) if view in views else None
    except ValueError:
        return None


def keep_script(value: str) -> str:
    """HTML that has the browser keep a packed value; it holds only letters, digits and - _ . ~ %."""
    return (
        f'<script>document.cookie="{COOKIE}={quote(value, safe="%")}'
        f';path=/;max-age={KEPT_SECONDS};samesite=lax"</script>'
    )


def forget_script() -> str:
    """HTML that has the browser forget what was kept."""
    return f'<script>document.cookie="{COOKIE}=;path=/;max-age=0;samesite=lax"</script>'
