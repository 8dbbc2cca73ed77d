"""`imaging audit ...`: the record of access read back, for the yearly review."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipelines.problems import Problem
from pipelines.settings import PROJECT_ROOT, Settings

audit_app = typer.Typer(help="Who saw and took what: the record read back.", no_args_is_help=True)
DAY = ["%Y-%m-%d"]
YEAR = timedelta(days=365)


class NoSuchSpan(Problem):
    """The span of days ends before it begins; the message says what to type."""


@audit_app.callback()
def audit() -> None:
    """Keep `report` a verb of its own: a group of one would be the verb itself."""


@audit_app.command()
def report(
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=DAY, help="First day (UTC); default a year before --to."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="Last day (UTC); default today.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Folder to write each table to as CSV, too.")
    ] = None,
) -> None:
    """Access by role, events, downloads with their purpose, refusals, retention, quarantine, opt-outs.

    Readers are told by a sign of their subject, typed SQL by its hash.
    """
    settings = Settings()
    until = last or datetime.now(UTC).replace(tzinfo=None)
    since = first or until - YEAR
    if since > until:
        raise NoSuchSpan(f"--from {since:%Y-%m-%d} is later than --to {until:%Y-%m-%d}")
    command = [sys.executable, "-m", "dashboards.export.access_review"]
    command += ["--published", str(settings.published_dir.resolve())]
    command += ["--audit", str((settings.home / "dashboards" / "audit").resolve())]
    command += ["--from", f"{since:%Y-%m-%d}", "--to", f"{until:%Y-%m-%d}"]
    command += ["--csv", str(csv.resolve())] if csv is not None else []
    # A process of its own: this side knows nothing of the dashboards (docs/architecture.md).
    raise typer.Exit(subprocess.run(command, cwd=PROJECT_ROOT, check=False).returncode)
