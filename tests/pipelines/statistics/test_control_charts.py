"""A chart of every series; a failure here judges months by another's limits, or says too much."""

from datetime import date

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.defs.gate.warehouse_audit import (
    CHARTED,
    differing_charts,
    values_that_are_no_number,
)
from pipelines.defs.statistics.spc import VALUES, store_spc
from pipelines.metrics import Metric
from pipelines.statistics import spc
from pipelines.statistics.control_charts import CHARTS, POINTS, SERIES, control_charts
from pipelines.statistics.tables import SPC_CHARTS, SPC_POINTS
from pipelines.statistics.turnaround import as_metric
from tests.target_rows import ranked

METRICS = pl.DataFrame(
    [("W02", "decrease"), ("T01", "increase"), ("R07", "neutral"), ("R01", "decrease")],
    schema=["metric_id", "improvement"],
    orient="row",
)
GO_LIVE = date(2020, 9, 14)
TARGET_COLUMNS = {
    "metric_id": pl.String,
    "scope": pl.String,
    "comparator": pl.String,
    "target_value": pl.Float64,
    "unit": pl.String,
    "valid_from": pl.Date,
    "valid_to": pl.Date,
    "source": pl.String,
    "source_status": pl.String,
}


def month(number: int) -> date:
    """The month after so many since January 2020."""
    return date(2020 + number // 12, number % 12 + 1, 1)


def series(
    *told: float | None,
    metric: str = "W02",
    level: str = "party",
    org: str = "RMC",
    modality: str = "CT",
    first: int = 0,
) -> pl.DataFrame:
    """One row per month from January 2020 (plus `first`); None is a month without a row."""
    rows = [
        (metric, level, org, modality, month(first + number), float(value))
        for number, value in enumerate(told)
        if value is not None
    ]
    schema = dict.fromkeys(SERIES, pl.String) | {"period_start_on": pl.Date, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def go_lives(*events: tuple[str, date, str]) -> pl.DataFrame:
    return pl.DataFrame(
        events,
        schema={"party_code": pl.String, "event_on": pl.Date, "label": pl.String},
        orient="row",
    )


def targets(*rows: dict) -> pl.DataFrame:
    """Targets of W02; what a row does not say is national, at most, verified and always valid."""
    usual = {
        "metric_id": "W02",
        "scope": "national",
        "comparator": "at_most",
        "target_value": 0.0,
        "unit": "rate",
        "valid_from": None,
        "valid_to": None,
        "source": "a rule",
        "source_status": "verified",
    }
    return ranked(pl.DataFrame([usual | row for row in rows], schema=TARGET_COLUMNS))


PARTIES = pl.DataFrame({"trust_code": ["TA"], "party_code": ["RMC"]})


def charted(
    *given_series: pl.DataFrame, events: tuple = (), aims: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    return control_charts(
        pl.concat(given_series),
        go_lives(*events),
        PARTIES,
        targets() if aims is None else aims,
        METRICS,
    )


def only(charts: pl.DataFrame) -> dict:
    (row,) = charts.to_dicts()
    return row


def test_limits_begin_anew_in_the_first_whole_month_after_the_last_go_live():
    """Failing means that months before the programme decide what is normal after it."""
    events = (
        ("RMC", date(2020, 3, 2), "viewing"),
        ("RMC", GO_LIVE, "reporting"),
        ("RMC", date(2031, 1, 1), "to come"),
        ("RBV", date(2020, 11, 2), "another party"),
    )
    points, charts = charted(series(*range(1, 25)), events=events)
    assert points["rebase_group"].to_list() == [0] * 9 + [1] * 15
    row = only(charts)
    assert (row["rebased_on"], row["rebase_event_on"]) == (date(2020, 10, 1), GO_LIVE)
    assert (row["rebase_reason"], row["limits_from_on"]) == ("reporting", date(2020, 10, 1))
    assert (row["limits_point_count"], row["point_count"]) == (15, 24)


def test_go_lives_of_one_day_are_both_the_reason():
    """Failing means that the reason under a chart leaves out half of what went live."""
    events = (("RMC", GO_LIVE, "viewing"), ("RMC", GO_LIVE, "archive"), ("RMC", month(7), "early"))
    _, charts = charted(series(*range(1, 25)), events=events)
    assert only(charts)["rebase_reason"] == "archive; viewing"


def test_a_go_live_on_the_first_makes_that_month_whole():
    """Failing means that a month that was live throughout is judged as one before."""
    _, charts = charted(series(*range(1, 25)), events=(("RMC", date(2020, 9, 1), "reporting"),))
    assert only(charts)["rebased_on"] == date(2020, 9, 1)


def test_a_trust_follows_its_party_and_the_network_is_never_rebased():
    """Failing means that a trust keeps old limits, or eight go-lives cut the network's chart."""
    told = range(1, 25)
    _, charts = charted(
        series(*told, level="trust", org="TA"),
        series(*told, level="trust", org="TB"),
        series(*told, level="network", org="RMC"),
        events=(("RMC", GO_LIVE, "reporting"),),
    )
    found = dict(charts.select("org_code", "rebased_on").iter_rows())
    assert found == {"TA": date(2020, 10, 1), "TB": None, "RMC": None}


def test_a_series_that_begins_after_the_go_live_is_not_rebased():
    """Failing means that a chart names a go-live as the reason of limits it never changed."""
    points, charts = charted(series(*range(1, 13), first=9), events=(("RMC", GO_LIVE, "x"),))
    assert set(points["rebase_group"]) == {0}
    assert only(charts)["rebase_reason"] is None


def test_a_missing_month_is_no_point_and_no_zero():
    """Failing means that a feed that failed looks like a collapse."""
    told = [3.0, 4.0, None, None, 5.0, 3.0, 4.0, 5.0, 3.0, 4.0]
    points, charts = charted(series(*told), events=(("RMC", date(2020, 2, 10), "x"),))
    assert points["value"].to_list() == [value for value in told if value is not None]
    assert points["missing_before"].to_list() == [0, 0, 2, 0, 0, 0, 0, 0]
    assert points["rebase_group"].to_list() == [0, 0, 1, 1, 1, 1, 1, 1], "the next month begins"
    row = only(charts)
    assert (row["missing_count"], row["point_count"]) == (2, 8)
    assert (row["rebased_on"], row["limits_from_on"]) == (date(2020, 3, 1), date(2020, 5, 1))


@pytest.mark.parametrize(
    ("count", "has_icons", "is_trial", "begins"),
    [
        (7, False, True, "Insufficient data"),
        (8, True, True, "Trial limits"),
        (12, True, True, "Trial limits"),
        (13, True, False, None),
    ],
)
def test_icons_are_withheld_and_limits_are_told_as_trial(count, has_icons, is_trial, begins):
    """Failing means that a board reads a verdict of seven months, or takes trial limits as firm."""
    told = [number % 2 + 5 for number in range(count)]
    aims = targets({"target_value": 100.0})
    row = only(charted(series(*told), aims=aims)[1])
    assert (row["has_icons"], row["has_trial_limits"]) == (has_icons, is_trial)
    assert row["note"] is begins is None or row["note"].startswith(begins)
    shown = ("common_cause", "consistent_pass", "pass") if has_icons else (None, None, None)
    assert (row["variation_icon"], row["assurance_type"], row["assurance_icon"]) == shown
    if not has_icons:
        assert row["variation_text"] == row["assurance_text"] == row["note"]


def test_points_since_the_rebase_decide_whether_there_are_icons():
    """Failing means that years before a go-live make four months after it look certain."""
    row = only(charted(series(*range(1, 14)), events=(("RMC", GO_LIVE, "x"),))[1])
    assert (row["limits_point_count"], row["has_icons"]) == (4, False)


def test_without_limits_nobody_is_told_that_a_target_is_hit_and_missed():
    """Failing means that a constant series, which has no limits, gets a verdict."""
    aims = targets({"target_value": 0.5})
    row = only(charted(series(*[0.0] * 20), aims=aims)[1])
    assert (row["upl"], row["variation_icon"], row["assurance_type"]) == (
        None,
        "common_cause",
        None,
    )
    assert row["note"] == row["assurance_text"] == "Insufficient data: the values give no limits"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"target_value": 1.0}, {"scope": "CT", "target_value": 2.0}], 2.0),
        (
            [
                {"target_value": 1.0},
                {"scope": "CT", "target_value": 2.0, "source_status": "from_memory"},
            ],
            2.0,
        ),
        ([{"scope": "MRI", "target_value": 2.0}, {"target_value": 1.0}], 1.0),
        (
            [
                {"target_value": 1.0},
                {
                    "target_value": 2.0,
                    "source_status": "from_memory",
                    "valid_from": date(2020, 6, 1),
                },
            ],
            1.0,
        ),
        (
            [
                {"target_value": 1.0},
                {"target_value": 2.0, "valid_from": date(2019, 1, 1)},
                {"target_value": 3.0, "valid_from": date(2020, 12, 31)},
                {"target_value": 4.0, "valid_from": date(2021, 1, 1)},
            ],
            3.0,
        ),
        ([{"target_value": 1.0, "valid_to": date(2020, 12, 30)}], None),
        ([{"scope": "CDC", "target_value": 1.0}], None),
        ([{"metric_id": "T01", "target_value": 1.0}], None),
        ([{"scope": "local", "target_value": 1.0}], 1.0),
    ],
)
def test_the_target_in_force_is_chosen(rows, expected):
    """Failing means that a chart is held against the target of another modality, time or site."""
    row = only(charted(series(*range(12)), aims=targets(*rows))[1])
    assert row["target_value"] == expected
    assert (row["target_source_status"] is None) == (expected is None)
    assert expected is not None or row["assurance_text"] == "No target"


def test_without_a_good_direction_there_is_no_assurance():
    """Failing means that a neutral measure is told as passed or failed."""
    aims = targets({"metric_id": "R07", "target_value": 100.0})
    row = only(charted(series(*[1, 2] * 8, metric="R07"), aims=aims)[1])
    assert (row["assurance_type"], row["assurance_text"]) == (None, "No good direction")


def test_a_series_that_stopped_is_told_apart():
    """Failing means that a trust that is no more heads the list of concerns."""
    _, charts = charted(series(*range(12)), series(*range(14), org="RBV"))
    assert dict(charts.select("org_code", "is_current").iter_rows()) == {"RMC": False, "RBV": True}


def test_nothing_told_gives_no_charts_with_the_columns_that_are_described():
    """Failing means that the data dictionary describes other tables, or a new network fails."""
    full = charted(series(*range(12)))
    empty = charted(series(1.0).clear())
    for (points, charts), count in ((full, 12), (empty, 0)):
        assert len(points) == count
        assert tuple(points.columns) == POINTS == tuple(n for n, *_ in SPC_POINTS["columns"])
        assert tuple(charts.columns) == CHARTS == tuple(n for n, *_ in SPC_CHARTS["columns"])
    assert [table.schema for table in full] == [table.schema for table in empty]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (series(1.0, metric="X99"), "X99: not in the metric registry"),
        (pl.concat([series(1.0), series(2.0)]), "two values"),
        (series(float("inf")), "infinite"),
    ],
)
def test_what_cannot_be_charted_is_refused_by_name(wrong, says):
    """Failing means that a new metric vanishes from the charts, or breaks them without a word."""
    with pytest.raises(ValueError, match=says):
        charted(wrong)


VALUE = st.none() | st.integers(0, 30).map(lambda number: number / 4)
SPANS = st.lists(VALUE, min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(told=st.lists(SPANS, min_size=1, max_size=5), live=st.integers(0, 40), aim=st.integers(0, 8))
def test_each_series_is_judged_as_spc_judges_it_alone(told, live, aim):
    """Failing means that the table and a chart drawn from the same months differ."""
    parties = [f"P{number}" for number in range(len(told))]
    begins = month(live)
    points, charts = charted(
        *(series(*values, org=party) for values, party in zip(told, parties, strict=True)),
        series(1.0, org="P9"),
        events=tuple((party, begins, "x") for party in parties),
        aims=targets({"target_value": float(aim)}),
    )
    for values, party in zip(told, parties, strict=True):
        dates = [month(number) for number in range(len(values))]
        known = [day for day, value in zip(dates, values, strict=True) if value is not None]
        if not known:
            assert charts.filter(pl.col("org_code") == party).is_empty()
            continue
        first, last = dates.index(known[0]), dates.index(known[-1]) + 1
        chart = spc.analyse(
            values[first:last],
            dates[first:last],
            improvement="decrease",
            target=float(aim),
            rebase=[begins] if begins > known[0] else [],
        )
        ours = points.filter(pl.col("org_code") == party).rename({"period_start_on": "date"})
        assert ours.drop(SERIES).equals(chart.points)
        row = only(charts.filter(pl.col("org_code") == party))
        assert row["missing_count"] == len(chart.missing)
        if row["has_icons"]:
            assert row["variation_icon"] == chart.variation_icon
            limits = row["upl"] is not None
            assert row["assurance_type"] == (chart.assurance_type if limits else None)
            assert row["assurance_icon"] == (chart.assurance_icon if limits else None)


@pytest.fixture
def warehouse():
    """The tables that are read, with organisations and modalities nobody knows, and R01."""
    told = pl.concat(
        [
            series(*range(1, 11), metric="T01"),
            series(1.0, metric="T01", org="Unknown"),
            series(1.0, metric="T01", modality="Unknown"),
        ]
    )
    medians = series(*range(1, 13), metric="R01").select(
        *SERIES[1:],
        pl.col("period_start_on").alias("acquired_month_on"),
        pl.lit(9).alias("exam_count"),
        pl.when(pl.col("value") != 3).then("value").alias("p50_hours"),
    )
    with duckdb.connect() as connection:
        for schema in ("marts", "statistics", "intermediate"):
            connection.execute(f"create schema {schema}")
        estimates = as_metric(medians.filter(pl.col("acquired_month_on") <= month(9)))
        for name, table in (
            ("marts.rpt_metrics_monthly", told),
            ("statistics.metric_estimates", estimates),
            ("statistics.turnaround_survival", medians),
            ("marts.dim_target", targets()),
            ("intermediate.int_party_trusts", PARTIES.with_columns(valid_from=date(2000, 1, 1))),
            (
                "marts.dim_event",
                pl.DataFrame(
                    [
                        ("RMC", "go_live_viewing", date(2020, 3, 16), "Bolton: viewing go-live"),
                        ("RMC", "external", date(2020, 5, 16), "no go-live"),
                    ],
                    schema=["scope_code", "event_type", "event_on", "label"],
                    orient="row",
                ),
            ),
        ):
            connection.register("given", table.to_arrow())
            connection.execute(f"create table {name} as from given")
            connection.unregister("given")
        yield connection


def registry(*improvements: tuple[str, str]) -> list[Metric]:
    text = dict.fromkeys(("name", "definition", "numerator", "denominator", "unit", "clock"), "")
    rest = dict.fromkeys(("exclusions", "owner", "source", "source_status"), "")
    return [
        Metric(metric_id=metric, improvement=way, semi_additive=False, **text, **rest)
        for metric, way in improvements
    ]


def test_charts_are_stored_of_what_is_known_and_of_the_median_report(warehouse):
    """Failing means that R01 has no chart, or that organisations nobody knows have one."""
    stored = store_spc(warehouse, registry(("T01", "increase"), ("R01", "decrease")))
    found = warehouse.sql(
        "select metric_id, org_code, modality_group, improvement, last_month_on, missing_count, "
        "rebased_on, rebase_reason from statistics.spc_charts order by 1"
    ).fetchall()
    reason = (date(2020, 4, 1), "Bolton: viewing go-live on 16 March 2020")
    assert found == [
        ("R01", "RMC", "CT", "decrease", month(9), 1, *reason),
        ("T01", "RMC", "CT", "increase", month(9), 0, *reason),
    ], "R01 stands beside the marts, and a median not reached is missing"
    assert stored == {"spc_points": 19, "spc_charts": 2}


def test_the_gate_sees_a_point_that_is_not_in_the_marts(warehouse):
    """Failing means that a chart of other figures than the table beside it is published."""
    store_spc(warehouse, registry(("T01", "increase"), ("R01", "decrease")))
    assert warehouse.sql(CHARTED).fetchall() == []
    warehouse.execute("delete from statistics.spc_points where metric_id = 'R01' and value < 3")
    warehouse.execute("update statistics.spc_points set value = 0 where value = 10")
    found = warehouse.sql(CHARTED).fetchall()
    assert [row[:2] for row in found] == [("R01", 4), ("T01", 2)]
    first, _ = differing_charts(warehouse)
    assert "R01: 4 months" in first.message and "RMC, CT, January 2020" in first.message
    assert "imaging run --force" in first.message


def test_a_value_that_is_no_number_is_told_with_metric_party_month_and_next_step(warehouse):
    """Failing means that a division by nothing reads as months that differ, and nobody knows where."""
    warehouse.execute("update marts.rpt_metrics_monthly set value = 'nan' where value = 4")
    store_spc(warehouse, registry(("T01", "increase"), ("R01", "decrease")))
    assert differing_charts(warehouse) == []
    (failure,) = values_that_are_no_number(warehouse)
    assert (failure.rule, failure.count) == ("values_are_numbers", 1)
    assert failure.message.startswith("T01: 1 monthly values are no number (nan or infinite)")
    assert "party RMC, CT, April 2020" in failure.message and "imaging run" in failure.message


def test_the_gate_reads_the_marts_by_a_query_of_its_own(warehouse, monkeypatch):
    """Failing means that the gate agrees with the charts about months that the charts never read."""
    half = VALUES.replace("modality_group <> 'Unknown'", "period_start_on < date '2020-06-01'")
    monkeypatch.setattr("pipelines.defs.statistics.spc.VALUES", half)
    store_spc(warehouse, registry(("T01", "increase"), ("R01", "decrease")))
    assert {metric for metric, *_ in warehouse.sql(CHARTED).fetchall()} == {"R01", "T01"}


def test_the_stored_tables_have_the_types_that_are_described(warehouse):
    """Failing means that the data dictionary tells an analyst another type."""
    store_spc(warehouse, registry(("T01", "increase"), ("R01", "decrease")))
    for table in (SPC_POINTS, SPC_CHARTS):
        described = [(name, kind) for name, kind, _ in table["columns"]]
        held = warehouse.sql(f"describe statistics.{table['name']}").fetchall()
        assert [(name, kind) for name, kind, *_ in held] == described
