"""Reads what alerts are made of from the published file of the network, and from no other."""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.alerts.signals import Tables
from pipelines.problems import Problem
from pipelines.publishing.pointer import Manifest

CHARTS = """
    select
        charts.metric_id, charts.org_level, charts.org_code, metrics.name, metrics.unit,
        charts.has_icons, charts.variation_text, charts.lpl, charts.upl, charts.comparator,
        charts.target_value, charts.target_source_status
    from statistics.spc_charts as charts
    inner join catalogue.metrics as metrics on charts.metric_id = metrics.metric_id
    where charts.modality_group = 'All' and charts.is_current
"""
POINTS = """
    select metric_id, org_level, org_code, period_start_on, value, point_type
    from statistics.spc_points
    where modality_group = 'All'
"""
LATE = """
    select party_code, feed_id, feed_kind, as_at_local
    from marts.rpt_feed_freshness
    where is_late
"""
# As the dashboards write an organisation into their address. A trust that has ended gives no alert.
ORGANISATIONS = """
    select
        org_level, org_code, org_name, org_name || ' (' || org_level || ')' as label
    from marts.dim_organisation
    where
        org_code <> 'Unknown'
        and (
            org_level <> 'trust'
            or org_code in (select trust_code from marts.dim_trust where is_current)
        )
"""


class NoNetworkFile(Problem):
    """The build has no file whose small numbers are hidden; the message says what to do."""


def network_file(published: Path, manifest: Manifest) -> Path:
    """The file of the network: small counts hidden, the others rounded. Raises NoNetworkFile."""
    for told in manifest.audiences.values():
        if told.get("kind") == "network" and told.get("suppressed"):
            return published / told["file"]
    raise NoNetworkFile(
        f"build {manifest.build_id} has no file of the network, from which alerts are made; add an "
        "audience of kind network to seeds/network/audiences.csv and run `imaging run`"
    )


def read_tables(path: Path) -> tuple[Tables, str, bool]:
    """The tables, the name of the network, and whether its data are synthetic."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = Tables(*(connection.sql(q).pl() for q in (CHARTS, POINTS, LATE, ORGANISATIONS)))
        told = connection.execute("select network_name, is_synthetic from catalogue.build")
        facts = told.fetchall()
    if len(facts) != 1:
        raise NoNetworkFile(f"{path} does not say what network it is of; run `imaging run`")
    return tables, str(facts[0][0]), bool(facts[0][1])
