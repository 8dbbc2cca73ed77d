"""Stored questions select what the marts hold. A finding here means a page shows wrong rows."""

import ast
import re
from dataclasses import replace
from datetime import date

import polars as pl
import published_build
import pytest
from conftest import ROOT

from dashboards.data.filters import ALL_MONTHS, CUSTOM, LAST_12, Filters, month_bounds
from dashboards.data.published import current_build
from dashboards.data.queries import (
    benefits,
    catalogue,
    equity,
    image_access,
    metrics,
    organisations,
    quality,
    throughput,
    turnaround,
    utilisation,
    waiting_times,
)

QUERIES = sorted((ROOT / "dashboards" / "data" / "queries").glob("*.py"))
# A column of a table may have such a name: points.mean is stored.
AGGREGATES = re.compile(r"(?<!\w\.)\b(sum|avg|mean|median|count|quantile\w*|group by)\s*(\(|\b)")
BOLTON = Filters("party", "RMC", "Bolton", "CT", date(2025, 4, 1), date(2026, 3, 31))
NETWORK = Filters("network", "NETWORK", "GM", "All", date(2020, 4, 1), date(2026, 3, 31))
TAMESIDE = Filters("party", "RMP", "Tameside", "All", date(2025, 4, 1), date(2026, 3, 31))
CLOSED = Filters("trust", "RW6", "Pennine", "All", date(2020, 4, 1), date(2021, 9, 30))


@pytest.fixture(scope="module")
def build(published):
    return current_build(published, "demo")


def statements(path) -> list[str]:
    found = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [text for text in found if re.match(r"\s*(with|select)\b", text)]


@pytest.mark.parametrize("module", QUERIES, ids=lambda path: path.stem)
def test_a_query_selects_filters_and_orders_and_nothing_else(module):
    """Summed rows in a query are a roll-up that the marts never tested."""
    for text in statements(module):
        assert not AGGREGATES.search(text), text
        assert not re.search(r"select\s+\*", text), text
        assert not re.search(r"\w\s+[/*-]\s+\w", text), text
        assert text == text.lower() or "$" in text or "'" in text


def test_months_of_one_organisation_come_in_order(build):
    """Rows of another organisation, or in another order, draw a false line."""
    frame = metrics.by_month(build, BOLTON, "T01")
    assert (
        frame["period_start_on"].to_list()
        == pl.date_range(date(2025, 4, 1), date(2026, 3, 1), "1mo", eager=True).to_list()
    )


def test_a_query_returns_the_stored_value_unchanged(build, tables):
    """The figure on the page must be the figure in the mart."""
    stored = tables["marts.rpt_metrics_monthly"].filter(
        (pl.col("metric_id") == "W02")
        & (pl.col("org_code") == "RMC")
        & (pl.col("org_level") == "party")
        & (pl.col("modality_group") == "CT")
        & (pl.col("period_start_on") >= BOLTON.from_on)
    )
    assert metrics.by_month(build, BOLTON, "W02")["value"].to_list() == stored["value"].to_list()


def test_peers_are_the_eight_parties_and_mine_is_marked_once(build):
    """A missing peer makes the others look better or worse than they are."""
    for frame in (
        metrics.peers_latest(build, BOLTON, "U02"),
        waiting_times.peers_latest(build, BOLTON, "CT"),
        turnaround.peers_latest(build, BOLTON),
    ):
        assert frame.height == 8
        assert frame.filter("is_mine")["organisation"].to_list() == ["Bolton"]
    assert metrics.peers_latest(build, NETWORK, "U02").filter("is_mine").is_empty()


def test_peers_of_an_immature_metric_are_compared_in_the_last_month_with_values(build):
    """March has no 28-day share yet; a comparison of nothing would be drawn as nothing."""
    frame = metrics.peers_latest(build, BOLTON, "R02")
    assert set(frame["period_start_on"]) == {date(2026, 2, 1)}
    assert frame["value"].null_count() == 0


def test_a_closed_trust_keeps_its_months_and_its_peers_of_that_time(build):
    """History of a trust that was merged away must not vanish, nor carry a later name."""
    assert organisations.months(build, "trust", "RW6")[-1] == date(2021, 9, 1)
    peers = metrics.peers_latest(build, CLOSED, "T01")
    assert "Salford Royal" in peers["organisation"].to_list()
    assert "Northern Care Alliance" not in peers["organisation"].to_list()


def test_published_waits_keep_organisation_network_and_country_apart(build):
    """A share of England under a trust's name would be a wrong comparison with the nation."""
    trust = replace(BOLTON, org_level="trust")
    frame = waiting_times.published_by_month(build, trust, "CT")
    assert frame["census_on"].is_unique().all()
    assert frame["organisation_rate"].null_count() == 0
    # a party may be a part of the trust that has its code
    party = waiting_times.published_by_month(build, BOLTON, "CT")
    assert party["organisation_rate"].null_count() == party.height > 0
    # the extract, and with it the country, is there for the last month alone
    assert frame["country_rate"].is_not_null().to_list() == [False] * (frame.height - 1) + [True]
    network = waiting_times.published_by_month(build, NETWORK, "CT")
    assert network["organisation_rate"].to_list() == network["network_rate"].to_list()


def test_organisations_are_offered_once_network_first(build):
    """Two entries for one trust would be two different answers."""
    frame = organisations.choices(build)
    assert frame["org_level"].to_list()[0] == "network"
    assert frame.filter(pl.col("org_level") == "party").height == 8
    assert not frame.select("org_level", "org_code").is_duplicated().any()
    ended = frame.filter(pl.col("ended_on").is_not_null())
    assert ended.select("org_code", "ended_on").rows() == [("RW6", date(2021, 9, 30))]


def test_a_site_that_is_not_known_is_neither_offered_nor_a_peer(tmp_path, tables):
    """'Site not known' is no organisation that anybody could ask or be compared with."""
    organisation = pl.DataFrame(
        {
            "org_level": ["party"],
            "org_code": ["Unknown"],
            "org_name": ["Site not known"],
            "sort_order": [9000],
        }
    )
    changed = {
        "marts.dim_organisation": pl.concat(
            [tables["marts.dim_organisation"], organisation], how="vertical_relaxed"
        )
    }
    for name in (
        "marts.rpt_metrics_monthly",
        "marts.rpt_waiting_times_monthly",
        "statistics.turnaround_survival",
    ):
        bolton = tables[name].filter(
            (pl.col("org_code") == "RMC") & (pl.col("org_level") == "party")
        )
        unknown = bolton.with_columns(pl.lit("Unknown").alias("org_code"))
        changed[name] = pl.concat([tables[name], unknown])
    published_build.write_build(tmp_path, found=tables | changed)
    build = current_build(tmp_path, "demo")
    assert "Unknown" not in organisations.choices(build)["org_code"].to_list()
    for frame in (
        metrics.peers_latest(build, BOLTON, "T01"),
        waiting_times.peers_latest(build, BOLTON, "CT"),
        turnaround.peers_latest(build, BOLTON),
    ):
        assert frame.height == 8


def test_a_party_sees_its_own_events_and_those_of_the_network(build):
    """A go-live of another party on my chart explains nothing."""
    pennine = Filters("party", "RW6", "Pennine", "All", date(2020, 4, 1), date(2026, 3, 31))
    assert set(organisations.events(build, pennine)["scope_code"]) == {"NETWORK", "RW6"}
    assert organisations.events(build, BOLTON).is_empty()
    types = organisations.events(build, NETWORK)["event_type"].to_list()
    assert types.count("go_live_archive") == 8
    assert "go_live_viewing" not in types and "outage" not in types
    assert "outage" in organisations.events(build, pennine)["event_type"].to_list()
    assert "definition_change" not in types
    of_reports = organisations.events(build, NETWORK, "R02")["event_type"].to_list()
    assert of_reports.count("definition_change") == 1


def test_groups_of_patients_come_in_order_for_one_month_and_for_trusts(build):
    """Quintiles out of order, or of two months, show a slope that is not there."""
    trust = replace(BOLTON, org_level="trust")
    for metric_id in ("W02", "W05", "R01"):
        frame = equity.latest(build, trust, metric_id, "deprivation_quintile")
        assert frame["patient_group"].to_list() == published_build.GROUPS["deprivation_quintile"]
        assert set(frame["period_start_on"]) == {date(2026, 3, 1)}
        assert equity.latest(build, BOLTON, metric_id, "deprivation_quintile").is_empty()
    ethnic = equity.latest(build, trust, "W02", "ethnic_group")
    assert ethnic.filter("is_withheld")["patient_group"].to_list() == ["Mixed"]
    assert ethnic.filter("is_withheld")["value"].to_list() == [None]


def test_the_spread_names_trusts_as_they_are_called_and_is_the_same_for_everybody(build):
    """A code tells a board nothing; another spread for each reader would be another network."""
    frame = equity.spread_by_month(build, replace(NETWORK, modality_group="CT"), "W02")
    assert frame["highest_trust"][-1] == "Manchester University"
    assert frame["lowest_trust"][-1] == "Bolton"
    months = frame.filter(pl.col("period_start_on") >= BOLTON.from_on)
    assert months.equals(equity.spread_by_month(build, BOLTON, "W02"))


def test_scanners_are_listed_one_by_one_for_a_whole_week(build):
    """A half week at the end of a quarter would show every scanner as idle."""
    frame = utilisation.scanners_latest(build, BOLTON)
    assert frame["station_name"].to_list() == ["RMC01CT1"]
    assert set(frame["week_start_on"]) == {date(2026, 3, 23)}
    register = pl.read_csv(ROOT / "dbt_project" / "seeds" / "network" / "scanner_register.csv")
    found = utilisation.scanners_latest(build, NETWORK)["station_name"]
    assert sorted(found) == sorted(register["station_name"])


def test_week_bands_come_in_order_for_one_census(build):
    """Bands out of order turn a queue of short waits into one of long waits."""
    frame = waiting_times.bands_latest(build, BOLTON, "CT")
    assert frame["band"].to_list() == [f"band_{week:02d}" for week in range(14)]
    assert set(frame["census_on"]) == {date(2026, 3, 31)}


def test_a_percentile_not_reached_is_null(build):
    """An estimate beyond the data is a guess."""
    frame = turnaround.survival_by_month(build, BOLTON)
    assert frame["p90_hours"][-1] is None
    assert frame["p90_hours"][-2] is not None


def test_the_matrix_holds_every_pair_of_the_latest_year_only(build):
    """Two years in one matrix would double the flows."""
    frame = benefits.cross_site_matrix_latest(build, NETWORK)
    assert set(frame["year_on"]) == {date(2025, 4, 1)}
    assert set(frame["last_month_on"]) == {date(2026, 3, 1)}
    assert not frame.select("acquired_by", "reported_by").is_duplicated().any()
    assert frame.filter("is_own").height == 8


def test_image_access_is_that_of_the_party_beside_the_network(build, tables):
    """Failing means that a party reads the views of another one, or a network of other months."""
    stored = tables["marts.rpt_image_access_monthly"].filter(
        (pl.col("measure") == "failed_launches") & (pl.col("access_context") == "All")
    )
    frame = image_access.by_month(build, BOLTON, "failed_launches")
    for code, column in (("RMC", "value"), ("NETWORK", "network_value")):
        of_one = stored.filter(pl.col("org_code") == code).sort("month_on")
        assert frame[column].to_list() == of_one["value"].to_list()
    assert set(frame["audited_party_count"]) == {7}
    assert frame["month_on"].to_list() == of_one["month_on"].to_list()
    peers = image_access.peers_latest(build, BOLTON, "failed_launches")
    assert peers.height == 7
    assert peers.filter("is_mine")["organisation"].to_list() == ["Bolton"]
    assert set(peers["network_value"]) == {frame["network_value"][-1]}


def test_views_stand_under_the_way_in_they_came_by(build, tables):
    """Failing means that views at meetings pass for those of practices."""
    stored = tables["marts.rpt_image_access_monthly"].filter(
        (pl.col("org_code") == "RMC") & (pl.col("month_on") == date(2026, 3, 1))
    )
    latest = dict(stored.filter(measure="views").select("access_context", "value").iter_rows())
    assert image_access.views_by_context(build, BOLTON).row(5, named=True) == {
        "month_on": date(2026, 3, 1),
        "own_record": latest["own_record"],
        "shared_record": latest["shared_record"],
        "gp": latest["gp"],
        "meeting": latest["meeting"],
        "archive_viewer": latest["archive_viewer"],
        "not_known": 0.0,
        "all_views": latest["All"],
    }
    ways = image_access.contexts_latest(build, BOLTON)
    assert ways["access_context"].to_list()[0] == "own_record"
    assert ways["access_context"].to_list()[-1] == "All"
    assert ways["views"].to_list() == [latest[way] for way in ways["access_context"]]
    # nobody came by a way that is not known: a rate over nothing is empty
    assert ways.filter(access_context="Unknown")["failed_rate"].to_list() == [None]


def test_without_its_audit_a_party_has_no_views_and_the_feed_is_named(build):
    """Failing means that a party that sends no audit messages seems to open no image."""
    assert image_access.by_month(build, TAMESIDE, "views").is_empty()
    assert image_access.contexts_latest(build, TAMESIDE).is_empty()
    assert image_access.peers_latest(build, TAMESIDE, "failed_launches").height == 7
    assert quality.missing_feeds(build, TAMESIDE)["metric_id"].to_list() == ["W02"]
    assert quality.missing_feeds(build, BOLTON).is_empty()
    assert quality.missing_feeds(build, NETWORK)["party"].to_list() == ["Tameside and Glossop"]
    lacking = quality.evidence(build, "image_access")
    assert lacking.select("party_code", "subject_id", "missing_feeds").rows() == [
        ("RMP", "B13", "image_access")
    ]
    assert lacking.height < quality.evidence(build).height


def test_a_silent_feed_is_late_and_the_others_are_not(build):
    """One global date would hide the one trust that stopped sending."""
    late = quality.freshness(build).filter(~pl.col("is_level_with_others"))
    assert late["feed_id"].to_list() == ["hl7_RMP"]


def test_a_clock_shows_its_newest_week_the_furthest_off_first(build):
    """A scanner an hour off is hidden below those that are right, or by a week gone by."""
    clocks = quality.device_clocks(build)
    assert clocks["clock_state"].to_list() == ["dst_not_put_forward", "right", "too_few"]
    assert clocks["week_start_on"].unique().to_list() == [date(2026, 3, 30)]


def test_late_changes_are_those_of_the_chosen_organisation_and_months(build):
    """Failing means that a reader is told of changes elsewhere, or not of those at home."""
    bolton = quality.late_changes(build, BOLTON)
    assert bolton.select("metric", "period_start_on", "change_since_first").rows() == [
        ("Exams performed", date(2026, 1, 1), 7.0)
    ]
    assert quality.late_changes(build, NETWORK).height == 1
    assert quality.late_changes(build, CLOSED).is_empty()


def test_every_query_of_the_page_answers_for_every_kind_of_organisation(build):
    """An error for one kind of reader is found here, not by that reader."""
    for filters in (NETWORK, BOLTON, CLOSED):
        assert throughput.by_day(build, filters).width == 6
        assert turnaround.by_month(build, filters).width == 9
        assert waiting_times.by_month(build, filters, "All").width == 8
        assert benefits.cross_site_by_month(build, filters).width == 7
        assert benefits.cross_site_by_year(build, filters).width == 8
        assert quality.failing_by_month(build, filters).width == 6
        assert image_access.by_month(build, filters, "views").width == 6
        assert image_access.views_by_context(build, filters).width == 8
        assert image_access.contexts_latest(build, filters).width == 9
        assert image_access.peers_latest(build, filters, "views").width == 7
    assert quality.reconciliation(build)["is_reconciled"].all()
    assert quality.rejects(build)["reject_count"].is_sorted(descending=True)
    assert benefits.summary(build)["benefit_class"].to_list()[0] == "CRB"
    assert organisations.go_lives(build).height == 24
    assert catalogue.columns(build, "dim_party")["column_name"].to_list()[0] == "party_code"
    assert "metric_id" in catalogue.all_targets(build).columns


def test_the_last_twelve_months_end_where_the_data_of_the_organisation_end():
    """A window that ends today shows a closed trust, and a late one, as empty."""
    months = pl.date_range(date(2019, 1, 1), date(2021, 9, 1), "1mo", eager=True).to_list()
    assert month_bounds(months, LAST_12) == (date(2020, 10, 1), date(2021, 9, 30))
    assert month_bounds(months, ALL_MONTHS) == (date(2019, 1, 1), date(2021, 9, 30))
    picked = month_bounds(months, CUSTOM, date(2020, 3, 1), date(2020, 2, 1))
    assert picked == (date(2020, 2, 1), date(2020, 3, 31))
    with pytest.raises(ValueError, match="no stored month"):
        month_bounds([], LAST_12)
