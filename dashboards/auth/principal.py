"""Who is asking: one small claim of the identity provider, and how old the sign-in may be.

Pure: claims, manifest and the instant of now come in, values go out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

CLAIM = "imaging_role"
BOARD, TRUST, ANALYST, STEWARD, ADMIN = "board", "trust", "analyst", "steward", "admin"
# Nobody has signed in because no provider is configured: invented data on one's own machine.
DEMO = "demo"
EVERYBODY = (BOARD, TRUST, ANALYST, STEWARD, ADMIN)
_ODS = re.compile(r"[A-Z0-9]{3,5}")
# A provider's clock may run this far ahead of ours.
AHEAD = timedelta(minutes=5)


@dataclass(frozen=True)
class Principal:
    """One reader: role, the ODS code of a trust's reader (else empty), subject as the provider gave it."""

    role: str
    trust: str
    subject: str

    @property
    def words(self) -> str:
        """The role as a reader would say it."""
        return f"trust {self.trust}" if self.trust else self.role


class NoFile(RuntimeError):
    """The published build has no file for this reader; the text says what to do next."""


def of_claims(claims: Mapping[str, Any]) -> Principal | None:
    """The reader that the claims of a sign-in name; None unless role and subject are ones we know.

    The claim is read to the letter: a list of roles, another case or a space is no role.
    """
    role, subject = claims.get(CLAIM), claims.get("sub")
    if not isinstance(role, str) or not isinstance(subject, str) or not subject:
        return None
    kind, _, trust = role.partition(":")
    if kind == TRUST:
        return Principal(TRUST, trust, subject) if _ODS.fullmatch(trust) else None
    return Principal(role, "", subject) if role in EVERYBODY else None


def ends_at(claims: Mapping[str, Any], hours: float) -> datetime | None:
    """The UTC instant a sign-in ends: hours after auth_time, else iat; None where neither is told."""
    for name in ("auth_time", "iat"):
        told = claims.get(name)
        if isinstance(told, int | float) and not isinstance(told, bool):
            try:
                return datetime.fromtimestamp(told, UTC) + timedelta(hours=hours)
            except (ValueError, OverflowError, OSError):
                return None
    return None


def is_current(claims: Mapping[str, Any], *, hours: float, now: datetime) -> bool:
    """The sign-in is no older than so many hours, and not of the future."""
    end = ends_at(claims, hours)
    return end is not None and now < end <= now + timedelta(hours=hours) + AHEAD


def audience_of(principal: Principal, audiences: Mapping[str, Mapping[str, Any]]) -> str:
    """The name of the audience whose file is read, of those the manifest lists.

    A trust has the file of its own name, analysts the file of their kind, everybody else the
    network's. Raises NoFile where the build has none, and never falls back to another.
    """
    kind = principal.role if principal.role in (TRUST, ANALYST) else "network"
    found = sorted(name for name, one in audiences.items() if one.get("kind") == kind)
    if kind == TRUST:
        found = [name for name in found if name == f"trust_{principal.trust.lower()}"]
    if not found:
        raise NoFile(
            f"The published build has no file for {principal.words}. Whoever runs the warehouse "
            "adds one in seeds/network/audiences.csv; nothing else is shown instead."
        )
    return found[0]
