"""Read, validate, judge, land, account: the steps of every feed in their order."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from pipelines.feeds import FEEDS, WORKBOOK
from pipelines.harvest.accounting import account
from pipelines.harvest.dicom import TABLE, DicomHarvest, unseen_folders
from pipelines.harvest.dose import land_doses
from pipelines.harvest.image_access import read_image_access
from pipelines.harvest.messages import read_hl7
from pipelines.harvest.model import Batch, HarvestResult, Progress, Setup, SourceFile, contract_of
from pipelines.harvest.opening import is_known, known_deliveries, open_files
from pipelines.harvest.resources import read_fhir
from pipelines.harvest.tables import read_tables
from pipelines.harvest.workbooks import land_sheets, read_workbooks
from pipelines.quality.batches import judge, tolerated
from pipelines.quality.suites import violations
from pipelines.sources.extract_tables import Refused
from pipelines.sources.inbox import Delivery

# Deliveries are read in groups of about so many bytes, which bounds what a harvest keeps in memory.
GROUP_BYTES = 32 * 1024 * 1024
ROWS_NAMED = 5
# Feeds of messages; all others are tables.
READERS = {
    "hl7": read_hl7,
    "fhir": read_fhir,
    "image_access": read_image_access,
    WORKBOOK: read_workbooks,
}


def harvest(
    feed_kind: str,
    deliveries: Sequence[Delivery],
    setup: Setup,
    *,
    now: datetime,
    progress: Progress | None = None,
    replay_of: str | None = None,
    is_selection: bool = False,
) -> HarvestResult:
    """Land the deliveries of one feed kind that are not yet known.

    `now` is the landing time (UTC). `is_selection`: the records are rejected ones of a file that
    was judged before, so they are rejected again but never refused as a file. Raises nothing on
    content: broken records are rejected, broken files refused, both with rule and reason, and
    kept encrypted for replay.
    """
    setup.landing.prepare()
    tell = progress or (lambda *_: None)
    if feed_kind == "dicom":
        return _harvest_dicom(
            deliveries, setup, now=now, tell=tell, replay_of=replay_of, is_selection=is_selection
        )
    results, before = [], 0
    for group in _groups(deliveries):
        results.append(
            _harvest_group(
                feed_kind,
                group,
                setup,
                now=now,
                tell=_told_within(tell, before, len(deliveries)),
                replay_of=replay_of,
                is_selection=is_selection,
            )
        )
        before += len(group)
    return HarvestResult.merged(feed_kind, results)


def _groups(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """Consecutive deliveries of bounded size."""
    groups: list[list[Delivery]] = []
    size = GROUP_BYTES
    for delivery in deliveries:
        if size >= GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(delivery)
        size += delivery.size()
    return groups


def _told_within(tell: Progress, before: int, total: int) -> Progress:
    """Progress of a group of files as progress of all of them."""
    return lambda step, done, of: tell(step, before + done, max(total, before + of))


def _harvest_group(
    feed_kind: str,
    deliveries: Sequence[Delivery],
    setup: Setup,
    *,
    now: datetime,
    tell: Progress,
    replay_of: str | None,
    is_selection: bool,
) -> HarvestResult:
    files, known = open_files(feed_kind, deliveries, setup, replay_of)
    if not files:
        return HarvestResult(feed_kind, files_seen=len(deliveries), files_known=known)
    read = READERS.get(feed_kind, read_tables)
    batch = read(feed_kind, files, setup, tell)
    found = _judged_and_landed(feed_kind, files, batch, setup, now, tell, is_selection)
    return replace(found, files_seen=len(deliveries), files_known=known)


def _harvest_dicom(
    deliveries: Sequence[Delivery],
    setup: Setup,
    *,
    now: datetime,
    tell: Progress,
    replay_of: str | None,
    is_selection: bool,
) -> HarvestResult:
    """Batch by batch, each with its receipts: a killed harvest keeps what it has committed."""
    setup.landing.undo_unfinished(TABLE)
    results = []
    with DicomHarvest(setup, tell, replay_of=replay_of, compares_all=is_selection) as reading:
        for files, batch in reading.batches(deliveries):
            with setup.landing.unfinished(TABLE, [file.sha for file in files]):
                found = _judged_and_landed("dicom", files, batch, setup, now, tell, is_selection)
            results.append(replace(found, tallies=batch.tallies))
        known = reading.known
    merged = HarvestResult.merged("dicom", results)
    return replace(merged, files_seen=len(deliveries), files_known=known)


def _judged_and_landed(
    feed_kind: str,
    files: list[SourceFile],
    batch: Batch,
    setup: Setup,
    now: datetime,
    tell: Progress,
    is_selection: bool,
) -> HarvestResult:
    contract = contract_of(feed_kind, setup)
    found = violations(batch.records, contract)
    only_warns = pl.col("rule").is_in([rule.name for rule in contract.rules_of_level("warn")])
    _note_warnings(files, found.filter(only_warns))
    broken = pl.concat([batch.rejected, found.filter(~only_warns)])
    verdict = judge(broken, {file.sha: file.received for file in files}, contract)
    by_sha = {file.sha: file for file in files}
    for sha, rule, count, rows in verdict.refused.iter_rows():
        if by_sha[sha].refused is None and not is_selection:
            mine = broken.filter((pl.col("source_sha") == sha) & (pl.col("rule") == rule))
            detail = (
                f"{count} of {rows} records, the contract tolerates "
                f"{tolerated(contract, rule, rows)}; {_places(mine)}: {mine['reason'][0]}"
            )
            by_sha[sha].refused = Refused(rule, detail)
            by_sha[sha].refused_count = count
    landed, within = _land(feed_kind, files, batch, verdict.rejected, setup, now, tell)
    return account(feed_kind, files, verdict.rejected, landed, setup, now).telling(within)


def _places(broken: pl.DataFrame) -> str:
    """The first rows that broke a rule: where a sender begins to look."""
    numbers = broken["row_no"].unique().sort()
    named = ", ".join(str(number) for number in numbers[:ROWS_NAMED])
    more = ", ..." if len(numbers) > ROWS_NAMED else ""
    return f"{'row' if len(numbers) == 1 else 'rows'} {named}{more}"


def _note_warnings(files: list[SourceFile], warned: pl.DataFrame) -> None:
    """Say on each file how many of its records broke a rule that rejects nothing."""
    counts = warned.group_by("source_sha", "rule").len().sort("rule")
    for file in files:
        mine = counts.filter(pl.col("source_sha") == file.sha)
        file.notes += [f"warning {rule}: {count} records" for _, rule, count in mine.iter_rows()]


def _land(
    feed_kind: str,
    files: list[SourceFile],
    batch: Batch,
    rejected: pl.DataFrame,
    setup: Setup,
    now: datetime,
    tell: Progress,
) -> tuple[dict[str, int], list[HarvestResult]]:
    """Write the landing files of the accepted records: rows written per source hash.

    And the results of what is harvested by the way: the sheets of a workbook.
    """
    refused = [file.sha for file in files if file.refused is not None]
    accepted = batch.records.filter(~pl.col("source_sha").is_in(refused)).join(
        rejected.select("source_sha", "row_no"),
        on=["source_sha", "row_no"],
        how="anti",
        maintain_order="left",
    )
    if accepted.is_empty():
        return {}, []
    if feed_kind == "dicom":
        land_doses(accepted, setup, now)
    within = []
    if feed_kind == WORKBOOK:
        within = land_sheets(
            accepted, batch, lambda kind, sheets: harvest(kind, sheets, setup, now=now)
        )
    rows = batch.landing_rows(accepted).with_columns(
        landed_at=pl.lit(now).cast(pl.Datetime("us", "UTC"))
    )
    written = {}
    parts = rows.partition_by("source_sha", as_dict=True)
    for number, ((sha,), part) in enumerate(parts.items(), start=1):
        setup.landing.write(FEEDS[feed_kind].landing_table, str(sha), part)
        written[str(sha)] = len(part)
        tell(f"land {feed_kind}", number, len(parts))
    return written, within


def unseen(feed_kind: str, waiting: Sequence[Delivery], setup: Setup) -> list[Delivery]:
    """Deliveries that a harvest would look into; reads files, parses nothing."""
    if feed_kind == "dicom":
        return unseen_folders(waiting, setup)
    known = known_deliveries(feed_kind, setup)
    return [d for d in waiting if not is_known(d, d.identity(), known)]
