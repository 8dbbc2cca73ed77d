"""The feed of audit messages: accesses of images to events."""

import polars as pl

from pipelines.harvest.model import Batch, Progress, Setup, SourceFile, contract_of, rejects_of
from pipelines.harvest.opening import latest_allowed
from pipelines.harvest.tables import landed_events
from pipelines.sources.extract_tables import Refused
from pipelines.sources.image_access import events_from_audit, read_audit


def read_image_access(
    feed_kind: str, files: list[SourceFile], setup: Setup, tell: Progress
) -> Batch:
    """Audit rows with the time of their event, and the messages not readable."""
    contract, network = contract_of(feed_kind, setup), setup.network
    machines = frozenset(network.application_entities["ae_title"])
    frames, rejects = [], []
    for number, file in enumerate(files, start=1):
        audit = read_audit(file.data, machines=machines)
        sha = pl.lit(file.sha).alias("source_sha")
        file.received = audit.rows["message_no"].n_unique() + len(audit.rejected)
        frames.append(audit.rows.with_columns(sha, feed_id=pl.lit(file.feed_id)))
        rejects.append(rejects_of(file, audit.rejected))
        if file.received == 0 and file.refused is None:
            file.refused = Refused(
                "is_not_empty",
                "the file holds no audit message; ask the sender to deliver it again",
            )
        tell("read image_access", number, len(files))
    rows = pl.concat(frames)
    told = network.audit_sources.filter(pl.col("tells_organisation") == "true")
    events = events_from_audit(
        rows,
        network.time_zone,
        set(network.feeds["issuer_ods"].drop_nulls()),
        set(told["audit_source_id"]),
    )
    allowed = latest_allowed(files, contract, network.time_zone).select(
        "source_sha", "latest_allowed"
    )
    records = rows.with_columns(row_no=pl.col("message_no"), event_at=events["event_ts_utc"])
    records = records.join(allowed, on="source_sha", how="left", maintain_order="left")

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        keys = ["source_sha", "message_id", "obr_set"]
        wanted = accepted.select(
            "source_sha",
            pl.col("message_no").alias("message_id"),
            pl.col("study_set").alias("obr_set"),
        )
        return landed_events(events.join(wanted, on=keys, how="semi"), files, setup)

    return Batch(records, pl.concat(rejects), landing_rows)
