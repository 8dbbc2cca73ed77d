"""`imaging bench warehouse` reads what a run has left behind."""

from benchmarks.bench_warehouse import Place, counts_of, sizes_of, steps_of
from benchmarks.dashboard_queries import time_queries


def test_every_stage_of_a_run_is_timed(demo):
    """Failing means that a stage which grew slow is in no figure, or stands under another name."""
    steps = steps_of(demo.path, since=0)
    assert set(steps) == {"harvest", "dbt", "statistics", "gate", "publish"}
    for stage, spans in steps.items():
        assert spans and all(began <= ended for began, ended in spans), stage
    assert min(began for began, _ in steps["dbt"]) > min(began for began, _ in steps["harvest"])


def test_rows_and_files_of_the_warehouse_are_counted(demo):
    """Failing means that rows a second are those of another table."""
    place = Place(demo.path.parent)
    assert place.home == demo.path
    counts = counts_of(place)
    assert counts["events"] > counts["exams"] > 1000
    assert all(size > 0 for size in sizes_of(place).values())


def test_every_question_of_the_dashboards_can_be_asked_of_a_published_file(demo):
    """Failing means that a query which real marts answer differently is not measured."""
    assert all(row["median_milliseconds"] > 0 for row in time_queries(demo.published, "demo", 1))
