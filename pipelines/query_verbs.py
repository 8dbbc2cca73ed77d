"""`imaging query ...`: ask outside systems for what they do not send by themselves."""

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from pipelines.problems import Problem
from pipelines.settings import Settings

query_app = typer.Typer(help="Ask outside systems for data.", no_args_is_help=True)
# A message may hold what looks like markup, such as the name of a section.
console = Console(markup=False)
errors = Console(stderr=True, markup=False)
DAY = ["%Y-%m-%d"]


class QueryProblem(Problem):
    """A query that makes no sense as typed; the message says what to type."""


@query_app.command()
def archive(
    name: Annotated[
        str | None, typer.Argument(help="Archive of the archives file; none for every one.")
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=DAY, help="First study date; with --to, leaves the cursor."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="Last study date.")
    ] = None,
) -> None:
    """Ask an archive for its series; the answer waits in the inbox for the next harvest."""
    from pipelines.defs.resources import Pipeline
    from pipelines.sources.dicom_archives import Window, ask_archive

    settings = Settings()
    pipeline = Pipeline(settings)
    if not pipeline.archives:
        console.print(
            f"nothing to ask: no archive in {settings.archives_file}; see docs/archives.md",
            soft_wrap=True,
        )
        return
    if name is not None and name not in pipeline.archives:
        known = ", ".join(sorted(pipeline.archives))
        raise QueryProblem(f"no archive {name} in {settings.archives_file}; there are: {known}")
    if (first is None) != (last is None) or (first and last and first > last):
        raise QueryProblem("--from and --to belong together, the earlier date first")
    span = Window(first.date(), last.date()) if first and last else None
    problems = []
    for one in [name] if name else pipeline.archives:
        try:
            with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
                task = bar.add_task(f"ask {one}", total=None)
                answered = ask_archive(
                    pipeline.archives[one],
                    pipeline.archive_places,
                    clock=pipeline.now,
                    span=span,
                    progress=lambda _, done, total, bar=bar, task=task: bar.update(
                        task, completed=done, total=total or None
                    ),
                )
        except Problem as problem:
            problems.append(str(problem))
            continue
        console.print(
            f"{one}: {answered.series} series in {len(answered.deliveries)} deliveries, "
            f"{answered.requests} requests",
            soft_wrap=True,
        )
        for note in answered.notes:
            errors.print(f"{one}: {note}", style="yellow", soft_wrap=True)
    if problems:
        raise QueryProblem("; ".join(problems))
