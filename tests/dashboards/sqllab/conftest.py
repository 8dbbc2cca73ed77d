"""A folder with a published file, and beside it what no typed statement may reach."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from dashboards.sqllab import broker

HERE = Path(__file__).parent
ANALYST_SQL = HERE.parents[2] / "pipelines" / "publishing" / "analyst.sql"
LEAK = "LEAK-"
# The file itself holds this; only the gate keeps a reader of the file from it.
# Statistics of a column show the first eight characters of a text.
OF_THE_FILE = "LEAK-PRI"
TABLES = """
create schema mart;
create table mart.exam as
select
    range as i, date '2024-01-01' + (range % 365)::int as exam_date,
    ['CT', 'MR', 'XR', 'US'][1 + (range % 4)::int] as modality,
    'RXA' as trust_code, (range % 200)::int as turnaround_min
from range(200000);
create view mart.v_exam as select exam_date, modality, turnaround_min from mart.exam;
create schema private;
create table private.staff as select 'LEAK-PRIVATE' as name;
"""
METRICS = """
create schema marts; create schema statistics; create schema catalogue;
create table catalogue.metrics as select
    'W02' as metric_id, 'Waiting' as name, 'd' as definition, 'n' as numerator, 'd' as denominator,
    '%' as unit, 'decrease' as improvement, 'last' as over_time, 'c' as clock, '' as exclusions,
    's' as source, 'verified' as source_status;
create table marts.rpt_metrics_monthly as select
    'W02' as metric_id, 'trust' as org_level, 'RMC' as org_code, 'All' as modality_group,
    date '2026-01-01' as period_start_on, 1.0 as numerator, 4.0 as denominator, 0.25 as value;
create table marts.dim_organisation as select
    'trust' as org_level, 'RMC' as org_code, 'Trust' as org_name;
create table marts.dim_target as select
    'W02' as metric_id, 'national' as scope, '<=' as comparator, 0.01::double as target_value,
    'verified' as source_status, null::date as valid_from, null::date as valid_to,
    1 as preference;
create table statistics.metric_estimates as select
    'R01' as metric_id, 'trust' as org_level, 'RMC' as org_code, 'All' as modality_group,
    date '2026-01-01' as period_start_on, 3 as denominator, 1.0 as value where false;
"""


def cases() -> list[dict[str, Any]]:
    return json.loads((HERE / "sql_gate_examples.json").read_text())


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the cases: pub/warehouse.duckdb, and secrets in other/."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "pub").mkdir()
    (folder / "other").mkdir()
    with duckdb.connect(str(folder / "pub" / "warehouse.duckdb")) as con:
        con.execute(TABLES)
    with duckdb.connect(str(folder / "other" / "trust_b.duckdb")) as con:
        con.execute("create table t as select 'LEAK-TRUSTB' as x")
    for name in ("secret.txt", "secret.csv"):
        (folder / "other" / name).write_text("LEAK-FILE\nLEAK-FILE\n")
    (folder / "other" / "secret.json").write_text('{"x": "LEAK-FILE"}')
    pl.DataFrame({"x": ["LEAK-FILE"]}).write_parquet(folder / "other" / "secret.parquet")
    return folder


@pytest.fixture(scope="session")
def warehouse(lab: Path) -> Path:
    return lab / "pub" / "warehouse.duckdb"


@pytest.fixture(scope="session")
def metrics_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published file with one metric, and the views and macros that the publisher adds."""
    path = tmp_path_factory.mktemp("metrics") / "demo_1.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(METRICS)
        con.execute(ANALYST_SQL.read_text())
    return path


@pytest.fixture
def ask(warehouse: Path) -> Callable[..., broker.Answer]:
    """Run a statement as a page does."""

    def asked(sql: str, **limits: Any) -> broker.Answer:
        chosen = broker.Limits(**({"seconds": 10} | limits))
        return broker.run(sql, published_file=warehouse, schemas=("mart",), limits=chosen)

    return asked


@pytest.fixture
def ask_ungated(warehouse: Path) -> Callable[..., broker.Answer]:
    """Run a statement as if the gate had let it pass: what the process and the engine hold."""

    def asked(sql: str, **limits: Any) -> broker.Answer:
        chosen = broker.Limits(**({"seconds": 10} | limits))
        request = broker._request(sql, warehouse, ("mart",), chosen) | {"is_gated": False}
        return broker._Service.current().ask(request, threading.Event())

    return asked


def told(answer: broker.Answer) -> str:
    """Everything a reader sees of an answer."""
    if isinstance(answer, broker.QueryResult):
        return f"{answer.frame.columns} {answer.frame.rows()}"
    return answer.reason


@pytest.fixture(scope="session")
def parser() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose parser judges; it runs nothing of what it judges."""
    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        yield connection
