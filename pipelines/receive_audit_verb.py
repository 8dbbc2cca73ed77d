"""`imaging receive audit`: audit messages over syslog, into a spool of their own."""

from typing import Annotated

import typer

from pipelines.receive_verbs import run_receiver, spooling, tls_context
from pipelines.settings import Settings

FEED_KIND = "image_access"


def receive_audit(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
) -> None:
    """Keep the audit messages that archives and viewers send (syslog over TCP, TLS or UDP), encrypted.

    Runs until SIGTERM or Ctrl+C, then closes its segment of the spool and prints its counts.
    """
    from pipelines.network import Network
    from pipelines.receivers.listeners import read_audit_listeners
    from pipelines.receivers.syslog import AuditListening, AuditReceiver

    settings = Settings()
    feeds = set(Network.load(settings.seeds).feeds["feed_id"])
    listeners = read_audit_listeners(settings.audit_listeners_file, feeds)
    listening = AuditListening(
        host=host or settings.receive_audit_host,
        most_connections=settings.receive_audit_connections,
        largest_message=settings.receive_audit_message_mb << 20,
        idle_seconds=settings.receive_audit_idle_seconds,
        tls=tls_context(settings),
    )
    with spooling(FEED_KIND, settings) as (spool, stop):
        receiver = AuditReceiver(spool, listeners, listening)

        def listens() -> list[str]:
            pairs = zip(receiver.ports, listeners, strict=True)
            return [
                f"listening on {listening.host}:{port} ({one.transport}) for {one.feed_id}"
                for port, one in pairs
            ]

        where = f"{listening.host}, ports " + ", ".join(str(one.port) for one in listeners)
        run_receiver(
            receiver, spool, stop, where=where, listens=listens, document=receiver.document
        )
