"""Rejected records kept encrypted, so that they can be replayed after the cause is mended."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from pipelines.durable import write_bytes
from pipelines.landing.keys import Keys
from pipelines.problems import Problem


class WrongStorageKey(Problem, ValueError):
    """Quarantine was written with another key; the message says what to do."""


class RecordsGone(Problem, FileNotFoundError):
    """The records of an entry are not there; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """One quarantined piece: the rejected records of a file, or a whole refused file.

    `scope` is `row` or `file`; `state` is `open`, `replayed` or `dismissed`.
    """

    entry_id: str
    feed_kind: str
    file_name: str
    source_sha: str
    delivered_on: str
    scope: str
    rule: str
    record_count: int
    state: str = "open"
    note: str = ""

    @property
    def dismissal(self) -> str:
        """The command that dismisses it; its name is unique within its kind of feed only."""
        return f'imaging gate --dismiss {self.feed_kind}/{self.entry_id} --reason "..."'


class Quarantine:
    """The quarantine folder: per entry an encrypted payload and a plain description of counts."""

    def __init__(self, root: Path, keys: Keys) -> None:
        """Open the folder, mode 0700."""
        self.root = root
        self.cipher = Fernet(keys.storage)

    def keep(self, entry: Entry, payload: bytes) -> None:
        """Store a payload encrypted; keeping the same entry again changes nothing.

        So a dismissed entry stays dismissed when a newer reader refuses the same delivery again.
        More records than were dismissed, another rule of theirs, or the same bytes under another
        name or day have not been judged: they wait.
        """
        if self._is_dismissed(entry):
            return
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(self.cipher.encrypt(payload), self._payload(entry), mode=0o600)
        self._describe(entry)

    def payload(self, entry: Entry) -> bytes:
        """Decrypt a payload.

        Raises WrongStorageKey that names the entry if the key does not fit, and RecordsGone where
        there is no payload.
        """
        try:
            return self.cipher.decrypt(self._payload(entry).read_bytes())
        except FileNotFoundError as error:
            raise RecordsGone(
                f"the records of quarantine entry {entry.entry_id} are no longer there; have them "
                "delivered again, then dismiss the entry"
            ) from error
        except InvalidToken as error:
            raise WrongStorageKey(
                f"quarantine entry {entry.entry_id} was written with another storage key; "
                "point IMAGING_KEY_FILE at that key"
            ) from error

    def entries(self, *, state: str | None = None) -> list[Entry]:
        """All entries, oldest name first, or those in one state."""
        found = [
            Entry(**json.loads(path.read_text())) for path in sorted(self.root.glob("*/*.json"))
        ]
        return [entry for entry in found if state is None or entry.state == state]

    def close(self, entry: Entry, state: str, note: str) -> None:
        """Mark an entry replayed or dismissed; the payload is deleted, the description stays."""
        self._describe(replace(entry, state=state, note=note))
        self._payload(entry).unlink(missing_ok=True)

    def remove_closed(self) -> int:
        """Delete the payloads of closed entries that a killed command left; returns how many."""
        left = [
            path
            for state in ("replayed", "dismissed")
            for path in map(self._payload, self.entries(state=state))
            if path.exists()
        ]
        for path in left:
            path.unlink()
        return len(left)

    def _is_dismissed(self, entry: Entry) -> bool:
        try:
            earlier = Entry(**json.loads(self._description(entry).read_text()))
        except FileNotFoundError:
            return False
        if earlier.state != "dismissed":
            return False
        if (earlier.file_name, earlier.delivered_on) != (entry.file_name, entry.delivered_on):
            return False
        # of a file that was dismissed whole nothing more can be missed
        return entry.scope == "file" or (
            entry.rule == earlier.rule and entry.record_count <= earlier.record_count
        )

    def _payload(self, entry: Entry) -> Path:
        return self.root / entry.feed_kind / f"{entry.entry_id}.enc"

    def _description(self, entry: Entry) -> Path:
        return self.root / entry.feed_kind / f"{entry.entry_id}.json"

    def _describe(self, entry: Entry) -> None:
        described = json.dumps(asdict(entry), indent=1).encode()
        write_bytes(described, self._description(entry), mode=0o600)


def entry_for(
    feed_kind: str,
    file_name: str,
    source_sha: str,
    delivered_on: date,
    *,
    scope: str,
    rule: str,
    record_count: int,
) -> Entry:
    """Describe one quarantined piece; its id is the source hash and the scope."""
    return Entry(
        entry_id=f"{source_sha[:32]}.{scope}",
        feed_kind=feed_kind,
        file_name=file_name,
        source_sha=source_sha,
        delivered_on=delivered_on.isoformat(),
        scope=scope,
        rule=rule,
        record_count=record_count,
    )
