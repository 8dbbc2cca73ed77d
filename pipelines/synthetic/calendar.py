"""Calendar of England: London wall clock, bank holidays, working days.

All instants are whole seconds since 1970-01-01 00:00 UTC (int64). A "local second" is the same
count read from a London wall clock. A "day number" is whole days since 1970-01-01.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]

DAY = 86_400
HOUR = 3_600
MINUTE = 60

_EPOCH = date(1970, 1, 1)
_MIDDLE_OF_MONTH = 15
_FIRST_YEAR = 2015
_LAST_YEAR = 2032

# One-off changes by royal proclamation: the early May day of 2020, and four extra or moved days.
_MOVED_EARLY_MAY = {2020: date(2020, 5, 8)}
_MOVED_SPRING = {2022: date(2022, 6, 2)}
_EXTRA = {
    2022: (date(2022, 6, 3), date(2022, 9, 19)),
    2023: (date(2023, 5, 8),),
}


def day_number(day: date) -> int:
    """Whole days from 1970-01-01 to `day`."""
    return (day - _EPOCH).days


def day_of_number(number: int) -> date:
    """The date of a day number."""
    return _EPOCH + timedelta(days=int(number))


def month_after(month_on: date, count: int = 1) -> date:
    """First day of the month `count` months on from the one a day lies in."""
    index = month_on.year * 12 + month_on.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def months_between(first: date, end: date) -> list[date]:
    """First days of the months from that of `first` up to, not including, `end`."""
    count = (end.year - first.year) * 12 + end.month - first.month
    return [month_after(first, number) for number in range(count)]


def middle_of(months: list[date]) -> NDArray[np.float64]:
    """Day number of the middle of each month."""
    return np.array([day_number(month_on) + _MIDDLE_OF_MONTH for month_on in months], dtype=float)


def easter_sunday(year: int) -> date:
    """Easter Sunday of the Gregorian calendar, by the anonymous algorithm (Meeus)."""
    golden = year % 19
    century, rest = divmod(year, 100)
    leap, century_rest = divmod(century, 4)
    correction = (century + 8) // 25
    sync = (century - correction + 1) // 3
    epact = (19 * golden + century - leap - sync + 15) % 30
    quarter, year_rest = divmod(rest, 4)
    weekday = (32 + 2 * century_rest + 2 * quarter - epact - year_rest) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


def _first_monday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(7 - first.weekday()) % 7)


def _last_weekday(year: int, month: int, weekday: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    last = following - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def _substituted(days: list[date]) -> list[date]:
    """Fixed feasts moved from a weekend to the next free weekday."""
    taken: list[date] = []
    for day in days:
        moved = day
        while moved.weekday() >= 5 or moved in taken:
            moved += timedelta(days=1)
        taken.append(moved)
    return taken


def bank_holidays(year: int) -> frozenset[date]:
    """Bank holidays of England and Wales in one year, substitute days included."""
    easter = easter_sunday(year)
    days = [
        *_substituted([date(year, 1, 1)]),
        easter - timedelta(days=2),
        easter + timedelta(days=1),
        _MOVED_EARLY_MAY.get(year, _first_monday(year, 5)),
        _MOVED_SPRING.get(year, _last_weekday(year, 5, 0)),
        _last_weekday(year, 8, 0),
        *_christmas(year),
        *_EXTRA.get(year, ()),
    ]
    return frozenset(days)


def _christmas(year: int) -> list[date]:
    christmas, boxing = date(year, 12, 25), date(year, 12, 26)
    if christmas.weekday() == 6:  # Sunday: Boxing Day keeps the Monday, Christmas moves to Tuesday
        return [date(year, 12, 27), boxing]
    return _substituted([christmas, boxing])


def is_working_day(first: int, count: int) -> NDArray[np.bool_]:
    """One flag per day number from `first`: Monday to Friday and no bank holiday."""
    numbers = np.arange(first, first + count)
    weekday = (numbers + 3) % 7  # day 0 was a Thursday
    working = weekday < 5
    last_year = day_of_number(first + count).year
    for year in range(day_of_number(first).year, last_year + 1):
        for holiday in bank_holidays(year):
            index = day_number(holiday) - first
            if 0 <= index < count:
                working[index] = False
    return working


def _summer_time_edges() -> tuple[Seconds, Seconds]:
    """Start and end instants (UTC) of British Summer Time, 01:00 UTC on the last Sundays."""
    starts, ends = [], []
    for year in range(_FIRST_YEAR, _LAST_YEAR + 1):
        starts.append(day_number(_last_weekday(year, 3, 6)) * DAY + HOUR)
        ends.append(day_number(_last_weekday(year, 10, 6)) * DAY + HOUR)
    return np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)


_STARTS, _ENDS = _summer_time_edges()


def is_summer_time(utc: Seconds) -> NDArray[np.bool_]:
    """True where the UTC instant falls in British Summer Time."""
    return np.searchsorted(_STARTS, utc, "right") > np.searchsorted(_ENDS, utc, "right")


def clock_changes(start: int, end: int) -> list[tuple[int, int]]:
    """Changes of the London clock from `start` to before `end` (UTC): when, seconds put forward."""
    every = [(int(at), HOUR) for at in _STARTS] + [(int(at), -HOUR) for at in _ENDS]
    return sorted((at, seconds) for at, seconds in every if start <= at < end)


def utc_to_local(utc: Seconds) -> Seconds:
    """London wall clock of UTC instants, in local seconds."""
    instants = np.asarray(utc, dtype=np.int64)
    return instants + np.where(is_summer_time(instants), HOUR, 0)


def local_to_utc(local: Seconds) -> Seconds:
    """UTC instants of London wall clock times.

    The hour that occurs twice in October is read as the earlier instant (summer time); the hour
    that does not exist in March is read as Greenwich time.
    """
    wall = np.asarray(local, dtype=np.int64)
    return np.where(is_summer_time(wall - HOUR), wall - HOUR, wall)


def is_repeated_hour(utc: Seconds) -> NDArray[np.bool_]:
    """True where the local wall clock reading of the instant occurs twice (October)."""
    instants = np.asarray(utc, dtype=np.int64)
    nearest = np.clip(np.searchsorted(_ENDS, instants - HOUR), 0, len(_ENDS) - 1)
    return np.abs(instants - _ENDS[nearest] + 0.5) < HOUR
