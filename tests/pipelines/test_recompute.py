"""Which instant is looked back to: a month recomputed as known on the wrong day proves nothing."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.publishing.history import SCHEMA
from pipelines.recompute import CannotRecompute, published_by, read_known
from pipelines.settings import AS_KNOWN_ON, Settings, export_environment

LANDED = datetime(2026, 3, 1, 6, tzinfo=UTC)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST, SECOND = "20260302T060000Z-0000abcd", "20260402T060000Z-0000abcd"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home where something landed on 1 March and two builds were published."""
    found = Settings(home=tmp_path, key_file=tmp_path / "keys.json")
    receipts = found.landing_dir / "receipts"
    receipts.mkdir(parents=True)
    landed = pl.Series("landed_at", [LANDED], dtype=pl.Datetime("us", "UTC"))
    pl.DataFrame([landed]).write_parquet(receipts / "one.p1.parquet")
    found.history_dir.mkdir()
    for build_id, known in ((FIRST, ""), (SECOND, "2026-04-02T05:30:00.250000+00:00")):
        published = datetime.strptime(build_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        pl.DataFrame(schema=SCHEMA).write_parquet(
            found.history_dir / f"{build_id}.parquet",
            metadata={"published_at": published.isoformat(), "known_until": known},
        )
    return found


@pytest.mark.parametrize(
    ("text", "until", "build"),
    [
        (SECOND, datetime(2026, 4, 2, 5, 30, 0, 250000, tzinfo=UTC), SECOND),
        (FIRST, datetime(2026, 3, 2, 6, tzinfo=UTC), FIRST),
        # summer time: the day ends an hour earlier in UTC
        ("2026-04-01", datetime(2026, 4, 1, 23, tzinfo=UTC), FIRST),
        ("2026-03-02", datetime(2026, 3, 3, tzinfo=UTC), FIRST),
        ("2026-04-02T07:00", datetime(2026, 4, 2, 6, tzinfo=UTC), SECOND),
        ("2026-04-02T05:59:59+00:00", datetime(2026, 4, 2, 5, 59, 59, tzinfo=UTC), FIRST),
        ("2026-03-01T06:00Z", LANDED, None),
    ],
)
def test_a_build_a_date_and_an_instant_mean_one_instant(settings, text, until, build):
    """Failing means that a day more or less is read than was known."""
    known = read_known(settings, text, NOW)
    if len(text) == len("2026-03-02"):
        until -= timedelta(microseconds=1)
    assert known.until == until
    assert (known.publication.build_id if known.publication else None) == build


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-02-28", r"nothing had landed by 2026-02-28 23:59:59.*first file landed at 2026-03"),
        ("20260302T060000Z-0000ffff", f"no build .* was published.*{FIRST}, {SECOND}"),
        ("2026-05-02", "still to come"),
        ("2026-13-01", "is no build id, date"),
        ("march", "is no build id, date"),
    ],
)
def test_what_cannot_be_known_is_refused_with_what_can(settings, text, message):
    """Failing means that an empty month is taken for what was known then."""
    with pytest.raises(CannotRecompute, match=message):
        read_known(settings, text, NOW)


def test_a_home_without_landed_files_and_a_time_before_any_build_are_refused(settings):
    """Failing means that a comparison with nothing finds no difference."""
    known = read_known(settings, "2026-03-01T07:00Z", NOW)
    with pytest.raises(CannotRecompute, match="nothing had been published by"):
        published_by(known)
    (settings.landing_dir / "receipts" / "one.p1.parquet").unlink()
    with pytest.raises(CannotRecompute, match="nothing has landed"):
        read_known(settings, "2026-03-02", NOW)


def test_a_build_never_looks_back(settings, monkeypatch):
    """Failing means that a variable left in the shell publishes old figures as new ones."""
    for name in ("IMAGING_LANDING", "IMAGING_WAREHOUSE", "DAGSTER_HOME", "IMAGING_HOME", "PATH"):
        monkeypatch.setenv(name, "/nowhere")
    for name in ("IMAGING_IS_SYNTHETIC", "DAGSTER_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    monkeypatch.setenv(AS_KNOWN_ON, "2026-01-01T00:00:00+00:00")
    export_environment(settings)

    assert AS_KNOWN_ON not in os.environ
