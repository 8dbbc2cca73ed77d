"""A small network with dirt in every list: each record accounted for, in whatever order it comes."""

import os
import random
from collections import Counter

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.defs.statistics.benefit_ledger import store_benefit_ledger
from pipelines.defs.statistics.go_live_effects import store_go_live_effects
from pipelines.defs.statistics.patient_groups import store_by_patient_group
from pipelines.defs.statistics.spc import store_spc
from pipelines.defs.statistics.spread import store_spread
from pipelines.defs.statistics.turnaround import store_survival
from pipelines.metrics import read_registry
from tests.deliveries import (
    deliver_shuffled,
    sent,
    with_copies,
    with_messages_moved,
)
from tests.demo_home import Home
from tests.planted_dirt import LISTS, WORKBOOK, Planted, plant, sent_counts
from tests.published_files import differences
from tests.warehouse.conftest import Project

WANTED = ("--start", "2025-09", "--months", "7", "--scale", "0.0002")
EXAMPLES = 8 if os.environ.get("IMAGING_TEST_FULL") else 1
WAREHOUSE = "warehouse.duckdb"
READ = ("marts", "statistics")
# All that tells in how many files, and under which names, the same records came: images of one
# folder are one receipt per harvest, a copy of an empty list is a list, messages change their file.
OF_ARRIVAL = {
    "marts.rpt_feed_freshness": "select * exclude (file_count) from {table}",
    "marts.rpt_reconciliation": "select * exclude (file_count) from {table}",
    # These measure arrival itself: when the delivery came that tells an event (Q08, Q09).
    "marts.rpt_feed_latency_monthly": "from {table} where false",
    "marts.rpt_metrics_monthly": "from {table} where metric_id not in ('Q08', 'Q09')",
    "statistics.spc_points": "from {table} where metric_id not in ('Q08', 'Q09')",
    "statistics.spc_charts": "from {table} where metric_id not in ('Q08', 'Q09')",
    "marts.rpt_rejects": "select feed_kind, feed_id, rule, scope, sum(reject_count) from {table} "
    "group by all",
}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory) -> tuple[Home, Planted, Counter[str]]:
    """The network in the order of its days, harvested and published; and the dirt it was given."""
    folder = tmp_path_factory.mktemp("delivered")
    home = Home(folder / "home", folder / "keys.json")
    _run(home, "keys", "create")
    _run(home, "synthesise", *WANTED)
    planted = plant(home.path / "inbox")
    # as the demo marks its home, so that rows of invented people may be published
    (home.path / "synthetic.json").write_text("{}")
    _run(home, "run")
    return home, planted, sent_counts(home.path / "inbox")


def _run(home: Home, *arguments: str) -> None:
    done = home.imaging(*arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _rows(home: Home, query: str) -> list[tuple]:
    with duckdb.connect(str(home.published_file()), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("kind", [*LISTS, WORKBOOK])
def test_every_record_of_an_operational_feed_lands_or_is_rejected_by_name(delivered, kind):
    """Failing means that money, staff or slots vanish on their way, or are counted unsound."""
    home, planted, counted = delivered
    sent_count = counted[kind]
    ((received, landed, rejected, is_reconciled),) = _rows(
        home,
        "select sum(rows_received), sum(rows_landed), sum(rows_rejected), bool_and(is_reconciled) "
        f"from marts.rpt_reconciliation where feed_kind = '{kind}'",
    )
    named = _rows(
        home,
        "select rule, sum(reject_count) from marts.rpt_rejects "
        f"where feed_kind = '{kind}' group by rule",
    )
    assert (received, landed + rejected, is_reconciled) == (sent_count, sent_count, True)
    assert dict(named) == planted[kind]
    assert landed == sent_count - sum(planted[kind].values()) > 0


def test_every_published_month_is_a_point_of_a_control_chart(delivered):
    """Failing means that a board reads a chart of other months than the metric has."""
    home, _, _ = delivered
    known = "org_code <> 'Unknown' and modality_group <> 'Unknown'"
    series = "metric_id, org_level, org_code, modality_group"
    told = _rows(
        home,
        f"select {series}, period_start_on, value from marts.rpt_metrics_monthly where {known}",
    )
    medians = _rows(
        home,
        "select 'R01', org_level, org_code, modality_group, acquired_month_on, p50_hours "
        f"from statistics.turnaround_survival where {known} and p50_reached and acquired_month_on "
        "<= (select max(period_start_on) from marts.rpt_metrics_monthly)",
    )
    points = _rows(home, f"select {series}, period_start_on, value from statistics.spc_points")
    assert medians and Counter(points) == Counter(told + medians)
    charts = _rows(home, f"select {series}, point_count from statistics.spc_charts")
    assert Counter({row[:4]: row[4] for row in charts}) == Counter(row[:4] for row in points)


def _damaged(home: Home) -> set[str]:
    """DICOM files, below the inbox, that cannot be read: each copy of one is a reject of its own."""
    planted = pl.read_parquet(home.path / "truth" / "dirt.parquet")
    return set(planted.filter(pl.col("kind").str.starts_with("damaged"))["file"])


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """The dbt project, parsed once for all examples."""
    return Project(tmp_path_factory.mktemp("dbt_target"))


@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(2, 3))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES == 1,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_order_of_deliveries_decides_nothing(delivered, project, tmp_path_factory, seed, parts):
    """Failing means that two networks with the same records show their readers other figures."""
    natural, _, _ = delivered
    home = Home(tmp_path_factory.mktemp("shuffled") / "home", natural.key_file)
    rng = random.Random(seed)
    damaged = _damaged(natural)
    files = with_messages_moved(sent(natural.path / "inbox"), rng)
    files = with_copies(files, rng, but=damaged)
    deliver_shuffled(home, files, parts=parts, rng=rng)
    built = home.path / WAREHOUSE
    # The data tests of the build look at the same tables again: they held in the natural order.
    done = project.run(
        home.path / "landing", built, "build", "--resource-type", "model", "--resource-type", "seed"
    )
    assert done.success, done.exception
    with duckdb.connect(str(built)) as connection:
        store_survival(connection)
        store_by_patient_group(connection)
        store_spread(connection)
        store_go_live_effects(connection)
        registry = read_registry(project.target / "manifest.json")
        store_spc(connection, registry)
        store_benefit_ledger(connection, registry)
    assert differences(natural.path / WAREHOUSE, built, schemas=READ, seen_as=OF_ARRIVAL) == []
