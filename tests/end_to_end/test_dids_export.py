"""National submissions out of the demo network: what is written is what the marts count."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.contracts import read_contract
from pipelines.settings import PROJECT_ROOT
from pipelines.sources.dids import read_dids
from tests.demo_home import Home

MONTH, FIRST, NEXT = "2026-01", "2026-01-01", "2026-02-01"
LONDON = "Europe/London"
# Columns of a submission, and of the exam that they tell.
TIMES = {
    "requested_at": "requested_at",
    "request_received_at": "received_at",
    "started_at": "started_at",
    "ended_at": "completed_at",
    "report_issued_at": "first_verified_at",
}
DAYS = {
    "requested_on": "requested_at",
    "request_received_on": "received_at",
    "tested_on": "performed_on",
    "report_issued_on": "first_verified_at",
}


def exported(home: Home, folder: Path, version: int, *more: str) -> tuple[pl.DataFrame, str]:
    """Records of all submissions of the month, read by the feed's own reader, and what was said."""
    done = home.imaging(
        "export", "dids", "--version", str(version), "--month", MONTH, "--on", "2026-02-17",
        "--to", str(folder), *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    contract = read_contract(
        PROJECT_ROOT / "data_contracts" / "inbound" / f"dids_v{version}.odcs.yaml"
    )
    tables = [read_dids(path.read_bytes(), contract, LONDON) for path in sorted(folder.glob("*"))]
    assert all(isinstance(table, pl.DataFrame) for table in tables)
    return pl.concat(table for table in tables if isinstance(table, pl.DataFrame)), done.stdout


@pytest.fixture(scope="module")
def exams(demo: Home) -> pl.DataFrame:
    """Exams done in the month, with the pseudonym of their number; times to the second."""
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.sql(
            "select exams.*, folded.accession from marts.fct_exam as exams "
            "inner join intermediate.int_exams_folded as folded using (exam_key) "
            f"where exams.is_completed and exams.performed_on >= '{FIRST}' "
            f"and exams.performed_on < '{NEXT}' and folded.accession is not null"
        ).pl()
    zoned = pl.selectors.datetime(time_zone="*")
    return found.with_columns(
        zoned.dt.truncate("1s"), accession_number=pl.col("accession").str.slice(0, 20)
    )


def test_version_2_tells_the_instants_of_the_marts(demo: Home, exams: pl.DataFrame, tmp_path: Path):
    """Failing means that a trust submits other times than the pages show."""
    table, said = exported(demo, tmp_path, 2)
    # one number can be of several issuers
    place = ["site_code", "accession_number"]
    both = exams.select(*place, *(pl.col(n).alias(f"mart_{n}") for n in TIMES.values()))
    both = table.join(both, on=place, how="full")
    assert len(both) == len(table) == len(exams) > 20
    for told, kept in TIMES.items():
        same = both[told].cast(pl.Datetime("us", "UTC")).eq_missing(both[f"mart_{kept}"])
        assert same.all(), both.filter(~same).select(told, f"mart_{kept}")
    assert "not evaluable (the file holds no demographic item)" in said
    assert table["nhs_number"].null_count() == len(table)


def test_version_1_tells_the_days_of_the_marts_and_the_people_of_the_list(
    demo: Home, exams: pl.DataFrame, tmp_path: Path
):
    """Failing means that days move at midnight, or that a list of identities meets the wrong exams."""
    delivered = pl.concat(
        pl.read_csv(path, infer_schema=False)
        for path in (demo.path / "inbox" / "ris_extract").glob("*/ris_extract_RW6.csv")
    ).unique("accession_number", keep="last")
    people = delivered.select(
        "accession_number", "nhs_number", "ethnic_category", "postcode",
        gender="sex", referrer_code="referrer_code",
        birth_date=pl.col("birth_date").str.to_date("%d/%m/%Y", strict=False).cast(pl.String),
    )  # fmt: skip
    path = tmp_path / "people.csv"
    people.write_csv(path)
    before = sorted(p for p in demo.path.rglob("*") if p.is_file())
    folder = tmp_path / "out"
    table, said = exported(demo, folder, 1, "--party", "RW6", "--identities", str(path))
    assert sorted(p for p in demo.path.rglob("*") if p.is_file()) == before
    (made,) = folder.glob("*")
    assert (made.stat().st_mode & 0o777, made.name) == (0o600, "dids_v1_RW6_2026-01.csv")
    mine = exams.filter(pl.col("party_code") == "RW6")
    assert len(table) == len(mine) > 3
    # the extract ends before the month does: later exams are in no list
    joined = table.join(people, on="accession_number", suffix="_listed")
    known = int(table["ethnic_category"].is_not_null().sum())
    assert f"RW6: {len(mine)} exams, " in said and 0 < known <= len(joined) <= len(table)
    others = table.join(people, on="accession_number", how="anti")
    assert others["nhs_number"].null_count() == len(others)
    for name in ("nhs_number", "postcode", "ethnic_category"):
        assert joined[name].eq_missing(joined[f"{name}_listed"]).all()
    local = {
        told: (
            mine[kept]
            if mine.schema[kept] == pl.Date
            else mine[kept].dt.convert_time_zone(LONDON).dt.date()
        )
        for told, kept in DAYS.items()
    }
    wanted = pl.DataFrame(local).sort(pl.all(), nulls_last=True)
    assert table.select(list(DAYS)).sort(pl.all(), nulls_last=True).equals(wanted)


def test_a_list_of_identities_needs_a_party_and_a_place(demo: Home, tmp_path: Path):
    """Failing means that a file with identities lies where nobody has chosen."""
    path = tmp_path / "people.csv"
    path.write_text("accession_number\n1\n")
    done = demo.imaging(
        "export", "dids", "--version", "1", "--month", MONTH, "--identities", str(path)
    )
    assert done.returncode == 2 and "--party" in done.stderr and "--to" in done.stderr
    done = demo.imaging("export", "dids", "--version", "1", "--month", MONTH, "--party", "XXX")
    assert done.returncode == 2 and "there are" in done.stderr
