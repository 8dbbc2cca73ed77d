"""Sends alerts by e-mail (SMTP) and by webhook (JSON over HTTP), and says what came of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from pipelines.alerts.book import Book, is_told
from pipelines.alerts.recipients import Recipient, Target
from pipelines.alerts.signals import Alert
from pipelines.problems import Problem


class AlertsNotSent(Problem):
    """Somebody could not be told; the message says who and why. The next try tells only them."""


class MailProblem(Problem):
    """The settings of the mail server contradict each other or are missing."""


@dataclass(frozen=True)
class Mail:
    """How e-mail is sent. security is starttls, tls or none."""

    host: str | None
    port: int
    security: str
    sender: str
    user: str | None = None
    password_file: Path | None = None
    authority: Path | None = None
    seconds: float = 10.0


@dataclass(frozen=True)
class Letter:
    """What every message says beside its alerts."""

    network: str
    build_id: str
    is_synthetic: bool


@dataclass(frozen=True)
class Outcome:
    """What came of one target: alerts newly told, and why not where it failed."""

    recipient: str
    channel: str
    told: int
    problem: str = ""


Sender = Callable[[Target, list[Alert], Letter, datetime], None]


def send(
    alerts: list[Alert],
    recipients: list[Recipient],
    book: Book,
    letter: Letter,
    mail: Mail,
    *,
    now: datetime,
) -> list[Outcome]:
    """Tell every recipient what it wants to know and was not told; one message per target.

    A target that fails is told of as an outcome and tried again by the next call; the others are
    told all the same. Raises AlertsBusy.
    """
    outcomes = []
    with book.sending():
        sent, mutes = book.sent(), book.mutes()
        loud = [one for one in alerts if not any(mute.holds(one, now.date()) for mute in mutes)]
        for recipient in recipients:
            if not recipient.is_in_force(now.date()):
                continue
            wanted = [alert for alert in loud if recipient.wants(alert)]
            for target in recipient.targets:
                new = [alert for alert in wanted if not is_told(alert, target, sent)]
                if not new:
                    continue
                problem = _deliver(target, new, letter, mail, now)
                told = 0 if problem else len(new)
                if not problem:
                    book.add(new, target, now)
                    sent = book.sent()
                outcomes.append(Outcome(recipient.name, target.channel, told, problem))
    return outcomes


def raise_failed(outcomes: list[Outcome]) -> None:
    """Raise AlertsNotSent where a target could not be told."""
    failed = [f"{one.recipient} by {one.channel}: {one.problem}" for one in outcomes if one.problem]
    if failed:
        raise AlertsNotSent("alerts were not sent to " + "; ".join(failed))


def _deliver(target: Target, alerts: list[Alert], letter: Letter, mail: Mail, now: datetime) -> str:
    """Empty where the target took the message, else why not, without any secret."""
    try:
        if target.channel == "email":
            _mail(target, alerts, letter, mail, now)
        else:
            _post(target, alerts, letter, mail.seconds)
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except smtplib.SMTPResponseException as error:
        return f"the mail server answered {error.smtp_code}"
    except smtplib.SMTPRecipientsRefused:
        return "the mail server refused the address"
    except (OSError, smtplib.SMTPException, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"{type(reason).__name__}: it could not be reached or broke off"
    except MailProblem as problem:
        return str(problem)
    return ""


def key_of(target: Target, alerts: list[Alert]) -> str:
    """The same for the same alerts to the same target, so that a message sent again is known."""
    told = "|".join([target.key, *sorted(alert.id for alert in alerts)])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def body(alerts: list[Alert], letter: Letter) -> str:
    """The alerts in words, each with its page and its id."""
    head = [f"Build {letter.build_id} of {letter.network}."]
    if letter.is_synthetic:
        head.append("SYNTHETIC DATA: no patient, no real figure.")
    lines = [f"- {one.text}\n  {one.link}\n  (alert {one.id})" for one in alerts]
    foot = [
        "Small numbers are hidden and counts are rounded. Management information, not for clinical "
        "decisions.",
        "To mute one: imaging alerts mute --alert ID --until DATE --reason WHY",
    ]
    return "\n".join(head) + "\n\n" + "\n\n".join(lines) + "\n\n" + "\n".join(foot) + "\n"


def _subject(alerts: list[Alert], letter: Letter) -> str:
    mark = "[synthetic] " if letter.is_synthetic else ""
    many = "1 alert" if len(alerts) == 1 else f"{len(alerts)} alerts"
    return f"{mark}{letter.network} imaging: {many}"


def _mail(target: Target, alerts: list[Alert], letter: Letter, mail: Mail, now: datetime) -> None:
    if not mail.host or not mail.sender:
        raise MailProblem("set IMAGING_ALERTS_SMTP_HOST and IMAGING_ALERTS_FROM to send e-mail")
    if mail.user and mail.security == "none":
        raise MailProblem(
            "a password is not sent unencrypted: IMAGING_ALERTS_SMTP_SECURITY is none"
        )
    message = EmailMessage()
    message["Subject"], message["From"] = _subject(alerts, letter), mail.sender
    message["To"], message["Date"] = target.address, format_datetime(now)
    message["Message-ID"] = f"<{key_of(target, alerts)}@imaging-alerts.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body(alerts, letter))
    context = ssl.create_default_context(cafile=mail.authority)
    if mail.security == "tls":
        server = smtplib.SMTP_SSL(mail.host, mail.port, timeout=mail.seconds, context=context)
    else:
        server = smtplib.SMTP(mail.host, mail.port, timeout=mail.seconds)
    try:
        if mail.security == "starttls":
            server.starttls(context=context)
        if mail.user:
            server.login(mail.user, _password(mail))
        server.send_message(message)
        # The message is taken by now: what goes wrong in parting must not send it again.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            server.quit()
    finally:
        server.close()


def _password(mail: Mail) -> str:
    if mail.password_file is None or not mail.password_file.is_file():
        raise MailProblem("IMAGING_ALERTS_SMTP_PASSWORD_FILE names no file with the password")
    return mail.password_file.read_text(encoding="utf-8").strip()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # A token is for the address that was configured and for no other.
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _post(target: Target, alerts: list[Alert], letter: Letter, seconds: float) -> None:
    document = {
        "text": f"{_subject(alerts, letter)}\n\n{body(alerts, letter)}",
        "network": letter.network,
        "build_id": letter.build_id,
        "is_synthetic": letter.is_synthetic,
        "alerts": [
            {
                "id": one.id,
                "kind": one.kind,
                "metric_id": one.metric_id,
                "org_level": one.org_level,
                "org_code": one.org_code,
                "organisation": one.organisation,
                "month_on": one.month_on.isoformat(),
                "since_on": one.since_on.isoformat(),
                "text": one.text,
                "link": one.link,
            }
            for one in alerts
        ],
    }
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": key_of(target, alerts),
        "User-Agent": "imaging-network-warehouse",
    }
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    request = urllib.request.Request(
        target.address, json.dumps(document).encode(), headers, method="POST"
    )
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler())
    with opener.open(request, timeout=seconds) as answer:
        answer.read(1024)
