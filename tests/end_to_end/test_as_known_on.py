"""A published month that late messages change: listed as changed, and there again as it was."""

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from pipelines.recompute import compare, read_known
from pipelines.settings import Settings
from tests.demo_home import Home

PARTY, MONTH = "R0A", "period_start_on"
# What makes a message, an exam and a visit of its own of a repeated one.
RENAMED = {
    b"A26": b"A96",
    b"OC26": b"OC96",
    b"V26": b"V96",
    b"R0A0": b"R0A9",
    b"^2.25.": b"^2.25.9",
}
UNTOUCHED = ("warehouse.duckdb", "build.json", "building.json", "published", "history")


@pytest.fixture(scope="module")
def changed(demo, tmp_path_factory) -> tuple[Home, str]:
    """A home whose second build has late exams of January; and the id of its first build."""
    home = demo.copy(tmp_path_factory.mktemp("as_known") / "home")
    first = home.manifest()["build_id"]
    _deliver_late(home)
    again = home.imaging("run")
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert home.manifest()["build_id"] != first
    return home, first


def _deliver_late(home: Home) -> None:
    """January's messages of a party once more under other identifiers, on the last day delivered.

    That day has been before, so that nothing but these exams is new.
    """
    inbox = home.path / "inbox" / "hl7"
    late = b"".join(file.read_bytes() for file in sorted(inbox.glob(f"2026-01-*/{PARTY}_*.hl7")))
    for known, other in RENAMED.items():
        late = late.replace(known, other)
    last = max(inbox.iterdir())
    (last / f"{PARTY}_{last.name.replace('-', '')}_late.hl7").write_bytes(late)


def _rows(file: Path, query: str) -> list[tuple]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(query).fetchall()


def _exams_of_january(file: Path) -> float:
    ((count,),) = _rows(
        file,
        "select value from marts.rpt_metrics_monthly where metric_id = 'T01' "
        "and org_level = 'network' and modality_group = 'All' and period_start_on = '2026-01-01'",
    )
    return count


def _digests(home: Home) -> dict[str, str]:
    """Hash of everything that a recomputation must leave alone."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in UNTOUCHED
        for path in (home.path / name, *sorted((home.path / name).rglob("*")))
        if path.is_file()
    }


def test_a_month_that_late_messages_change_is_listed_with_both_figures(changed):
    """Failing means that a figure of a board pack changes and nobody can say since when."""
    home, first = changed
    before = home.published / f"demo_{first}.duckdb"
    assert _rows(before, "select count(*) from statistics.metric_revisions") == [(0,)]
    listed = _rows(
        home.published_file(),
        "select first_value, previous_value, value, change_since_first, first_build_id, "
        "changed_in_build_id, revision_count from statistics.metric_revisions where "
        "metric_id = 'T01' and org_level = 'network' and modality_group = 'All' "
        "and period_start_on = '2026-01-01'",
    )
    then, now = _exams_of_january(before), _exams_of_january(home.published_file())
    assert now > then
    assert listed == [(then, then, now, now - then, first, home.manifest()["build_id"], 1)]


def test_every_row_that_differs_between_two_builds_is_listed_and_no_other(changed):
    """Failing means that the list of late changes is not the list of late changes."""
    home, first = changed
    months = (
        "(metric_id, period_start_on) in "
        "(select (metric_id, period_start_on) from old.marts.rpt_metrics_monthly)"
    )
    key = "metric_id, org_level, org_code, modality_group, period_start_on"
    with duckdb.connect(str(home.published_file()), read_only=True) as connection:
        connection.execute(f"attach '{home.published / f'demo_{first}.duckdb'}' as old (read_only)")
        differ = (
            f"select distinct {key} from ((from marts.rpt_metrics_monthly except from "
            "old.marts.rpt_metrics_monthly) union all (from old.marts.rpt_metrics_monthly except "
            f"from marts.rpt_metrics_monthly)) where {months} order by all"
        )
        listed = f"select {key} from statistics.metric_revisions order by all"
        found = connection.execute(listed).fetchall()
        assert len(found) > 1
        assert found == connection.execute(differ).fetchall()


def test_a_month_recomputed_as_known_by_its_build_equals_what_was_published(changed):
    """Failing means that a published month cannot be reproduced once later data are in."""
    home, first = changed
    before = _digests(home)
    again = home.imaging("recompute", "--as-known-on", first, "--compare")
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert f"no difference from build {first}" in again.stdout
    assert _digests(home) == before
    recomputed = home.path / "recomputed" / first / "warehouse.duckdb"
    published = home.published / f"demo_{first}.duckdb"
    for table in ("marts.rpt_metrics_monthly", "statistics.turnaround_survival"):
        query = f"from {table} order by all"
        assert _rows(recomputed, query) == _rows(published, query), table
    assert _exams_of_january(recomputed) < _exams_of_january(home.published_file())
    # Long after the published file was deleted, the history still tells what it held.
    settings = Settings(home=home.path, key_file=home.key_file)
    known = read_known(settings, first, datetime.now(UTC))
    published.rename(published.with_suffix(".gone"))
    found = compare(settings, known, recomputed, None)
    published.with_suffix(".gone").rename(published)
    assert found.turnaround is None and found.metrics.is_empty()
    (late,) = set(compare(settings, known, home.published_file(), date(2026, 1, 1)).metrics[MONTH])
    assert late == date(2026, 1, 1)
