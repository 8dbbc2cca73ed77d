"""Which deliveries are new, and which feed each belongs to."""

import re
from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from pipelines.contracts import Contract
from pipelines.feeds import FEEDS
from pipelines.harvest.model import Setup, SourceFile
from pipelines.landing.writer import PARSER_VERSION
from pipelines.network import Network
from pipelines.sources.extract_tables import Refused
from pipelines.sources.inbox import Delivery


def open_files(
    feed_kind: str, deliveries: Sequence[Delivery], setup: Setup, replay_of: str | None
) -> tuple[list[SourceFile], int]:
    """Files whose bytes are new, and how many were known already."""
    known = known_deliveries(feed_kind, setup)
    files: dict[str, SourceFile] = {}
    seen = 0
    for delivery in deliveries:
        data, sha = delivery.data(), delivery.identity()
        if (replay_of is None and is_known(delivery, sha, known)) or sha in files:
            seen += 1
            continue
        feed_id, issuer = feed_of(delivery, setup.network)
        file = SourceFile(
            delivery, delivery.name, sha, feed_id or feed_kind, issuer, data, replay_of=replay_of
        )
        if feed_id is None:
            file.refused = unregistered(delivery, setup.network)
        files[sha] = file
    return list(files.values()), seen


def unregistered(delivery: Delivery, network: Network) -> Refused:
    """Refusal of a delivery that no feed of the registry claims."""
    registered = FEEDS[delivery.feed_kind].registered_as or delivery.feed_kind
    named = _words(delivery.name) & set(network.programme_parties["party_code"])
    wanted = (
        f"register the feed {registered}_{min(named)} there"
        if named
        else f"register the feed there, or name the file by its party, as in {registered}_RMC"
    )
    return Refused(
        "feed_is_registered",
        f"no feed of seeds/network/feeds.csv matches the name {delivery.name}; {wanted}"
        " (docs/guides/new_network.md)",
    )


def _words(name: str) -> set[str]:
    return set(re.split(r"[_.\-]", name))


def known_deliveries(feed_kind: str, setup: Setup) -> pl.DataFrame:
    """Receipts of one feed kind that this version of the reader has written."""
    return setup.landing.receipts().filter(
        (pl.col("feed_kind") == feed_kind) & (pl.col("parser_version") == PARSER_VERSION)
    )


def is_known(delivery: Delivery, sha: str, known: pl.DataFrame) -> bool:
    """Say whether a delivery needs no second look.

    Landed bytes are known under any name; refused ones only under the name and day they were
    refused with, since a new name can be what the refusal asked for.
    """
    same = known.filter(pl.col("source_sha") == sha)
    refused_as = same.select("file_name", "delivered_on").iter_rows()
    return "landed" in set(same["status"]) or (
        (delivery.name, delivery.delivered_on) in set(refused_as)
    )


def feed_of(delivery: Delivery, network: Network) -> tuple[str | None, str | None]:
    """Feed id and issuer of a delivery, by the party code in its name; (None, None) if unknown."""
    words = _words(delivery.name)
    registered = FEEDS[delivery.feed_kind].registered_as or delivery.feed_kind
    for feed in network.feeds.iter_rows(named=True):
        kind, party = feed["feed_id"], feed["party_code"]
        if party is None and kind == registered:
            return kind, None
        if party in words and kind == f"{registered}_{party}":
            return kind, feed["issuer_ods"]
    return None, None


def latest_allowed(files: list[SourceFile], contract: Contract, zone: str) -> pl.DataFrame:
    """One row per file: `source_sha`, `feed_id`, `issuer_ods`, `received_at`, `latest_allowed`."""
    tolerance = timedelta(days=float(contract.settings.get("futureToleranceDays", 36_500)))
    rows = [
        (f.sha, f.feed_id, f.issuer, received, received + tolerance)
        for f in files
        for received in (f.delivery.received_at(zone),)
    ]
    instant = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        rows,
        schema={
            "source_sha": pl.String,
            "feed_id": pl.String,
            "issuer_ods": pl.String,
            "received_at": instant,
            "latest_allowed": instant,
        },
        orient="row",
    )
