"""Numbers that change, exams that share a scan, and clocks that are put back."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.network import Network
from pipelines.sources.clock import parse_hl7_times
from pipelines.sources.hl7 import read_messages
from pipelines.synthetic import generate, hl7_clocks
from pipelines.synthetic.identity import as_known
from pipelines.synthetic.period import Period


@pytest.fixture(scope="module")
def autumn(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose live weeks (from 8 August) hold the end of summer time."""
    folder = tmp_path_factory.mktemp("autumn")
    period = Period.of(date(2025, 5, 1), 6)
    generate(network, folder / "inbox", folder / "truth", seed=7, scale=0.0008, period=period)
    return folder


@pytest.fixture(scope="module")
def rows(autumn: Path) -> pl.DataFrame:
    """One row per order group of every message."""
    files = sorted(autumn.glob("inbox/hl7/*/*.hl7"))
    return pl.concat(
        read_messages(f.read_bytes(), feed="x").rows.with_columns(file=pl.lit(f.name))
        for f in files
    )


def exams(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "truth" / "exams.parquet")


def planted(folder: Path, kind: str) -> pl.DataFrame:
    dirt = pl.read_parquet(folder / "truth" / "dirt.parquet")
    return dirt.filter((pl.col("feed") == "hl7") & (pl.col("kind") == kind))


def test_messages_tell_the_true_instant_where_they_state_an_offset(
    autumn: Path, rows: pl.DataFrame
):
    """Failing means that a party with offsets is an hour out, in summer or in the hour told twice."""
    reports = rows.filter(pl.col("interpreted_time").is_not_null())
    told = parse_hl7_times(reports["interpreted_time"], "Europe/London")
    both = reports.select("sending_facility", "accession").with_columns(
        instant=told["utc"], flag=told["flag"], source=told["tz_source"]
    )
    both = both.join(
        exams(autumn).filter(pl.col("addendum_at").is_null() & pl.col("corrected_at").is_null()),
        left_on=["sending_facility", "accession"],
        right_on=["party_code", "accession_number"],
    )
    stated = both.filter(pl.col("source") == "explicit")
    assert set(stated["sending_facility"]) == set(hl7_clocks.time_styles())
    assert (stated["instant"] == stated["verified_at"]).all()
    others = both.filter((pl.col("source") == "assumed") & pl.col("flag").is_null())
    assert (others["instant"] == others["verified_at"]).all()


def test_the_hour_that_occurs_twice_is_counted_in_the_live_weeks(autumn: Path, rows: pl.DataFrame):
    """Failing means that doubtful minutes of live messages cannot be reconciled."""
    names = ("requested_time", "received_time", "started_time", "completed_time")
    names = (*names, "interpreted_time", "status_time", "order_transaction_time")
    doubtful = [
        rows.filter(parse_hl7_times(rows[name], "Europe/London")["flag"] == "ambiguous")
        for name in names
    ]
    found = pl.concat(doubtful).unique(["sending_facility", "accession"])
    assert found.height == planted(autumn, "repeated_hour").height > 0


def test_each_merge_is_one_message_and_the_numbers_given_up_are_not_used_after_it(
    autumn: Path, rows: pl.DataFrame
):
    """Failing means that the truth of merges cannot be found in the messages."""
    merges = pl.read_parquet(autumn / "truth" / "patient_merges.parquet")
    sent = rows.filter(pl.col("message_code") == "ADT").unique(["prior_patient_id", "patient_id"])
    told = sent.select("prior_patient_id", "patient_id").rows()
    assert sorted(told) == sorted(merges.select("loser", "survivor").rows())
    used = rows.filter(pl.col("patient_id").is_in(merges["loser"].to_list()))
    assert used["nhs_number"].null_count() == used.height > 0
    sent_at = parse_hl7_times(used["message_time"], "Europe/London")["utc"]
    last = used.with_columns(sent_at=sent_at).join(merges, left_on="patient_id", right_on="loser")
    # A message is sent within a minute of what it tells.
    assert last.filter(pl.col("sent_at") > pl.col("merged_at").dt.offset_by("1m")).is_empty()


def test_exams_of_one_scan_share_patient_times_and_study(autumn: Path):
    """Failing means that one scan with two accession numbers looks like two scans."""
    every = exams(autumn)
    both = every.filter(pl.col("performed_with").is_not_null()).join(
        every, left_on="performed_with", right_on="exam_no", suffix="_first"
    )
    for name in ("patient_id", "started_at", "completed_at", "study_instance_uid", "station_name"):
        assert (both[name] == both[f"{name}_first"]).all(), name
    assert (both["exam_code"] != both["exam_code_first"]).all()
    assert not both["has_images"].any()
    scans = every.filter((pl.col("dicom_modality") == "CT") & pl.col("completed_at").is_not_null())
    # 3 % where there are exams enough to choose from; this network has few.
    assert 0.01 < scans["performed_with"].is_not_null().mean() < 0.05


def test_a_joint_report_has_a_group_for_each_exam(autumn: Path, rows: pl.DataFrame):
    """Failing means that one report of two exams is told as two reports, or as one exam."""
    seconds = planted(autumn, "one_report_several_exams")["accession"].to_list()
    groups = rows.filter((pl.col("message_code") == "ORU") & (pl.col("obr_set") == 2))
    assert set(groups["accession"]) == set(seconds)
    firsts = groups.join(rows.filter(pl.col("obr_set") == 1), on=["file", "message_no"])
    assert (firsts["patient_id"] == firsts["patient_id_right"]).all()


def test_an_exam_is_told_under_the_number_known_at_the_time():
    """Failing means that a chain of merges is told in another order than it happened."""
    exam = {"first_id": "U", "second_id": "V", "patient_id": "H", "nhs_number_delivered": "9"}
    exam |= {"merged": 10, "merged_again": 20, "merged_again_local": 20, "merged_local": 10}
    exam |= {"old_accession": None, "renumbered": None}
    told = [(e["patient_id"], first, last) for e, first, last in as_known(exam, 0, 30)]
    assert told == [("U", 0, 10), ("V", 10, 20), ("H", 20, 30)]
    assert [e["patient_id"] for e, _, _ in as_known(exam, 12, 15)] == ["V"]


@pytest.mark.parametrize(
    ("party", "utc", "written"),
    [
        ("RMC", 1761444000, "20251026020000"),
        ("RM3", 1761436800, "20251026010000+0100"),
        ("RM3", 1761440400, "20251026010000+0000"),
        ("RW6", 1761436800, "20251026000000+0000"),
    ],
)
def test_a_moment_is_written_in_the_style_of_its_party(party: str, utc: int, written: str):
    """Failing means that a time is written with an offset it does not have."""
    shown = hl7_clocks.moments(pl.Series([utc]).to_numpy(), pl.Series([party]))
    assert hl7_clocks.clock(int(shown[0])) == written
