"""The history of what was published: of each publication the metrics that are new, other or gone.

One small Parquet file per publication, so that any publication can be put together again and every
change of a published month can be listed, long after its published file was deleted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from pipelines.durable import write_with
from pipelines.problems import Problem
from pipelines.publishing.pointer import Manifest, read_manifest, read_manifest_of

METRICS = "marts.rpt_metrics_monthly"
KEYS = ("metric_id", "org_level", "org_code", "modality_group", "period_start_on")
FIGURES = ("numerator", "denominator", "value")
# A sum of the same numbers in another order is no change; far below one exam in a million.
ROUNDING = 1e-9
SCHEMA: dict[str, pl.DataType] = {
    "metric_id": pl.String(),
    "org_level": pl.String(),
    "org_code": pl.String(),
    "modality_group": pl.String(),
    "period_start_on": pl.Date(),
    "numerator": pl.Float64(),
    "denominator": pl.Float64(),
    "value": pl.Float64(),
    "is_published": pl.Boolean(),
    "build_id": pl.String(),
    "published_at": pl.Datetime("us", "UTC"),
}

Found = TypeVar("Found")


class HistoryBroken(Problem):
    """A file of the history cannot be read; the message names it and the next step."""


@dataclass(frozen=True)
class Publication:
    """One publication that the history keeps; instants in UTC.

    `known_until`: what had landed by then is in it. Of builds that did not note it, it is the
    instant of publication.
    """

    build_id: str
    published_at: datetime
    known_until: datetime
    path: Path


def publications(folder: Path) -> list[Publication]:
    """Every publication that the history keeps, oldest first; raises HistoryBroken."""
    return [_publication(path) for path in sorted(folder.glob("*.parquet"))]


def _publication(path: Path) -> Publication:
    told = _read(path, pl.read_parquet_metadata)
    published = datetime.fromisoformat(told["published_at"])
    known = told.get("known_until")
    return Publication(
        path.stem, published, datetime.fromisoformat(known) if known else published, path
    )


def _read(path: Path, read: Callable[[Path], Found]) -> Found:
    try:
        return read(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise HistoryBroken(
            f"{path} cannot be read ({error}); restore it from the backup of IMAGING_HOME/history"
        ) from error


def read_changes(kept: Sequence[Publication]) -> pl.DataFrame:
    """One row per row of a publication that was new, other or gone (SCHEMA); none make none."""
    frames = [_read(one.path, pl.read_parquet).select(list(SCHEMA)) for one in kept]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames])


def as_published(changes: pl.DataFrame) -> pl.DataFrame:
    """One row per metric, organisation, modality and month as the last publication has it.

    `changes` are those of the publications up to that one.
    """
    last = changes.sort("build_id", maintain_order=True).unique(KEYS, keep="last")
    return last.filter(pl.col("is_published")).select(*KEYS, *FIGURES).sort(KEYS)


def differing(
    rows: pl.DataFrame,
    before: pl.DataFrame,
    keys: Sequence[str] = KEYS,
    figures: Sequence[str] = FIGURES,
) -> pl.DataFrame:
    """One row per row of a table that is new, other or gone against `before`.

    Both have the columns `keys` and `figures` (numbers). The result has the keys, the figures of
    `rows` (null where the row is gone), those of `before` as `before_...`, and `is_published` and
    `was_published`: the row is in `rows`, in `before`. Figures that differ by rounding only are
    equal.
    """
    told = [*keys, *(pl.col(name).cast(pl.Float64) for name in figures)]
    now = rows.select(told).with_columns(is_published=pl.lit(True))
    then = before.select(told).rename({name: f"before_{name}" for name in figures})
    both = now.join(
        then.with_columns(was_published=pl.lit(True)),
        on=keys,
        how="full",
        coalesce=True,
        nulls_equal=True,
    ).with_columns(pl.col("is_published", "was_published").fill_null(False))
    same = pl.all_horizontal(_is_same(pl.col(n), pl.col(f"before_{n}")) for n in figures)
    is_other = (pl.col("is_published") != pl.col("was_published")) | ~same
    return both.filter(is_other).sort(keys)


def _is_same(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Equal but for rounding; two unknown values are equal."""
    scale = pl.max_horizontal(one.abs(), other.abs())
    return pl.coalesce((one - other).abs() <= ROUNDING * scale, one.is_null() & other.is_null())


def changes_of(
    metrics: pl.DataFrame, before: pl.DataFrame, *, build_id: str, published_at: datetime
) -> pl.DataFrame:
    """One row per row of a publication that is new, other or gone against the one before (SCHEMA).

    `published_at` is the instant of the publication (UTC).
    """
    found = differing(metrics, before).with_columns(
        build_id=pl.lit(build_id), published_at=pl.lit(published_at)
    )
    return found.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def read_metrics(file: Path) -> pl.DataFrame:
    """One row per metric, organisation, modality and month of a warehouse or published file."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(f"select {', '.join((*KEYS, *FIGURES))} from {METRICS}").pl()


def remember(folder: Path, history: Path, audience: str) -> list[str]:
    """Keep of the builds readers were shown what the history lacks; returns their ids.

    Safe to repeat, and to call after a crash: a build is kept once. `folder` holds the published
    files and manifests, of which the current one and those before it count.
    """
    current, kept = read_manifest(folder), publications(history)
    if current is None:
        return []
    added = []
    for build_id in [*reversed(current.previous_builds), current.build_id]:
        if kept and build_id <= kept[-1].build_id:
            continue
        manifest = current if build_id == current.build_id else read_manifest_of(folder, build_id)
        if manifest is None or not (folder / manifest.audiences[audience]["file"]).exists():
            continue
        _keep(manifest, folder / manifest.audiences[audience]["file"], history, kept)
        kept = publications(history)
        added.append(build_id)
    return added


def _keep(manifest: Manifest, file: Path, history: Path, before: Sequence[Publication]) -> None:
    frame = changes_of(
        read_metrics(file),
        as_published(read_changes(before)),
        build_id=manifest.build_id,
        published_at=datetime.fromisoformat(manifest.created_at),
    )
    told = {"published_at": manifest.created_at, "known_until": manifest.known_until or ""}
    path = history / f"{manifest.build_id}.parquet"
    write_with(lambda temporary: frame.write_parquet(temporary, metadata=told), path)
