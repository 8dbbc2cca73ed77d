"""`imaging export ...`: files that trusts send on, tables for other tools, the pack of a board."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from pipelines.exports.dids import Submission

export_app = typer.Typer(help="Write files that trusts send on.", no_args_is_help=True)
console = Console(markup=False)
MONTH, DAY = ["%Y-%m"], ["%Y-%m-%d"]


@export_app.command()
def dids(
    version: Annotated[int, typer.Option(min=1, max=2, help="Version of the data set: 1 or 2.")],
    month: Annotated[datetime, typer.Option(formats=MONTH, help="Month of the exams, YYYY-MM.")],
    party: Annotated[
        str | None, typer.Option(help="Party whose exams; none writes one file per party.")
    ] = None,
    identities: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A trust's own list of identities (CSV); needs --party and --to. Never kept.",
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; default HOME/exports/dids.")
    ] = None,
    submitted_on: Annotated[
        datetime | None,
        typer.Option("--on", formats=DAY, help="Day of the submission; default today."),
    ] = None,
) -> None:
    """Write the national submission (DIDS) of a month, and say which of its rules do not hold."""
    from pipelines.defs.resources import Pipeline
    from pipelines.durable import write_bytes
    from pipelines.exports.dids import (
        ExportProblem,
        exams_done,
        read_identities,
        submission,
        with_identities,
    )
    from pipelines.landing.keys import load_keys

    settings = Settings()
    pipeline = Pipeline(settings)
    parties = pipeline.network.programme_parties["party_code"].to_list()
    if identities is not None and (party is None or to is None):
        raise ExportProblem(
            "--identities is the list of one trust: say its --party, and with --to where the "
            "submission, which will hold identities, is to lie"
        )
    if party is not None and party not in parties:
        raise ExportProblem(f"no party {party}; there are {', '.join(parties)}")
    contract = pipeline.inbound_contracts[f"dids_v{version}"]
    key = load_keys(settings.key_file).pseudonym
    people = None if identities is None else read_identities(identities)
    registry = pipeline.network.feeds.drop_nulls(["party_code", "issuer_ods"])
    issuers = {
        str(code): frozenset(rows["issuer_ods"])
        for (code,), rows in registry.group_by("party_code")
    }
    folder = to or settings.home / "exports" / "dids"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in [party] if party else parties:
        exams = exams_done(settings.warehouse_file, settings.landing_dir, one, month.date())
        if exams.is_empty():
            console.print(f"{one}: no exam done in {month:%Y-%m}; nothing written")
            continue
        made = submission(
            with_identities(exams, people, key, issuers.get(one, frozenset())),
            contract,
            zone=pipeline.network.time_zone,
            submitted_on=(submitted_on or pipeline.now()).date(),
            reference=pipeline.setup.dids_reference,
        )
        path = folder / f"dids_v{version}_{one}_{month:%Y-%m}.csv"
        write_bytes(made.data, path, mode=0o600)
        console.print(
            f"{one}: {made.records} exams, {made.with_identity} with demographic items: {path}",
            soft_wrap=True,
        )
        _tell(made)


@export_app.command()
def dm01(
    month: Annotated[datetime, typer.Option(formats=MONTH, help="Month of the census, YYYY-MM.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; default HOME/exports/dm01.")
    ] = None,
) -> None:
    """Write the national return of waits and activity (DM01) of a month, in its published layout."""
    from pipelines.defs.resources import Pipeline
    from pipelines.durable import write_bytes
    from pipelines.exports.dm01 import dm01_return

    settings = Settings()
    network = Pipeline(settings).network
    made = dm01_return(settings.warehouse_file, month.date(), network.region_code)
    folder = to or settings.home / "exports" / "dm01"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"dm01_{month:%Y-%m}.csv"
    write_bytes(made.data(), path, mode=0o600)
    trusts = made.table["Provider Code"].n_unique()
    console.print(f"{len(made.table)} rows of {trusts} trusts: {path}", soft_wrap=True)
    for trust in made.without_list:
        console.print(f"  left out {trust}: no feed tells who waits there")
    for trust in made.half_told:
        console.print(f"  too short {trust}: a party of it tells of exams done only")
    waiting, tested = made.of_no_trust
    if waiting or tested:
        console.print(f"  left out of no known trust: {waiting} waiting, {tested} tests")


@export_app.command()
def parquet(
    audience: Annotated[
        str, typer.Option(help="Whose file is copied; one in which small counts are hidden.")
    ] = "network",
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; default HOME/exports/parquet/AUDIENCE."),
    ] = None,
) -> None:
    """Write the published tables of an audience as Parquet, with a data dictionary; recorded."""
    from pipelines.defs.resources import Pipeline
    from pipelines.exports.tables import copy_tables, record

    settings = Settings()
    folder = (to or settings.home / "exports" / "parquet" / audience).resolve()
    copied = copy_tables(settings.published_dir, audience, folder)
    record(settings.home / "exports" / "exports.jsonl", copied, folder, Pipeline(settings).now())
    console.print(
        f"{len(copied.rows)} tables with {sum(copied.rows.values()):,} rows of build "
        f"{copied.build_id} for {audience}: {folder}",
        soft_wrap=True,
    )
    console.print(f"  small numbers: {copied.rule}", soft_wrap=True)
    for left in sorted({path.name for path in folder.glob("*.parquet")} - set(copied.rows)):
        console.print(f"  not of this build, delete it: {left}")


@export_app.command("board-pack")
def board_pack(
    build: Annotated[
        str | None, typer.Option(help="Build id; default the build that is served.")
    ] = None,
    audience: Annotated[
        str | None, typer.Option(help="Whose file is read; default IMAGING_AUDIENCE.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; default HOME/exports/board-pack.")
    ] = None,
) -> None:
    """Write the board pack of a published build, as accessible PDF and as editable slides."""
    settings = Settings()
    folder = (to or settings.home / "exports" / "board-pack").resolve()
    command = [sys.executable, "-m", "dashboards.export", "--to", str(folder)]
    command += ["--published", str(settings.published_dir.resolve())]
    command += ["--build", build] if build else []
    command += ["--audience", audience] if audience else []
    # A process of its own: this side knows nothing of the dashboards (docs/architecture.md).
    raise typer.Exit(subprocess.run(command, cwd=PROJECT_ROOT, check=False).returncode)


def _tell(made: "Submission") -> None:
    """Lines under a submission: what it lacks and which rules do not hold."""
    if made.left_out:
        console.print(f"  left out {made.left_out}: exams without accession number or site")
    if made.day_only:
        console.print(f"  known to the day only, which the portal does not take: {made.day_only}")
    for rule, count in made.broken.items():
        console.print(f"  breaks {rule}: {count}")
    for rule, count in made.warned.items():
        console.print(f"  warns {rule}: {count}")
    reasons: dict[str, list[str]] = {}
    for rule, why in made.not_evaluable.items():
        reasons.setdefault(why, []).append(rule)
    for why, rules in reasons.items():
        console.print(f"  not evaluable ({why}): {', '.join(rules)}", soft_wrap=True)
