"""Views and macros of the published file: what an analyst asks by name is what is published."""

import re
from dataclasses import fields
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from pipelines.metrics import Metric
from pipelines.publishing import analyst
from pipelines.publishing.catalogue import metric_rows, unit_of
from pipelines.publishing.snapshot import Build, write_snapshot
from tests.pipelines.conftest import CONTRACTS
from tests.target_rows import ranked, seeded

PROJECT = CONTRACTS.parent
GUIDE = PROJECT / "docs" / "guides" / "analyst.md"
REGISTRY = PROJECT / "dbt_project" / "models" / "marts" / "metrics" / "rpt_metrics_monthly.yml"
BUILD = Build("b", datetime(2026, 4, 2, tzinfo=UTC), "demo", True, "Example network", "none")
MONTHS = pl.date_range(date(2024, 4, 1), date(2026, 3, 1), "1mo", eager=True).to_list()
ORGANISATIONS = [
    ("network", "NETWORK"),
    ("party", "RMC"),
    ("party", "RBV"),
    ("trust", "RMC"),
    ("trust", "RBV"),
    ("trust", "RW6"),
]
SILENT, CLOSED, HIDDEN = date(2024, 11, 1), date(2025, 5, 1), date(2025, 8, 1)
CUTS = {
    "trust": ("trust", True),
    "party": ("party", True),
    "network": ("network", True),
    "modality": ("network", False),
    "trust_modality": ("trust", False),
    "party_modality": ("party", False),
}
GRAINS = {
    "quarter": (pl.col("period_start").dt.truncate("1q"), 3),
    "year": (pl.col("period_start").dt.truncate("1y"), 12),
    "financial_year": (
        pl.col("period_start").dt.offset_by("-3mo").dt.truncate("1y").dt.offset_by("3mo"),
        12,
    ),
}
# A flow that is counted, a ratio of flows, a stock that is counted, a ratio of stocks, a percentile.
KINDS = ("T01", "R06", "W01", "W02", "W05")
COLUMNS = ["metric_id", "trust_code", "modality", "period_start", "numerator", "denominator"]
COLUMNS += ["value", "target", "source_status"]
KEYS = ["trust_code", "modality", "period_start"]
# A second verified standard of W02, from the day of an ambition that nobody verified.
NEWER = (
    seeded()
    .filter(metric_id="W02", source_status="from_memory")
    .with_columns(target_value=pl.lit(0.04), source_status=pl.lit("verified"))
)
TABLES = ["marts.rpt_metrics_monthly", "marts.dim_target", "marts.dim_organisation"]
TABLES += ["statistics.metric_estimates"]


def registry() -> list[Metric]:
    entries = yaml.safe_load(REGISTRY.read_text())["models"][0]["config"]["meta"]["metrics"]
    names = {field.name for field in fields(Metric)}
    return [Metric(**{k: v for k, v in entry.items() if k in names}) for entry in entries]


METRICS = {metric.metric_id: metric for metric in registry()}


def is_there(level: str, code: str, modality: str, month: date) -> bool:
    """RMC was silent once, RW6 closed in the middle of a quarter, RBV scanned no CT in a month."""
    if code == "RMC" and month == SILENT:
        return False
    if code == "RW6" and month > CLOSED:
        return False
    return (code, modality, month) != ("RBV", "CT", date(2025, 2, 1))


def series() -> pl.DataFrame:
    """One row per metric, organisation, modality and month: numbers that no two rows share."""
    rows = []
    for metric in METRICS.values():
        if metric.metric_id == "R01":
            continue
        for level, code in ORGANISATIONS:
            for modality in ("All", "CT", "MRI"):
                for month in MONTHS:
                    if not is_there(level, code, modality, month):
                        continue
                    number = float(len(rows) + 1)
                    top = None if metric.is_percentile else number
                    bottom = None if metric.denominator == "none" else number % 97 + 1
                    value = number if metric.is_percentile or bottom is None else top / bottom
                    if (code, month) == ("RBV", HIDDEN):
                        top = bottom = value = None
                    rows.append(
                        (metric.metric_id, level, code, modality, month, top, bottom, value)
                    )
    names = ["metric_id", "org_level", "org_code", "modality_group", "period_start_on"]
    names += ["numerator", "denominator", "value"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def write(folder: Path, rows: pl.DataFrame) -> Path:
    """A published file of these rows, as the publisher writes it."""
    warehouse, target = folder / "warehouse.duckdb", folder / "demo_b.duckdb"
    estimates = rows.filter(pl.col("metric_id") == "W05").select(
        pl.lit("R01").alias("metric_id"),
        "org_level",
        "org_code",
        "modality_group",
        "period_start_on",
        pl.lit(7).alias("denominator"),
        "value",
    )
    organisations = pl.DataFrame(ORGANISATIONS, schema=["org_level", "org_code"], orient="row")
    tables = dict(
        zip(
            TABLES,
            (
                rows,
                ranked(pl.concat([seeded(), NEWER], how="diagonal").drop("preference")),
                organisations.with_columns(org_name=pl.col("org_code")),
                estimates,
            ),
            strict=True,
        )
    )
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema marts; create schema statistics")
        for name, frame in tables.items():
            connection.register("incoming", frame.to_arrow())
            connection.execute(f"create table {name} as select * from incoming")
    described = [name.split(".") for name in TABLES]
    catalogue = {
        "tables": pl.DataFrame(described, schema=["table_schema", "table_name"], orient="row")
        .with_columns(description=pl.lit("One row per site's key."), grain=pl.lit(""))
        .with_columns(row_count=pl.lit(1)),
        "columns": pl.DataFrame(
            [(*name.split("."), column) for name in tables for column in tables[name].columns],
            schema=["table_schema", "table_name", "column_name"],
            orient="row",
        ).with_columns(
            data_type=pl.lit("VARCHAR"),
            description=pl.lit("What it holds."),
            unit=pl.col("column_name").map_elements(unit_of, return_dtype=pl.String),
            position=pl.lit(1),
        ),
        "metrics": metric_rows(list(METRICS.values())),
        "queries": analyst.query_rows(),
    }
    statements = analyst.statements(catalogue["tables"], catalogue["columns"])
    write_snapshot(warehouse, target, TABLES, catalogue, BUILD, None, statements)
    return target


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return series()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, rows: pl.DataFrame) -> Path:
    return write(tmp_path_factory.mktemp("published"), rows)


@pytest.fixture(scope="module")
def ask(file: Path):
    """A query of the published file, as a frame."""
    with duckdb.connect(str(file), read_only=True, config={"threads": 1}) as connection:
        yield lambda query, *values: connection.sql(query, params=list(values)).pl()


def cut(rows: pl.DataFrame, metric_id: str, by: str) -> pl.DataFrame:
    """Rows of the series that a cut shows, under the names that the macro gives."""
    level, is_all = CUTS[by]
    modality = pl.col("modality_group") == "All"
    return rows.filter(
        pl.col("metric_id") == metric_id,
        pl.col("org_level") == level,
        modality if is_all else ~modality,
    ).select(
        pl.col("org_code").alias("trust_code"),
        pl.col("modality_group").alias("modality"),
        pl.col("period_start_on").alias("period_start"),
        "numerator",
        "denominator",
        "value",
    )


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    names = [*KEYS, "numerator", "denominator", "value"]
    assert_frame_equal(
        found.select(names).sort(KEYS), expected.select(names).sort(KEYS), check_dtypes=False
    )


def over_time(rows: pl.DataFrame, metric: Metric, grain: str, by: str) -> pl.DataFrame:
    """The same metric over longer periods, added up here and not in SQL."""
    period, length = GRAINS[grain]
    keys = ["trust_code", "modality", "period"]
    months = cut(rows, metric.metric_id, by).with_columns(period=period)
    # months an organisation told of: those with a row over all modalities
    every = cut(rows, metric.metric_id, "network" if by == "modality" else by.split("_")[0])
    told = every.with_columns(period=period).group_by("trust_code", "period").len("told")
    if metric.over_time == "last":
        last = pl.col("period").dt.offset_by(f"{length - 1}mo") == pl.col("period_start")
        figures = months.filter(last).select(*keys, "numerator", "denominator", "value")
    else:
        whole = [
            pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name)
            for name in ("numerator", "denominator")
        ]
        summed = months.group_by(keys).agg(whole).join(told, on=["trust_code", "period"])
        if metric.over_time == "none":
            figures = summed.with_columns(
                pl.lit(None, pl.Float64).alias(name) for name in ("numerator", "denominator")
            ).with_columns(value=pl.lit(None, pl.Float64))
        elif metric.denominator == "none":
            is_whole = pl.col("told") == length
            figures = summed.with_columns(
                numerator=pl.when(is_whole).then("numerator"),
                denominator=pl.lit(None, pl.Float64),
            ).with_columns(value=pl.col("numerator"))
        else:
            figures = summed.with_columns(value=pl.col("numerator") / pl.col("denominator"))
    periods = months.select(keys).unique()
    return periods.join(figures, on=keys, how="left").rename({"period": "period_start"})


def calls(*choices: list[str]) -> list[tuple[str, ...]]:
    """Every metric with one of the choices in turn, and one metric of each kind with every one."""
    every = list(product(*choices))
    metrics = [metric_id for metric_id in METRICS if metric_id != "R01"]
    turns = {(metric_id, *every[n % len(every)]) for n, metric_id in enumerate(metrics)}
    return sorted(turns | {(kind, *choice) for kind in KINDS for choice in every})


def test_a_month_of_a_metric_is_the_published_one(ask, rows):
    """Failing means that the macro and the tidy series show two answers for one month."""
    found = ask("from metric_months where metric_id <> 'R01'").select(rows.columns)
    assert_frame_equal(found.sort(rows.columns[:5]), rows.sort(rows.columns[:5]))
    for metric_id, by in calls(list(CUTS)):
        found = ask(f"from metric('{metric_id}', by := '{by}')")
        assert found.columns == COLUMNS
        expected = cut(rows, metric_id, by)
        assert expected.height > 20
        same(found, expected)


def test_longer_periods_are_sums_of_parts_or_the_last_month(ask, rows):
    """Failing means that an average of averages, or a waiting list counted twelve times, is read."""
    for metric_id, by, grain in calls(["trust", "party_modality"], list(GRAINS)):
        metric = METRICS[metric_id]
        found = ask(f"from metric('{metric_id}', grain := '{grain}', by := '{by}')")
        same(found, over_time(rows, metric, grain, by))
        assert found["value"].null_count() < found.height or metric.is_percentile


def test_every_metric_says_how_its_months_become_a_year():
    """Failing means that a stock would be summed over time, or a flow read at its last month."""
    kinds = {
        kind: {m for m in METRICS if METRICS[m].over_time == kind}
        for kind in ("sum", "last", "none")
    }
    assert set().union(*kinds.values()) == set(METRICS)
    stocks = {"W01", "W02", "W03", "W06", "W07", "R04", "R05", "F04", "P01", "U08", "U10"}
    assert stocks <= kinds["last"]
    assert {"W05", "R01"} <= kinds["none"]
    assert {"T01", "W04", "W08", "R02", "U02", "F03"} <= kinds["sum"]


def test_a_row_without_a_value_says_why(ask):
    """Failing means that an empty cell looks like a fault, or a part of a quarter like all of it."""

    def why(metric_id: str, grain: str, code: str, period: date) -> str | None:
        found = ask(
            "select empty_because from metric_detail($1, grain := $2) "
            "where trust_code = $3 and period_start = $4",
            metric_id,
            grain,
            code,
            period,
        )
        return found["empty_because"].item()

    autumn, spring, summer = date(2024, 10, 1), date(2025, 4, 1), date(2025, 7, 1)
    assert why("T01", "month", "RMC", autumn) is None
    assert why("T01", "month", "RBV", HIDDEN) == "this month has no value"
    assert why("T01", "quarter", "RMC", autumn) == (
        "2 of 3 months are told: their sum would be too small"
    )
    assert why("R06", "quarter", "RMC", autumn) is None, "a ratio is over the months that are told"
    assert why("W01", "quarter", "RMC", autumn) is None, "December is told"
    assert why("W01", "quarter", "RW6", spring) == "the last month of the period has no value"
    for metric_id in ("T01", "R06"):
        assert why(metric_id, "quarter", "RBV", summer) == (
            "a month of the period has no numerator or denominator"
        )
    assert "ask for grain := 'month'" in why("W05", "quarter", "RMC", spring)


def test_what_is_hidden_in_a_month_is_hidden_in_every_period_of_it(ask):
    """Failing means that a suppressed number can be read off a sum."""
    for grain in ("quarter", "year", "financial_year"):
        found = ask(
            f"select numerator, denominator, value from metric('T01', grain := '{grain}') "
            "where trust_code = 'RBV' and period_start <= $1 "
            "order by period_start desc limit 1",
            HIDDEN,
        )
        assert found.rows() == [(None, None, None)], grain


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("'X99'", r"id 'X99' is none of C01, .*W10; what each is: from metrics"),
        ("null", "id null is none of C01"),
        ("'W01', grain := 'week'", "grain 'week' is none of month, quarter, year .*financial_year"),
        ("'W01', grain := null", "grain null is none of month"),
        ("'W01', by := 'site'", "by 'site' is none of trust, party, network, modality, trust_mod"),
        ("'W01', 'month', null", "by null is none of trust"),
    ],
)
def test_what_nobody_knows_is_an_error_that_names_the_choices(ask, call, words, tmp_path):
    """Failing means that a misspelt metric looks like one without data."""
    for macro in ("metric", "metric_detail"):
        for query in (
            f"from {macro}({call})",
            f"select count(*) from {macro}({call})",
            f"from {macro}({call}) where trust_code = 'RMC' and period_start > '2030-01-01'",
        ):
            with pytest.raises(duckdb.InvalidInputException, match=words):
                ask(query)


def test_a_misspelt_metric_is_an_error_in_a_file_without_rows_too(tmp_path, rows):
    """Failing means that the first build of a network answers nonsense with nothing."""
    empty = write(tmp_path, rows.clear())
    with duckdb.connect(str(empty), read_only=True) as connection:
        assert connection.execute("from metric('w01', grain := ' Year ')").fetchall() == []
        for call in ("'X99'", "'W01', grain := 'week'", "'W01', by := 'site'"):
            with pytest.raises(duckdb.InvalidInputException, match="is none of"):
                connection.execute(f"from metric({call})").fetchall()


@pytest.mark.parametrize(
    ("metric_id", "by", "period", "target", "status"),
    [
        ("W02", "trust", date(2025, 2, 1), 0.01, "verified"),
        ("W02", "trust", date(2025, 3, 1), 0.04, "verified"),
        ("U01", "network", date(2025, 3, 1), None, None),
        ("U01", "trust_modality", date(2025, 3, 1), 3.0, "verified"),
        ("U06", "trust", date(2026, 3, 1), None, None),
        ("T01", "trust", date(2026, 3, 1), None, None),
    ],
)
def test_a_period_is_held_against_the_target_of_its_day(ask, metric_id, by, period, target, status):
    """Failing means that an old month is judged by a new promise, or a guess shown as a rule."""
    found = ask(
        f"select distinct target, source_status from metric('{metric_id}', by := '{by}') "
        "where period_start = $1 and trust_code in ('RMC', 'NETWORK') and modality <> 'MRI'",
        period,
    )
    assert found.rows() == [(target, status)]


def test_a_year_is_held_against_the_target_at_its_end(ask):
    """Failing means that a year is judged by a target that was replaced before it ended."""
    found = ask(
        "select period_start, target, source_status "
        "from metric('W02', grain := 'financial_year', by := 'network') order by period_start"
    )
    assert found.rows() == [
        (date(2024, 4, 1), 0.04, "verified"),
        (date(2025, 4, 1), 0.04, "verified"),
    ]
    counts = ask("select target from metric('W08', grain := 'quarter', by := 'network')")
    assert set(counts["target"]) == {0.0}, "none a month is none a quarter"


def test_the_median_turnaround_is_asked_like_any_metric(ask, rows):
    """Failing means that R01 is in the registry and nowhere to be asked."""
    found = ask("from metric('R01', by := 'trust_modality')")
    assert found["denominator"].unique().to_list() == [7.0]
    expected = cut(rows, "W05", "trust_modality").with_columns(denominator=pl.lit(7.0))
    same(found, expected)


def test_everything_in_the_file_says_what_it_is(ask):
    """Failing means that a tool which lists the file shows a table or column without a meaning."""
    for listed, name in (("tables", "table_name"), ("views", "view_name")):
        bare = ask(f"select {name} from duckdb_{listed}() where not internal and comment is null")
        assert bare.rows() == [], listed
    bare = ask(
        "select table_name, column_name from duckdb_columns() "
        "where not internal and comment is null"
    )
    assert bare.rows() == []
    macros = ask("select function_name, comment from duckdb_functions() where not internal")
    assert set(macros["function_name"]) == {"metric", "metric_detail"}
    assert macros["comment"].null_count() == 0
    units = ask(
        "select comment from duckdb_columns() "
        "where table_name = 'metric_estimates' and column_name = 'period_start_on'"
    )
    assert units.item() == "What it holds. Unit: local date."
    tables = ask("select comment from duckdb_tables() where table_name = 'dim_target'")
    assert tables.item() == "One row per site's key. Grain: see description."


def test_the_catalogue_describes_what_the_views_and_macros_return(ask):
    """Failing means that the words of a view or macro name other columns than it has."""
    for query in analyst.QUERIES:
        call = query["name"] if query["kind"] == "view" else f"{query['name']}('W01')"
        described = ask(f"describe from {call}").select("column_name", "column_type").rows()
        assert [column[:2] for column in query["columns"]] == described, query["name"]
        name = query["name"]
        assert analyst.query_columns().filter(pl.col("table_name") == name).height == len(described)


def test_the_registry_can_be_asked_with_what_the_file_holds(ask):
    """Failing means that an analyst cannot see which metrics have no data yet."""
    found = ask("select org_levels, first_month_on, over_time from metrics where metric_id = 'R01'")
    assert found.rows() == [("network, party, trust", MONTHS[0], "none")]
    assert ask("from metrics").height == len(METRICS)


def test_a_file_that_is_attached_is_asked_after_use(file):
    """Failing means that an analyst who keeps several builds open cannot ask any."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{file}' as build (read_only); use build")
        assert connection.execute("from metric('W01', by := 'network')").fetchall()


def test_every_query_of_the_guide_runs(ask):
    """Failing means that the first thing an analyst copies does not work."""
    queries = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(queries) >= 5
    for query in queries:
        assert ask(query).height, query
