"""A network whose live weeks hold a go-live and a clock change, as files and landed at once.

Header times are compared with what a header can tell, the clock of the device.
"""

from collections import Counter
from datetime import date

import duckdb
import polars as pl
import pytest

from pipelines.landing.keys import load_keys
from pipelines.landing.pseudonymise import pseudonyms
from pipelines.settings import Settings
from tests.demo_home import Home
from tests.end_to_end.test_dirt import FAULTS, Found
from tests.published_files import OF_LISTS_AND_FILES, differences

WANTED = ("--start", "2020-09", "--months", "4", "--scale", "0.0005")
# They tell of deliveries (and how many rows they have), which differ: a folder of image files
# here, a list of series there.
OF_DELIVERIES = {
    "marts.rpt_feed_freshness",
    "marts.rpt_feed_metric_matrix",
    "marts.rpt_reconciliation",
    "marts.rpt_rejects",
    "catalogue.tables",
}
# Faults that a series list can hold as well as image files.
OF_LISTS = [
    "qa_phantom", "migrated_prior", "resent_series", "device_clock_drift", "device_clock_step",
    "device_clock_dst",
]  # fmt: skip
WAREHOUSE = "warehouse.duckdb"
GO_LIVE = date(2020, 11, 30)
# An exam without a dose report counts against Q10 on days of which files came; beside the lists
# come the reports alone, so that such a day is not known.
COMPARED = OF_LISTS_AND_FILES | {
    "marts.rpt_data_quality_monthly": "metric_id <> 'Q10'",
    "marts.rpt_metrics_monthly": "metric_id <> 'Q10'",
}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory) -> Home:
    """The network as files, harvested and built."""
    folder = tmp_path_factory.mktemp("archive")
    home = Home(folder / "files", folder / "keys.json")
    _run(home, "keys", "create")
    _run(home, "synthesise", *WANTED)
    _run(home, "harvest")
    _run(home, "build")
    return home


def _run(home: Home, *arguments: str) -> None:
    done = home.imaging(*arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def landed(delivered) -> Home:
    """The same network, landed without files; what it lacks came beside."""
    home = Home(delivered.path.with_name("landed"), delivered.key_file)
    _run(home, "synthesise", "--as", "landing", *WANTED)
    # The ends that dose reports tell move the use of scanners.
    home.take_beside(delivered)
    return home


@pytest.fixture(scope="module")
def truth(delivered) -> pl.DataFrame:
    """Series of the truth under their landed key, with UTC instants read off the device."""
    series = pl.read_parquet(delivered.path / "truth" / "dicom_series.parquet")
    key = load_keys(delivered.key_file).pseudonym
    uids = pseudonyms(series["series_instance_uid"], "series", key)
    read = pl.col("start_at_device").dt.replace_time_zone("Europe/London", ambiguous="earliest")
    return series.with_columns(uids, read_at=read.dt.convert_time_zone("UTC"))


def _warehouse(home: Home, query: str) -> pl.DataFrame:
    with duckdb.connect(str(home.path / WAREHOUSE), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.sql(query).pl()


def test_every_series_is_known_once_at_the_time_of_its_device(delivered, truth):
    """Failing means that a copy counts twice, or that a header's time was changed unasked."""
    found = _warehouse(
        delivered,
        "select series_instance_uid, started_at_raw as started_at, instance_count, "
        "first_arrived_at, archive_received_at from intermediate.int_dicom_series",
    )
    both = truth.join(found, on="series_instance_uid", how="left")
    assert both["started_at"].null_count() == 0
    assert both.filter(pl.col("resent_at").is_not_null()).height > 0
    assert (both["instance_count"] == both["files"]).all()
    read = both["started_at"].dt.convert_time_zone("UTC") - both["read_at"]
    assert read.abs().max().total_seconds() < 1
    came = pl.col("first_arrived_at").dt.convert_time_zone("Europe/London").dt.date()
    sent = pl.col("delivered_at").dt.convert_time_zone("Europe/London").dt.date()
    assert both.filter(came != sent).is_empty()
    # the list tells of the first receipt, also of a series sent again
    received = both["archive_received_at"].dt.convert_time_zone("UTC") - both["delivered_at"]
    assert received.abs().max().total_seconds() < 1


def test_a_scanner_counts_the_exams_of_its_day_and_neither_phantoms_nor_old_studies(
    delivered, truth
):
    """Failing means that quality assurance or a migration passes for work done."""
    exams = truth.filter(pl.col("scan_kind") == "exam")
    starts = exams.group_by("station_name", "study_instance_uid").agg(pl.col("read_at").min())
    local = pl.col("read_at").dt.convert_time_zone("Europe/London").dt.date()
    expected = starts.group_by("station_name", day_on=local).len("exams")
    found = _warehouse(
        delivered,
        "select station_name, day_on, cast(exam_count as bigint) as found "
        "from intermediate.int_station_days where exam_count > 0",
    )
    both = expected.join(found, on=["station_name", "day_on"], how="full")
    assert both.filter(pl.col("exams").fill_null(0) != pl.col("found").fill_null(0)).is_empty()
    assert set(truth["scan_kind"]) == {"exam", "phantom", "prior"}


def test_old_studies_hold_no_scanner_on_the_day_they_came(delivered, truth):
    """Failing means that a migration shows as a busy day."""
    old = truth.filter(pl.col("scan_kind") == "prior")
    assert old.height > 0
    assert set(old["delivered_at"].dt.date()) == {GO_LIVE}
    found = _warehouse(
        delivered,
        "select series_instance_uid, station_name, started_at from intermediate.int_dicom_series",
    ).filter(pl.col("series_instance_uid").is_in(old["series_instance_uid"].to_list()))
    assert found.height == old.height
    assert found["station_name"].null_count() == old.height
    assert found["started_at"].dt.year().max() < 2020


@pytest.mark.parametrize(
    ("feed", "kind"),
    [
        ("dicom", "migrated_prior"),
        ("dicom", "qa_phantom"),
        ("dicom", "resent_series"),
        ("dicom", "device_clock_drift"),
        ("dicom", "device_clock_dst"),
        ("hl7", "repeated_hour"),
    ],
)
def test_what_was_put_in_is_what_was_found(delivered, feed, kind):
    """Failing means that a fault was missed, or that something sound was taken for one."""
    found = Found(delivered)
    planted = found.planted.filter((pl.col("feed") == feed) & (pl.col("kind") == kind)).height
    assert FAULTS[feed, kind](found, feed) == planted > 0


def test_series_lists_lead_to_the_same_marts(delivered, landed):
    """Failing means that a test at scale says nothing about phantoms, clocks or migrations."""
    _run(landed, "harvest")
    _run(landed, "build")
    found = differences(delivered.path / WAREHOUSE, landed.path / WAREHOUSE, COMPARED)
    tables = {line.split(":")[0] for line in found}
    assert {t for t in tables - OF_DELIVERIES if t.startswith("marts.")} == set()


def test_the_faults_put_in_are_those_of_the_files(delivered, landed):
    """Failing means that a landed network is dirtier, or cleaner, than its truth says."""
    counts = []
    for home in (delivered, landed):
        planted = pl.read_parquet(home.path / "truth" / "dirt.parquet")
        listed = planted.filter(pl.col("kind").is_in(OF_LISTS))
        others = planted.filter(pl.col("feed").is_in(["ris_extract", "hl7"]))
        counts.append(
            [Counter(listed["kind"].to_list()), Counter(others.select("feed", "kind").iter_rows())]
        )
    assert counts[0] == counts[1]
    assert len(counts[0][0]) > 2


def test_landing_again_changes_nothing(landed):
    """Failing means that an interrupted landing cannot be taken up again."""
    names = sorted(p.name for p in (landed.path / "landing").rglob("*.parquet"))
    _run(landed, "synthesise", "--as", "landing", *WANTED)
    assert sorted(p.name for p in (landed.path / "landing").rglob("*.parquet")) == names


def test_an_invented_network_is_not_mixed_with_anything_else(landed):
    """Failing means that invented exams can end up among real ones."""
    other = landed.imaging("synthesise", "--as", "landing", *WANTED, "--seed", "1")
    assert other.returncode == 2
    assert "holds other records" in other.stderr


def test_a_home_that_was_filled_so_says_that_its_data_are_invented(landed):
    """Failing means that invented figures are published as real ones."""
    assert Settings(home=landed.path).holds_synthetic_data
