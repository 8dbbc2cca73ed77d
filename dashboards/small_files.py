"""Files of readers, whole or not there: another name first, then the right one."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Put data in the place of what the file held, mode 0600. Raises OSError; then the old one stays."""
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(data)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
