"""`imaging alerts ...`: what the published build would tell, sending it, and muting it."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.problems import Problem
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.defs.resources import Pipeline

alerts_app = typer.Typer(
    help="Signals, late feeds and missed targets: list, send, mute.", no_args_is_help=True
)
console = Console(markup=False)
DAY = ["%Y-%m-%d"]


class MuteProblem(Problem):
    """A mute that makes no sense as typed; the message says what to type."""


def _pipeline() -> "Pipeline":
    from pipelines.defs.resources import Pipeline

    return Pipeline(Settings())


@alerts_app.command("list")
def list_alerts() -> None:
    """The alerts of the published build, to how many targets each was sent, and the mutes."""
    from pipelines.alerts.book import Book
    from pipelines.defs.publish.alerts import current

    pipeline = _pipeline()
    alerts, letter = current(pipeline)
    book, today = Book(pipeline.settings.alerts_dir), pipeline.now().date()
    sent = [line["alert"] for line in book.sent()]
    mutes = book.mutes()
    console.print(f"{len(alerts)} alert(s) in build {letter.build_id} of {letter.network}")
    for one in alerts:
        muted = any(mute.holds(one, today) for mute in mutes)
        state = "muted" if muted else f"sent to {sent.count(one.id)}"
        console.print(f"{one.id}  {one.kind}  {one.metric_id}  {state}", soft_wrap=True)
        console.print(f"    {one.text}\n    {one.link}", soft_wrap=True)
    for mute in mutes:
        parts = (mute.alert, mute.kind, mute.metric_id, mute.org_code)
        what = " ".join(part for part in parts if part)
        console.print(f"mute {mute.number}: {what} until {mute.until_on}, {mute.reason}")


@alerts_app.command("send")
def send_alerts() -> None:
    """Send what was not sent to those that the alerts file names; sending again sends nothing twice.

    Exit code 2 where somebody could not be told; the next call tells only them.
    """
    from pipelines.defs.publish.alerts import raise_failed, tell

    pipeline = _pipeline()
    if not pipeline.settings.alerts_file.exists():
        console.print(
            f"nobody to tell: {pipeline.settings.alerts_file} does not exist; see docs/alerts.md",
            soft_wrap=True,
        )
        return
    outcomes = tell(pipeline)
    for one in outcomes:
        if not one.problem:
            console.print(f"{one.recipient} by {one.channel}: told of {one.told} alert(s)")
    if not outcomes:
        console.print("nothing new to tell")
    raise_failed(outcomes)


@alerts_app.command("mute")
def mute_alerts(
    until: Annotated[datetime, typer.Option(formats=DAY, help="Last day that is muted.")],
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    alert: Annotated[str | None, typer.Option(help="One alert, by its id.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="concern, improvement, change, breach or late_feed.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="A metric id; of a late feed FEED_ID/FEED_KIND.")
    ] = None,
    organisation: Annotated[
        str | None, typer.Option(help="A party or trust code, or NETWORK.")
    ] = None,
) -> None:
    """Send no alert that fits all that is said, up to a day; it is sent then if it still stands."""
    from pipelines.alerts.book import Book
    from pipelines.alerts.signals import KINDS

    pipeline = _pipeline()
    if not (alert or kind or metric or organisation):
        raise MuteProblem("say what to mute: --alert, --kind, --metric, --organisation")
    if kind is not None and kind not in KINDS:
        raise MuteProblem(f"there is no kind {kind}; there are {', '.join(KINDS)}")
    if not reason.strip():
        raise MuteProblem("say why with --reason")
    if until.date() < pipeline.now().date():
        raise MuteProblem(f"--until {until.date()} is past: such a mute would hold nothing back")
    made = Book(pipeline.settings.alerts_dir).mute(
        until=until.date(),
        reason=reason.strip(),
        now=pipeline.now(),
        alert=alert,
        kind=kind,
        metric_id=metric,
        org_code=organisation,
    )
    console.print(f"mute {made.number} until {made.until_on}")


@alerts_app.command("unmute")
def unmute_alerts(
    number: Annotated[int, typer.Argument(help="Number of the mute, as `alerts list` shows it.")],
) -> None:
    """Take a mute away; what it held back is sent next time if it still stands."""
    from pipelines.alerts.book import Book

    gone = Book(_pipeline().settings.alerts_dir).unmute(number)
    console.print(f"mute {gone.number} is gone")
