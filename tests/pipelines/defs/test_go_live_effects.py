"""What the asset reads of a warehouse; a failure here takes a figure from the wrong rows of the marts."""

from collections.abc import Iterator
from datetime import date

import duckdb
import numpy as np
import polars as pl
import pytest

from pipelines.defs.statistics.go_live_effects import VALUES, store_go_live_effects
from pipelines.statistics.effect_panel import next_month
from pipelines.statistics.effect_tables import GO_LIVE_EFFECT_TABLES

START, MONTHS = date(2018, 1, 1), 66
PARTIES = {"RMC": date(2020, 11, 16), "RBV": date(2021, 4, 1), "R0A": date(2022, 2, 7)}


def metric_rows() -> pl.DataFrame:
    """W02 of three parties, and rows of it that belong in no panel."""
    noise = np.random.default_rng(5)
    rows = []
    for number in range(MONTHS):
        month = next_month(START, number)
        for party, day in PARTIES.items():
            value = 0.2 - 0.05 * (month >= day.replace(day=1)) + 0.005 * noise.standard_normal()
            rows.append(("W02", "party", party, "All", month, value))
        rows.append(("W02", "party", "RMC", "CT", month, 0.9))
        rows.append(("W02", "trust", "RMC", "All", month, 0.9))
        rows.append(("W02", "party", "Unknown", "All", month, 0.9))
    names = ("metric_id", "org_level", "org_code", "modality_group", "period_start_on", "value")
    return pl.DataFrame(rows, schema=names, orient="row")


def published_rows() -> pl.DataFrame:
    """The country and the network in it: outside the network 200 of 1,000 wait too long."""
    rows = []
    for number in range(MONTHS):
        census = date.fromordinal(next_month(START, number + 1).toordinal() - 1)
        for test, times in (("All", 1), ("CT", 3)):
            rows.append(("country", test, census, 1100 * times, 230 + number % 3, 50))
            rows.append(("network", test, census, 100 * times, 30, 10))
    names = ("org_level", "dm01_test", "census_on", "waiting_list_count")
    names += ("waiting_6_plus_count", "waiting_13_plus_count")
    return pl.DataFrame(rows, schema=names, orient="row")


def events() -> pl.DataFrame:
    rows = [("go_live_archive", party, day, None, "go-live") for party, day in PARTIES.items()]
    rows.append(("external", "NETWORK", date(2018, 6, 15), date(2018, 7, 31), "a strike"))
    rows.append(("external", "NETWORK", date(2019, 1, 1), None, "an app"))
    rows.append(("organisation_change", "RMC", date(2021, 10, 1), None, "a merger"))
    rows.append(("outage", "RMC", date(2021, 3, 1), date(2021, 3, 1), "an effect, no cause"))
    schema = {"event_type": pl.String, "scope_code": pl.String, "event_on": pl.Date}
    return pl.DataFrame(
        rows, schema=schema | {"ends_on": pl.Date, "label": pl.String}, orient="row"
    ).with_columns(metric_ids=pl.lit(None, pl.String))


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse of a few rows: two lines of the register with one measure."""
    lines = [("B01", "W02", "decrease"), ("B02", "W02", "decrease")]
    register = pl.DataFrame(
        lines, schema=["benefit_id", "measure_metric_id", "improvement"], orient="row"
    ).with_columns(go_live_type=pl.lit("archive"), unit=pl.lit("rate"))
    tables = {
        "staging.stg_finance__benefits": register,
        "marts.rpt_benefits_summary": pl.DataFrame(
            {
                "benefit_id": ["B01", "B02"],
                "metric_baseline_value": [0.2, 0.2],
                "target_value": [0.19, 0.15],
            }
        ),
        "marts.dim_party": pl.DataFrame({"party_code": list(PARTIES)}),
        "marts.rpt_metrics_monthly": metric_rows(),
        "marts.rpt_published_waits_monthly": published_rows(),
        "marts.dim_event": events(),
    }
    with duckdb.connect() as connection:
        connection.execute("create schema staging; create schema marts")
        for name, frame in tables.items():
            connection.register("given", frame.to_arrow())
            connection.execute(f"create table {name} as select * from given")
            connection.unregister("given")
        yield connection


def test_a_measure_is_read_from_its_own_rows_of_the_marts(warehouse):
    """Failing means that a trust, a modality or an unknown party stands in for a party."""
    counts = store_go_live_effects(warehouse)
    assert counts["go_live_effects"] == 1
    (row,) = warehouse.sql("from statistics.go_live_effects").pl().to_dicts()
    assert row["not_estimated_because"] is None
    assert (row["metric_id"], row["go_live_type"], row["party_count"]) == ("W02", "archive", 3)
    assert row["att"] == pytest.approx(-0.05, abs=0.01)
    assert row["promised"] == pytest.approx(0.05), "the larger of two promises"
    assert (row["shock_months"], row["missing_month_count"]) == ("left out", 0)
    assert row["co_interventions"] == "2019-01 NETWORK: an app; 2021-10 RMC: a merger"


def test_the_rest_of_the_country_is_the_country_less_the_network(warehouse):
    """Failing means that a network is compared with itself, or with one test of the country."""
    store_go_live_effects(warehouse)
    (row,) = warehouse.sql("from statistics.go_live_effects").pl().to_dicts()
    assert (row["comparator"], row["order_count"]) == ("rest of England", 6)
    live = warehouse.sql("select distinct party_code from statistics.go_live_effects_monthly")
    assert set(live.pl()["party_code"]) == set(PARTIES), "the country lets the last be compared"
    outside = warehouse.sql(VALUES).pl().filter("is_outside")
    told = {metric: rows["value"] for (metric,), rows in outside.group_by("metric_id")}
    assert set(told["W01"]) == {1000} and set(told["W03"]) == {40}
    assert (told["W02"].min(), told["W02"].max()) == pytest.approx((0.2, 0.202))
    assert not outside.select("metric_id", "month_on").is_duplicated().any()
    warehouse.execute("delete from marts.rpt_published_waits_monthly")
    store_go_live_effects(warehouse)
    (row,) = warehouse.sql("from statistics.go_live_effects").pl().to_dicts()
    assert row["comparator"] is None


def test_a_warehouse_without_a_register_has_the_tables_and_no_row(warehouse):
    """Failing means that a network which has promised nothing cannot be published."""
    warehouse.execute("delete from staging.stg_finance__benefits")
    counts = store_go_live_effects(warehouse)
    for table in GO_LIVE_EFFECT_TABLES:
        assert counts[table["name"]] == 0
        found = warehouse.sql(f"describe statistics.{table['name']}").fetchall()
        assert [(name, kind) for name, kind, *_ in found] == [
            (name, kind) for name, kind, _ in table["columns"]
        ]


def test_the_same_warehouse_gives_the_same_tables(warehouse):
    """Failing means that a published effect cannot be computed again."""
    found = []
    for _ in range(2):
        store_go_live_effects(warehouse)
        found.append(
            [warehouse.table(f"statistics.{t['name']}").pl() for t in GO_LIVE_EFFECT_TABLES]
        )
    assert all(first.equals(second) for first, second in zip(*found, strict=True))
