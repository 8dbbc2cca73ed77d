"""The published full extract of DM01: read, held to its contract, landed once, refused by name."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.contracts import Contract, read_contracts
from pipelines.harvest import HarvestResult, Setup, harvest
from pipelines.sources.dm01_extract import ZIP_SIGN, read_dm01_extract
from pipelines.sources.inbox import Delivery
from tests.pipelines.conftest import CONTRACTS

NOW, DAY, ZONE = datetime(2026, 5, 20, 6, tzinfo=UTC), date(2026, 5, 15), "Europe/London"
TESTS = ("MRI", "CT", "COLONOSCOPY")
WEEKS = ["00 < 01 Week", *(f"{n:02d} < {n + 1:02d} Weeks" for n in range(1, 13)), "13+ Weeks"]
COUNTS = ["Total WL", "Waiting List Activity", "Planned Activity", "Unscheduled Activity",
          "Total Activity"]  # fmt: skip
HEADER = [
    "Period", "Provider Parent Org Code", "Provider Parent Name", "Provider Org Code",
    "Provider Org Name", "Commissioner Parent Org Code", "Commissioner Parent Name",
    "Commissioner Org Code", "Commissioner Org Name", "Diagnostic Tests Sort Order",
    "Diagnostic Tests", *WEEKS, *COUNTS,
]  # fmt: skip


@pytest.fixture(scope="module")
def contract() -> Contract:
    return read_contracts(CONTRACTS / "inbound")["dm01_extract"]


@pytest.fixture
def setup(new_setup: Callable[..., Setup], tmp_path: Path) -> Setup:
    return new_setup(tmp_path)


def line(provider: str, commissioner: str, test: str, size: int) -> dict[str, str]:
    """One row: `size` patients in each band, as many tests in each stream."""
    counts = [size] * 14 + [14 * size, size, size, size, 3 * size]
    texts = ["DM01-APRIL-2026", "QOP", "ICB", provider, "Trust", "QOP", "ICB", commissioner,
             "Place", "1", test]  # fmt: skip
    return dict(zip(HEADER, [*texts, *map(str, counts)], strict=True))


def rows() -> list[dict[str, str]]:
    """Two providers, two commissioners each, three tests and their total."""
    found = []
    for provider in ("RMC", "RXX"):
        for commissioner in ("01A", "02B"):
            found += [line(provider, commissioner, test, 1) for test in TESTS]
            found.append(line(provider, commissioner, "TOTAL", len(TESTS)))
    return found


def as_csv(lines: list[dict[str, str]], header: list[str] = HEADER) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(row.values() for row in lines)
    return text.getvalue().encode()


def as_zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def torn(compression: int) -> bytes:
    """A zip whose one file was damaged on its way."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        archive.writestr("extract.csv", as_csv(rows()))
    data = bytearray(packed.getvalue())
    data[60:90] = bytes(30)
    return bytes(data)


def deliver(setup: Setup, data: bytes, name: str = "DM01-APRIL-2026.csv") -> HarvestResult:
    return harvest(
        "dm01_extract", [Delivery("dm01_extract", Path(name), DAY, data)], setup, now=NOW
    )


def test_every_row_lands_with_its_month_and_numbers(setup: Setup):
    """Failing means that the country's figures are not those published."""
    result = deliver(setup, as_csv(rows()))
    assert (result.rows_received, result.rows_landed) == (16, 16)
    landed = setup.landing.read("dm01_extract")
    assert landed["month_on"].unique().to_list() == [date(2026, 4, 1)]
    mine = landed.filter((pl.col("provider_code") == "RMC") & (pl.col("dm01_test") == "CT"))
    assert mine["waiting_list_count"].to_list() == [14, 14]


def test_the_zip_and_another_spelling_of_headings_read_the_same(contract: Contract):
    """Failing means that a month cannot be loaded since its publisher wrote PERIOD."""
    plain = read_dm01_extract(as_csv(rows()), contract, ZONE)
    shouted = as_csv(rows(), [name.upper().replace(" ", "  ") for name in HEADER])
    packed = read_dm01_extract(
        as_zip({"a/EXTRACT.CSV": shouted, "__MACOSX/a/._extract.csv": b"x"}), contract, ZONE
    )
    assert isinstance(plain, pl.DataFrame)
    assert plain.equals(packed)


def test_the_same_month_again_lands_nothing_new(setup: Setup):
    """Failing means that a second download doubles the country."""
    deliver(setup, as_csv(rows()))
    again = deliver(setup, as_csv(rows()), name="again.csv")
    assert (again.files_known, again.rows_landed) == (1, 0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"03 < 04 Weeks": "*"}, "band_03_is_an_integer"),
        ({"03 < 04 Weeks": ""}, "band_03_is_given"),
        ({"03 < 04 Weeks": "-1", "04 < 05 Weeks": "3"}, "band_03_is_not_below_0"),
        ({"Total WL": "15"}, "bands_add_up"),
        ({"Total Activity": "4"}, "streams_add_up"),
        ({"Period": "DM01-SPRING-2026"}, "month_on_is_a_date"),
        ({"Provider Org Code": ""}, "provider_code_is_given"),
        ({"Diagnostic Tests": "MRI"}, "row_is_the_only_one"),
    ],
)
def test_one_wrong_cell_refuses_the_month(setup: Setup, change: dict[str, str], rule: str):
    """Failing means that a hidden or torn count enters the figures as if it were whole."""
    told = rows()
    told[1] |= change
    result = deliver(setup, as_csv(told))
    assert result.files_refused == 1
    assert rule in {failure.rule for failure in result.failures}
    assert result.rows_landed == 0
    assert result.rows_rejected == 16


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "is_not_empty"),
        (as_csv([], HEADER[:-1]), "has_all_columns"),
        (as_csv(rows(), ["Month", *HEADER[1:]]), "has_all_columns"),
        (as_csv(rows(), ["PERIOD", "Period", *HEADER[2:]]), "is_readable"),
        (torn(zipfile.ZIP_BZIP2), "is_readable"),
        (torn(zipfile.ZIP_LZMA), "is_readable"),
        (as_zip({"one.csv": b"a", "two.csv": b"b"}), "is_readable"),
        (as_zip({"only.csv": as_csv(rows())})[:-40], "is_readable"),
        (ZIP_SIGN + as_zip({"only.csv": as_csv(rows())})[17:], "is_readable"),
        (as_zip({"big.csv": b"0" * (401 << 20)}), "is_readable"),
    ],
    ids=[
        "empty",
        "a column short",
        "no period",
        "a heading twice",
        "a torn bzip2",
        "a torn lzma",
        "two files",
        "cut off",
        "cut out of",
        "a bomb",
    ],
)
def test_a_file_that_is_no_extract_is_refused_with_the_next_step(
    setup: Setup, data: bytes, rule: str
):
    """Failing means that a broken download stops the run or lands in part."""
    result = deliver(setup, data)
    assert [failure.rule for failure in result.failures] == [rule]
