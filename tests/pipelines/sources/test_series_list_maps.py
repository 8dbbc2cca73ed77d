"""A supplier's own series report, read by a column map: the same rows, or a reason that helps."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import harvest, replay
from pipelines.settings import Settings
from pipelines.sources.extract_tables import Refused
from pipelines.sources.inbox import deliveries
from pipelines.sources.series_list_maps import SeriesListMap, SeriesListMapProblem

NOW = datetime(2026, 7, 2, 6, tzinfo=UTC)
MAP = """
delimiter = ";"
encoding = "windows-1252"

[columns]
study_instance_uid = "Study UID"
series_instance_uid = "Series UID"
patient_id = "MRN"
modality = "Mod"
number_of_series_related_instances = "Images"
institution_name = "Hospital"
first_acquired_at = {date = "Scan date", time = "Scan time", format = "%d/%m/%Y %H:%M"}
archive_received_at = {column = "Stored", format = "%Y-%m-%dT%H:%M:%S", zone = "UTC"}
manufacturer = {value = "Acme"}
"""
REPORT = """ Study UID ;Series UID;MRN;Mod;Images;Hospital;Scan date;Scan time;Stored;Comment
1.2.1;1.2.1.1;P1;CT;12;Hôpital;01/07/2026;08:05;2026-07-01T07:10:00;ignored; never read
1.2.2;1.2.2.1;P2;MR;3;;01/07/2026;;;x
""".replace("ignored; never", "ignored, never")


@pytest.fixture
def write_map(tmp_path: Path, inbound):
    def written(text: str = MAP) -> SeriesListMap:
        path = tmp_path / "vendor.toml"
        path.write_text(text)
        return SeriesListMap.load(path, inbound["dicom_series"])

    return written


@pytest.fixture
def read(write_map, inbound):
    def rows(report: str | bytes = REPORT, text: str = MAP) -> pl.DataFrame | Refused:
        data = report if isinstance(report, bytes) else report.encode("windows-1252")
        return write_map(text).read(data, inbound["dicom_series"], "Europe/London")

    return rows


def test_a_report_becomes_rows_of_the_contract(read):
    """Failing means that scan times or arrivals of a supplier's report are read wrongly."""
    rows = read()
    first = rows.row(0, named=True)
    assert (first["row_no"], first["institution_name"], first["manufacturer"]) == (
        2,
        "Hôpital",
        "Acme",
    )
    assert first["number_of_series_related_instances"] == 12
    assert first["first_acquired_at"] == datetime(2026, 7, 1, 7, 5, tzinfo=UTC)
    # Told in UTC, shown on the wall clock of the network.
    assert first["archive_received_at__local"] == datetime(2026, 7, 1, 8, 10)
    assert first["archive_received_at"] == datetime(2026, 7, 1, 7, 10, tzinfo=UTC)
    assert rows["route"].to_list() == ["extract", "extract"]
    second = rows.row(1, named=True)
    # A date alone is no time: it is empty rather than midnight.
    assert second["first_acquired_at"] is None
    assert not second["first_acquired_at__unparsed"]
    assert second["station_name"] is None


def test_a_time_that_cannot_be_read_is_rejected_and_not_lost(read):
    """Failing means that a report with American dates lands without times, silently."""
    rows = read(REPORT.replace("01/07/2026;08:05", "07/31/2026;08:05"))
    assert rows["first_acquired_at__unparsed"].to_list() == [True, False]
    assert rows["first_acquired_at__raw"][0] == "07/31/2026 08:05"


def test_missing_columns_are_named(read):
    """Failing means that a supplier is told that something is wrong, and not what."""
    refused = read(REPORT.replace("MRN", "Number").replace("Scan time", "Time"))
    assert refused.rule == "has_all_columns"
    assert refused.detail.startswith("missing column(s) MRN, Scan time; the map is vendor.toml")
    assert 'such as patient_id = "NAME IN THE REPORT"' in refused.detail
    late = read(REPORT.replace("Scan time", "Time")).detail
    assert 'first_acquired_at = {date = "NAME IN THE REPORT", time = "NAME IN' in late
    assert read(b"").rule == "is_not_empty"
    assert (
        read(REPORT.replace("\n", "\nbad;", 2), MAP.replace("1252", "9999")).rule == "is_readable"
    )


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_report_without_a_map_is_told_how_to_map_it(tmp_path, new_setup, delimiter):
    """Failing means that a supplier's first report is sent back, though a map would read it."""
    day = tmp_path / "inbox" / "dicom_series" / "2026-07-01"
    day.mkdir(parents=True)
    (day / "report_RMC.csv").write_text(
        REPORT.replace("ignored, never", "x").replace(";", ",") if delimiter == "," else REPORT
    )
    setup = new_setup(tmp_path)
    found = deliveries(tmp_path / "inbox", "dicom_series")
    result = harvest("dicom_series", found, setup, now=NOW)
    assert result.files_refused == 1
    said = setup.landing.read("rejects")["reason"][0]
    assert said.startswith(
        "the first line names none" if delimiter == "," else "the first line is not divided"
    )
    assert "[series_lists.RMC] with map =" in said
    assert 'series_instance_uid = "Series UID"' in said


def test_a_list_of_studies_is_refused_with_the_reason(read):
    """Failing means that a study counts as a series, beside its own series."""
    refused = read(text=MAP.replace('series_instance_uid = "Series UID"\n', ""))
    assert refused.rule == "is_series_level"
    assert "a row per study; ask the supplier for a row per series" in refused.detail


WRONG = {
    "no file": (None, "does not exist"),
    "no TOML": ("[columns", "is not TOML"),
    "unknown key": ("separator = ';'", r"unknown key\(s\) separator"),
    "unknown column": ('[columns]\nname = "Name"', "columns.name is no column of dicom_series"),
    "misspelt": ('[columns]\npatientid = "X"', "patientid is .*do you mean patient_id"),
    "no columns": ('patient_id = "MRN"', "belong below"),
    "no table": ('columns = "MRN"', "the table .columns. is missing"),
    "no source": ("[columns]\nmodality = {format = '%d'}", "columns.modality needs column"),
    "date without time": ("[columns]\nmodality = {date = 'D'}", "columns.modality needs column"),
    "unknown entry": ("[columns]\nmodality = {name = 'D'}", "columns.modality must be"),
    "no format": ("[columns]\nfirst_acquired_at = 'T'", "say how it is written"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_map_is_named_with_file_and_key(tmp_path, inbound, fault):
    """Failing means that an operator searches for the line."""
    text, message = WRONG[fault]
    path = tmp_path / "vendor.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SeriesListMapProblem, match=f"{path}.*{message}"):
        SeriesListMap.load(path, inbound["dicom_series"])


def test_reports_and_answers_of_one_party_land_side_by_side(tmp_path, new_setup, write_map):
    """Failing means that a party with a map can no longer deliver by the contract.

    A rejected record is kept as the supplier wrote it, so that a mended map reads it in a replay.
    """
    day = tmp_path / "inbox" / "dicom_series" / "2026-07-01"
    day.mkdir(parents=True)
    header = "study_instance_uid,series_instance_uid,accession_number,patient_id,modality,"
    header += "station_name,device_serial_number,station_ae_title,"
    header += "number_of_series_related_instances,first_acquired_at,last_acquired_at"
    (day / "series_RMC.csv").write_text(header + "\n1.2.9,1.2.9.1,,P9,CT,,,,4,,\n")
    american = REPORT.replace("01/07/2026;08:05", "07/01/2026;8.05")
    (day / "report_RMC.csv").write_bytes(american.encode("windows-1252"))
    setup = new_setup(tmp_path)
    setup.series_list_maps["dicom_RMC"] = write_map()
    found = deliveries(tmp_path / "inbox", "dicom_series")
    result = harvest("dicom_series", found, setup, now=NOW)
    assert (result.files_refused, result.rows_landed, result.rows_rejected) == (0, 2, 1)
    (entry,) = setup.quarantine.entries(state="open")
    kept = setup.quarantine.payload(entry).decode("windows-1252")
    assert kept.splitlines()[1].startswith("1.2.1;1.2.1.1;P1;CT;12;Hôpital;07/01/2026;8.05")
    setup.series_list_maps["dicom_RMC"] = write_map(MAP.replace("%d/%m/%Y %H:%M", "%m/%d/%Y %H.%M"))
    assert replay(entry, setup, now=NOW).rows_landed == 1
    landed = setup.landing.read("dicom_series")
    assert landed["series_instance_uid"].n_unique() == len(landed) == 3
    assert not {"P1", "P2", "P9"} & set(landed["patient_id"])


def test_the_archives_file_says_whose_lists_need_which_map(tmp_path, monkeypatch):
    """Failing means that a map lies beside the settings and is never used."""
    from pipelines.defs.resources import Pipeline

    monkeypatch.setenv("IMAGING_HOME", str(tmp_path))
    (tmp_path / "archives.toml").write_text('[series_lists.RMC]\nmap = "vendor"\n')
    with pytest.raises(SeriesListMapProblem, match=r"vendor\.toml does not exist"):
        _ = Pipeline(Settings()).series_list_maps
    (tmp_path / "series_list_maps").mkdir()
    (tmp_path / "series_list_maps" / "vendor.toml").write_text(MAP)
    found = Pipeline(Settings()).series_list_maps
    assert list(found) == ["dicom_RMC"]
    assert found["dicom_RMC"].delimiter == ";"
