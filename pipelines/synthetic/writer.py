"""Atomic writes: a reader of the inbox never sees half a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then rename it."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
    part.replace(path)


def write_csv(path: Path, frame: pl.DataFrame) -> int:
    """Write a UTF-8 comma CSV with a header line; returns the number of data rows."""
    write_bytes(path, frame.write_csv(null_value="").encode("utf-8"))
    return frame.height


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write one Parquet file, zstd compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    frame.write_parquet(part, compression="zstd")
    part.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with sorted keys."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode("utf-8"))
