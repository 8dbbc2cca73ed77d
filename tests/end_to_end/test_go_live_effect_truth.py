"""The panels of the effect of go-lives, and the effect itself, against the truth of the exams."""

import duckdb
import numpy as np
import polars as pl
import pytest

from pipelines.statistics.effect_panel import Measure, panel_of, shock_months
from pipelines.statistics.effect_tables import GO_LIVE_EFFECT_TABLES
from pipelines.statistics.go_live_effect import estimate
from tests.truth_effect import shares

KEYS = ["party_code", "month_on"]


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


def measured(connection: duckdb.DuckDBPyConnection, metric_id: str) -> pl.DataFrame:
    return connection.sql(
        "select org_code as party_code, period_start_on as month_on, value "
        "from marts.rpt_metrics_monthly "
        "where metric_id = ? and org_level = 'party' and modality_group = 'All'",
        params=[metric_id],
    ).pl()


@pytest.mark.parametrize("metric_id", ["R06", "R08"])
def test_the_panel_of_the_marts_is_that_of_the_truth(demo, published, metric_id):
    """Failing means that an effect is estimated from months, or values, that never were."""
    true, found = shares(demo.path / "truth", metric_id), measured(published, metric_id)
    both = true.join(found, on=KEYS, how="full", coalesce=True, suffix="_found")
    assert len(both) == len(true) == len(found) > 600
    assert (both["value"] - both["value_found"]).abs().max() < 1e-12


@pytest.mark.parametrize(("metric_id", "improvement"), [("R06", "decrease"), ("R08", "increase")])
def test_the_stored_effect_is_that_of_the_truth(demo, published, metric_id, improvement):
    """Failing means that a board reads another effect than the exams of its network had."""
    go_live_on = dict(
        published.execute(
            "select scope_code, event_on from marts.dim_event "
            "where event_type = 'go_live_network_reporting'"
        ).fetchall()
    )
    shocks = published.sql(
        "select event_on as from_on, ends_on as to_on from marts.dim_event "
        "where event_type = 'external' and scope_code = 'NETWORK'"
    ).pl()
    true = shares(demo.path / "truth", metric_id).with_columns(is_outside=pl.lit(False))
    measure = Measure(metric_id, "network_reporting", improvement, "rate")
    panel = panel_of(measure, true, go_live_on, shock_months(shocks))
    expected = estimate(
        panel.rows,
        panel.go_live,
        improvement=improvement,
        months_left_out=panel.months_left_out,
        generator=np.random.default_rng(0),
    )
    names = ("att", "ci_low", "ci_high", "p_randomisation", "n_effect_cells", "n_untreated_cells")
    found = published.sql(
        f"select {', '.join(names)} from statistics.go_live_effects where metric_id = ?",
        params=[metric_id],
    ).fetchall()
    assert found == [pytest.approx([getattr(expected, name) for name in names])]


def test_every_measure_of_the_register_is_told_or_says_why_not(published):
    """Failing means that a promise is neither measured nor said to be beyond measure."""
    rows = published.sql("from statistics.go_live_effects").pl()
    register = published.sql("select distinct measure_metric_id from marts.rpt_benefits_summary")
    assert set(rows["metric_id"]) == {metric for (metric,) in register.fetchall()}
    told = pl.col("att").is_not_null()
    assert rows.filter(told == pl.col("not_estimated_because").is_not_null()).is_empty()
    assert rows.filter(told != pl.col("verdict").is_not_null()).is_empty()
    assert rows.filter(told).height > 3
    assert rows.filter(told, pl.col("cannot_tell").is_null()).is_empty()


def test_the_months_of_a_measure_add_up_to_its_estimate(published):
    """Failing means that the ledger books another effect than the one with the verdict."""
    apart = published.sql(
        "select max(abs(effects.att - months.effect)), count(*) "
        "from statistics.go_live_effects as effects inner join ("
        "    select metric_id, go_live_type, avg(effect) as effect "
        "    from statistics.go_live_effects_monthly group by all"
        ") as months using (metric_id, go_live_type) where not is_logged"
    ).fetchall()
    assert apart[0][0] < 1e-9 and apart[0][1] > 0


def test_the_published_tables_have_the_columns_that_are_described(published):
    """Failing means that the data dictionary tells of columns that no file has."""
    for table in GO_LIVE_EFFECT_TABLES:
        found = published.sql(f"describe statistics.{table['name']}").fetchall()
        assert [(name, kind) for name, kind, *_ in found] == [
            (name, kind) for name, kind, _ in table["columns"]
        ]
