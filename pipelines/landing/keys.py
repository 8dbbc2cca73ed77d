"""The three secrets of a network: pseudonym key, event-identity key, storage key."""

import base64
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from pipelines.problems import Problem

KEY_BYTES = 32


class KeyFileProblem(Problem):
    """The key file is missing, readable by others, or incomplete; the message says what to do."""


@dataclass(frozen=True)
class Keys:
    """Secrets; never logged, never written below IMAGING_HOME.

    `pseudonym` turns identities into pseudonyms, `event_identity` names events and never changes,
    `storage` encrypts what quarantine keeps (a Fernet key).
    """

    pseudonym: bytes
    event_identity: bytes
    storage: bytes

    def __repr__(self) -> str:
        """Hide the secrets from logs and tracebacks."""
        return "Keys(<hidden>)"


def create_key_file(path: Path) -> None:
    """Write a new key file, mode 0600; raises FileExistsError rather than replace one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "pseudonym": secrets.token_hex(32),
        "event_identity": secrets.token_hex(32),
        "storage": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)


def load_keys(path: Path) -> Keys:
    """Read the key file; raises KeyFileProblem with the next step."""
    try:
        mode = path.stat().st_mode
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise KeyFileProblem(
            f"no key file at {path}: point IMAGING_KEY_FILE at the network's key; only a new network "
            "creates one, with `imaging keys create`"
        ) from None
    except ValueError as error:
        raise KeyFileProblem(f"{path} is not JSON ({error}); restore it from its backup") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileProblem(f"{path} can be read by others; run: chmod 600 {path}")
    missing = [name for name in ("pseudonym", "event_identity", "storage") if name not in document]
    if missing:
        raise KeyFileProblem(f"{path}: {', '.join(missing)} missing; restore it from its backup")
    try:
        keys = Keys(
            bytes.fromhex(document["pseudonym"]),
            bytes.fromhex(document["event_identity"]),
            document["storage"].encode(),
        )
        lengths = (len(keys.pseudonym), len(keys.event_identity))
        lengths += (len(base64.urlsafe_b64decode(keys.storage)),)
    except (ValueError, TypeError, AttributeError):
        raise KeyFileProblem(f"{path} holds damaged keys; restore it from its backup") from None
    if min(lengths) < KEY_BYTES:
        # An empty or short key would make pseudonyms that anybody can compute.
        raise KeyFileProblem(f"{path} holds a key shorter than 256 bits; restore its backup")
    return keys
