"""The warehouse as it was known on an earlier instant, beside the one that is served.

Landing keeps every row with the instant it landed. A recomputation builds the metrics from the
rows that had landed by an instant, into a file of its own: warehouse, stamps and published files
stay as they are. Seeds, models and statistics are those of today.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from pipelines.durable import remove_abandoned_folders
from pipelines.network import Network
from pipelines.problems import Problem, nearest
from pipelines.publishing.history import (
    Publication,
    as_published,
    differing,
    publications,
    read_changes,
    read_metrics,
)
from pipelines.publishing.pointer import read_manifest_of
from pipelines.publishing.release import AUDIENCE
from pipelines.settings import Settings, environment_as_known

BUILD_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
MODELS = ("rpt_metrics_monthly", "int_report_turnarounds")
SURVIVAL = "statistics.turnaround_survival"
SURVIVAL_KEYS = ("org_level", "org_code", "modality_group", "acquired_month_on")
SURVIVAL_FIGURES = ("exam_count", "open_count", "p50_hours", "p90_hours")
LINES_TOLD, BUILDS_TOLD = 5, 10


class CannotRecompute(Problem):
    """What was asked for cannot be recomputed; the message says why and what can."""


@dataclass(frozen=True)
class Known:
    """An instant to look back to: what had landed `until` then (UTC); `name` is for files.

    `publication` is the build that was asked for by its id, otherwise the newest one published by
    then, or None where nothing was.
    """

    until: datetime
    name: str
    publication: Publication | None


def read_known(settings: Settings, text: str, now: datetime) -> Known:
    """The instant that a build id, a date or an instant means, in a home with landed rows.

    A date means its end in the network's time zone; an instant without an offset is on the wall
    clock there. Raises CannotRecompute on text that is none of these, an unknown build, a time to
    come, or one before anything landed.
    """
    published = publications(settings.history_dir)
    zone = ZoneInfo(Network.load(settings.seeds).time_zone)
    is_build = BUILD_ID.fullmatch(text) is not None
    known = _of_build(settings, text, published) if is_build else _of_time(text, zone)
    if known.publication is None:
        shown = [one for one in published if one.published_at <= known.until]
        known = Known(known.until, known.name, shown[-1] if shown else None)
    if known.until.astimezone(zone).date() > now.astimezone(zone).date():
        raise CannotRecompute(f"{text} is still to come; name a day or an instant that has been")
    first = landed(settings).min()
    if not isinstance(first, datetime):
        raise CannotRecompute(
            f"nothing has landed in {settings.landing_dir}; run `imaging harvest`"
        )
    if known.until < first:
        raise CannotRecompute(
            f"nothing had landed by {_written(known.until, zone)}; the first file landed at "
            f"{_written(first, zone)}"
        )
    return known


def _of_build(settings: Settings, text: str, published: Sequence[Publication]) -> Known:
    found = {one.build_id: one for one in published}
    if text not in found:
        listed = ", ".join(list(found)[-BUILDS_TOLD:]) or "none yet"
        raise CannotRecompute(
            f"no build {text} was published{nearest(text, found)}; the newest of {len(found)} "
            f"published: {listed} (all: {settings.history_dir})"
        )
    return Known(found[text].known_until, text, found[text])


def _of_time(text: str, zone: ZoneInfo) -> Known:
    try:
        if len(text) == len("2026-01-31"):
            following = date.fromisoformat(text) + timedelta(days=1)
            midnight = datetime.combine(following, time(), tzinfo=zone)
            until = midnight.astimezone(UTC) - timedelta(microseconds=1)
        else:
            told = datetime.fromisoformat(text)
            # Of an hour that comes twice the second: by then both were over.
            local = told if told.tzinfo else told.replace(tzinfo=zone, fold=1)
            until = local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CannotRecompute(
            f"{text} is no build id, date (2026-01-31) or instant (2026-01-31T18:00, with +00:00 "
            "for UTC)"
        ) from None
    return Known(until, f"{until:%Y%m%dT%H%M%S.%f}Z", None)


def _written(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S} ({zone.key})"


def landed(settings: Settings) -> pl.Series:
    """The instant (UTC) at which each source file landed."""
    files = sorted((settings.landing_dir / "receipts").glob("*.parquet"))
    if not files:
        return pl.Series("landed_at", dtype=pl.Datetime("us", "UTC"))
    return pl.read_parquet(files, columns=["landed_at"])["landed_at"]


def recompute(settings: Settings, known: Known) -> Path:
    """Build the metrics and the turnaround statistics as known; returns the DuckDB file.

    It is IMAGING_HOME/recomputed/<name>/warehouse.duckdb and replaces that of an earlier
    recomputation of the same name. Raises CannotRecompute where dbt does not succeed.
    """
    folder = settings.recomputed_dir
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned_folders(folder)
    work = folder / f".{known.name}.{os.getpid()}.tmp"
    work.mkdir()
    try:
        _build(settings, known, work)
        _add_statistics(work / "warehouse.duckdb")
        target = folder / known.name
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target / "warehouse.duckdb"


def _build(settings: Settings, known: Known, work: Path) -> None:
    """Run dbt over what had landed, without tests: they guard what is published, and held then."""
    project = str(settings.dbt_project.resolve())
    command = [str(Path(sys.executable).parent / "dbt"), "build"]
    command += ["--project-dir", project, "--profiles-dir", project]
    command += ["--target-path", str(work / "target"), "--log-path", str(work / "logs")]
    command += ["--resource-type", "model", "--resource-type", "seed", "--quiet"]
    command += ["--select", *(f"+{name}" for name in MODELS)]
    environment = environment_as_known(settings, work / "warehouse.duckdb", known.until)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise CannotRecompute(
            f"dbt could not build the metrics as known on {known.until.isoformat()}: "
            + " | ".join(told[-LINES_TOLD:])
        )


def _add_statistics(warehouse: Path) -> None:
    from pipelines.defs.statistics.turnaround import store_survival  # Dagster: seconds to import

    with duckdb.connect(str(warehouse)) as connection:
        store_survival(connection)


@dataclass(frozen=True)
class Comparison:
    """A recomputation beside a publication; a row that differs is in `metrics` or `turnaround`.

    Both have the columns of `differing`, recomputed as it is and published as `before_...`.
    `turnaround` is None where the published file is no longer kept. `landed_since` counts source
    files that landed after the publication knew of them and by the instant looked back to.
    """

    publication: Publication
    metrics: pl.DataFrame
    turnaround: pl.DataFrame | None
    landed_since: int


def published_by(known: Known) -> Publication:
    """The publication to compare with; raises CannotRecompute where there was none by then."""
    if known.publication is None:
        raise CannotRecompute(
            f"nothing had been published by {known.until.isoformat()}, so there is nothing to "
            "compare with; leave out --compare, or name a build"
        )
    return known.publication


def compare(settings: Settings, known: Known, file: Path, month: date | None) -> Comparison:
    """Compare a recomputed file with what was published; one month, or every month.

    Compared with the published file where it is kept, otherwise with the history. Raises
    CannotRecompute where nothing had been published by then.
    """
    publication = published_by(known)
    served = _published_file(settings, publication)
    if served is None:
        kept = publications(settings.history_dir)
        until = [one for one in kept if one.build_id <= publication.build_id]
        metrics = as_published(read_changes(until))
    else:
        metrics = read_metrics(served)
    found = differing(
        _of_month(read_metrics(file), "period_start_on", month),
        _of_month(metrics, "period_start_on", month),
    )
    turnaround = None
    if served is not None:
        frames = [_of_month(_survival(one), "acquired_month_on", month) for one in (file, served)]
        turnaround = differing(*frames, SURVIVAL_KEYS, SURVIVAL_FIGURES)
    since = landed(settings)
    between = (since > publication.known_until) & (since <= known.until)
    return Comparison(publication, found, turnaround, int(between.sum()))


def _published_file(settings: Settings, publication: Publication) -> Path | None:
    manifest = read_manifest_of(settings.published_dir, publication.build_id)
    if manifest is None:
        return None
    path = settings.published_dir / manifest.audiences[AUDIENCE]["file"]
    return path if path.exists() else None


def _survival(file: Path) -> pl.DataFrame:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(f"select * from {SURVIVAL}").pl()


def _of_month(frame: pl.DataFrame, column: str, month: date | None) -> pl.DataFrame:
    return frame if month is None else frame.filter(pl.col(column) == month)
