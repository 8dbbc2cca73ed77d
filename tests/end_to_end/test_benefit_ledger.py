"""The benefit ledger of the demonstration, computed again from what was delivered and published."""

import re

import duckdb
import polars as pl
import pytest

from pipelines.statistics.benefit_what_if import MEASURES, Change, appraised_again
from pipelines.statistics.ledger_tables import LEDGER_TABLES

RATES = "dbt_project/seeds/national/discount_rates.csv"
DEFLATOR = "dbt_project/seeds/national/gdp_deflator.csv"


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def register(demo) -> str:
    (file,) = (demo.path / "inbox/benefit_register").glob("*/*.csv")
    return f"read_csv('{file}')"


def test_every_line_of_the_delivered_register_stands_in_the_ledger(published, register):
    """Failing means that a board reads another register than the one that was signed off."""
    rows = published.execute(
        "select benefit_id, delivered.benefit_class = ledger.benefit_class, "
        "delivered.register_version = ledger.register_version, "
        "realised_to_date_gbp is null, empty_because is null, evidence "
        f"from {register} as delivered full join statistics.benefit_ledger as ledger "
        "using (benefit_id) order by all"
    ).fetchall()
    assert [row[0] for row in rows] == [f"B{number:02}" for number in range(1, 17)]
    assert all(row[1] and row[2] for row in rows)
    assert all(is_empty != is_unexplained for *_, is_empty, is_unexplained, _ in rows)
    lacking = dict(
        published.execute(
            "select benefit_id, empty_because from statistics.benefit_ledger "
            "where evidence = 'no evidence'"
        ).fetchall()
    )
    assert "C07" in lacking["B08"] and "C04" in lacking["B13"]
    assert any(not is_empty for *_, is_empty, _, _ in rows), "some line shows something"


def test_realised_pounds_are_effect_times_volume_times_what_the_register_says(published, register):
    """Failing means that a published pound is not the one of the written formula."""
    count, differs = published.execute(
        "with expected as (select lines.benefit_id, monthly.party_code, monthly.month_on, "
        "  case lines.improvement when 'increase' then 1 else -1 end * monthly.effect "
        "  * coalesce(metrics.denominator, 1) * lines.units_per_effect * lines.unit_value_gbp "
        "  * lines.attribution_rate * case when lines.unit like 'GBP%' "
        "    then max_by_year.price_index / prices.price_index else 1 end as gbp "
        f" from {register} as lines "
        " inner join statistics.go_live_effects_monthly as monthly "
        "  on lines.measure_metric_id = monthly.metric_id "
        "  and lines.go_live_type = monthly.go_live_type "
        " inner join marts.dim_event as events on events.scope_code = monthly.party_code "
        "  and events.event_type = 'go_live_' || lines.go_live_type "
        "  and monthly.month_on >= events.event_on "
        " inner join marts.rpt_metrics_monthly as metrics on metrics.metric_id = monthly.metric_id "
        "  and metrics.org_level = 'party' and metrics.modality_group = 'All' "
        "  and metrics.org_code = monthly.party_code and metrics.period_start_on = monthly.month_on "
        f" left join read_csv('{DEFLATOR}') as prices on prices.year = year(monthly.month_on) "
        f" cross join (select price_index from read_csv('{DEFLATOR}') order by year desc limit 1) "
        "  as max_by_year "
        " where lines.unit_value_gbp is not null and lines.benefit_class <> 'UB') "
        "select count(*), count(*) filter (where coalesce(abs(gbp - realised_gbp) > 1e-9, true)) "
        "from expected full join (select * from statistics.realised_benefits "
        "where realised_gbp is not null) using (benefit_id, party_code, month_on)"
    ).fetchall()[0]
    assert count > 0 and differs == 0


def test_no_group_counts_twice_and_no_figure_adds_classes(published):
    """Failing means that one saving is counted twice, or time is told as cash."""
    doubled = published.sql(
        "select double_count_group from statistics.benefit_ledger where is_counted "
        "and double_count_group is not null group by all having count(*) <> 1"
    )
    assert doubled.fetchall() == []
    differs = published.sql(
        "select party_code, month_on from statistics.benefit_balance full join ("
        "  select party_code, month_on, sum(realised_gbp) as gbp from statistics.realised_benefits"
        "  where is_counted and benefit_class = 'CRB' group by all"
        ") using (party_code, month_on) where abs(crb_gbp - gbp) > 1e-9 "
        "or (crb_gbp is null) <> (gbp is null) "
        "or abs(net_cash_gbp - (crb_gbp - cost_gbp)) > 1e-9"
    )
    assert differs.fetchall() == []


def test_the_present_values_are_those_of_the_published_flows(published):
    """Failing means that the appraisal cannot be computed again from what is published."""
    rows = published.execute(
        "with rates as (select 1 / (1 + rate) as factor from read_csv(?) "
        "  where schedule = 'standard' and from_year = 0), "
        "valued as (select basis, line_id, source, gbp * pow((select factor from rates), "
        "  year - min(year) over (partition by basis)) as gbp from statistics.appraisal_flows) "
        "select basis, sum(case source when 'cost' then -gbp else gbp end), max(value) "
        "from valued inner join statistics.appraisal using (basis) "
        "where measure = 'npsv' and class_selection = 'all monetised' and optimism_bias = 0 "
        "group by all",
        [RATES],
    ).fetchall()
    assert len(rows) == 3
    assert all(found == pytest.approx(value) for _, found, value in rows)


def test_without_a_change_the_published_months_give_the_published_appraisal(published):
    """Failing means that a what-if is compared with a figure of other flows."""
    names = {"party_code": "party", "month_on": "month"}
    benefits, costs = (
        published.sql(f"from statistics.{table}").pl().rename(names)
        for table in ("realised_benefits", "programme_costs_monthly")
    )
    stored = published.execute(
        "select basis, class_selection, measure, value from statistics.appraisal "
        "where optimism_bias = 0 and list_contains(?, measure) order by all",
        [list(MEASURES)],
    ).fetchall()
    benefits = benefits.with_columns(is_priced=pl.lit(value=True))
    found = appraised_again(benefits, costs, Change())
    assert sorted(found.select("basis", "class_selection", "measure", "value").rows()) == stored


def test_the_published_columns_are_those_of_the_contract(published):
    """Failing means that a page asks for a column that is not there."""
    for table in LEDGER_TABLES:
        found = published.sql(f"describe statistics.{table['name']}").fetchall()
        told = [(name, kind) for name, kind, _ in table["columns"]]
        assert [(name, kind) for name, kind, *_ in found] == told


def test_a_benefit_is_traced_to_the_rows_its_volume_counts(demo, published):
    """Failing means that nobody can show an auditor where a pound came from."""
    party, month, volume = published.execute(
        "select party_code, strftime(month_on, '%Y-%m'), volume from statistics.realised_benefits "
        "where benefit_id = 'B02' and realised_gbp is not null order by volume desc, 1, 2 limit 1"
    ).fetchall()[0]
    done = demo.imaging("trace", "benefit", "B02", "--party", party, "--month", month)
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert demo.manifest()["build_id"] in told and "reconciled" in told
    assert f"Month {month} of {party}" in told and "signed off" in told
    (query,) = re.findall(r"listed by +(select .*)", told)
    assert len(published.execute(query).fetchall()) == volume > 0
    listed = published.execute(
        "select metric_id, rows_sql from catalogue.metrics "
        "where rows_sql is not null and rows_left_out is null order by all"
    ).fetchall()
    assert {"R06", "R08", "R11"} <= {metric for metric, _ in listed}
    for metric, sql in listed:
        at = published.execute(
            "select org_code, period_start_on, months.denominator, "
            "  case when unit like '%1,000%' then 1000 else 1 end as scale "
            "from marts.rpt_metrics_monthly as months "
            "inner join catalogue.metrics using (metric_id) "
            "where metric_id = ? and org_level = 'party' and modality_group = 'All' "
            "and org_code = ? order by period_start_on desc limit 1",
            [metric, party],
        ).fetchone()
        if at is not None:
            rows = published.execute(sql.format(party=party, month=f"{at[1]:%Y-%m-01}")).fetchall()
            assert len(rows) == pytest.approx(at[2] * at[3]), metric
    empty = demo.imaging("trace", "benefit", "B08", "--month", "2019-01")
    assert empty.returncode == 0 and "no month in 2019-01 after a go-live" in empty.stdout
    wrong = demo.imaging("trace", "benefit", "B20")
    assert wrong.returncode == 2 and "there is no line B20" in wrong.stderr
