"""Late changes to published months: a month that readers have seen must not change unseen."""

from datetime import UTC, date, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.publishing.history import (
    FIGURES,
    KEYS,
    SCHEMA,
    as_published,
    changes_of,
    differing,
)
from pipelines.statistics.revisions import COLUMNS, revisions
from pipelines.statistics.tables import METRIC_REVISIONS

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
ROW = st.tuples(
    st.sampled_from(["T01", "R02"]),
    st.sampled_from(["RMC", "RBV"]),
    st.sampled_from([JANUARY, FEBRUARY]),
)
BUILD = st.dictionaries(ROW, st.integers(0, 3), max_size=8)


def metrics(figures: dict[tuple[str, str, date], float]) -> pl.DataFrame:
    """Counts by metric, party and month, as rpt_metrics_monthly has them."""
    rows = [
        (metric, "party", party, "All", month, float(value), None, float(value))
        for (metric, party, month), value in figures.items()
    ]
    schema = {name: SCHEMA[name] for name in (*KEYS, *FIGURES)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def published(*builds: dict[tuple[str, str, date], float]) -> pl.DataFrame:
    """The history of some builds, published on the first days of May."""
    history = pl.DataFrame(schema=SCHEMA)
    for number, figures in enumerate(builds, start=1):
        changed = changes_of(
            metrics(figures),
            as_published(history),
            build_id=f"b{number}",
            published_at=datetime(2026, 5, number, tzinfo=UTC),
        )
        history = pl.concat([history, changed])
    return history


def test_a_month_that_changed_is_listed_with_what_was_published_first_before_and_now():
    """Failing means that a reader cannot tell why a figure is not the one of the board pack."""
    key = ("T01", "RMC", JANUARY)
    (row,) = revisions(published({key: 10}, {key: 10}, {key: 12}, {key: 11})).to_dicts()
    assert (row["first_value"], row["previous_value"], row["value"]) == (10, 12, 11)
    assert (row["change_since_first"], row["change_since_previous"]) == (1, -1)
    assert (row["first_build_id"], row["changed_in_build_id"]) == ("b1", "b4")
    assert row["first_published_at"] == datetime(2026, 5, 1, tzinfo=UTC)
    assert row["changed_at"] == datetime(2026, 5, 4, tzinfo=UTC)
    assert (row["revision_count"], row["is_published"]) == (2, True)


def test_a_month_published_for_the_first_time_is_no_change():
    """Failing means that every new month hides the late changes in a long list."""
    first = {("T01", "RMC", JANUARY): 10}
    later = first | {("T01", "RMC", FEBRUARY): 9, ("R02", "RMC", JANUARY): 8}
    assert revisions(published(first, later)).is_empty()
    assert revisions(published()).is_empty()


def test_a_row_that_appears_in_a_published_month_was_published_as_nothing():
    """Failing means that the exams of a silent party come into a published month unseen."""
    mine, theirs = ("T01", "RMC", JANUARY), ("T01", "RBV", JANUARY)
    (row,) = revisions(published({mine: 10}, {mine: 10, theirs: 3})).to_dicts()
    assert (row["org_code"], row["first_value"], row["value"]) == ("RBV", None, 3)
    assert (row["previous_value"], row["change_since_first"]) == (None, None)
    assert (row["first_build_id"], row["changed_in_build_id"]) == ("b1", "b2")


def test_a_row_that_is_gone_is_listed_as_no_longer_published():
    """Failing means that a published figure can vanish without a word."""
    mine, theirs = ("T01", "RMC", JANUARY), ("T01", "RBV", JANUARY)
    (row,) = revisions(published({mine: 10, theirs: 3}, {mine: 10})).to_dicts()
    assert (row["first_value"], row["previous_value"], row["value"]) == (3, 3, None)
    assert row["is_published"] is False


def test_a_sum_in_another_order_is_no_change():
    """Failing means that rounding fills the list of late changes."""
    key = ("T01", "RMC", JANUARY)
    assert published({key: 0.1 + 0.2}, {key: 0.3}).height == 1
    assert differing(metrics({key: 0}), metrics({key: 0})).is_empty()


def test_the_list_has_the_columns_that_are_described():
    """Failing means that the published table has a column without a meaning, or another type."""
    kinds = {
        pl.String(): "VARCHAR",
        pl.Date(): "DATE",
        pl.Float64(): "DOUBLE",
        pl.Int64(): "BIGINT",
        pl.Boolean(): "BOOLEAN",
        pl.Datetime("us", "UTC"): "TIMESTAMPTZ",
    }
    found = revisions(published()).schema
    described = [(name, kind) for name, kind, _ in METRIC_REVISIONS["columns"]]
    assert [(name, kinds[kind]) for name, kind in found.items()] == described
    assert tuple(found) == COLUMNS


@given(st.lists(BUILD, max_size=6))
def test_any_publication_can_be_put_together_again(builds: list[dict]):
    """Failing means that an old publication cannot be compared once its file is gone."""
    history = published(*builds)
    for number, figures in enumerate(builds, start=1):
        until = history.filter(pl.col("build_id") <= f"b{number}")
        assert as_published(until).equals(metrics(figures).sort(KEYS))
    last = {key: value for key, value in (builds or [{}])[-1].items()}
    for row in revisions(history).to_dicts():
        key = (row["metric_id"], row["org_code"], row["period_start_on"])
        assert row["value"] == last.get(key)
