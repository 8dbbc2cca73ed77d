"""Extracts under other names and FHIR resources through the harvest: landed, rejected, replayed."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.contracts import Contract
from pipelines.defs.resources import Pipeline
from pipelines.harvest import HarvestResult, Setup, harvest, replay
from pipelines.network import Network
from pipelines.settings import Settings
from pipelines.sources.inbox import Delivery
from pipelines.sources.series_list_maps import SeriesListMap, SeriesListMapProblem
from tests.pipelines.sources.test_epic_audit import HEADER
from tests.pipelines.sources.test_fhir import ALL, REQUEST, ndjson

NOW = datetime(2026, 1, 8, 6, tzinfo=UTC)
DAY = date(2026, 1, 7)
AUDIT = """Order;Accession;What;When
900417;RMC7700012;Exam begun;20/06/2025 10.31
900417;RMC7700012;Exam done;20/06/2025 10.52
900418;RMC7700013;Looked at;20/06/2025 10.52
"""
MAP = """
delimiter = ";"
[columns]
order_id = "Order"
accession_number = "Accession"
action = { column = "What", values = { "Exam begun" = "Began Exam", "Exam done" = "Ended Exam" } }
acted_at = { column = "When", format = "%d/%m/%Y %H.%M" }
"""


@pytest.fixture
def setup(new_setup: Callable[..., Setup], network: Network, tmp_path: Path) -> Setup:
    one = network.feeds.filter(pl.col("feed_id") == "ris_extract_RMC")
    kinds = ("epic_audit", "fhir")
    more = [
        one.with_columns(feed_id=pl.lit(f"{kind}_RMC"), feed_kind=pl.lit(kind)) for kind in kinds
    ]
    return new_setup(tmp_path, network=replace(network, feeds=pl.concat([network.feeds, *more])))


def deliver(setup: Setup, kind: str, data: bytes) -> HarvestResult:
    return harvest(kind, [Delivery(kind, Path(f"{kind}_RMC.csv"), DAY, data)], setup, now=NOW)


def test_an_audit_under_other_names_lands_by_its_map(
    setup: Setup, inbound: dict[str, Contract], tmp_path: Path
):
    """Failing means that a trust must rename its columns before it can deliver."""
    refused = deliver(setup, "epic_audit", AUDIT.encode())
    assert refused.failures[0].rule == "has_all_columns"
    path = tmp_path / "epic_audit_RMC.toml"
    path.write_text(MAP)
    maps = {"epic_audit_RMC": SeriesListMap.load(path, inbound["epic_audit"])}
    mapped = replace(setup, extract_maps=maps)
    (entry,) = setup.quarantine.entries(state="open")
    result = replay(entry, mapped, now=NOW)
    assert (result.rows_landed, result.rejects_by_rule) == (2, {"action_is_mapped": 1})
    events = setup.landing.read("imaging_events")
    assert sorted(events["event_type"]) == ["exam_completed", "exam_started"]
    assert str(events["event_ts_local"].min()) == "2025-06-20 10:31:00"
    # the line that is not mapped waits under its own names
    rows = [e for e in setup.quarantine.entries(state="open") if e.scope == "row"]
    assert setup.quarantine.payload(rows[0]).decode("utf-8-sig") == AUDIT.splitlines()[0] + "\n" + (
        AUDIT.splitlines()[3] + "\n"
    )


def test_a_rejected_end_of_an_exam_is_not_replaced_by_its_paperwork(setup: Setup):
    """Failing means that an exam ends when the paperwork does until its row is mended, or for good."""
    rows = ["Ended Exam,2 June", "Completed by Tech,2025-06-20 10:55:00"]
    audit = HEADER + "\n"
    audit += "".join(
        f"900417,RMC7700012,Q0000071,2025-06-02 08:05:00,CABDOC,RMC01,{n},{row},RG01,\n"
        for n, row in enumerate(rows, start=1)
    )
    result = deliver(setup, "epic_audit", audit.encode())
    assert (result.rows_landed, result.rows_rejected, result.failures) == (1, 1, ())
    assert setup.landing.read("imaging_events")["event_type"].to_list() == ["order_placed"]


def test_the_maps_of_a_home_are_named_as_their_feeds(tmp_path: Path):
    """Failing means that a map lies there and is never used, and nobody is told."""
    maps = tmp_path / "extract_maps"
    maps.mkdir()
    (maps / "ris_extract_RMC.toml").write_text('[columns]\npatient_id = "Hospital number"\n')
    pipeline = Pipeline(Settings(home=tmp_path))
    assert list(pipeline.extract_maps) == ["ris_extract_RMC"]
    (maps / "ris_extract_Bolton.toml").write_text("")
    with pytest.raises(SeriesListMapProblem, match=r"ris_extract_Bolton\.toml.*feed_id"):
        _ = Pipeline(Settings(home=tmp_path)).extract_maps


def test_resources_land_and_what_is_wrong_waits_in_quarantine(setup: Setup):
    """Failing means that resources are lost, or that a broken one stops the others."""
    wrong = [
        REQUEST | {"status": "vetted", "id": "w1"},
        REQUEST | {"authoredOn": "2 June", "id": "w2"},
        REQUEST | {"authoredOn": "2027-06-02T08:05:00Z", "id": "w3"},
        REQUEST | {"identifier": [], "id": "w4"},
        {"resourceType": "Patient", "id": "w5", "status": "active"},
    ]
    result = deliver(setup, "fhir", ndjson(*ALL, *wrong) + b"{broken\n")
    assert result.rows_received == 10 and result.rows_landed == len(ALL)
    assert result.rejects_by_rule == {
        "event_is_not_in_the_future": 1,
        "event_time_is_readable": 1,
        "exam_id_is_given": 1,
        "line_is_a_resource": 1,
        "resource_is_imaging": 1,
        "status_is_mapped": 1,
    }
    events = setup.landing.read("imaging_events")
    assert events["exam_key"].n_unique() == 1 and len(events) == 6
    words = {str(value) for row in events.iter_rows() for value in row}
    for value in ("9990001235", "RMC7700012", "p71", "RP03", "OC900417", "2.25.77"):
        assert not any(value in word for word in words), value
    (entry,) = setup.quarantine.entries(state="open")
    kept = setup.quarantine.payload(entry).splitlines()
    assert len(kept) == 6 and json.loads(kept[0])["id"] == "w1"


def test_an_empty_file_of_resources_is_refused(setup: Setup):
    """Failing means that a failed export passes for a day without exams."""
    assert deliver(setup, "fhir", b"\n").failures[0].rule == "is_not_empty"
