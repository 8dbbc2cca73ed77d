"""The files of the audiences: a failure here shows a reader what the file should not hold."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.contracts import read_contracts
from pipelines.network import Network
from pipelines.publishing import analyst
from pipelines.publishing.audiences import Audience, read_audiences
from pipelines.publishing.disclosure import WITHHELD, Disclosure
from pipelines.publishing.editions import Published, verify, write_editions
from pipelines.publishing.snapshot import AuditFailed, Build, write_snapshot
from pipelines.publishing.suppression import Limits
from pipelines.statistics.tables import STATISTICS_TABLES
from tests.dashboards import published_build
from tests.pipelines.conftest import CONTRACTS, ROOT

ON = datetime(2026, 4, 2, 6, tzinfo=UTC)
BUILD = Build("20260402T060000Z-0000abcd", ON, "demo", True, "Example network", "none")
DISCLOSURE = Disclosure.load()
# Tables that the invented build of the pages has as the warehouse has them.
TABLES = (
    "marts.dim_organisation",
    "marts.dim_target",
    "marts.dim_trust",
    "marts.rpt_metrics_monthly",
    "marts.rpt_throughput_daily",
    "marts.rpt_waiting_times_monthly",
    "marts.rpt_rejects",
    "statistics.metric_estimates",
    "statistics.spc_points",
    "statistics.turnaround_survival",
)
METRICS = "marts.rpt_metrics_monthly"
FIRST_MONTH = pl.date(2025, 4, 1)
EXAMS = pl.DataFrame(
    {
        "exam_key": ["a", "b", "c"],
        "trust_code": ["RMC", "RBV", "RBV"],
    }
)
REPORTS = pl.DataFrame(
    {
        "exam_key": ["b"],
        "acquired_trust_code": ["RBV"],
        "reported_party_code": ["RMC"],
    }
)


def registry(frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    found = published_build.catalogue_tables(frames)["catalogue.metrics"]
    missing = [name for name in analyst.CATALOGUE["metrics"][1] if name not in found.columns]
    return found.with_columns(pl.lit("sum").alias(name) for name in missing)


def recent(frame: pl.DataFrame) -> pl.DataFrame:
    """The last year of a table: enough to add up, quick to write."""
    dates = [c for c, kind in frame.schema.items() if kind == pl.Date and c.endswith("_on")]
    is_series = bool(dates) and frame.height > 2000
    return frame.filter(pl.col(dates[0]) >= FIRST_MONTH) if is_series else frame


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    found = published_build.tables()
    rows = {"marts.fct_exam": EXAMS, "marts.fct_report": REPORTS}
    points = "statistics.spc_points"
    missing = set(DISCLOSURE.follows[points][0]["empties"]) - set(found[points].columns)
    limits = {"rebase_group": pl.lit(0), "near_lpl": pl.col("lpl"), "near_upl": pl.col("upl")}
    found[points] = found[points].with_columns(
        **dict.fromkeys(missing, pl.lit(None, pl.String)), **limits
    )
    return {name: recent(found[name]) for name in TABLES} | rows


@pytest.fixture(scope="module")
def audiences() -> dict[str, Audience]:
    seed = Network.load(ROOT / "dbt_project" / "seeds").audiences
    wanted = ("network", "trust_rmc", "analyst")
    return {one.name: one for one in read_audiences(seed, ON.date()) if one.name in wanted}


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, frames: dict, audiences: dict
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("editions")
    warehouse, whole = folder / "warehouse.duckdb", folder / "demo_x.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        for schema in ("marts", "statistics"):
            connection.execute(f"create schema {schema}")
        for name, frame in frames.items():
            connection.register("incoming", frame)
            connection.execute(f"create table {name} as from incoming")
    names = [name.split(".") for name in frames]
    catalogue = {
        "tables": pl.DataFrame(
            {
                "table_schema": [schema for schema, _ in names],
                "table_name": [table for _, table in names],
                "description": "One row per row.",
                "grain": "all",
                "row_count": 0,
            }
        ),
        "columns": pl.DataFrame(
            [
                {
                    "table_schema": name.split(".")[0],
                    "table_name": name.split(".")[1],
                    "column_name": column,
                    "data_type": "VARCHAR",
                    "description": "A column.",
                    "unit": "",
                    "position": position,
                }
                for name, frame in frames.items()
                for position, column in enumerate(frame.columns, start=1)
            ]
        ),
        "metrics": registry(frames),
        "queries": analyst.query_rows(),
    }
    write_snapshot(warehouse, whole, list(frames), catalogue, BUILD)
    published = Published(warehouse, list(frames), {}, catalogue, DISCLOSURE)
    found = write_editions(folder, whole, published, list(audiences.values()), BUILD)
    assert {path.name for path in folder.iterdir()} == {
        "warehouse.duckdb",
        "demo_x.duckdb",
        *(f"warehouse_{BUILD.build_id}_{name}.duckdb" for name in audiences),
    }
    return found


def table(path: Path, name: str) -> pl.DataFrame:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.sql(f"from {name}").pl()


def names(path: Path) -> set[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        told = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema in ('marts', 'statistics')"
        ).fetchall()
    return {name for (name,) in told}


def test_the_file_of_the_board_tells_no_small_count_and_no_exam(files: dict[str, Path]):
    """Failing means that a board paper can point at one patient."""
    network = files["network"]
    assert names(network) == set(TABLES)
    for name in set(TABLES) & set(DISCLOSURE.counts):
        frame, spec = table(network, name), DISCLOSURE.counts[name]
        for column, values in spec.get("exempt", {}).items():
            frame = frame.filter(~pl.col(column).is_in(values))
        for count in spec["counts"]:
            told = frame[count].drop_nulls()
            assert told.len() and told.filter(told.abs().is_between(0.5, 4.9)).is_empty()
            assert told.filter(told % 5 != 0).is_empty(), f"{name}.{count} is not rounded"


def test_what_is_hidden_says_so_and_what_is_not_is_as_it_was(
    files: dict[str, Path], frames: dict[str, pl.DataFrame]
):
    """Failing means that a hidden count looks like a missing one, or that a page shows nought."""
    keys = DISCLOSURE.counts[METRICS]["keys"]
    both = table(files["network"], METRICS).join(frames[METRICS], on=keys, suffix="_was")
    assert both.height == frames[METRICS].height
    for count in ("numerator", "denominator", "value"):
        is_named = pl.col(WITHHELD).fill_null("").str.split(", ").list.contains(count)
        is_lost = pl.col(count).is_null() & pl.col(f"{count}_was").is_not_null()
        assert both.filter(is_named != is_lost).is_empty()
    rate = both.filter(pl.col("denominator").is_not_null() & pl.col("value").is_not_null())
    made = rate.filter(
        pl.col("numerator").is_not_null()
        & ~pl.col("metric_id").is_in(DISCLOSURE.counts[METRICS]["exempt"]["metric_id"])
    )
    assert made.filter(
        (pl.col("value") - pl.col("numerator") / pl.col("denominator")) != 0
    ).is_empty()


def test_at_most_a_fifth_of_what_the_board_reads_is_hidden(
    files: dict[str, Path], frames: dict[str, pl.DataFrame]
):
    """Failing means that the rule leaves the board with holes instead of a picture."""
    told, was = table(files["network"], METRICS), frames[METRICS]
    counts = ("numerator", "denominator")
    shares = [1 - told[c].count() / was[c].count() for c in counts]
    assert sum(shares) / 2 <= 0.2


def test_a_year_less_its_months_tells_none_of_them():
    """Failing means that a hidden month is the published year less the other eleven."""
    counts = ("report_count", "network_report_count", "cross_site_count", "outsourced_count")
    years, months = (f"marts.rpt_cross_site_reporting_{grain}" for grain in ("yearly", "monthly"))
    spec = DISCLOSURE.counts[months]
    numbers = {date(2025, month, 1): month * 10 for month in range(4, 13)} | {date(2026, 1, 1): 3}
    keys = {"acquired_org_level": "party", "acquired_org_code": "RMC", "reported_org_code": "All"}
    tables = {}
    for name, by in ((months, numbers), (years, {date(2025, 4, 1): sum(numbers.values())})):
        told = [keys | {DISCLOSURE.counts[name]["keys"][-1]: on} | dict.fromkeys(counts, n)
                for on, n in by.items()]  # fmt: skip
        none = {**DISCLOSURE.counts[name]["ratios"], **spec["figures"]}
        tables[name] = pl.DataFrame(told).with_columns(
            pl.lit("All").alias("modality_group"), outsourced_count=0, **dict.fromkeys(none, pl.lit(None, pl.Float64))
        )  # fmt: skip
    tables[years] = tables[years].drop("modality_group", *spec["figures"])
    found = DISCLOSURE.tell(tables, Limits(1, 4, 5, needs_secondary=True))
    assert found[years]["report_count"].to_list() == [725]
    hidden = found[months].filter(pl.col("report_count").is_null())
    assert hidden["month_on"].to_list() == [date(2025, 4, 1), date(2026, 1, 1)]
    assert {name: found[name].columns[:-1] for name in tables} == {
        name: frame.columns for name, frame in tables.items()
    }


def test_a_hidden_month_takes_its_point_and_the_limits_made_of_it(files: dict[str, Path]):
    """Failing means that a hidden count can be read off its control chart."""
    metrics, points = table(files["network"], METRICS), table(files["network"], TABLES[-2])
    keys = ["metric_id", "org_level", "org_code", "modality_group", "period_start_on"]
    both = points.join(metrics, on=keys, suffix="_told")
    assert both.filter(~pl.col("value").eq_missing(pl.col("value_told"))).is_empty()
    series = ["metric_id", "org_level", "org_code", "modality_group", "rebase_group"]
    holed = both.filter(pl.col("value").is_null().any().over(series))
    assert holed.height and holed["mean"].null_count() == holed.height
    assert both["mean"].null_count() < both.height


def test_a_trust_sees_its_own_counts_and_of_others_what_the_board_sees(
    files: dict[str, Path], frames: dict[str, pl.DataFrame]
):
    """Failing means that a trust cannot see its own small counts, or sees those of another."""
    own, others = pl.col("org_code") == "RMC", pl.col("org_code") != "RMC"
    for name in (METRICS, "marts.rpt_throughput_daily", "statistics.spc_points"):
        told, board = table(files["trust_rmc"], name), table(files["network"], name)
        mine = told.filter(own)
        assert mine[WITHHELD].null_count() == mine.height
        was = frames[name].filter(own)
        assert mine.drop(WITHHELD).sort(pl.all()).equals(was.sort(pl.all()), null_equal=True)
        key = told.columns
        assert told.filter(others).sort(key).equals(board.filter(others).sort(key))


def test_a_trust_has_the_rows_it_performed_or_reported(files: dict[str, Path]):
    """Failing means that a trust lacks its own exams, or has a stranger's."""
    assert table(files["trust_rmc"], "marts.fct_exam")["exam_key"].to_list() == ["a", "b"]
    assert table(files["analyst"], "marts.fct_exam").height == 3
    build = table(files["trust_rmc"], "catalogue.build").row(0, named=True)
    assert build["audience"] == "trust_rmc" and "1 to 4" in build["suppression"]
    assert table(files["analyst"], "catalogue.build")["audience"].to_list() == ["analyst"]


def test_the_catalogue_of_a_file_describes_what_is_in_it(files: dict[str, Path]):
    """Failing means that a reader is told of tables that are not there, or of other rows."""
    for name in ("network", "trust_rmc"):
        tables = table(files[name], "catalogue.tables")
        told = {f"{r['table_schema']}.{r['table_name']}": r for r in tables.iter_rows(named=True)}
        assert set(told) == names(files[name])
        assert told[METRICS]["row_count"] == table(files[name], METRICS).height
        assert told["marts.rpt_rejects"]["row_count"] == 0
        columns = table(files[name], "catalogue.columns")
        marked = columns.filter(pl.col("column_name") == WITHHELD)["table_name"].to_list()
        assert sorted(marked) == sorted(
            t.split(".")[1] for t in names(files[name]) if DISCLOSURE.is_masked(t)
        )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("create table marts.rpt_metrics_monthly as select 'T01' as metric_id, 'RMC' as org_code, "
         "3.0 as numerator, null::double as denominator", "small count"),
        ("create table marts.fct_exam as select 'a' as exam_key", "no row of an exam"),
        ("create table marts.dim_trust as select 'x' as reporter_key", "would tell of staff"),
    ],
)  # fmt: skip
def test_a_file_that_tells_too_much_is_not_published(
    audiences: Mapping[str, Audience], made: str, message: str
):
    """Failing means that a slip in the rules reaches the readers."""
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        connection.execute(made)
        with pytest.raises(AuditFailed, match=message):
            verify(connection, DISCLOSURE, audiences["network"])


def test_every_published_table_says_how_it_may_be_told():
    """Failing means that a new table reaches no board, or that a rule names what is not there."""
    contracts = read_contracts(CONTRACTS / "published")
    columns = {f"marts.{name}": set(one.column_names()) for name, one in contracts.items()}
    columns |= {
        f"statistics.{table['name']}": {name for name, *_ in table["columns"]}
        for table in STATISTICS_TABLES
    }
    assert set(columns) == DISCLOSURE.named
    for name, spec in DISCLOSURE.counts.items():
        told = {*spec["keys"], *spec["counts"], *spec.get("ratios", {}), *spec.get("figures", {})}
        told |= {column for along in spec.get("totals", {}) for column in along.split()}
        told |= {part for total, parts in spec.get("columns", ()) for part in (total, *parts)}
        own = DISCLOSURE.own_column(name)
        assert told - {""} <= columns[name], name
        assert own is None or own in columns[name], name
        if rule := spec.get("adds_up"):
            assert rule["period"] in columns[name], name
            assert {rule["part"], *rule["alike"]} <= columns[rule["table"]], name
    for name, rules in DISCLOSURE.follows.items():
        for rule in rules:
            keys = {key for key in rule["key"].values() if not key.startswith("=")}
            told = {*keys, *rule["empties"], *rule.get("takes", ()), *rule.get("whole", ())}
            assert told <= columns[name], name


OLD_CLIENT = ROOT / ".venv-old-duckdb" / "bin" / "python"
# Every value of every table is read; what a macro gives is told, for comparison.
READING = """
import json, sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    def ask(sql):
        return connection.execute(sql).fetchall()
    tables = ask("select table_schema, table_name from information_schema.tables order by all")
    read = [f'{schema}."{name}"' for schema, name in tables]
    for name in read:
        ask(f"select bit_xor(hash(t)) from {name} as t")
    print(json.dumps({
        "rows": {name: ask(f"select count(*) from {name}") for name in read},
        "metrics": ask("select metric_id from metrics order by all"),
        "metric": ask("from metric('W02')"),
        "quarters": ask("from metric_detail('W02', grain := 'quarter', \\"by\\" := 'modality')"),
        "comments": ask("select count(*) from duckdb_columns() where comment is not null"),
    }, default=str))
"""


@pytest.mark.parametrize("audience", ["network", "trust_rmc"])
def test_an_older_client_reads_the_file_and_calls_its_macros(files: dict[str, Path], audience: str):
    """Failing means that readers' own tools, seldom the newest, cannot open what they are given."""
    assert OLD_CLIENT.exists(), "run `make setup`: it makes .venv-old-duckdb (old_client.txt)"
    found = [
        json.loads(subprocess.check_output([python, "-c", READING, files[audience]]))
        for python in (OLD_CLIENT, sys.executable)
    ]
    assert found[0] == found[1]
    assert found[0]["metric"] and found[0]["quarters"]
