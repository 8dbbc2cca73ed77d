"""RIS extracts (one row per exam, one column per time) as imaging events, by a column map."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.event_model import conform

FOLDER = Path(__file__).parent
DEFAULT_MAP = FOLDER / "ris_extract.toml"
# Beside these every record says where it comes from.
ARRIVAL = ("source_sha", "feed_id", "issuer_ods")
USUAL = {"ts_precision": "m", "tz_source": "assumed"}
# What reading adds to a column as text; no part of the record as delivered.
ADDED = ("__flag", "__precision", "__tz_source")


@dataclass(frozen=True)
class ColumnMap:
    """Which column gives which event, and which goes with all of them; from a TOML file.

    `record` maps a field of the event to the column that gives it, `fixed` to one value.
    """

    events: tuple[dict[str, str], ...]
    record: dict[str, str]
    fixed: dict[str, str]

    @classmethod
    def load(cls, path: Path = DEFAULT_MAP) -> "ColumnMap":
        """Read a map; raises KeyError when it does not say what goes with a record."""
        document = tomllib.loads(path.read_text())
        return cls(tuple(document.get("events", [])), document["record"], document.get("fixed", {}))

    @classmethod
    def of_feed(cls, feed_kind: str) -> "ColumnMap":
        """The map beside this module that has the name of the feed kind."""
        return cls.load(FOLDER / f"{feed_kind}.toml")


def events_from_extract(records: pl.DataFrame, column_map: ColumnMap) -> pl.DataFrame:
    """One row per event: every time of every record of a wide extract (RAW_EVENT_SCHEMA).

    `records` are accepted rows of `extract_tables.read_table` with `source_sha`, `feed_id`,
    `issuer_ods` and `received_at` (UTC) beside the contract's columns. An extract restates
    history, so the asserted time of every event is the time the extract was received. A time
    is read to the minute on the network's wall clock, unless columns `<column>__precision` and
    `<column>__tz_source` say otherwise; `<column>__utc` stands in for a column that is a date.
    """
    shared = record_columns(records, column_map)
    wide = pl.concat(
        [shared, records.select(_event_columns(records, column_map))], how="horizontal"
    )
    frames = [_one_event(wide, rule, index) for index, rule in enumerate(column_map.events)]
    return conform(pl.concat(frames, how="diagonal"))


def record_columns(records: pl.DataFrame, column_map: ColumnMap) -> pl.DataFrame:
    """One row per record: what goes with each of its events."""
    uid = column_map.record.get("study_uid")
    return records.select(
        *ARRIVAL,
        pl.col("row_no").alias("message_id"),
        pl.lit(1, pl.Int32).alias("obr_set"),
        pl.lit("csv").alias("source_kind"),
        pl.lit(False).alias("carried"),
        pl.col("received_at").alias("asserted_ts_utc"),
        *(pl.col(column).alias(name) for name, column in column_map.record.items()),
        *(pl.lit(value).alias(name) for name, value in column_map.fixed.items()),
        *([_stated(uid, "extract").alias("study_uid_source")] if uid else []),
        content_sha=_row_digests(records),
    )


def _stated(column: str, value: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(pl.lit(value))


def _event_columns(records: pl.DataFrame, column_map: ColumnMap) -> list[pl.Expr]:
    wanted: dict[str, pl.Expr] = {}
    for index, rule in enumerate(column_map.events):
        column = rule["column"]
        wanted[f"e{index}_raw"] = pl.col(f"{column}__raw")
        instant = f"{column}__utc" if f"{column}__utc" in records.columns else column
        wanted[f"e{index}_utc"] = pl.col(instant)
        wanted[f"e{index}_local"] = pl.col(f"{column}__local")
        wanted[f"e{index}_flag"] = pl.col(f"{column}__flag")
        for key, usual in USUAL.items():
            told = f"{column}__{key.removeprefix('ts_')}"
            given = pl.col(told) if told in records.columns else pl.lit(usual)
            wanted[f"e{index}_{key}"] = given
        for key in ("actor_id", "actor_org", "reason", "scheduled_for"):
            if key in rule:
                wanted[f"e{index}_{key}"] = pl.col(rule[key])
    return [expression.alias(name) for name, expression in wanted.items()]


def _one_event(wide: pl.DataFrame, rule: dict[str, str], index: int) -> pl.DataFrame:
    happened = wide.filter(pl.col(f"e{index}_utc").is_not_null())
    stated: dict[str, Any] = {
        "event_type": pl.lit(rule["event_type"]),
        "event_ts_raw": pl.col(f"e{index}_raw"),
        "event_ts_utc": pl.col(f"e{index}_utc"),
        "event_ts_local": pl.col(f"e{index}_local"),
        "ts_flag": pl.col(f"e{index}_flag"),
        **{key: pl.col(f"e{index}_{key}") for key in USUAL},
        "ts_source": pl.lit(rule["column"]),
        "actor_role": pl.lit(rule.get("actor_role")),
    }
    for key in ("actor_id", "actor_org", "reason", "scheduled_for"):
        if key in rule:
            stated[key] = pl.col(f"e{index}_{key}")
    return happened.with_columns(**stated).drop(pl.selectors.matches(r"^e\d+_"))


def _row_digests(records: pl.DataFrame) -> pl.Series:
    """Digest of each record as delivered, so that an exact copy in another file is recognised."""
    given = sorted(
        name
        for name, dtype in records.schema.items()
        if dtype == pl.String and name not in ARRIVAL and not name.endswith(ADDED)
    )
    joined = records.select(
        pl.concat_str([pl.col(name).fill_null("") for name in given], separator="\x1f")
    ).to_series()
    return pl.Series(
        [hashlib.sha256(text.encode()).digest()[:16] for text in joined], dtype=pl.Binary
    )
