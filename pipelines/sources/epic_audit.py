"""Audit of imaging orders (Epic ORDER_RAD_AUDIT or alike), one row per action, as imaging events."""

from pathlib import Path

import polars as pl

from pipelines.event_model import conform
from pipelines.sources.ris_extracts import ColumnMap, record_columns

FEED = "epic_audit"
ACTIONS = Path(__file__).parent / "epic_audit_actions.csv"


def read_actions(path: Path = ACTIONS) -> pl.DataFrame:
    """One row per action name: the event it is, and the action beside which it is none."""
    return pl.read_csv(path, infer_schema=False)


def events_from_actions(
    records: pl.DataFrame,
    actions: pl.DataFrame,
    column_map: ColumnMap,
    delivered: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row per event of accepted records (RAW_EVENT_SCHEMA).

    An action whose `unless_action` the order has too, in the same file, is no event; `delivered`
    are the records of the file before any was rejected, where they are not all there. The time an
    order was placed, which its rows repeat, is one event. The extract restates history: all is
    asserted at the time it was received.
    """
    known = records.join(
        actions.rename({"note": "_note"}), on="action", how="left", maintain_order="left"
    )
    order = ["source_sha", "order_id"]
    said = records if delivered is None else delivered
    others = said.select(*order, pl.col("action").alias("unless_action")).unique()
    done = known.filter(pl.col("event_type").is_not_null()).join(
        others, on=[*order, "unless_action"], how="anti", maintain_order="left"
    )
    placed = known.filter(pl.col("ordered_at").is_not_null())
    placed = placed.unique([*order, "ordered_at"], keep="first", maintain_order=True)
    return conform(
        pl.concat(
            [
                _events(placed, column_map, "ordered_at").with_columns(
                    event_type=pl.lit("order_placed"), carried=pl.lit(True)
                ),
                _events(done, column_map, "acted_at").with_columns(
                    event_type=done["event_type"],
                    actor_role=done["actor_role"],
                    actor_id=done["user_id"],
                    scheduled_for=done["scheduled_for"],
                    prior_accession=done.select(
                        pl.when(pl.col("event_type") == "exam_reidentified").then(
                            "prior_accession_number"
                        )
                    ).to_series(),
                    status_raw=done["action"],
                ),
            ],
            how="diagonal",
        )
    )


def _events(rows: pl.DataFrame, column_map: ColumnMap, column: str) -> pl.DataFrame:
    """Rows of one time column as events without their type."""
    return record_columns(rows, column_map).with_columns(
        event_ts_raw=rows[f"{column}__raw"],
        event_ts_utc=rows[column],
        event_ts_local=rows[f"{column}__local"],
        ts_flag=rows[f"{column}__flag"],
        ts_precision=pl.lit("s"),
        tz_source=pl.lit("assumed"),
        ts_source=pl.lit(column),
    )
