"""RIS extracts (one row per exam, one column per time) as imaging events, by a column map."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.event_model import conform

DEFAULT_MAP = Path(__file__).parent / "ris_extract.toml"


@dataclass(frozen=True)
class ColumnMap:
    """Which column gives which event; read from a TOML file beside this module."""

    events: tuple[dict[str, str], ...]

    @classmethod
    def load(cls, path: Path = DEFAULT_MAP) -> "ColumnMap":
        """Read a map; raises KeyError when it has no events."""
        return cls(tuple(tomllib.loads(path.read_text())["events"]))


def events_from_extract(records: pl.DataFrame, column_map: ColumnMap) -> pl.DataFrame:
    """One row per event: every time of every record of a wide extract (RAW_EVENT_SCHEMA).

    `records` are accepted rows of `extract_tables.read_table` with `source_sha`, `feed_id`,
    `issuer_ods` and `received_at` (UTC) beside the contract's columns. An extract restates
    history, so the asserted time of every event is the time the extract was received.
    """
    shared = records.select(
        "source_sha",
        pl.col("row_no").alias("message_id"),
        pl.lit(1, pl.Int32).alias("obr_set"),
        "feed_id",
        pl.lit("csv").alias("source_kind"),
        "issuer_ods",
        pl.col("accession_number").alias("accession"),
        pl.col("accession_number").alias("filler_id"),
        pl.col("study_instance_uid").alias("study_uid"),
        pl.when(pl.col("study_instance_uid").is_not_null())
        .then(pl.lit("extract"))
        .alias("study_uid_source"),
        "patient_id",
        "nhs_number",
        "birth_date",
        "sex",
        "ethnic_category",
        "postcode",
        pl.lit(False).alias("carried"),
        pl.col("received_at").alias("asserted_ts_utc"),
        pl.col("site_code").alias("site_ods"),
        "resource",
        pl.col("exam_code").alias("proc_code"),
        pl.lit("NICIP").alias("proc_system"),
        pl.col("snomed_code").alias("proc_snomed"),
        "priority",
        "source_setting",
        pl.col("referrer_code").alias("requester_id"),
        pl.col("referring_org_code").alias("requester_org"),
        content_sha=_row_digests(records),
    )
    wide = pl.concat(
        [shared, records.select(_event_columns(records, column_map))], how="horizontal"
    )
    frames = [_one_event(wide, rule, index) for index, rule in enumerate(column_map.events)]
    return conform(pl.concat(frames, how="diagonal"))


def _event_columns(records: pl.DataFrame, column_map: ColumnMap) -> list[pl.Expr]:
    wanted: dict[str, pl.Expr] = {}
    for index, rule in enumerate(column_map.events):
        column = rule["column"]
        wanted[f"e{index}_raw"] = pl.col(f"{column}__raw")
        wanted[f"e{index}_utc"] = pl.col(column)
        wanted[f"e{index}_local"] = pl.col(f"{column}__local")
        wanted[f"e{index}_flag"] = pl.col(f"{column}__flag")
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
        "ts_precision": pl.lit("m"),
        "tz_source": pl.lit("assumed"),
        "ts_source": pl.lit(rule["column"]),
        "actor_role": pl.lit(rule.get("actor_role")),
    }
    for key in ("actor_id", "actor_org", "reason", "scheduled_for"):
        if key in rule:
            stated[key] = pl.col(f"e{index}_{key}")
    return happened.with_columns(**stated).drop(pl.selectors.matches(r"^e\d+_"))


def _row_digests(records: pl.DataFrame) -> pl.Series:
    """Digest of each record as delivered, so that an exact copy in another file is recognised."""
    arrival = {"source_sha", "feed_id", "issuer_ods"}
    given = sorted(
        name
        for name, dtype in records.schema.items()
        if dtype == pl.String and name not in arrival and not name.endswith("__flag")
    )
    joined = records.select(
        pl.concat_str([pl.col(name).fill_null("") for name in given], separator="\x1f")
    ).to_series()
    return pl.Series(
        [hashlib.sha256(text.encode()).digest()[:16] for text in joined], dtype=pl.Binary
    )
