"""Days that DuckDB knows and Python does not: before the year 1, after 9999, and infinite ones.

polars holds them but breaks off where it writes them, so a frame of somebody's own query is freed
of them before it is drawn or made a file.
"""

from __future__ import annotations

from datetime import date

import polars as pl
from polars.exceptions import PanicException

BEFORE, AFTER = "before the year 1", "after the year 9999"
INSIDE = "holds a day before the year 1 or after 9999: cast it to varchar"
_FIRST, _LAST = ((day - date(1970, 1, 1)).days for day in (date(1, 1, 1), date(9999, 12, 31)))
_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows; a column with such a day is text, the day said in words (BEFORE, AFTER).

    A list or struct with such a day inside says so (INSIDE) in every row that has a value.
    """
    return frame.with_columns(
        [_plain(one) if one.dtype.is_temporal() else _nested(one) for one in frame.get_columns()]
    )


def _plain(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if not isinstance(kind, pl.Date | pl.Datetime):
        return column
    unit = _A_DAY[kind.time_unit or "us"] if isinstance(kind, pl.Datetime) else 1
    numbers = column.to_physical()
    is_before, is_after = numbers < _FIRST * unit, numbers >= (_LAST + 1) * unit
    if not (is_before.any() or is_after.any()):
        return column
    near = numbers.zip_with(~(is_before | is_after), pl.Series([None], dtype=numbers.dtype))
    texts = near.cast(kind).cast(pl.String)
    words = pl.when(is_before).then(pl.lit(BEFORE)).when(is_after).then(pl.lit(AFTER))
    return pl.select(words.otherwise(texts).alias(column.name)).to_series()


def _nested(column: pl.Series) -> pl.Series:
    if not column.dtype.is_nested():
        return column
    try:
        column.to_list()
    except (PanicException, ValueError, OverflowError):
        texts = pl.when(column.is_not_null()).then(pl.lit(INSIDE)).alias(column.name)
        return pl.select(texts).to_series()
    return column
