"""Alerts after a publication: a sensor apart from every run, so that no failure of it stops one."""

import hashlib

import dagster as dg

from pipelines.alerts.book import Book
from pipelines.alerts.delivery import Letter, Mail, Outcome, raise_failed, send
from pipelines.alerts.reading import network_file, read_tables
from pipelines.alerts.recipients import Recipient, read_recipients
from pipelines.alerts.signals import Alert, find
from pipelines.defs.resources import Pipeline
from pipelines.problems import Problem
from pipelines.publishing.audiences import read_audiences
from pipelines.publishing.pointer import Manifest, read_manifest


class NothingPublished(Problem):
    """There is no build to make alerts of."""


def published(pipeline: Pipeline) -> Manifest:
    """The manifest of the current build; raises NothingPublished."""
    manifest = read_manifest(pipeline.settings.published_dir)
    if manifest is None:
        raise NothingPublished("nothing is published yet; run `imaging run`")
    return manifest


def recipients(pipeline: Pipeline) -> list[Recipient]:
    """The entries of alerts.toml, with the audiences in force today."""
    audiences = read_audiences(pipeline.network.audiences, pipeline.now().date())
    named = {audience.name: audience for audience in audiences}
    return read_recipients(pipeline.settings.alerts_file, named)


def current(pipeline: Pipeline) -> tuple[list[Alert], Letter]:
    """The alerts of the current build, sent or not, and what a message says beside them."""
    manifest, settings = published(pipeline), pipeline.settings
    tables, network, is_synthetic = read_tables(network_file(settings.published_dir, manifest))
    alerts = find(tables, settings.dashboards_url)
    return alerts, Letter(network, manifest.build_id, is_synthetic)


def tell(pipeline: Pipeline) -> list[Outcome]:
    """Send what was not sent; one outcome per target that had something new."""
    told = recipients(pipeline)
    if not told:
        return []
    alerts, letter = current(pipeline)
    settings = pipeline.settings
    mail = Mail(
        settings.alerts_smtp_host,
        settings.alerts_smtp_port,
        settings.alerts_smtp_security,
        settings.alerts_from,
        settings.alerts_smtp_user,
        settings.alerts_smtp_password_file,
        settings.alerts_smtp_authority,
        settings.alerts_seconds,
    )
    book = Book(settings.alerts_dir)
    return send(alerts, told, book, letter, mail, now=pipeline.now())


def what_matters(pipeline: Pipeline) -> str:
    """Changes with the build, the day, who is told, and what is muted."""
    settings = pipeline.settings
    files = (settings.alerts_file, Book(settings.alerts_dir).mutes_file)
    content = b"|".join(file.read_bytes() if file.exists() else b"" for file in files)
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"{published(pipeline).build_id} {pipeline.now():%Y-%m-%d} {digest}"


# Five minutes: a mail server that is away is asked again, and not every few seconds.
@dg.sensor(
    minimum_interval_seconds=300,
    description="Alerts of the published build, to those that alerts.toml names.",
)
def alert_sensor(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.SensorResult | dg.SkipReason:
    """Send what is new; a failure makes the tick fail, and the next one tries those again."""
    if read_manifest(pipeline.settings.published_dir) is None:
        return dg.SkipReason("nothing is published yet")
    seen = what_matters(pipeline)
    if seen == context.cursor:
        return dg.SkipReason("the alerts of this build were sent")
    outcomes = tell(pipeline)
    raise_failed(outcomes)
    told = f"told {len(outcomes)} target(s) of what is new"
    return dg.SensorResult(skip_reason=told, cursor=seen)
