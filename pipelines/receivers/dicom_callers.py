"""Who may send to the DICOM receiver, and which storage classes it takes: lists, not code."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipelines.problems import Problem
from pipelines.receivers.addresses import Networks, is_among, networks

STORAGE_CLASSES = Path(__file__).parent / "storage_classes.toml"
# What a site may send at the least: dose reports only.
KINDS = {"all": ("dose_reports", "reports", "images"), "dose_reports": ("dose_reports",)}


class CallersProblem(Problem):
    """The list of callers cannot be used; the message names the file, the entry and the remedy."""


@dataclass(frozen=True)
class Callers:
    """Feed id of each AE title that may send, and the networks they may send from.

    No network means that any address may send.
    """

    feeds: dict[str, str]
    addresses: Networks = ()

    def may_connect(self, address: str) -> bool:
        """Say whether a caller may come from an IP address."""
        return is_among(address, self.addresses)


def read_callers(path: Path, feed_ids: Collection[str]) -> Callers:
    """Read the list of callers; raises CallersProblem.

    The file holds `[callers]` with `AE_TITLE = "party code"` and may hold `addresses`, a list of
    networks. The feed of a party is `dicom_<party>` and must be one of `feed_ids`.
    """
    example = '[callers]\nRMC_PACS = "RMC"'
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise CallersProblem(
            f"no list of callers at {path}: write one, for example\n{example}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallersProblem(f"{path} is not TOML: {error}") from error
    callers = document.get("callers")
    if not isinstance(callers, dict) or not callers:
        raise CallersProblem(f"{path} names no caller; add one, for example\n{example}")
    feeds = {}
    for title, party in callers.items():
        if not 0 < len(title.strip()) <= 16 or not title.isascii() or not title.isprintable():
            raise CallersProblem(f"{path}: {title!r} is no AE title (1 to 16 characters)")
        feed = f"dicom_{party}"
        if feed not in feed_ids:
            raise CallersProblem(
                f"{path}: caller {title} sends for party {party!r}, which has no feed {feed} in "
                "seeds/network/feeds.csv; register the feed or mend the party"
            )
        feeds[title.strip()] = feed
    try:
        allowed = networks(document.get("addresses", []))
    except ValueError as error:
        raise CallersProblem(f"{path}: addresses: {error}") from error
    return Callers(feeds, allowed)


def storage_classes(kind: str, path: Path = STORAGE_CLASSES) -> frozenset[str]:
    """UIDs of the accepted storage classes."""
    document = tomllib.loads(path.read_text())
    return frozenset(uid for group in KINDS[kind] for uid in document[group])
