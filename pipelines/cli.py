"""The front door: `imaging <verb>`; parses arguments, calls a room or starts a process."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from pipelines.alert_verbs import alerts_app
from pipelines.audit_verbs import audit_app
from pipelines.demo import DEMO_MONTHS, DEMO_SCALE, DEMO_SEED, DEMO_START, DEMO_WORLD
from pipelines.durable import NO_ROOM
from pipelines.export_verbs import export_app
from pipelines.journal import Entry, Journal
from pipelines.journey import (
    Outcome,
    check_landing,
    exclusive,
    execute,
    is_current,
    prepare,
    start_demo_home,
)
from pipelines.landing.keys import create_key_file
from pipelines.problems import Problem
from pipelines.quarantine_verbs import quarantine_app, replay_and_tell
from pipelines.query_verbs import query_app
from pipelines.receive_audit_verb import receive_audit
from pipelines.receive_verbs import receive_app
from pipelines.recompute_verbs import recompute
from pipelines.settings import PROJECT_ROOT, Settings, export_environment
from pipelines.trace_verbs import trace_app

SCALE_HELP = "1.0 = the whole region, about 2.6 million exams a year; the demo is a hundredth."
app = typer.Typer(
    help="Analytics warehouse of a regional imaging network: from source files to dashboards.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
keys_app = typer.Typer(help="Create the key file.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(receive_app, name="receive")
receive_app.command("audit")(receive_audit)
app.add_typer(query_app, name="query")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(export_app, name="export")
app.add_typer(trace_app, name="trace")
app.add_typer(alerts_app, name="alerts")
app.add_typer(audit_app, name="audit")
app.command()(recompute)
PATHS_SHOWN = 20
# How the failure of a contract check ends that Dagster raises.
CONTRACT_CHECK = ": contract_holds"


class Output(StrEnum):
    """What `synthesise` writes."""

    files = "files"
    landing = "landing"


# A message may hold what looks like markup, such as the name of a section.
console = Console(markup=False)
errors = Console(stderr=True, markup=False)


def main() -> None:
    """Run the command line; known problems end with one clear line and exit code 2."""
    try:
        app()
    except (Problem, FileNotFoundError) as problem:
        errors.print(f"imaging: {problem}", style="bold red", soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = error.filename or Settings().home
        errors.print(
            f"imaging: no room is left on the disk of {where}; make room and run the command again",
            style="bold red",
            soft_wrap=True,
        )
        sys.exit(2)


# ---------------------------------------------------------------- progress and tables


class _Watch(Journal):
    """A journal that draws progress."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self.bar = bar
        self.tasks: dict[str, TaskID] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the bar of a step on; a total of 0 means it is not known."""
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=total or None)
        self.bar.update(self.tasks[what], completed=done, total=total or None)


@contextmanager
def _watching() -> Generator[_Watch]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=errors, transient=True) as bar:
        yield _Watch(bar)


def _print_stages(entries: list[Any]) -> None:
    table = Table("stage", "what", "files", "rows", "rejects", "seconds")
    for column in table.columns[2:]:
        column.justify = "right"
    for entry in entries:
        table.add_row(
            entry.stage,
            entry.name,
            f"{entry.files:,}" if entry.files else "",
            f"{entry.rows:,}" if entry.rows else "",
            f"{entry.rejects:,}" if entry.rejects else "",
            "" if entry.seconds is None else f"{entry.seconds:.1f}",
        )
    console.print(table)


def _finish(outcome: Outcome, settings: Settings) -> None:
    if outcome.succeeded:
        return
    failures = _gate(settings)["failures"]
    _print_failures(settings, failures)
    for steps, message in causes(outcome, told=bool(failures)):
        errors.print(f"{steps}: {message}", style="bold red", soft_wrap=True)
    current = _manifest(settings)
    served = f"build {current['build_id']} stays served" if current else "nothing is published yet"
    errors.print(f"The run did not succeed; {served}.", soft_wrap=True)
    raise typer.Exit(1)


def causes(outcome: Outcome, *, told: bool) -> list[tuple[str, str]]:
    """Steps that failed with one message, and the message, each once.

    `told`: the failures of the gate have been printed; a contract check repeats that there are some.
    """
    steps: dict[str, list[str]] = {}
    for step, message in zip(outcome.failed_steps, outcome.messages, strict=True):
        if not (told and message.endswith(CONTRACT_CHECK)):
            steps.setdefault(message, []).append(step)
    return [(", ".join(names), message) for message, names in steps.items()]


def _print_failures(settings: Settings, failures: list[dict[str, Any]]) -> None:
    for failure in failures:
        errors.print(
            f"gate: {failure['contract']}, rule {failure['rule']}, {failure['count']} record(s); "
            f"see {settings.home / failure['rejects_path']}",
            style="bold red",
            soft_wrap=True,
        )
        errors.print(f"      {failure['message']}", soft_wrap=True)


def _gate(settings: Settings) -> dict[str, Any]:
    path = settings.published_dir / "gate.json"
    blank = {"passed": True, "checked_at": None, "failures": []}
    return json.loads(path.read_text()) if path.exists() else blank


def _manifest(settings: Settings) -> dict[str, Any] | None:
    path = settings.published_dir / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else None


# ---------------------------------------------------------------- verbs of the journey


@app.command()
def synthesise(
    to: Annotated[
        Path | None, typer.Option(help="Inbox to fill; default the settings' inbox.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Folder of the truth; no pipeline reads it.")
    ] = None,
    scale: Annotated[float, typer.Option(help=SCALE_HELP)] = DEMO_SCALE,
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m"], help="First month of requests.")
    ] = datetime(DEMO_START.year, DEMO_START.month, 1),
    months: Annotated[
        int, typer.Option(help="How many; the last 12 weeks arrive live.", min=4, max=480)
    ] = DEMO_MONTHS,
    seed: Annotated[int, typer.Option(help="Same seed, same files.", min=0)] = DEMO_SEED,
    world: Annotated[
        str, typer.Option(help="What go-lives do: effect, null or confounded.")
    ] = DEMO_WORLD,
    output: Annotated[
        Output,
        typer.Option(
            "--as",
            help="files: source files for an inbox. landing: landing tables at once, for large "
            "networks; --to is then the landing folder.",
        ),
    ] = Output.files,
    fault: Annotated[
        str | None,
        typer.Option(
            help="Only add one broken delivery: missing_column, wrong_type, future_dates."
        ),
    ] = None,
    calibration_report: Annotated[
        bool,
        typer.Option(help="Only compare the waiting lists at --scale with the published ones."),
    ] = False,
) -> None:
    """Write a synthetic regional network as source files, or one broken delivery."""
    settings = Settings()
    if calibration_report:
        _report_calibration(settings, to or settings.home / "calibration", scale, seed)
        return
    if fault is not None:
        from pipelines.synthetic.faults import break_batch

        console.print(f"broken delivery: {break_batch(fault, to or settings.inbox_dir)}")
        return
    truth = truth or settings.home / "truth"
    if output is Output.landing:
        _synthesise_landing(settings, to, truth, scale, seed, (start.date(), months), world)
        return
    inbox = to or settings.inbox_dir
    _claim(inbox, truth, scale, seed, (start.date(), months), world)
    _synthesise(settings, inbox, truth, scale, seed, (start.date(), months), world)


def _claim(
    inbox: Path, truth: Path, scale: float, seed: int, span: tuple[date, int], world: str
) -> None:
    from pipelines.synthetic.generation import check_scale
    from pipelines.synthetic.period import Period
    from pipelines.synthetic.places import claim
    from pipelines.synthetic.worlds import World

    check_scale(scale)
    World.load(world, 0)
    wanted = {"seed": seed, "scale": scale, "world": world, "period": str(Period.of(*span))}
    claim(inbox, truth, wanted)


def _report_calibration(settings: Settings, folder: Path, scale: float, seed: int) -> None:
    from pipelines.network import Network
    from pipelines.synthetic.calibration_report import AIMS, calibrate, write_report

    found = calibrate(Network.load(settings.seeds), seed=seed, scale=scale)
    command = f"imaging synthesise --calibration-report --scale {scale} --seed {seed}"
    for path in write_report(found, folder, command=command):
        console.print(str(path), soft_wrap=True)
    for error in AIMS:
        console.print(f"{error}: {found.share_within(error):.0%} of the series keep the aim")


def _synthesise(
    settings: Settings,
    inbox: Path,
    truth: Path,
    scale: float,
    seed: int,
    span: tuple[date, int] = (DEMO_START, DEMO_MONTHS),
    world: str = DEMO_WORLD,
) -> None:
    from pipelines.network import Network
    from pipelines.synthetic import generate
    from pipelines.synthetic.period import Period

    with _watching() as watch:
        summary = generate(
            Network.load(settings.seeds),
            inbox,
            truth,
            seed=seed,
            scale=scale,
            period=Period.of(*span),
            world=world,
            progress=watch.progress,
            timer=time.perf_counter,
        )
    seconds = dict(summary.seconds)
    entries = [
        Entry("sources", feed, files, summary.records[feed], seconds=seconds.pop(feed, None))
        for feed, files in summary.files.items()
    ]
    # What several feeds come from together has one time.
    entries += [Entry("simulation", step, seconds=took) for step, took in seconds.items()]
    _print_stages(entries)


def _synthesise_landing(
    settings: Settings,
    to: Path | None,
    truth: Path,
    scale: float,
    seed: int,
    span: tuple[date, int],
    world: str,
) -> None:
    from pipelines.defs.resources import Pipeline
    from pipelines.harvest.synthetic_network import land_network
    from pipelines.landing.quarantine import Quarantine
    from pipelines.landing.writer import LandingStore
    from pipelines.synthetic.period import Period

    pipeline = Pipeline(settings)
    setup = pipeline.setup
    if to is not None:
        setup = replace(
            setup,
            landing=LandingStore(to, pipeline.landing_contracts),
            quarantine=Quarantine(to.parent / "quarantine", setup.keys),
        )
    began = time.monotonic()
    with exclusive(settings), _watching() as watch:
        results = land_network(
            setup,
            truth,
            seed=seed,
            scale=scale,
            period=Period.of(*span),
            world=world,
            progress=watch.progress,
        )
    entries = [
        Entry("landing", kind, found.files_landed, found.rows_written, found.rows_rejected, None)
        for kind, found in results.items()
    ]
    # The feeds are landed side by side: there is one time for all.
    entries.append(Entry("landing", "all of them", seconds=time.monotonic() - began))
    _print_stages(entries)


@app.command()
def harvest(
    feed: Annotated[str | None, typer.Argument(help="One feed, for example dicom.")] = None,
    folder: Annotated[Path | None, typer.Argument(help="A folder instead of the inbox.")] = None,
    replay: Annotated[bool, typer.Option(help="Harvest quarantined records again.")] = False,
) -> None:
    """Land what has arrived; without arguments every feed of the inbox."""
    settings = Settings()
    with exclusive(settings):
        prepare(settings)
        _tell_of_unread(settings)
        if replay:
            if not replay_and_tell(settings, feed):
                raise typer.Exit(1)
        elif folder is not None:
            _harvest_folder(settings, feed or "dicom", folder)
        elif feed is not None:
            _harvest_feed(settings, feed)
        else:
            with _watching() as watch:
                outcome = execute(settings, "harvest", watch)
            _print_stages(watch.entries)
            _finish(outcome, settings)


def _print_result(result: Any, seconds: float) -> None:
    _print_stages(
        [
            Entry(
                "harvest",
                result.feed_kind,
                result.files_landed + result.files_refused,
                result.rows_written,
                result.rows_rejected,
                seconds,
            )
        ]
    )
    console.print(
        f"{result.files_seen} deliveries seen, {result.files_known} known already; received "
        f"{result.rows_received} = landed {result.rows_landed} + rejected {result.rows_rejected}",
        soft_wrap=True,
    )
    for rule, count in result.rejects_by_rule.items():
        console.print(f"  rejected {count}: {rule}")
    for note in result.notes:
        console.print(f"  {note}", soft_wrap=True)
    for failure in result.failures:
        errors.print(f"refused: {failure.message}", style="bold red", soft_wrap=True)


def _harvest_folder(settings: Settings, feed: str, folder: Path) -> None:
    from pipelines.defs.resources import Pipeline
    from pipelines.harvest import dicom_delivery
    from pipelines.harvest import harvest as harvest_feed

    if feed != "dicom":
        errors.print(f"imaging: a folder can be given for dicom only, not for {feed}")
        raise typer.Exit(2)
    if not folder.exists():
        errors.print(f"imaging: {folder} does not exist")
        raise typer.Exit(2)
    pipeline, began = Pipeline(settings), time.monotonic()
    delivery = dicom_delivery(folder, pipeline.now().date())
    with _watching() as watch:
        result = harvest_feed(
            "dicom", [delivery], pipeline.setup, now=pipeline.now(), progress=watch.progress
        )
    _print_result(result, time.monotonic() - began)
    _print_reasons(pipeline, result)
    if not check_landing(settings) and result.failures:
        raise typer.Exit(1)


def _print_reasons(pipeline: Any, result: Any) -> None:
    """Reasons of the rejects of this harvest, most frequent first."""
    rejects = pipeline.landing.read("rejects")
    if not result.rows_rejected or rejects.is_empty():
        return
    latest = rejects.filter(rejects["landed_at"] == rejects["landed_at"].max())
    counts = latest.group_by("reason").len().sort("len", descending=True)
    for reason, count in counts.iter_rows():
        console.print(f"  quarantined {count}: {reason}", soft_wrap=True)
    # Paths are for the operator's terminal only; they can name a patient.
    kept = {entry.entry_id: entry for entry in pipeline.setup.quarantine.entries(state="open")}
    paths = [
        path
        for entry_id in result.quarantined
        if entry_id in kept
        for path in json.loads(pipeline.setup.quarantine.payload(kept[entry_id]))
    ]
    for path in paths[:PATHS_SHOWN]:
        console.print(f"    {path}", soft_wrap=True)
    if len(paths) > PATHS_SHOWN:
        console.print(f"    and {len(paths) - PATHS_SHOWN} more")


def _harvest_feed(settings: Settings, feed: str) -> None:
    from pipelines.defs.resources import Pipeline
    from pipelines.harvest import harvest_arrived
    from pipelines.sources.inbox import FEED_KINDS, deliveries

    if feed not in FEED_KINDS:
        errors.print(f"imaging: no feed {feed}; feeds are {', '.join(FEED_KINDS)}")
        raise typer.Exit(2)
    pipeline, began = Pipeline(settings), time.monotonic()
    with _watching() as watch:
        result = harvest_arrived(
            feed,
            deliveries(settings.inbox_dir, feed),
            pipeline.setup,
            now=pipeline.now(),
            progress=watch.progress,
        )
    _print_result(result, time.monotonic() - began)
    _tell_of_open_segments(settings, feed)
    check_landing(settings)
    if result.failures:
        raise typer.Exit(1)


def _tell_of_unread(settings: Settings) -> None:
    """What lies in the inbox where no feed looks: nothing else would ever tell of it."""
    from pipelines.sources.inbox import unread

    for line in unread(settings.inbox_dir):
        errors.print(f"not read: {line}", style="bold red", soft_wrap=True)


def _tell_of_open_segments(settings: Settings, feed: str) -> None:
    from pipelines.receivers.spool import OPEN, segments

    seconds = settings.segment_seconds(feed)
    if segments(settings.spool_dir / feed, OPEN):
        console.print(
            "a receiver still writes to a segment of the spool, which is harvested once it is closed: "
            f"after at most {seconds} s, or when the receiver ends",
            soft_wrap=True,
        )


def _prune(settings: Settings) -> None:
    from pipelines.defs.resources import Pipeline

    gone = Pipeline(settings).retire_landed()
    if gone:
        console.print(f"{len(gone)} landed files left inbox and spool: their retention is over")


def _execute(settings: Settings, stage: str | None) -> None:
    with _watching() as watch:
        outcome = execute(settings, stage, watch)
    _print_stages(watch.entries)
    _finish(outcome, settings)


@app.command()
def build() -> None:
    """Build the warehouse and the statistics from what has landed, with every dbt test."""
    settings = Settings()
    with exclusive(settings):
        prepare(settings)
        if not check_landing(settings):
            _finish(Outcome(succeeded=False), settings)
        _execute(settings, "build")


@app.command()
def gate(
    dismiss: Annotated[
        str | None, typer.Option(help="Quarantine entry to dismiss: ENTRY or FEED/ENTRY.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why it may be dismissed.")] = "",
) -> None:
    """Check what has landed against the contracts; exit code 1 when the gate does not hold."""
    settings = Settings()
    with exclusive(settings):
        prepare(settings)
        if dismiss is not None:
            dismiss_entry(settings, dismiss, reason)
        holds = check_landing(settings)
    console.print(f"gate: what has landed {'holds' if holds else 'does not hold'} its contracts")
    failures = _gate(settings)["failures"]
    _print_failures(settings, failures)
    if failures:
        raise typer.Exit(1)


def dismiss_entry(settings: Settings, entry_id: str, reason: str) -> None:
    """Close an open quarantine entry, ENTRY or FEED/ENTRY, for a reason; exit code 2 where unclear."""
    from pipelines.defs.resources import Pipeline

    quarantine = Pipeline(settings).setup.quarantine
    chosen = [
        entry
        for entry in quarantine.entries(state="open")
        if entry_id in (entry.entry_id, f"{entry.feed_kind}/{entry.entry_id}")
    ]
    if not reason:
        errors.print("imaging: --dismiss needs a --reason")
        raise typer.Exit(2)
    if not chosen:
        errors.print(
            f"imaging: no open entry {entry_id}; `imaging quarantine list` shows them",
            soft_wrap=True,
        )
        raise typer.Exit(2)
    if len(chosen) > 1:
        names = " or ".join(f"{entry.feed_kind}/{entry.entry_id}" for entry in chosen)
        errors.print(
            f"imaging: {len(chosen)} open entries have that name; say {names}", soft_wrap=True
        )
        raise typer.Exit(2)
    quarantine.close(chosen[0], "dismissed", reason)
    console.print(f"dismissed {entry_id}: {reason}", soft_wrap=True)


@app.command()
def publish(
    rollback: Annotated[bool, typer.Option(help="Go back to the build before.")] = False,
) -> None:
    """Publish the complete warehouse, or go back to the build before."""
    from pipelines.publishing.pointer import NothingToRollBack, roll_back

    settings = Settings()
    with exclusive(settings):
        if not rollback:
            prepare(settings)
            _execute(settings, "publish")
            return
        try:
            manifest = roll_back(settings.published_dir)
        except NothingToRollBack as problem:
            errors.print(f"imaging: {problem}", soft_wrap=True)
            raise typer.Exit(2) from problem
    console.print(f"build {manifest.build_id} is served again")


@app.command()
def run(
    force: Annotated[bool, typer.Option(help="Build and publish although nothing is new.")] = False,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Compute every table anew; takes --force along.")
    ] = False,
) -> None:
    """Harvest, build, gate and publish in one run; does nothing when nothing is new."""
    settings = Settings()
    with exclusive(settings):
        prepare(settings)
        _tell_of_unread(settings)
        _run(settings, force=force or full_refresh, full_refresh=full_refresh)


def _run(settings: Settings, *, force: bool, full_refresh: bool = False) -> list[Any]:
    from pipelines.defs.resources import Pipeline

    if not force and is_current(settings, Pipeline(settings)):
        current = _manifest(settings) or {}
        console.print(
            f"nothing new in {settings.inbox_dir}; build {current['build_id']} is current"
        )
        _prune(settings)
        return []
    with _watching() as watch:
        outcome = execute(settings, None, watch, full_refresh=full_refresh)
    _print_stages(watch.entries)
    _finish(outcome, settings)
    return watch.entries


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What is served, how fresh it is, and what the gate said last."""
    settings = Settings()
    manifest, gate_result = _manifest(settings), _gate(settings)
    document = {
        "build_id": manifest["build_id"] if manifest else None,
        "created_at": manifest["created_at"] if manifest else None,
        "as_at": manifest["as_at"] if manifest else [],
        "tables": manifest["tables"] if manifest else {},
        "gate": gate_result,
    }
    if as_json:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    if manifest is None:
        console.print("nothing is published yet; run `imaging run` (or `make demo`)")
    else:
        console.print(f"build {manifest['build_id']}, created {manifest['created_at']}")
        table = Table("party", "feed", "as at (UTC)")
        for row in manifest["as_at"]:
            table.add_row(row["party_code"], row["feed_id"], row["as_at"])
        console.print(table)
        rows = Table("published table", "rows")
        rows.columns[1].justify = "right"
        for name, count in manifest["tables"].items():
            rows.add_row(name, f"{count:,}")
        console.print(rows)
    verdict = "holds" if gate_result["passed"] else "does not hold"
    checked = gate_result["checked_at"]
    console.print(f"gate: {verdict}, checked {checked}" if checked else "gate: not checked yet")
    for failure in gate_result["failures"]:
        console.print(f"  {failure['message']}", soft_wrap=True)
    _tell_of_unread(settings)


# ---------------------------------------------------------------- processes


@app.command()
def dashboards(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1.")] = None,
) -> None:
    """Serve the dashboards on 127.0.0.1."""
    settings = Settings()
    _serve(settings, port or settings.dashboards_port)


def _serve(settings: Settings, port: int) -> None:
    export_environment(settings)
    console.print(f"Dashboards: http://127.0.0.1:{port}  (Ctrl+C ends them)")
    command = [sys.executable, "-m", "streamlit", "run", "dashboards/app.py"]
    raise typer.Exit(_until_it_ends([*command, "--server.port", str(port)]))


def _until_it_ends(command: list[str]) -> int:
    """Run a server in the foreground; who ends this process ends the server."""
    with subprocess.Popen(command, cwd=PROJECT_ROOT) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        return server.wait()


@app.command()
def screenshots(
    published: Annotated[
        Path | None, typer.Option(help="Folder of the published files; default: what is served.")
    ] = None,
    height: Annotated[int, typer.Option(help="How much of the top of a page, in pixels.")] = 1400,
) -> None:
    """Take pictures of every page into docs/screenshots: wide and phone, light and dark.

    Needs Chromium and the packages of [dev]; refuses a build that is not synthetic.
    """
    export_environment(Settings())
    command = [sys.executable, "-m", "dashboards.screenshots", "--height", str(height)]
    if published is not None:
        command += ["--published", str(published.resolve())]
    raise typer.Exit(subprocess.call(command, cwd=PROJECT_ROOT))


@app.command()
def dagster(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1.")] = None,
) -> None:
    """Open the Dagster interface, with schedule and inbox sensor, on embedded storage."""
    settings = Settings()
    prepare(settings)
    chosen = port or settings.dagster_port
    console.print(f"Dagster: http://127.0.0.1:{chosen}  (Ctrl+C ends it)")
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "-m", "pipelines.definitions"]
    raise typer.Exit(_until_it_ends([*command, "-h", "127.0.0.1", "-p", str(chosen)]))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="Which benchmark: journey, warehouse, dashboards, dicom, hl7, receive, mllp, "
            "archives, effect, spc, sql."
        ),
    ] = "journey",
    quick: Annotated[
        bool,
        typer.Option(
            help="Smaller input; ends within 3 minutes, but for warehouse and dashboards."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on standard output.")] = False,
) -> None:
    """Measure one hot path; exit code 0 even when an aim is missed.

    Options of one benchmark alone (benchmarks/README.md) follow its name.
    """
    script = PROJECT_ROOT / "benchmarks" / f"bench_{name}.py"
    if not script.exists():
        known = sorted(p.stem.removeprefix("bench_") for p in script.parent.glob("bench_*.py"))
        errors.print(f"imaging: no benchmark {name}; there are: {', '.join(known)}")
        raise typer.Exit(2)
    arguments = ["--quick"] * quick + ["--json"] * as_json + context.args
    module = f"{script.parent.name}.{script.stem}"
    raise typer.Exit(subprocess.call([sys.executable, "-m", module, *arguments], cwd=PROJECT_ROOT))


@app.command()
def demo(
    serve: Annotated[bool, typer.Option(help="Serve the dashboards afterwards.")] = True,
    scale: Annotated[float, typer.Option(help=SCALE_HELP)] = DEMO_SCALE,
) -> None:
    """Synthetic network to published dashboards: the whole journey in one command."""
    settings = Settings(is_synthetic=True)
    began = time.monotonic()
    with exclusive(settings):
        if not settings.key_file.exists():
            create_key_file(settings.key_file)
            console.print(f"new key file {settings.key_file}", soft_wrap=True)
        wanted = {"scale": scale, "seed": DEMO_SEED}
        stamp = settings.synthetic_stamp
        if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
            _check_demo_size(settings, scale)
            start_demo_home(settings)
            _synthesise(settings, settings.inbox_dir, settings.home / "truth", scale, DEMO_SEED)
            stamp.write_text(json.dumps(wanted))
        prepare(settings)
        _run(settings, force=False)
    console.print(f"demo ready after {time.monotonic() - began:.0f} s")
    if serve:
        _serve(settings, settings.dashboards_port)


def _check_demo_size(settings: Settings, scale: float) -> None:
    """Refuse a size that cannot be made while the demo before it still stands."""
    from pipelines.network import Network
    from pipelines.synthetic import check_size
    from pipelines.synthetic.period import Period

    check_size(Network.load(settings.seeds), Period.of(), scale)


@app.command()
def docs(
    check: Annotated[bool, typer.Option(help="Only verify; exit code 1 on drift.")] = False,
) -> None:
    """Write the generated reference pages and the contracts of what is published."""
    settings = Settings()
    prepare(settings)
    stale = []
    for path, text in _reference_pages(settings).items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.relative_to(PROJECT_ROOT))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in stale:
        errors.print(f"{'stale' if check else 'written'}: {name}")
    if check and stale:
        errors.print("run `imaging docs` and commit the pages", style="bold red")
        raise typer.Exit(1)


def _reference_pages(settings: Settings) -> dict[Path, str]:
    import yaml

    from pipelines import reference_pages as pages
    from pipelines.contracts import read_contracts
    from pipelines.metrics import read_registry
    from pipelines.warehouse import manifest_path

    manifest = manifest_path(settings.dbt_project)
    folder = PROJECT_ROOT / "docs" / "reference"
    written = {
        folder / "settings.md": pages.settings_page(_all_settings(), "IMAGING_"),
        folder / "cli.md": pages.cli_page(_commands()),
        folder / "metrics.md": pages.metrics_page(read_registry(manifest)),
        folder / "data_dictionary.md": pages.data_dictionary_page(manifest),
        folder / "feeds.md": pages.contracts_page(read_contracts(settings.contracts / "inbound")),
    }
    for node in pages.read_models(manifest):
        path = settings.contracts / "published" / f"{node['name']}.odcs.yaml"
        document = pages.published_contract(node)
        written[path] = yaml.safe_dump(document, sort_keys=False, width=98, allow_unicode=True)
    return written


def _all_settings() -> dict[str, list[tuple[str, object, str]]]:
    """Name, default and meaning of every setting; the dashboards are asked in their own process."""
    own = [(n, f.default, f.description or "") for n, f in Settings.model_fields.items()]
    ask = (
        "import json; from dashboards.settings import Settings; "
        "print(json.dumps([(n, None if f.default is None else str(f.default), f.description) "
        "for n, f in Settings.model_fields.items()]))"
    )
    answer = subprocess.check_output([sys.executable, "-c", ask], cwd=PROJECT_ROOT, text=True)
    theirs = [tuple(row) for row in json.loads(answer)]
    return {"Pipelines": own, "Dashboards": theirs}


def _commands() -> list[dict[str, Any]]:
    """Verbs with their help and options, as Typer knows them."""
    found = []
    group = typer.main.get_group(app)
    for name, command in sorted(group.commands.items()):
        subcommands = getattr(command, "commands", {"": command})
        for sub, leaf in subcommands.items():
            options = [
                (" / ".join([*parameter.opts, *parameter.secondary_opts]), help_text or "")
                for parameter in leaf.params
                if parameter.name != "help"
                for help_text in (getattr(parameter, "help", ""),)
            ]
            found.append(
                {"name": f"{name} {sub}".strip(), "help": leaf.help or "", "options": options}
            )
    return found


@keys_app.command("create")
def keys_create() -> None:
    """Create the key file of this network (mode 0600); never replaces one."""
    settings = Settings()
    if settings.key_file.exists():
        errors.print(f"imaging: {settings.key_file} exists; a key is never replaced")
        raise typer.Exit(2)
    if any(settings.landing_dir.glob("receipts/*.p*.parquet")):
        errors.print(
            f"imaging: {settings.home} holds data pseudonymised with another key; restore that key "
            "instead, or start a new home: with a new key no new delivery would meet them",
            soft_wrap=True,
        )
        raise typer.Exit(2)
    create_key_file(settings.key_file)
    console.print(f"{settings.key_file} created; back it up apart from the data", soft_wrap=True)


if __name__ == "__main__":
    main()
