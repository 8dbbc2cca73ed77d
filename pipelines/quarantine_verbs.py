"""`imaging quarantine ...`: what waits in quarantine, and harvesting it again."""

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.journey import check_landing, exclusive, prepare
from pipelines.problems import Problem, nearest
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.harvest import Replayed, Waiting

quarantine_app = typer.Typer(
    help="What did not land: list it, and harvest it again once the cause is mended.",
    no_args_is_help=True,
)
console = Console(markup=False)
errors = Console(stderr=True, markup=False)


class UnknownFeed(Problem):
    """No feed has that name; the message lists those that are."""


@quarantine_app.command("list")
def list_waiting(
    feed: Annotated[
        str | None, typer.Option(help="One feed: its kind (hl7) or its id (hl7_RMC).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    rows: Annotated[
        bool, typer.Option("--rows", help="Also the row, column and rule of each record.")
    ] = False,
) -> None:
    """What waits: feed, delivery, rules, records, since when, and the command that is next.

    Counts, numbers of rows and names of deliveries, never an identity or a text. It needs the key, since
    whether something can be replayed shows in decrypting it.
    """
    from pipelines.defs.resources import Pipeline
    from pipelines.harvest import waiting

    pipeline = Pipeline(Settings())
    _check_feed(feed, pipeline.network.feeds["feed_id"].to_list())
    found = waiting(pipeline.setup, feed)
    if as_json:
        document = {
            "as_of": pipeline.now().isoformat(),
            "entries": len(found),
            "records": sum(one.entry.record_count for one in found),
            "waiting": [one.document() for one in found],
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    _print_waiting(found, pipeline.now(), with_rows=rows)


@quarantine_app.command("replay")
def replay_again(
    feed: Annotated[
        str | None, typer.Argument(help="One feed: its kind (hl7) or its id (hl7_RMC).")
    ] = None,
    item: Annotated[
        str | None,
        typer.Argument(help="One entry as `quarantine list` names it, or its beginning."),
    ] = None,
) -> None:
    """Harvest again what waits, all of it, of one feed, or one entry; mend the cause first.

    What is rejected once more waits on, and doing it twice changes nothing. Exit code 1 when
    something could not be replayed, or when counts do not add up.
    """
    settings = Settings()
    with exclusive(settings):
        prepare(settings)
        is_well = replay_and_tell(settings, feed, item)
    if not is_well:
        raise typer.Exit(1)


def replay_and_tell(settings: Settings, feed: str | None, item: str | None = None) -> bool:
    """Replay what waits and print what became of it; True when all of it could be replayed.

    Hold `exclusive` and call `prepare` first. The verdicts of the gate are renewed.
    """
    from pipelines.defs.resources import Pipeline
    from pipelines.harvest import replay_waiting, waiting

    pipeline = Pipeline(settings)
    _check_feed(feed, pipeline.network.feeds["feed_id"].to_list())
    chosen = waiting(pipeline.setup, feed, item)
    done = []
    for one in replay_waiting(chosen, pipeline.setup, now=pipeline.now()):
        done.append(one)
        _print_replayed(one)
    results = [one.result for one in done if one.result is not None]
    console.print(
        f"{len(results)} quarantine entries replayed: received "
        f"{sum(r.rows_received for r in results)} = landed {sum(r.rows_landed for r in results)} + "
        f"rejected again {sum(r.rows_rejected for r in results)}",
        soft_wrap=True,
    )
    check_landing(settings)
    return all(one.is_reconciled for one in done)


def _check_feed(feed: str | None, feed_ids: list[str]) -> None:
    """Raise UnknownFeed for what is neither a kind of feed nor a feed of the registry."""
    from pipelines.feeds import FEEDS

    known = [*FEEDS, *feed_ids]
    if feed is not None and feed not in known:
        raise UnknownFeed(
            f"there is no feed {feed}{nearest(feed, known)}; kinds are {', '.join(FEEDS)}, or a "
            "feed_id of seeds/network/feeds.csv"
        )


def _print_waiting(found: list["Waiting"], now: datetime, *, with_rows: bool) -> None:
    """One paragraph per entry: a table would cut names short on a narrow terminal."""
    if not found:
        console.print("nothing waits in quarantine")
        return
    for one in found:
        since = (
            ""
            if one.since is None
            else f", since {one.since:%Y-%m-%d %H:%M} UTC ({(now - one.since).days} days)"
        )
        console.print(f"{one.feed_id}  {one.entry.file_name}{since}", soft_wrap=True)
        for rule, count in one.rules.items():
            console.print(f"    {count:,} {rule}", soft_wrap=True)
        for row_no, column, rule, reason in one.rows if with_rows else ():
            where = "the whole" if row_no is None else f"row {row_no}"
            place = f"{where}, {column}" if column else where
            console.print(f"      {place}: {rule}: {reason}", soft_wrap=True)
        if one.command is None:
            continue
        if one.hindrance is not None:
            console.print(f"    cannot be replayed: {one.hindrance}", soft_wrap=True)
        console.print(f"    {one.command}", soft_wrap=True)
    locked = [one.hindrance for one in found if one.is_locked]
    if locked:
        console.print(f"{len(locked)} entries need another key: {locked[0]}", soft_wrap=True)
    records = sum(one.entry.record_count for one in found)
    console.print(
        f"{len(found)} entries, {records:,} records; mend the cause before a replay "
        "(docs/bad_input.md)",
        soft_wrap=True,
    )


def _print_replayed(one: "Replayed") -> None:
    what = f"{one.entry.file_name} ({one.entry.rule})"
    if one.result is None:
        errors.print(f"{what}: not replayed: {one.hindrance}", style="bold red", soft_wrap=True)
        return
    found = one.result
    console.print(
        f"{what}: {found.rows_landed} landed, {found.rows_rejected} still rejected", soft_wrap=True
    )
    for failure in found.failures:
        errors.print(f"refused: {failure.message}", style="bold red", soft_wrap=True)
    if not one.is_reconciled:
        errors.print(
            f"{what}: {one.entry.record_count} records waited, {found.rows_received} were received "
            f"again; the entry {one.entry.entry_id} stays open",
            style="bold red",
            soft_wrap=True,
        )
