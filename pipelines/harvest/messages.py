"""The HL7 feed: messages to rows, rows to events."""

import polars as pl

from pipelines.harvest.model import Batch, Progress, Setup, SourceFile, contract_of, rejects_of
from pipelines.harvest.opening import latest_allowed
from pipelines.harvest.tables import landed_events
from pipelines.sources.clock import parse_hl7_times
from pipelines.sources.extract_tables import Refused
from pipelines.sources.hl7 import (
    Feed,
    MessageBatch,
    events_from_messages,
    frames_that_disagree,
    read_batches,
    read_event_map,
    stated_count,
)


def read_hl7(feed_kind: str, files: list[SourceFile], setup: Setup, tell: Progress) -> Batch:
    """Message rows with the count and span of their events, and the messages not readable."""
    contract = contract_of(feed_kind, setup)
    frames, rejects = [], []
    batches = _batches(files, setup)
    for number, file in enumerate(files, start=1):
        messages = batches[file.sha]
        sha = pl.lit(file.sha).alias("source_sha")
        file.received = messages.rows["message_no"].n_unique() + len(messages.rejected)
        frames.append(messages.rows.with_columns(sha))
        rejects.append(rejects_of(file, messages.rejected))
        if file.received == 0 and file.refused is None:
            file.refused = Refused(
                "is_not_empty", "the file holds no message; ask the sender to deliver it again"
            )
        # A segment of a spool holds many deliveries of its sender: none may cost the others.
        stated = None if file.delivery.is_spooled else stated_count(file.data)
        if file.delivery.is_spooled:
            file.notes += _notes_on_frames(file.data)
        if stated is not None and stated != file.received and file.refused is None:
            file.refused = Refused(
                "batch_count_agrees",
                f"the batch trailers (BTS-1) state {stated} messages, the file holds "
                f"{file.received}; ask the sender for the whole file",
            )
        tell("read hl7", number, len(files))
    rows = pl.concat(frames).with_columns(row_no=pl.col("message_no"))
    issuers = setup.network.feeds.filter(pl.col("sending_facility").is_not_null())
    issuers = issuers.select("sending_facility", pl.col("issuer_ods").alias("issuer"))
    # Two feeds of one sender (live and replay) must not make two rows of its messages.
    issuers = issuers.unique("sending_facility", keep="first", maintain_order=True)
    allowed = latest_allowed(files, contract, setup.network.time_zone).drop("issuer_ods")
    rows = rows.join(allowed, on="source_sha", how="left")
    rows = rows.join(issuers, on="sending_facility", how="left").rename({"issuer": "issuer_ods"})
    rows = rows.with_columns(
        message_type=pl.when(pl.col("message_code") == "ADT")
        .then(pl.concat_str("message_code", "trigger_event", separator="^", ignore_nulls=True))
        .otherwise("message_code"),
        subject_id=pl.coalesce("filler_id", "prior_patient_id"),
        is_message_time_possible=_exists(rows["message_time"], setup.network.time_zone),
    )
    events = _events(rows, setup)
    spans = events.group_by("source_sha", "message_id", "obr_set").agg(
        event_count=pl.len().cast(pl.Int64),
        untimed_count=pl.col("event_ts_utc").null_count().cast(pl.Int64),
        first_event_at=pl.col("event_ts_utc").min(),
        last_event_at=pl.col("event_ts_utc").max(),
    )
    keys = ["source_sha", "message_no", "obr_set"]
    records = rows.join(
        spans.rename({"message_id": "message_no"}), on=keys, how="left", maintain_order="left"
    ).with_columns(pl.col("event_count", "untimed_count").fill_null(0))

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        wanted = accepted.select("source_sha", pl.col("message_no").alias("message_id"), "obr_set")
        kept = events.join(wanted, on=["source_sha", "message_id", "obr_set"], how="semi")
        return landed_events(kept, files, setup)

    return Batch(records, pl.concat(rejects), landing_rows)


def _exists(message_time: pl.Series, zone: str) -> pl.Series:
    """Whether each MSH-7 is a time of calendar and clock; True where none is given."""
    return message_time.is_null() | parse_hl7_times(message_time, zone)["utc"].is_not_null()


def _notes_on_frames(data: bytes) -> list[str]:
    """A note where frames and their batch trailers disagree; it names the first that do."""
    odd = frames_that_disagree(data)
    if not odd:
        return []
    pairs = "; ".join(f"{stated}, not {held}" for stated, held in odd[:5])
    who = "1 frame states" if len(odd) == 1 else f"{len(odd)} frames state"
    what = "it holds" if len(odd) == 1 else "they hold"
    return [f"{who} (BTS-1) another number of messages than {what}: {pairs}; ask the sender"]


def _batches(files: list[SourceFile], setup: Setup) -> dict[str, MessageBatch]:
    """What each file holds, read as the feed file of its sender says, else by the default maps.

    Files that are read alike are read together.
    """
    alike: dict[str, list[SourceFile]] = {}
    for file in files:
        alike.setdefault(file.feed_id if file.feed_id in setup.hl7_feeds else "", []).append(file)
    return {
        file.sha: batch
        for feed_id, mine in alike.items()
        for file, batch in zip(
            mine,
            read_batches(
                [file.data for file in mine], feed=setup.hl7_feeds.get(feed_id, Feed(feed_id))
            ),
            strict=True,
        )
    }


def _events(rows: pl.DataFrame, setup: Setup) -> pl.DataFrame:
    """Events of all messages, by the event map; those of a sender with a feed file by its own."""
    event_map, zone = read_event_map(), setup.network.time_zone
    own = [feed_id for feed_id in setup.hl7_feeds if feed_id in set(rows["feed_id"])]
    parts = [events_from_messages(rows.filter(~pl.col("feed_id").is_in(own)), event_map, zone)]
    for feed_id in own:
        feed = setup.hl7_feeds[feed_id]
        mine = rows.filter(pl.col("feed_id") == feed_id)
        parts.append(events_from_messages(mine, feed.rules(event_map), zone, feed.clock))
    return pl.concat(parts)
