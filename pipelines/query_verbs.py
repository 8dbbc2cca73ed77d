"""`imaging query ...`: ask outside systems for what they do not send by themselves."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import Progress

from pipelines.problems import Problem, nearest
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.defs.resources import Pipeline

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
        str | None,
        typer.Argument(
            help="Archive to ask: NAME of [archives.NAME] in the archives file "
            "(IMAGING_ARCHIVES, default HOME/archives.toml). Without it every archive is asked."
        ),
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=DAY,
            help="First study date, as 2026-01-31; needs --to. Default: what is due since the last "
            "run. With dates the cursor stays where it is.",
        ),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option(
            "--to", formats=DAY, help="Last study date; needs --from. Default: up to today."
        ),
    ] = None,
) -> None:
    """Ask archives for their series; the answers wait in the inbox for the next harvest.

    Asks at once, whatever every_hours says, but never outside quiet_hours. Exit code 2 when an
    archive could not be asked; the others are asked all the same. See docs/archives.md.
    """
    from pipelines.defs.resources import Pipeline

    settings = Settings()
    pipeline = Pipeline(settings)
    if not _is_configured(name, settings, pipeline):
        return
    if (first is None) != (last is None) or (first and last and first > last):
        raise QueryProblem("--from and --to belong together, the earlier date first")
    span = (first.date(), last.date()) if first and last else None
    problems = []
    for one in [name] if name else pipeline.archives:
        try:
            _ask(one, pipeline, span)
        except Problem as problem:
            problems.append(str(problem))
    if problems:
        raise QueryProblem("; ".join(problems))


def _is_configured(name: str | None, settings: Settings, pipeline: "Pipeline") -> bool:
    """Say whether there is an archive to ask; a named one that is not there is a problem.

    Without a name there need not be any: `imaging query archive && imaging run` is for every
    network.
    """
    path = settings.archives_file
    if settings.archives is not None and not path.exists():
        raise QueryProblem(f"IMAGING_ARCHIVES names {path}, which does not exist; correct it")
    if name is None or name in pipeline.archives:
        if not pipeline.archives:
            console.print(f"nothing to ask: {_none_in(path)}", soft_wrap=True)
        return bool(pipeline.archives)
    if not pipeline.archives:
        raise QueryProblem(
            f"there is no archive {name}: {_none_in(path)}, which shows what to write"
        )
    known = ", ".join(sorted(pipeline.archives))
    raise QueryProblem(
        f"there is no archive {name} in {path}{nearest(name, pipeline.archives)}; there are: {known}"
    )


def _none_in(path: Path) -> str:
    if not path.exists():
        return (
            f"{path} does not exist; create it with a table [archives.NAME], see docs/archives.md"
        )
    return f"{path} has no table [archives.NAME]; add one, see docs/archives.md"


def _ask(name: str, pipeline: "Pipeline", span: tuple[date, date] | None) -> None:
    """Ask one archive and say what came of it."""
    from pipelines.sources.dicom_archives import Window, ask_archive, summary

    one, places = pipeline.archives[name], pipeline.archive_places
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(f"ask {name}", total=None)
        answered = ask_archive(
            one,
            places,
            clock=pipeline.now,
            span=None if span is None else Window(*span),
            progress=lambda _, done, total: bar.update(task, completed=done, total=total or None),
        )
    local = pipeline.now().astimezone(ZoneInfo(places.zone))
    for line in summary(answered, one, local, _not_landed(answered.deliveries, pipeline)):
        console.print(line, soft_wrap=True, highlight=False)
    for note in answered.notes:
        errors.print(f"{name}: {note}", style="yellow", soft_wrap=True)


def _not_landed(files: list[Path], pipeline: "Pipeline") -> int | None:
    """How many series of some deliveries no delivery has landed yet; None without the key."""
    import polars as pl

    from pipelines.landing.keys import load_keys
    from pipelines.landing.pseudonymise import pseudonyms

    settings = pipeline.settings
    if not settings.key_file.exists() or not files:
        return None
    uid = "series_instance_uid"
    told = pl.concat([pl.read_csv(file, columns=[uid], infer_schema=False) for file in files])
    hashed = pseudonyms(
        told[uid].drop_nulls().unique(), "series", load_keys(settings.key_file).pseudonym
    )
    landed = sorted((settings.landing_dir / "dicom_series").glob("*.parquet"))
    if not landed:
        return len(hashed)
    here = pl.scan_parquet(landed).select(uid).unique().collect()[uid]
    return int((~hashed.is_in(here.implode())).sum())
