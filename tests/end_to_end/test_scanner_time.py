"""Scanner time of the demo against the truth of its network: use, gaps, downtimes, joint scans."""

import duckdb
import polars as pl
import pytest

from tests import truth

# The room is taken 2 minutes before the first image and 3 after the last, by definition.
LEAD_AND_TAIL = 5.0
# Their series say when the last acquisition ended. Single images (projection X-ray, some
# ultrasound) and frames whose duration no reader asks for leave the end open: a lower bound.
WITH_ENDS = ("CT", "MRI", "PET")


@pytest.fixture(scope="module")
def warehouse(demo):
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@pytest.fixture(scope="module")
def device_days(demo, warehouse) -> pl.DataFrame:
    """One row per station and day in use: minutes found, minutes in the room, their difference."""
    found = warehouse.sql(
        "select station_name, modality_group, day_on, visit_count, "
        "cast(occupied_seconds as double) / 60 as occupied_minutes "
        "from intermediate.int_station_days"
    ).pl()
    both = found.join(truth.room_minutes(demo.path / "truth"), on=["station_name", "day_on"])
    return both.with_columns(difference=pl.col("occupied_minutes") - pl.col("room_minutes"))


def test_use_of_scanners_with_known_ends_is_that_of_the_room_within_lead_and_tail(device_days):
    """Utilisation that strays from the room by more than its own definition says means nothing.

    Images lie inside the stay in the room, so a visit is too long by the lead and tail at most;
    it is too short by what passes in the room before and after them.
    """
    known = device_days.filter(pl.col("modality_group").is_in(WITH_ENDS))["difference"]
    assert len(known) > 15
    assert 0 <= known.median() <= LEAD_AND_TAIL
    assert known.quantile(0.05) >= -LEAD_AND_TAIL
    assert known.quantile(0.95) <= LEAD_AND_TAIL


def test_no_scanner_is_in_use_longer_than_the_room_plus_lead_and_tail_of_its_visits(device_days):
    """More use than there was in the room is invented: minutes count twice."""
    # over all days: a clock that is wrong by an hour may move a visit over midnight
    by_station = device_days.group_by("station_name").agg(
        pl.col("difference").sum(), pl.col("visit_count").sum()
    )
    over = pl.col("difference") > LEAD_AND_TAIL * pl.col("visit_count") + 0.1
    assert by_station.filter(over).is_empty()


def test_no_device_day_is_used_for_longer_than_it_was_staffed_or_open(warehouse):
    """A scanner that is busy more than all of the time shows that minutes count twice."""
    wrong = warehouse.sql(
        "select station_name, day_on from intermediate.int_station_days "
        "where occupied_in_staffed_seconds > available_seconds "
        "or occupied_in_opening_seconds > opening_seconds or acquisition_seconds > occupied_seconds"
    )
    assert wrong.fetchall() == []


def test_gaps_and_use_of_every_device_day_are_its_staffed_and_its_opening_time(warehouse):
    """A minute in no class, or in two, makes every share of the page wrong."""
    wrong = warehouse.sql(
        """
        select days.station_name, days.day_on
        from intermediate.int_station_days as days
        left join (
            select
                station_name,
                day_on,
                sum(gap_seconds) filter (where is_staffed) as staffed,
                sum(gap_seconds) filter (where is_opening) as opening
            from intermediate.int_station_gaps
            group by all
        ) as gaps using (station_name, day_on)
        where
            days.staffed_seconds <> days.occupied_in_staffed_seconds + coalesce(gaps.staffed, 0)
            or days.opening_seconds <> days.occupied_in_opening_seconds + coalesce(gaps.opening, 0)
        """
    )
    assert wrong.fetchall() == []


def test_planted_downtimes_are_found_in_their_class(demo, warehouse):
    """A downtime that is called idle blames the staff; one of another kind blames the maker."""
    planted = truth.scanner_downtimes(demo.path / "truth").select(
        station_name="asset",
        is_planned="is_planned",
        down_from="down_from_at",
        down_to="down_to_at",
    )
    gaps = warehouse.sql(
        "select station_name, gap_class, started_at, ended_at from intermediate.int_station_gaps"
    ).pl()
    inside = planted.join(gaps, on="station_name").filter(
        (pl.col("started_at") < pl.col("down_to")) & (pl.col("ended_at") > pl.col("down_from"))
    )
    expected = pl.when("is_planned").then(pl.lit("planned_downtime"))
    expected = expected.otherwise(pl.lit("unplanned_downtime"))
    # a phantom may be scanned while a scanner is down for quality assurance
    right = (pl.col("gap_class") == expected) | (pl.col("gap_class") == "quality_assurance")
    assert inside.filter(~right).is_empty()
    assert set(inside["is_planned"]) == {True, False}
    classed = gaps.filter(pl.col("gap_class").str.ends_with("_downtime"))
    assert len(classed) == inside.filter(pl.col("gap_class").str.ends_with("_downtime")).height


def test_downtimes_of_parties_that_send_workbooks_are_known_too(warehouse):
    """Without them, a scanner of such a party looks as if it never failed."""
    known = warehouse.sql(
        "select party_code, bool_or(is_downtime_known) from intermediate.int_party_days_covered "
        "group by all"
    ).fetchall()
    assert len(known) == 8
    assert all(is_known for _, is_known in known)


def test_every_convention_is_bridged_on_the_demo(warehouse):
    """A bridge with a rest is a difference between two figures that nobody can explain."""
    rest = warehouse.sql(
        "select max(abs(rest)) from (select sum(case when step_kind = 'to' then -step_minutes "
        "else step_minutes end) as rest from marts.rpt_utilisation_bridges_monthly "
        "group by org_level, org_code, modality_group, station_name, month_on, bridge_no)"
    ).fetchall()[0][0]
    assert rest < 1e-6


def test_joint_exams_are_found_as_one_scan_and_others_are_not(demo, warehouse):
    """Accessions beyond the first of a scan are why counts of RIS and images differ."""
    joint = truth.imaged_exams(demo.path / "truth")["exam_no"].to_list()
    second = truth.exams(demo.path / "truth").filter(
        pl.col("performed_with").is_in(joint) & pl.col("completed_at").is_not_null()
    )
    found = warehouse.sql(
        "select sum(finding_count) from marts.rpt_ris_dicom_reconciliation_monthly "
        "where finding = 'several_exams_in_one_scan' and org_level = 'network' "
        "and modality_group = 'All'"
    ).fetchall()[0][0]
    assert found == second.height


def test_exams_without_images_are_those_of_the_truth_and_unknown_images_are_never_zero(
    demo, warehouse
):
    """An exam without images is scanner time that nobody can see; no feed is no finding."""
    rows = warehouse.sql(
        "select modality_group, finding_count, judged_count, image_coverage "
        "from marts.rpt_ris_dicom_reconciliation_monthly where finding = 'exam_without_images' "
        "and org_level = 'network' and modality_group <> 'All'"
    ).pl()
    unknown = rows.filter(pl.col("image_coverage") == "no images known")
    assert unknown["finding_count"].null_count() == unknown.height
    judged = rows.filter(pl.col("image_coverage") != "no images known")
    imaged = truth.imaged_exams(demo.path / "truth")
    joint = truth.exams(demo.path / "truth").filter(
        pl.col("performed_with").is_in(imaged["exam_no"].to_list())
        & pl.col("completed_at").is_not_null()
    )
    with_images = judged["judged_count"].sum() - judged["finding_count"].sum()
    assert with_images == len(set(imaged["exam_no"]) | set(joint["exam_no"]))
