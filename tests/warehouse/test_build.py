"""The tiny network of `tiny_landing`, built by dbt, against figures counted by hand."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.warehouse.conftest import Project, Warehouse, build
from tests.warehouse.tiny_landing import doses, receipt, write_landing, write_landing_file

PASSED = {"success", "pass", "no-op"}
NO_TESTS = ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]


def one(warehouse: Warehouse, query: str) -> dict:
    """The only row of a query."""
    rows = warehouse.rows(query)
    assert len(rows) == 1, rows
    return rows[0]


def network_metric(warehouse: Warehouse, metric_id: str, month: str) -> tuple:
    """Numerator, denominator and value of a metric for the network."""
    row = one(
        warehouse,
        "select numerator, denominator, value from marts.rpt_metrics_monthly "
        f"where metric_id = '{metric_id}' and org_level = 'network' "
        f"and modality_group = 'All' and period_start_on = '{month}'",
    )
    return row["numerator"], row["denominator"], row["value"]


def test_every_model_and_test_of_the_project_passes_on_the_tiny_network(tiny):
    """Failure: the project does not build, or one of its own tests fails on good data."""
    wrong = {name: status for name, status in tiny.results.items() if status not in PASSED}
    assert not wrong


@pytest.mark.parametrize(
    ("exam", "trust"), [("before", "RW6"), ("after", "R0A"), ("oldham", "RM3")]
)
def test_a_pennine_exam_keeps_its_party_and_has_the_trust_of_its_day(tiny, exam, trust):
    """Failure: history moves to today's owner, and before-and-after comparisons break."""
    row = one(
        tiny,
        f"select party_code, trust_code from marts.fct_exam where exam_key = 'RW6|A|{exam}'",
    )
    assert row == {"party_code": "RW6", "trust_code": trust}


def test_an_exam_ends_when_last_asserted_and_its_addendum_moves_nothing(tiny):
    """Failure: corrected times are ignored, or an amended report looks late."""
    row = one(
        tiny,
        "select completed_at_local, first_verified_at_local, turnaround_minutes, addendum_count "
        "from marts.fct_exam where exam_key = 'RMC|A|one'",
    )
    assert str(row["completed_at_local"]) == "2026-01-07 08:25:00"
    assert str(row["first_verified_at_local"]) == "2026-01-17 08:25:00"
    assert row["turnaround_minutes"] == 10 * 24 * 60
    assert row["addendum_count"] == 1


def test_an_exam_is_of_the_patient_who_stands_after_every_merge(tiny):
    """Failure: one patient counts as several, or events were rewritten to make them one."""
    exam = one(tiny, "select patient_key from marts.fct_exam where exam_key = 'RMC|A|one'")
    assert exam == {"patient_key": "patient-now"}
    merged = tiny.rows("select loser_key, standing_key from intermediate.int_patient_merges")
    assert sorted(tuple(row.values()) for row in merged) == [
        ("patient-between", "patient-now"),
        ("patient-one", "patient-now"),
    ]
    told = "select distinct patient_key from intermediate.int_exam_events "
    told += "where exam_key = 'RMC|A|one'"
    assert one(tiny, told) == {"patient_key": "patient-one"}


def test_a_request_whose_number_changed_is_one_request_since_it_was_made(tiny):
    """Failure: a renumbered request waits twice, anew, or counts as cancelled."""
    row = one(
        tiny,
        "select requested_at_local, is_open_request from marts.fct_exam "
        "where exam_key in ('RMC|A|last', 'RMC|A|before last')",
    )
    assert (str(row["requested_at_local"]), row["is_open_request"]) == ("2026-03-31 20:00:00", True)


def test_each_version_of_a_report_is_told_apart(tiny):
    """Failure: an addendum is lost, or passes for a first report."""
    rows = tiny.rows(
        "select version_no, version_kind, reporting_org_code from marts.fct_report_version "
        "where exam_key = 'RMC|A|one' order by version_no"
    )
    assert [tuple(row.values()) for row in rows] == [
        (1, "first_final", "RBV"),
        (2, "addendum", "RMC"),
    ]
    assert network_metric(tiny, "R10", "2026-01-01") == (1.0, 2.0, 0.5)


def test_a_missed_appointment_told_by_filler_number_resets_the_clock_of_its_exam(tiny):
    """Failure: appointment messages do not find their exam, or resets are lost."""
    row = one(
        tiny,
        "select clock_start_on, dm01_clock_start_on, dna_count, is_open_request "
        "from marts.fct_exam where exam_key = 'RMC|A|missed one'",
    )
    assert str(row["clock_start_on"]) == "2025-11-01"
    assert str(row["dm01_clock_start_on"]) == "2026-01-10"
    assert (row["dna_count"], row["is_open_request"]) == (1, True)


def test_an_appointment_without_a_request_is_no_exam(tiny):
    """Failure: orphan appointment messages swell the waiting list."""
    assert tiny.rows("select exam_key from marts.fct_exam where exam_key like '%|F|%'") == []


def test_the_waiting_list_of_january_holds_three_with_one_over_six_weeks(tiny):
    """Failure: the headline of the waiting times page is wrong."""
    row = one(
        tiny,
        "select * from marts.rpt_waiting_times_monthly where org_level = 'network' "
        "and dm01_test = 'All' and census_on = '2026-01-31'",
    )
    filled = {name: n for name, n in row.items() if name.startswith("band_") and n}
    assert filled == {"band_03": 1, "band_05": 1, "band_06": 1}
    assert (row["waiting_list_count"], row["waiting_6_plus_count"]) == (3, 1)
    assert row["waiting_13_plus_count"] == 0
    assert row["waiting_6_plus_rate"] == pytest.approx(1 / 3)
    assert (row["activity_waiting_list_count"], row["activity_unscheduled_count"]) == (2, 1)
    assert row["activity_planned_count"] == 0


def test_the_list_of_january_is_the_one_before_with_its_moves(tiny):
    """Failure: net demand is not the change of the waiting list."""
    row = one(
        tiny,
        "select * from marts.rpt_waiting_list_moves_monthly where org_level = 'network' "
        "and modality_group = 'All' and census_on = '2026-01-31'",
    )
    assert (row["opening_count"], row["closing_count"]) == (4, 3)
    assert (row["request_count"], row["removal_count"], row["test_count"]) == (2, 1, 2)
    assert network_metric(tiny, "W08", "2026-01-01") == (-1, None, -1)


def test_a_reset_is_told_with_its_event_its_cause_and_its_days(tiny):
    """Failure: nobody can see who restarted which clock, and why."""
    row = one(tiny, "select * from marts.fct_clock_reset")
    assert (row["exam_key"], row["event_type"], row["cause"]) == (
        "RMC|A|missed one",
        "patient_dna",
        "patient",
    )
    assert (row["rule"], row["feed_id"], row["resets_clock"]) == (
        "did_not_attend",
        "hl7_RMC",
        True,
    )
    assert (str(row["clock_before_on"]), str(row["slot_on"])) == ("2025-11-01", "2026-01-10")
    assert row["reset_days"] == 70


def test_the_census_goes_up_to_the_last_complete_month(tiny):
    """Failure: an unfinished month is shown as if it were whole, or the last one is missing."""
    row = one(tiny, "select max(census_on) as census_on from marts.rpt_waiting_times_monthly")
    assert str(row["census_on"]) == "2026-03-31"


def test_the_unreported_exam_stays_in_the_share_reported_within_28_days(tiny):
    """Failure: open reports fall out, so performance looks better than it is."""
    row = one(
        tiny,
        "select * from marts.rpt_report_turnaround_monthly where org_level = 'network' "
        "and modality_group = 'All' and priority_group = 'All' "
        "and acquired_month_on = '2026-01-01'",
    )
    assert (row["acquired_count"], row["reported_count"], row["open_count"]) == (2, 1, 1)
    assert (row["is_mature"], row["within_28_days_rate"]) == (True, 0.5)
    assert row["quarantined_count"] == 1


def test_the_backlog_counts_old_unreported_exams_at_every_month_end(tiny):
    """Failure: an exam unreported for years disappears from the backlog."""
    assert network_metric(tiny, "R04", "2026-01-01") == (2, None, 2)
    assert network_metric(tiny, "R05", "2026-01-01") == (1, 2, 0.5)
    assert network_metric(tiny, "R05", "2026-02-01") == (2, 2, 1.0)


def test_a_month_is_immature_until_28_days_after_its_end(tiny):
    """Failure: a share is published before the youngest exams had their time."""
    months = tiny.rows(
        "select acquired_month_on, is_mature from marts.rpt_report_turnaround_monthly "
        "where org_level = 'network' and modality_group = 'All' and priority_group = 'All' "
        "and acquired_month_on >= '2026-02-01' order by acquired_month_on"
    )
    assert [row["is_mature"] for row in months] == [True, False]


def test_a_report_before_the_exam_end_is_counted_as_an_error_not_as_fast(tiny):
    """Failure: impossible dates improve the turnaround figures."""
    row = one(
        tiny,
        "select failing_count, checked_count from marts.rpt_data_quality_monthly "
        "where org_level = 'network' and rule = 'report_before_exam_end' "
        "and period_start_on = '2026-01-01'",
    )
    assert row == {"failing_count": 1, "checked_count": 2}


def test_cross_site_counts_other_parties_and_leaves_out_the_supplier(tiny):
    """Failure: outsourced reports pass for sharing, or sharing is not seen."""
    april = network_metric(tiny, "R08", "2021-04-01")
    assert april == (1, 1, 1.0)
    assert network_metric(tiny, "R06", "2021-04-01") == (1, 2, 0.5)
    assert network_metric(tiny, "R08", "2026-01-01") == (1, 2, 0.5)


def test_the_worked_morning_is_26_47_and_600_minutes(tiny):
    """Failure: scanner time is not what the published definition says."""
    row = one(
        tiny,
        "select * from marts.rpt_scanner_utilisation_weekly where org_level = 'network' "
        "and station_name = 'RMC01CT1' and week_start_on = '2026-01-05'",
    )
    assert (row["acquisition_minutes"], row["occupied_in_staffed_minutes"]) == (26, 47)
    assert row["staffed_minutes"] == 600
    assert row["utilisation_rate"] == pytest.approx(0.0783, abs=0.0001)
    assert row["acquisition_efficiency_rate"] == pytest.approx(26 / 47)
    assert (row["exam_count"], row["series_count"], row["coverage_rate"]) == (3, 4, 1.0)
    assert row["opening_minutes"] == 720


def test_every_scanned_exam_of_the_day_finds_its_images(tiny):
    """Failure: exams and images are not linked, and the match figure is meaningless."""
    assert network_metric(tiny, "Q05", "2026-01-01") == (3, 3, 1.0)


def test_an_event_that_two_dose_reports_tell_is_counted_once(tiny):
    """Failure: the dose of an exam is summed over reports, which is too high."""
    row = one(tiny, "select * from marts.fct_exam_dose")
    assert row["exam_key"] == "RMC|A|one"
    assert (row["report_count"], row["event_count"], row["total_dlp_mgy_cm"]) == (2, 2, 30)
    assert (row["max_ctdi_vol_mgy"], row["end_method"]) == (4, "rdsr")
    assert str(row["beam_on_started_at_local"]) == "2026-01-07 08:10:00"
    assert str(row["beam_on_ended_at_local"]) == "2026-01-07 08:25:00"


def test_every_ct_exam_with_images_is_asked_for_its_dose_report(tiny):
    """Failure: nobody sees that a scanner sends no doses."""
    assert network_metric(tiny, "Q10", "2026-01-01") == (1, 3, pytest.approx(1 / 3))


def test_a_dose_report_that_lost_a_row_or_was_never_looked_into_fails_the_build(
    project: Project, tiny_landing: Path, tmp_path: Path
):
    """Failure: a dose is too low and the build is still green."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    file = landing / "dose_events" / "dicom_RMC.parquet"
    rows = pl.read_parquet(file)
    of_second = pl.col("sop_instance_uid") == "report-2"
    test = "assert_dose_reports_are_whole"
    for kept in (rows.filter(~of_second), rows.filter(~of_second | (pl.col("event_no") == 1))):
        kept.write_parquet(file)
        built = project.run(
            landing,
            tmp_path / "warehouse.duckdb",
            "build",
            "--select",
            "stg_dicom__dose_events",
            test,
        )
        assert {r.node.name: r for r in built.result.results}[test].failures == 1


def test_a_dose_report_sent_again_replaces_all_its_rows_and_no_clock_is_ahead_of_arrival(
    project: Project, tiny_landing: Path, tmp_path: Path
):
    """Failure: an event that was taken back counts, or a wrong clock gives a beam-on time."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    again = next(row for row in doses() if row["sop_instance_uid"] == "report-2") | {
        "source_sha": "again",
        "received_at": datetime(2026, 1, 9, 6, tzinfo=UTC),
        "event_start_utc": datetime(2026, 1, 10, 6, 0, 1, tzinfo=UTC),
        "event_start_flag": "ambiguous",
    }
    write_landing_file(landing, "dose_events", "again", [again])
    wanted = ["--select", "stg_dicom__dose_events", "--indirect-selection", "cautious"]
    view = build(project, landing, tmp_path / "warehouse.duckdb", *wanted)
    rows = view.rows("select * from staging.stg_dicom__dose_events order by report_uid")
    assert [(row["report_uid"], row["event_no"]) for row in rows] == [
        ("report-1", 1),
        ("report-2", 1),
    ]
    assert rows[1]["event_start_flag"] == "implausible"
    assert str(rows[1]["arrived_at"])[:10] == "2026-01-07"


def test_a_damaged_copy_that_arrives_later_does_not_hide_the_dose_report_that_was_read(
    project: Project, tiny_landing: Path, tmp_path: Path
):
    """Failure: a dose is lost when an archive sends a cut file after the whole one."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    told = ("dlp_mgy_cm", "ctdi_vol_mgy", "event_kind", "irradiation_event_uid")
    cut = next(row for row in doses() if row["sop_instance_uid"] == "report-2") | {
        "source_sha": "cut",
        "received_at": datetime(2026, 1, 9, 6, tzinfo=UTC),
        "event_no": 0,
        "report_row_count": 1,
        "unread_reason": "file is not whole",
        **dict.fromkeys(told),
    }
    other = cut | {"sop_instance_uid": "report-3"}
    write_landing_file(landing, "dose_events", "cut", [cut, other])
    wanted = ["--select", "stg_dicom__dose_events", "--indirect-selection", "cautious"]
    view = build(project, landing, tmp_path / "warehouse.duckdb", *wanted)
    rows = view.rows("select * from staging.stg_dicom__dose_events order by report_uid, event_no")
    columns = ("report_uid", "event_no", "dlp_mgy_cm", "unread_reason")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("report-1", 1, 10.0, None),
        ("report-2", 1, 10.0, None),
        ("report-2", 2, 20.0, None),
        ("report-3", 0, None, "file is not whole"),
    ]


def test_a_register_line_stands_beside_its_metric(tiny):
    """Failure: a line of the register is read at another organisation, or over other months."""
    summary = one(tiny, "select * from marts.rpt_benefits_summary where benefit_id = 'B01'")
    assert (summary["metric_baseline_value"], summary["metric_latest_value"]) == (1.0, 0.5)
    assert str(summary["metric_latest_on"]) == "2026-01-01"
    assert summary["is_measured"]


def test_data_reach_as_far_as_their_last_event(tiny):
    """Failure: the reader is told that the data are newer, or older, than they are."""
    row = one(tiny, "select as_at_local from marts.rpt_feed_freshness where feed_id = 'hl7_RMC'")
    assert str(row["as_at_local"]) == "2026-03-31 22:00:00"
    silent = one(
        tiny, "select as_at, file_count from marts.rpt_feed_freshness where feed_id = 'hl7_RBV'"
    )
    assert silent == {"as_at": None, "file_count": 0}


def test_a_file_landed_twice_under_another_name_changes_no_exam(
    project: Project, tiny: Warehouse, tiny_landing: Path, tmp_path: Path
):
    """Failure: a resend after a broken line counts exams twice."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    events = landing / "imaging_events"
    shutil.copy(events / "hl7_RMC.parquet", events / "a_resend.parquet")
    again = build(
        project, landing, tmp_path / "warehouse.duckdb", "--select", "+fct_exam", *NO_TESTS
    )
    query = "select * from marts.fct_exam order by exam_key"
    assert again.frame(query).equals(tiny.frame(query))


def test_a_lost_record_fails_the_build(project: Project, tiny_landing: Path, tmp_path: Path):
    """Failure: records vanish between inbox and landing and the build is still green."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    lost = receipt("imaging_events", "lossy", "hl7_RMC", 0) | {"rows_received": 1}
    write_landing_file(landing, "receipts", "lossy", [lost])
    wanted = ["stg_landing__receipts", "assert_received_is_landed_plus_rejected"]
    built = build(project, landing, tmp_path / "warehouse.duckdb", "--select", *wanted)
    assert built.results["assert_received_is_landed_plus_rejected"] == "fail"


def test_a_row_more_or_less_than_its_receipt_says_fails_the_build(
    project: Project, tiny_landing: Path, tmp_path: Path
):
    """Failure: a list lands twice, or a landing file is lost, and the build is still green."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    shutil.copy(landing / "rota_sessions/rota_first.parquet", landing / "rota_sessions/b.parquet")
    (landing / "unit_costs/unit_costs.parquet").unlink()
    test = "assert_landing_holds_what_the_receipts_say"
    built = project.run(
        landing, tmp_path / "warehouse.duckdb", "build", "--select", "stg_landing__receipts", test
    )
    results = {r.node.name: r for r in built.result.results}
    assert results[test].failures == 2


def test_a_refused_file_and_a_reject_that_landed_later_are_counted_once(
    project: Project, tiny_landing: Path, tmp_path: Path
):
    """Failure: after a replay the data quality page counts a file, or its rejects, twice."""
    landing = tmp_path / "landing"
    shutil.copytree(tiny_landing, landing)
    first, later, last = (datetime(2026, 4, day, 6, tzinfo=UTC) for day in (1, 2, 3))
    file = receipt("imaging_events", "file", "hl7_RBV", 0) | {"rows_received": 10}
    replay = file | {"landed_at": later, "replay_of": "file"}
    receipts = [
        file | {"landed_at": first, "rows_rejected": 10, "status": "quarantined"},
        replay | {"rows_landed": 8, "rows_rejected": 2},
        replay | {"source_sha": "two", "rows_received": 2, "rows_landed": 1, "rows_rejected": 1},
        # replayed again in vain: the same bytes, now of themselves
        *[
            replay
            | {"source_sha": "three", "replay_of": of, "landed_at": at}
            | {"rows_received": 1, "rows_landed": 0, "rows_rejected": 1}
            for of, at in (("two", later), ("three", last))
        ],
    ]
    reject = {"feed_id": "hl7_RBV", "feed_kind": "hl7", "file_name": "file", "rule": "dated"}
    whole = [{"source_sha": "file", "row_no": n, "landed_at": first} for n in range(1, 11)]
    some = [{"source_sha": "file", "row_no": n, "landed_at": later} for n in (3, 4)]
    again = [{"source_sha": "two", "row_no": 2, "landed_at": later}]
    again += [{"source_sha": "three", "row_no": 1, "landed_at": at} for at in (later, last)]
    write_landing_file(landing, "receipts", "replays", receipts)
    write_landing_file(
        landing,
        "rejects",
        "replays",
        [reject | {"scope": "file"} | row for row in whole]
        + [reject | {"scope": "row"} | row for row in some + again],
    )
    wanted = ["+rpt_reconciliation", "+rpt_rejects", "+rpt_feed_freshness"]
    cautious = ["--indirect-selection", "cautious"]
    built = build(project, landing, tmp_path / "warehouse.duckdb", "--select", *wanted, *cautious)
    assert built.results["assert_listed_rejects_are_those_counted"] == "pass"
    assert {name for name, status in built.results.items() if status not in PASSED} == set()
    where = "where feed_id = 'hl7_RBV'"
    counts = one(built, f"select * from marts.rpt_reconciliation {where}")
    assert (counts["rows_received"], counts["rows_landed"], counts["rows_rejected"]) == (10, 9, 1)
    assert (counts["file_count"], counts["quarantined_file_count"]) == (1, 0)
    listed = one(built, f"select scope, reject_count from marts.rpt_rejects {where}")
    assert listed == {"scope": "row", "reject_count": 1}
    fresh = one(built, f"select file_count from marts.rpt_feed_freshness {where}")
    assert fresh == {"file_count": 1}


def test_an_empty_landing_builds(project: Project, tmp_path: Path):
    """Failure: the first run of a new network stops before any file has come."""
    landing = tmp_path / "landing"
    write_landing(landing, {})
    built = build(
        project, landing, tmp_path / "warehouse.duckdb", "--exclude-resource-type", "unit_test"
    )
    assert {name for name, status in built.results.items() if status not in PASSED} == set()


def test_published_types_are_those_of_the_contract(tiny, models):
    """Failure: a column has another type than its description promises."""
    for model in (m for m in models if m["schema"] == "marts"):
        described = {c["name"]: c["data_type"] for c in model["columns"].values()}
        table = tiny.frame(f"describe marts.{model['name']}")
        types = table["column_type"].str.to_lowercase()
        found = dict(zip(table["column_name"], types, strict=True))
        assert found == described, model["name"]


def test_no_share_leaves_its_bounds(tiny, manifest):
    """Failure: a rate below 0 or above 1 reaches a reader."""
    model = manifest["nodes"]["model.imaging.rpt_metrics_monthly"]
    rates = [m["metric_id"] for m in model["config"]["meta"]["metrics"] if m["unit"] == "rate"]
    values = tiny.frame("select metric_id, value from marts.rpt_metrics_monthly")
    shares = values.filter(pl.col("metric_id").is_in(rates))
    assert shares["value"].is_between(0, 1).all()
