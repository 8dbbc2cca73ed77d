"""Which ports a receiver listens on, for which party, and who may connect: a list, not code."""

import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipelines.problems import Problem, nearest
from pipelines.receivers.addresses import Networks, networks

EVERY = {"port", "party", "addresses"}
TRANSPORTS = ("tcp", "udp")
HL7_EXAMPLE = '[[listener]]\nport = 2575\nparty = "RMC"\naddresses = ["10.20.1.5"]'
AUDIT_EXAMPLE = '[[listener]]\nport = 6514\nparty = "RMC"\naddresses = ["10.20.1.5"]'


class ListenersProblem(Problem):
    """The list of listeners cannot be used; the message names the file, the entry and the remedy."""


@dataclass(frozen=True)
class Listener:
    """One port for HL7: the feed of what arrives there, and the networks it may come from.

    `always_aa`: answer AA, AE and AR whatever a message asks for in MSH-15, for senders that fill
    it in and do not know CA. No network means that any address may connect.
    """

    port: int
    feed_id: str
    addresses: Networks = ()
    always_aa: bool = False

    @property
    def place(self) -> str:
        """What only one listener can have."""
        return f"port {self.port}"


@dataclass(frozen=True)
class AuditListener:
    """One port for audit messages: the feed of what arrives there, and where it may come from."""

    port: int
    feed_id: str
    transport: str = "tcp"
    addresses: Networks = ()

    @property
    def place(self) -> str:
        """What only one listener can have: tcp and udp do not share ports."""
        return f"{self.transport} port {self.port}"


Kind = TypeVar("Kind", Listener, AuditListener)


def read_listeners(path: Path, feed_ids: Collection[str]) -> list[Listener]:
    """Read the list of HL7 listeners; raises ListenersProblem.

    The file holds `[[listener]]` tables with `port` and `party`, and may hold `addresses` (a list
    of networks) and `always_aa`. The feed of a party is `hl7_<party>`, one of `feed_ids`. Port 0
    lets the system choose.
    """

    def made(port: int, party: str, addresses: Networks, entry: dict[str, Any]) -> Listener:
        always_aa = entry.get("always_aa", False)
        if not isinstance(always_aa, bool):
            raise ValueError("always_aa is true or false")
        return Listener(port, _feed("hl7", party, feed_ids), addresses, always_aa)

    return _read(path, {"always_aa"}, HL7_EXAMPLE, made)


def read_audit_listeners(path: Path, feed_ids: Collection[str]) -> list[AuditListener]:
    """Read the list of listeners for audit messages; raises ListenersProblem.

    As `read_listeners`, with `transport` (tcp or udp) in place of `always_aa`; the feed of a party
    is `image_access_<party>`.
    """

    def made(port: int, party: str, addresses: Networks, entry: dict[str, Any]) -> AuditListener:
        transport = entry.get("transport", "tcp")
        if transport not in TRANSPORTS:
            raise ValueError(f"transport is {' or '.join(TRANSPORTS)}, not {transport!r}")
        return AuditListener(port, _feed("image_access", party, feed_ids), transport, addresses)

    return _read(path, {"transport"}, AUDIT_EXAMPLE, made)


def _read(
    path: Path,
    own: set[str],
    example: str,
    made: Callable[[int, str, Networks, dict[str, Any]], Kind],
) -> list[Kind]:
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ListenersProblem(
            f"no list of listeners at {path}: write one, for example\n{example}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ListenersProblem(f"{path} is not TOML: {error}") from error
    entries = document.get("listener")
    if not isinstance(entries, list) or not entries:
        raise ListenersProblem(f"{path} names no listener; add one, for example\n{example}")
    found: list[Kind] = []
    for number, entry in enumerate(entries, start=1):
        try:
            listener = made(*_checked(entry, EVERY | own), entry)
            if listener.port and any(listener.place == other.place for other in found):
                raise ValueError(f"another one has {listener.place} already")
        except ValueError as error:
            raise ListenersProblem(f"{path}: listener {number}: {error}") from error
        found.append(listener)
    return found


def _checked(entry: object, known: set[str]) -> tuple[int, str, Networks]:
    """Port, party and networks of one entry; raises ValueError that names what is wrong."""
    if not isinstance(entry, dict) or not {"port", "party"} <= set(entry):
        raise ValueError(f"it needs port and party, and may have {', '.join(sorted(known))}")
    for key in sorted(set(entry) - known):
        raise ValueError(
            f"{key!r} is no key of a listener{nearest(key, known)}; keys are "
            f"{', '.join(sorted(known))}"
        )
    port, addresses = entry["port"], entry.get("addresses", [])
    if type(port) is not int or not 0 <= port < 1 << 16:
        raise ValueError(f"{port!r} is no port")
    if not isinstance(addresses, list) or (not addresses and "addresses" in entry):
        raise ValueError("addresses is a list of networks; leave it out to let any connect")
    return port, entry["party"], networks(addresses)


def _feed(kind: str, party: str, feed_ids: Collection[str]) -> str:
    feed_id = f"{kind}_{party}"
    if feed_id not in feed_ids:
        raise ValueError(
            f"party {party!r} has no feed {feed_id} in seeds/network/feeds.csv; register the feed "
            "or mend the party"
        )
    return feed_id
