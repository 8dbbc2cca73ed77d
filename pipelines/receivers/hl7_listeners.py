"""Which ports the HL7 receiver listens on, for which party, and who may connect: a list, not code."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipelines.problems import Problem
from pipelines.receivers.addresses import Networks, networks

EXAMPLE = '[[listener]]\nport = 2575\nparty = "RMC"\naddresses = ["10.20.1.5"]'
KNOWN = {"port", "party", "addresses", "always_aa"}


class ListenersProblem(Problem):
    """The list of listeners cannot be used; the message names the file, the entry and the remedy."""


@dataclass(frozen=True)
class Listener:
    """One port: the feed of what arrives there, and the networks it may come from.

    `always_aa`: answer AA, AE and AR whatever a message asks for in MSH-15, for senders that fill
    it in and do not know CA. No network means that any address may connect.
    """

    port: int
    feed_id: str
    addresses: Networks = ()
    always_aa: bool = False


def read_listeners(path: Path, feed_ids: Collection[str]) -> list[Listener]:
    """Read the list of listeners; raises ListenersProblem.

    The file holds `[[listener]]` tables with `port` and `party`, and may hold `addresses` (a list
    of networks) and `always_aa`. The feed of a party is `hl7_<party>`, one of `feed_ids`. Port 0
    lets the system choose.
    """
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ListenersProblem(
            f"no list of listeners at {path}: write one, for example\n{EXAMPLE}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ListenersProblem(f"{path} is not TOML: {error}") from error
    entries = document.get("listener")
    if not isinstance(entries, list) or not entries:
        raise ListenersProblem(f"{path} names no listener; add one, for example\n{EXAMPLE}")
    found: list[Listener] = []
    for number, entry in enumerate(entries, start=1):
        try:
            listener = _listener(entry, feed_ids)
        except ValueError as error:
            raise ListenersProblem(f"{path}: listener {number}: {error}") from error
        if listener.port and any(listener.port == other.port for other in found):
            raise ListenersProblem(
                f"{path}: listener {number}: another one has port {listener.port} already"
            )
        found.append(listener)
    return found


def _listener(entry: object, feed_ids: Collection[str]) -> Listener:
    """One listener; raises ValueError that names what is wrong."""
    if not isinstance(entry, dict) or not {"port", "party"} <= set(entry) <= KNOWN:
        raise ValueError(f"it needs port and party, and may have {', '.join(sorted(KNOWN))}")
    port, party, always_aa = entry["port"], entry["party"], entry.get("always_aa", False)
    if type(port) is not int or not 0 <= port < 1 << 16:
        raise ValueError(f"{port!r} is no port")
    feed_id = f"hl7_{party}"
    if feed_id not in feed_ids:
        raise ValueError(
            f"party {party!r} has no feed {feed_id} in seeds/network/feeds.csv; register the feed "
            "or mend the party"
        )
    if not isinstance(always_aa, bool):
        raise ValueError("always_aa is true or false")
    addresses = entry.get("addresses", [])
    if not isinstance(addresses, list) or (not addresses and "addresses" in entry):
        raise ValueError("addresses is a list of networks; leave it out to let any connect")
    return Listener(port, feed_id, networks(addresses), always_aa)
