"""The FHIR feed: resources to records, records to events."""

import polars as pl

from pipelines.harvest.model import Batch, Progress, Setup, SourceFile, contract_of
from pipelines.harvest.opening import latest_allowed
from pipelines.harvest.tables import landed_events
from pipelines.sources.extract_tables import Refused
from pipelines.sources.fhir import FhirMap, events_from_resources, read_event_map, read_resources


def read_fhir(feed_kind: str, files: list[SourceFile], setup: Setup, tell: Progress) -> Batch:
    """Resources with the count and end of their events, and the lines that are none."""
    contract, fhir_map, event_map = contract_of(feed_kind, setup), FhirMap.load(), read_event_map()
    frames, rejects = [], []
    for number, file in enumerate(files, start=1):
        found = read_resources(file.data, fhir_map, event_map)
        sha = pl.lit(file.sha).alias("source_sha")
        file.received = len(found.records) + len(found.rejected)
        frames.append(found.records.with_columns(sha))
        rejects.append(
            found.rejected.select(sha, "row_no", "rule", "reason", column_name=pl.lit(""))
        )
        if file.received == 0 and file.refused is None:
            file.refused = Refused(
                "is_not_empty", "the file holds no resource; ask the sender to deliver it again"
            )
        tell(f"read {feed_kind}", number, len(files))
    allowed = latest_allowed(files, contract, setup.network.time_zone)
    rows = pl.concat(frames).join(allowed, on="source_sha", how="left", maintain_order="left")
    rows = rows.with_columns(exam_id=pl.coalesce("accession", "filler_id"))
    events = events_from_resources(rows, fhir_map, event_map, setup.network.time_zone)
    spans = events.group_by("source_sha", pl.col("message_id").alias("row_no")).agg(
        untimed_count=pl.col("event_ts_utc").null_count().cast(pl.Int64),
        last_event_at=pl.col("event_ts_utc").max(),
    )
    mapped = event_map.select("resource_type", "status").unique().with_columns(is_mapped=True)
    records = (
        rows.join(spans, on=["source_sha", "row_no"], how="left", maintain_order="left")
        .join(mapped, on=["resource_type", "status"], how="left", maintain_order="left")
        .with_columns(pl.col("untimed_count").fill_null(0), pl.col("is_mapped").fill_null(False))
    )

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        wanted = accepted.select("source_sha", pl.col("row_no").alias("message_id"))
        kept = events.join(wanted, on=["source_sha", "message_id"], how="semi")
        return landed_events(kept, files, setup)

    return Batch(records, pl.concat(rejects), landing_rows)
