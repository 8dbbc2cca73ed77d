"""Days beyond Python's: an odd date of a typed query must not break the page or the file made of it."""

from datetime import date

import duckdb
import polars as pl
import pytest

from dashboards.components import downloads, far_days

QUERY = """
select * from (values
    (1, date '2026-03-01', timestamp '2026-03-01 09:30:00', [date '2026-03-01']),
    (2, date '9999-12-31' + 1, timestamp 'infinity', [date 'infinity']),
    (3, date '-infinity', timestamp '0001-01-01 00:00:00' - interval 1 day, null),
    (4, null, null, null)
) as far (row_no, on_day, at_time, days)
"""


@pytest.mark.parametrize(
    "make", [downloads.csv_bytes, downloads.xlsx_bytes, downloads.parquet_bytes]
)
def test_a_far_day_is_told_in_words_in_every_file(make):
    """Failing means that a download ends in nothing."""
    asked = duckdb.sql(QUERY).pl()
    frame = far_days.as_text(asked)
    assert frame["on_day"].to_list() == ["2026-03-01", far_days.AFTER, far_days.BEFORE, None]
    assert frame["at_time"].to_list()[1:] == [far_days.AFTER, far_days.BEFORE, None]
    assert frame["at_time"][0].startswith("2026-03-01 09:30:00")
    assert frame["days"].to_list() == [far_days.INSIDE, far_days.INSIDE, None, None]
    assert make(asked, ["About"])


def test_columns_of_ordinary_days_stay_as_they_are():
    """Failing means that a file loses its dates."""
    frame = pl.DataFrame({"on": [date(1, 1, 1), date(9999, 12, 31), None], "n": [[1], [], None]})
    assert far_days.as_text(frame).equals(frame)
    assert far_days.as_text(frame).schema == frame.schema
