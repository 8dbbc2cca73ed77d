"""The return of waits says what it leaves out, over a warehouse of a few rows."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from pipelines.exports.dids import ExportProblem
from pipelines.exports.dm01 import LISTS, STREAMS, dm01_return

BANDS = [f"band_{band:02d}" for band in range(14)]
CENSUS, MONTH = "2026-01-31", date(2026, 1, 1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Two trusts, of one a party tells no list, and rows of a site whose owner is not known."""
    path = tmp_path / "warehouse.duckdb"
    columns = ", ".join(f"{name} bigint" for name in (*LISTS, *BANDS, *STREAMS))
    with duckdb.connect(str(path)) as c:
        for schema in ("marts", "intermediate", "seeds"):
            c.execute(f"create schema {schema}")
        c.execute(
            "create table marts.rpt_waiting_times_monthly (org_level text, org_code text, "
            f"dm01_test text, census_on date, {columns})"
        )
        for trust, size in (("RMC", 2), ("RM3", 3), ("Unknown", 5)):
            counts = [14 * size, 8 * size, size, *[size] * 14, size, size, size]
            c.execute(
                "insert into marts.rpt_waiting_times_monthly values ('trust', ?, 'CT', ?, "
                + ", ".join("?" * len(counts))
                + ")",
                [trust, CENSUS, *counts],
            )
        c.execute(
            "create table intermediate.int_months as "
            f"select date '{MONTH}' as month_on, date '{CENSUS}' as census_on, true as is_complete"
        )
        c.execute(
            "create table seeds.dm01_tests as "
            "select 2 as dm01_test_id, 'CT' as dm01_test, 'Computed Tomography' as dm01_test_name"
        )
        c.execute(
            "create table marts.dim_trust as select * from (values ('RMC', 'Bolton', null::date, "
            "null::date), ('RM3', 'Salford', null, '2021-09-30'), ('RM3', 'Northern Care', "
            "'2021-10-01', null)) as t(trust_code, trust_name, valid_from, valid_to)"
        )
        c.execute(
            "create table intermediate.int_parties_without_list as select 'RW6' as party_code"
        )
        c.execute(
            "create table intermediate.int_site_owners as select * from (values "
            "('S1', 'RMC', 'RMC', date '1900-01-01', date '9999-12-31'), "
            "('S2', 'RW6', 'RW6', '1900-01-01', '2021-09-30'), "
            "('S2', 'RW6', 'RM3', '2021-10-01', '9999-12-31')) "
            "as t(site_code, party_code, trust_code, valid_from, valid_to)"
        )
    return path


def test_the_return_says_what_it_leaves_out(warehouse: Path):
    """Failing means that a short return looks whole."""
    made = dm01_return(warehouse, MONTH, "Y62")
    assert made.table.select("Provider Code", "Provider Name").rows() == [
        ("RM3", "Northern Care"),
        ("RMC", "Bolton"),
    ]
    assert made.without_list == ()
    assert made.half_told == ("RM3",)
    assert made.of_no_trust == (70, 15)


def test_a_trust_whose_list_nobody_tells_is_named_and_not_in_the_file(warehouse: Path):
    """Failing means that a trust returns a list of 0."""
    with duckdb.connect(str(warehouse)) as c:
        c.execute(
            "update marts.rpt_waiting_times_monthly set waiting_list_count = null "
            "where org_code = 'RM3'"
        )
    made = dm01_return(warehouse, MONTH, "Y62")
    assert made.table["Provider Code"].to_list() == ["RMC"]
    assert (made.without_list, made.half_told) == (("RM3",), ())


def test_without_a_warehouse_or_its_month_the_next_step_is_said(warehouse: Path, tmp_path: Path):
    """Failing means that an operator meets a traceback of the database."""
    with pytest.raises(ExportProblem, match="imaging build"):
        dm01_return(tmp_path / "none.duckdb", MONTH, None)
    with pytest.raises(ExportProblem, match="no complete month 2026-02"):
        dm01_return(warehouse, date(2026, 2, 1), None)
