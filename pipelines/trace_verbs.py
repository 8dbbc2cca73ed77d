"""`imaging trace ...`: from a published figure back to what it was made of."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.problems import Problem, nearest
from pipelines.settings import Settings

if TYPE_CHECKING:
    import duckdb

    from pipelines.publishing.pointer import Manifest

trace_app = typer.Typer(help="Follow a figure back to its sources.", no_args_is_help=True)
console = Console(markup=False)


class TraceProblem(Problem):
    """Nothing to follow; the message says what there is."""


@trace_app.callback()
def _trace() -> None:
    """Follow a figure back to its sources."""


@trace_app.command()
def benefit(
    line: Annotated[str, typer.Argument(help="Line of the benefit register, as B02.")],
    party: Annotated[
        str | None,
        typer.Option(help="Party code. Default: one of the last realised month."),
    ] = None,
    month: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m"], help="Month, as 2021-08. Default: the last realised one."),
    ] = None,
) -> None:
    """Follow the pounds of a benefit line to metric, effect, feeds and exam rows.

    Reads the current published file of this home and nothing else. See docs/benefit_evidence.md.
    """
    import duckdb

    from pipelines.publishing.benefit_trace import benefit_trace
    from pipelines.publishing.pointer import read_manifest
    from pipelines.publishing.release import AUDIENCE

    folder = Settings().published_dir
    manifest = read_manifest(folder)
    if manifest is None:
        raise TraceProblem(f"nothing is published in {folder}; run `imaging run` first")
    with duckdb.connect(
        str(folder / manifest.audiences[AUDIENCE]["file"]), read_only=True
    ) as connection:
        _check(line, party, connection, manifest)
        found = benefit_trace(connection, line, party, month.date() if month else None)
    found.append(("Build", [("build", manifest.build_id), ("published", manifest.created_at)]))
    for title, rows in found:
        console.print(f"\n{title}", style="bold")
        for name, text in rows:
            console.print(f"  {name:<36} {text}", soft_wrap=True, highlight=False)


def _check(
    line: str, party: str | None, connection: "duckdb.DuckDBPyConnection", manifest: "Manifest"
) -> None:
    """A build without the ledger, an unknown line and an unknown party are problems of their own."""
    if "statistics.benefit_ledger" not in manifest.tables:
        raise TraceProblem(
            f"build {manifest.build_id} has no benefit ledger; run `imaging run --force`"
        )
    for kind, asked, query in (
        ("line", line, "select benefit_id from statistics.benefit_ledger order by 1"),
        ("party", party, "select party_code from marts.dim_party order by 1"),
    ):
        known = [str(name) for (name,) in connection.execute(query).fetchall()]
        if asked is not None and asked not in known:
            told = ", ".join(known) or "none"
            raise TraceProblem(
                f"there is no {kind} {asked}{nearest(asked, known)}; there are: {told}"
            )
