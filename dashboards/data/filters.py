"""What the reader chose: organisation, modality and months, as one frozen value."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

LAST_12 = "Last 12 months"
LAST_36 = "Last 3 years"
ALL_MONTHS = "All months"
CUSTOM = "Custom months"
PERIODS = (LAST_12, LAST_36, ALL_MONTHS, CUSTOM)


@dataclass(frozen=True)
class Filters:
    """One choice of organisation, modality and months; from_on and to_on are local dates.

    from_on is the first day of the first month, to_on the last day of the last month.
    """

    org_level: str
    org_code: str
    org_name: str
    modality_group: str
    from_on: date
    to_on: date

    @property
    def peer_level(self) -> str:
        """The organisations to compare with: parties for the network, else the same level."""
        return "trust" if self.org_level == "trust" else "party"

    def describe(self) -> dict[str, str]:
        """Name of a filter -> what was chosen, for the head of a download."""
        return {
            "Organisation": f"{self.org_name} ({self.org_level} {self.org_code})",
            "Modality": self.modality_group,
            "Months": f"{self.from_on:%B %Y} to {self.to_on:%B %Y}",
        }


def month_bounds(
    months: Sequence[date], period: str, first: date | None = None, last: date | None = None
) -> tuple[date, date]:
    """First day of the first and last day of the last month of a period.

    months are the stored months of the organisation, ascending, so "last 12 months" ends where
    its own data end. first and last are used for custom months only, in either order.

    Raises ValueError without any month.
    """
    if not months:
        raise ValueError("no stored month: publish a build with at least one complete month")
    window = {LAST_12: months[-12:], LAST_36: months[-36:]}.get(period, months)
    if period == CUSTOM:
        chosen = sorted((first or months[0], last or months[-1]))
        window = [month for month in months if chosen[0] <= month <= chosen[1]] or months[-1:]
    end = window[-1]
    return window[0], end.replace(day=monthrange(end.year, end.month)[1])
