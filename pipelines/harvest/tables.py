"""Feeds that arrive as delimited text: extracts and reference lists."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import polars as pl

from pipelines.contracts import Contract
from pipelines.feeds import FEEDS
from pipelines.harvest.model import Batch, Progress, Setup, SourceFile, contract_of, empty_rejects
from pipelines.harvest.opening import latest_allowed
from pipelines.landing.pseudonymise import (
    nhs_number_is_valid,
    pseudonymise_events,
    pseudonymise_series,
    pseudonymise_table,
)
from pipelines.landing.schema import landing_schema
from pipelines.quality.dids_rules import judged
from pipelines.sources.dids import VERSIONS, read_dids
from pipelines.sources.dm01_extract import FEED as DM01_EXTRACT
from pipelines.sources.dm01_extract import read_dm01_extract
from pipelines.sources.epic_audit import FEED as EPIC
from pipelines.sources.epic_audit import events_from_actions, read_actions
from pipelines.sources.extract_tables import (
    Refused,
    first_row,
    header_of,
    read_text,
    typed_records,
)
from pipelines.sources.ris_extracts import ColumnMap, events_from_extract
from pipelines.sources.series_list_maps import SeriesListMap

REPEATED = "dids_071_accession_number_is_unique_at_its_site"
FORMULA = r"^[=+\-@]"


def read_tables(feed_kind: str, files: list[SourceFile], setup: Setup, tell: Progress) -> Batch:
    """Records of the files of one table feed; a file that is no such table is refused."""
    contract = contract_of(feed_kind, setup)
    read, texts = [], []
    for number, file in enumerate(files, start=1):
        read_own = None if file.refused else _own_reader(file, contract, setup)
        table = file.refused or (read_own() if read_own else _text(file, contract))
        if isinstance(table, Refused):
            file.refused = table
            file.received = max(len(file.data.splitlines()) - first_row(contract) + 1, 0)
        else:
            (read if read_own else texts).append(table.with_columns(source_sha=pl.lit(file.sha)))
        tell(f"read {feed_kind}", number, len(files))
    if texts:
        # Together: a feed can be a small file for every day of years.
        read.append(typed_records(pl.concat(texts), contract, setup.network.time_zone))
    records = (
        pl.concat(read)
        if read
        else pl.DataFrame(schema={"source_sha": pl.String, "row_no": pl.Int64})
    )
    counts = dict(records.group_by("source_sha").len().iter_rows())
    for file in files:
        if file.refused is None:
            file.received = counts.get(file.sha, 0)
    allowed = latest_allowed(files, contract, setup.network.time_zone)
    records = records.join(allowed, on="source_sha", how="left")

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        if feed_kind == EPIC:
            told = events_from_actions(
                accepted, read_actions(), ColumnMap.of_feed(feed_kind), delivered=records
            )
            return landed_events(told, files, setup)
        if FEEDS[feed_kind].landing_table == "imaging_events":
            return landed_events(
                events_from_extract(accepted, ColumnMap.of_feed(feed_kind)), files, setup
            )
        if feed_kind == "dicom_series":
            accepted = pseudonymise_series(accepted, setup.keys)
        accepted = pseudonymise_table(accepted, contract.identities(), setup.keys)
        return landed_reference(accepted, FEEDS[feed_kind].landing_table, setup)

    return Batch(records, formulas(records, contract), landing_rows)


def formulas(records: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """One reject (VIOLATION_SCHEMA) per text cell that a spreadsheet would compute.

    Such a cell is a formula of the sender's workbook, not a value, and would be one again in every
    download. Only contracts with `refusesFormulas`; a formula in another column breaks its type.
    """
    if records.is_empty() or not contract.settings.get("refusesFormulas"):
        return empty_rejects()
    texts = [column.name for column in contract.columns if column.logical_type == "string"]
    return pl.concat(
        [
            records.filter(pl.col(name).str.contains(FORMULA)).select(
                "source_sha",
                "row_no",
                rule=pl.lit("cell_is_no_formula"),
                reason=pl.lit(
                    f"{name} begins with = + - or @, as a formula does; send its value, as text."
                ),
                column_name=pl.lit(name),
            )
            for name in texts
        ]
    )


def _own_reader(
    file: SourceFile, contract: Contract, setup: Setup
) -> Callable[[], pl.DataFrame | Refused] | None:
    """What types a file of its own shape, or by the column map of its sender; None of a plain list."""
    zone = setup.network.time_zone
    if contract.name in VERSIONS:
        return partial(_read_dids, file, contract, setup)
    if contract.name == DM01_EXTRACT:
        return partial(read_dm01_extract, file.data, contract, zone)
    column_map = column_map_of(file, contract, setup)
    if column_map is None:
        return None
    return partial(column_map.read, file.data, contract, zone)


def _text(file: SourceFile, contract: Contract) -> pl.DataFrame | Refused:
    """The text of a plain list, for `typed_records`."""
    text = read_text(file.data, contract)
    if isinstance(text, Refused) and file.delivery.feed_kind == "dicom_series":
        return _with_map_named(text, file)
    return text


def _with_map_named(refused: Refused, file: SourceFile) -> Refused:
    """The refusal of a series list, with the way out for a supplier's own column names."""
    if refused.rule not in ("has_all_columns", "is_readable"):
        return refused
    party = (file.feed_id or "dicom_PARTY").removeprefix("dicom_")
    return replace(
        refused,
        detail=f"{refused.detail}; where a supplier writes its report its own way, map it: "
        f'[series_lists.{party}] with map = "NAME" in archives.toml, and in '
        'series_list_maps/NAME.toml beside it lines such as series_instance_uid = "Series UID" '
        "(docs/archives.md)",
    )


def _read_dids(file: SourceFile, contract: Contract, setup: Setup) -> pl.DataFrame | Refused:
    """Records of a national submission with the answer of every rule; notes those not evaluable."""
    table = read_dids(file.data, contract, setup.network.time_zone)
    if isinstance(table, Refused):
        return table
    found = judged(
        table.with_columns(nhs_number_valid=nhs_number_is_valid(table["nhs_number"])),
        version=VERSIONS[contract.name],
        submitted_on=file.delivery.delivered_on,
        reference=setup.dids_reference,
    )
    reasons: dict[str, list[str]] = {}
    for rule, why in found.not_evaluable.items():
        reasons.setdefault(why, []).append(rule)
    file.notes += [f"not evaluable ({why}): {', '.join(rules)}" for why, rules in reasons.items()]
    return (
        found.records if file.replay_of is None else _with_known_repeats(found.records, file, setup)
    )


def _with_known_repeats(records: pl.DataFrame, file: SourceFile, setup: Setup) -> pl.DataFrame:
    """Records of a replay; what repeated an accession number in its file still does, though alone.

    Rejected records are kept, and so replayed, in the order of their numbers.
    """
    told = setup.landing.read("rejects").filter(
        (pl.col("source_sha") == file.replay_of) & (pl.col("scope") == "row")
    )
    latest = told.filter(pl.col("landed_at") == pl.col("landed_at").max()).sort("row_no")
    if len(latest) != len(records):
        return records
    was_repeated = latest["rule"] == REPEATED
    return records.with_columns(dids_071=pl.col("dids_071") & ~was_repeated)


def column_map_of(file: SourceFile, contract: Contract, setup: Setup) -> SeriesListMap | None:
    """The column map a file needs; None where it has the contract's own columns."""
    kind = file.delivery.feed_kind
    maps = setup.series_list_maps if kind == "dicom_series" else setup.extract_maps
    column_map = maps.get(file.feed_id)
    if column_map is None or set(contract.needed_columns()) <= set(header_of(file.data, contract)):
        return None
    return column_map


def landed_reference(accepted: pl.DataFrame, table: str, setup: Setup) -> pl.DataFrame:
    """Landing rows of a table feed: `<column>_utc` and `<column>_local` where it is a timestamp."""
    wanted = landing_schema(setup.landing.tables[table])
    have = set(accepted.columns)
    columns = []
    for name in wanted:
        base = name.removesuffix("_utc").removesuffix("_local")
        if name in have:
            columns.append(pl.col(name))
        elif name.endswith("_utc") and base in have:
            columns.append(pl.col(base).alias(name))
        elif name.endswith("_local") and base in have:
            columns.append(pl.col(f"{base}__local").alias(name))
    return accepted.select(columns)


def landed_events(events: pl.DataFrame, files: list[SourceFile], setup: Setup) -> pl.DataFrame:
    """Raw events pseudonymised, with the arrival of their file (contract imaging_events)."""
    landed = pseudonymise_events(
        events, setup.keys, setup.network.postcode_deprivation, setup.network.event_ranks()
    )
    received = {file.sha: file.delivery.received_at(setup.network.time_zone) for file in files}
    return landed.with_columns(
        received_at=landed["source_sha"].replace_strict(
            received, return_dtype=pl.Datetime("us", "UTC")
        )
    )
