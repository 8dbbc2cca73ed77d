"""What the files of the demo tell of staff, for every audience: nothing of a person or a few."""

from pathlib import Path

import duckdb
import pytest

from pipelines.publishing.editions import STAFF

ROTA = ("R07", "R09", "R12", "R13")
KEYS = {"actor_id", "requester_id", "reporter_id", "radiographer_id", "reporter_key"}


@pytest.fixture(scope="module")
def files(demo) -> dict[str, Path]:
    return {
        name: demo.published / told["file"] for name, told in demo.manifest()["audiences"].items()
    }


def test_no_file_of_any_audience_holds_a_key_of_a_member_of_staff(files):
    """Failing means that somebody's work can be put together again."""
    assert {"network", "analyst"} <= set(files) and len(files) > 3
    for name, path in files.items():
        with duckdb.connect(str(path), read_only=True) as connection:
            columns = connection.execute(
                "select column_name from duckdb_columns() where database_name = current_database()"
            ).fetchall()
        told = {column for (column,) in columns}
        assert not told & KEYS, name
        staff = {c for c in told if c.startswith(STAFF) and c.endswith(("_key", "_id"))}
        assert not staff, name


def test_a_group_below_the_minimum_is_absent_for_every_audience(demo, files):
    """Failing means that some reader, of whatever role, sees what a few people did."""
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        weeks = connection.sql(
            "select org_level, org_code, team, week_start_on from "
            "intermediate.int_reporting_readers_weekly where not is_shown"
        ).pl()
        months = connection.sql(
            "select org_code, month_on from intermediate.int_reporting_months_shown "
            "where org_level = 'party' and not is_output_shown"
        ).pl()
    assert weeks.height and months.height
    for name, path in files.items():
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.register("small_weeks", weeks)
            connection.register("small_months", months)
            shown = connection.execute(
                "select count(*) from marts.rpt_reporting_output_weekly semi join small_weeks "
                "using (org_level, org_code, team, week_start_on) where "
                "coalesce(session_count, rostered_hours, report_count, weighted_minutes, "
                "minutes_per_rostered_hour) is not null"
            ).fetchall()
            assert shown == [(0,)], name
            told = connection.execute(
                "select count(*) from marts.rpt_metrics_monthly as told inner join small_months "
                "on told.org_code = small_months.org_code "
                "and told.period_start_on = small_months.month_on "
                f"where metric_id in {ROTA} and org_level = 'party' and value is not null"
            ).fetchall()
            assert told == [(0,)], name
            (least,) = connection.execute(
                "select least_people_count from marts.dim_staff_protection "
                "where protection = 'survey_answers'"
            ).fetchall()[0]
            answers = connection.execute(
                "select count(*) from marts.rpt_metrics_monthly "
                "where metric_id = 'P02' and denominator < ?",
                [least],
            ).fetchall()
            assert answers == [(0,)], name
