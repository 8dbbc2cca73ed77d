"""How each party's messages write times: London wall clock, with its offset, or in UTC.

Moments are local seconds; those of a party that states offsets carry the offset with them, in
whole spans of OFFSET_DAYS, so that seconds may be added to them like to any other.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, HOUR, Seconds
from pipelines.synthetic.reference_tables import FOLDER

OFFSET, UTC = "offset", "utc"
OFFSET_DAYS = 2**24
_OFFSETS = ("", "+0000", "+0100")


@cache
def time_styles() -> dict[str, str]:
    """Style (offset, utc) of each party whose messages state an offset."""
    rows = pl.read_csv(FOLDER / "hl7_time_styles.csv", infer_schema=False).drop_nulls("style")
    return dict(rows.select("party_code", "style").iter_rows())


def parties_with(style: str) -> list[str]:
    """Parties of a style; without one: those whose times have no offset."""
    rows = pl.read_csv(FOLDER / "hl7_time_styles.csv", infer_schema=False)
    wanted = pl.col("style").is_null() if not style else pl.col("style") == style
    return rows.filter(wanted)["party_code"].to_list()


def moments(utc: Seconds, party: pl.Series) -> Seconds:
    """What the clocks of the parties show at UTC seconds."""
    style = party.replace_strict(time_styles(), default="", return_dtype=pl.String)
    style = style.to_numpy().astype(str)
    local = calendar.utc_to_local(utc)
    sign = np.where(style == OFFSET, 1 + (local != utc), np.where(style == UTC, 1, 0))
    return np.where(style == UTC, utc, local) + sign * OFFSET_DAYS * DAY


def clock(moment: int) -> str:
    """HL7 time of a moment: YYYYMMDDHHMMSS[+ZZZZ]."""
    day, second = divmod(moment, DAY)
    sign, day = divmod(day, OFFSET_DAYS)
    date = calendar.day_of_number(day)
    digits = f"{date:%Y%m%d}{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    return digits + _OFFSETS[sign]


def place_in_time(moment: int) -> int:
    """A number that orders the moments of one party."""
    sign, seconds = divmod(moment, OFFSET_DAYS * DAY)
    return seconds - HOUR * (sign == 2)
