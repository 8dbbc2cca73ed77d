"""What the ledger reads of a warehouse; a failure here values the rows of another party or month."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import date

import duckdb
import polars as pl
import pytest

from pipelines.defs.statistics.benefit_ledger import store_benefit_ledger
from pipelines.metrics import Metric
from pipelines.statistics.effect_tables import GO_LIVE_EFFECTS, GO_LIVE_EFFECTS_MONTHLY
from pipelines.statistics.ledger_tables import LEDGER_TABLES
from tests.pipelines.statistics.test_ledger import COST, lines

MONTH = date(2022, 2, 1)


def created(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    connection.register("given", frame.to_arrow())
    connection.execute(f"create table {name} as select * from given")
    connection.unregister("given")


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """One line, two parties with an effect in a month, and rows that are of no party of the line."""
    register = (
        lines({"beneficiary": "NETWORK"})
        .rename({"beneficiary": "beneficiary_code"})
        .with_columns(arrived_at=pl.lit(None, pl.Datetime))
    )
    metrics = [
        ("R06", "party", "RMC", "All", 100.0),
        ("R06", "party", "RBV", "All", None),
        ("R06", "party", "RMC", "CT", 900.0),
        ("R06", "trust", "RMC", "All", 900.0),
        ("R06", "party", "Unknown", "All", 900.0),
    ]
    names = ["metric_id", "org_level", "org_code", "modality_group", "denominator"]
    with duckdb.connect() as connection:
        for schema in ("staging", "marts", "seeds", "intermediate", "statistics"):
            connection.execute(f"create schema {schema}")
        created(connection, "staging.stg_finance__benefits", register)
        created(connection, "intermediate.int_benefit_optimism",
                pl.DataFrame({"benefit_id": ["B02"], "optimism_rate": [0.25]}))  # fmt: skip
        created(connection, "marts.rpt_metrics_monthly",
                pl.DataFrame(metrics, names, orient="row").with_columns(period_start_on=MONTH))  # fmt: skip
        created(connection, "marts.dim_party", pl.DataFrame({"party_code": ["RMC", "RBV"]}))
        events = [("go_live_viewing", party, date(2022, 1, 1)) for party in ("RMC", "RBV", "X")]
        created(connection, "marts.dim_event",
                pl.DataFrame(events, ["event_type", "scope_code", "event_on"], orient="row"))  # fmt: skip
        created(connection, "seeds.programme_costs",
                pl.DataFrame([COST], schema_overrides={"to_month": pl.Date}))  # fmt: skip
        created(connection, "seeds.gdp_deflator",
                pl.DataFrame({"year": [2024], "price_index": [100.0]}))  # fmt: skip
        created(connection, "intermediate.int_months",
                pl.DataFrame({"month_on": [MONTH, date(2022, 3, 1)], "is_complete": [True, False]}))  # fmt: skip
        for table, row in (
            (GO_LIVE_EFFECTS, {"party_count": 2, "comparator": "rest of England, Wales",
                               "verdict": "not shown", "is_logged": False, "se": 0.04}),
            (GO_LIVE_EFFECTS_MONTHLY, {"month_on": MONTH, "value": 0.2, "effect": -0.1,
                                       "month_spread": 0.01}),
        ):  # fmt: skip
            columns = ", ".join(f"{name} {kind}" for name, kind, _ in table["columns"])
            connection.execute(f"create table statistics.{table['name']} ({columns})")
            parties = ("RMC", "RBV") if "month_on" in row else (None,)
            for party in parties:
                own = row | ({"party_code": party} if party else {})
                own |= {"metric_id": "R06", "go_live_type": "viewing"}
                connection.execute(
                    f"insert into statistics.{table['name']} ({', '.join(own)}) "
                    f"values ({', '.join('?' * len(own))})",
                    list(own.values()),
                )
        yield connection


def registry(unit: str = "rate") -> list[Metric]:
    """R06 in a unit."""
    words = dict.fromkeys((field.name for field in fields(Metric)), "")
    return [Metric(**(words | {"metric_id": "R06", "unit": unit}))]


def test_a_line_is_valued_by_the_volume_of_its_own_party(warehouse):
    """Failing means that a trust, a modality or an unknown party is multiplied with an effect."""
    counts = store_benefit_ledger(warehouse, registry())
    assert counts["benefit_ledger"] == 1
    rows = warehouse.sql(
        "select party_code, month_on, volume, realised_gbp from statistics.realised_benefits "
        "where month_on = date '2022-02-01' order by all"
    ).fetchall()
    assert rows == [("RBV", MONTH, 1, pytest.approx(1)), ("RMC", MONTH, 100, pytest.approx(100))]
    (last,) = warehouse.sql("select max(month_on) from statistics.realised_benefits").fetchall()
    assert last == (MONTH,), "a month that is not complete is not told"


def test_pounds_of_a_month_are_brought_into_the_prices_of_the_ledger(warehouse):
    """Failing means that pounds as invoiced are added to pounds of another year."""
    warehouse.execute("insert into seeds.gdp_deflator values (2022, 80)")
    for unit, factor in (("rate", 1), ("GBP per exam", 1.25)):
        store_benefit_ledger(warehouse, registry(unit))
        rows = warehouse.sql(
            "select realised_gbp, price_factor, unit_value_gbp, price_year "
            "from statistics.realised_benefits "
            "where party_code = 'RMC' and realised_gbp is not null"
        ).fetchall()
        assert rows == [(pytest.approx(100 * factor), factor, 10, 2024)]


def test_optimism_is_taken_off_the_plan_and_never_off_what_is_realised(warehouse):
    """Failing means that a measured pound is haircut, or a promise is told without its doubt."""
    found = {}
    for rate in (0.25, 0.75):
        warehouse.execute("update intermediate.int_benefit_optimism set optimism_rate = ?", [rate])
        store_benefit_ledger(warehouse, registry())
        found[rate] = warehouse.sql("from statistics.benefit_ledger").pl().row(0, named=True)
    of_plan = {"optimism_rate", "planned_adjusted_to_date_gbp", "planned_adjusted_compared_gbp",
               "forecast_to_date_gbp"}  # fmt: skip
    moved = {name for name, value in found[0.25].items() if found[0.75][name] != value}
    assert moved == of_plan
    plan = found[0.25]["planned_to_date_gbp"]
    assert found[0.25]["planned_adjusted_to_date_gbp"] == pytest.approx(0.75 * plan)
    assert found[0.75]["forecast_to_date_gbp"] == pytest.approx(0.25 * plan * 0.5)
    realised = "realised_gbp, realised_low_gbp, realised_high_gbp"
    rows = warehouse.sql(f"select {realised} from statistics.realised_benefits order by all").pl()
    warehouse.execute("update intermediate.int_benefit_optimism set optimism_rate = null")
    store_benefit_ledger(warehouse, registry())
    again = warehouse.sql(f"select {realised} from statistics.realised_benefits order by all").pl()
    assert again.equals(rows) and rows["realised_gbp"].count() == 2


def test_a_warehouse_without_a_register_has_the_tables_and_no_line(warehouse):
    """Failing means that a network which has promised nothing cannot be published."""
    warehouse.execute("delete from staging.stg_finance__benefits")
    warehouse.execute("delete from statistics.go_live_effects")
    warehouse.execute("delete from statistics.go_live_effects_monthly")
    counts = store_benefit_ledger(warehouse, registry())
    assert counts["benefit_ledger"] == counts["realised_benefits"] == 0
    for table in LEDGER_TABLES:
        found = warehouse.sql(f"describe statistics.{table['name']}").fetchall()
        assert [(name, kind) for name, kind, *_ in found] == [
            (name, kind) for name, kind, _ in table["columns"]
        ]
