"""Saved queries: those of the product (starters.toml) and each reader's own, with typed parameters.

A reader's own queries are files below a folder of the dashboards, one folder a role and in it one a
subject. A query is shown to others of the same role (of a trust: of the same trust) where its owner
ticked that, and to no other role. No text a reader typed is part of a path.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dashboards.small_files import write_whole
from dashboards.sqllab.gate import LONGEST

TEXT, NUMBER, DATE, MONTH, TRUST, MODALITY = "text", "number", "date", "month", "trust", "modality"
KINDS = (TEXT, NUMBER, DATE, MONTH, TRUST, MODALITY)
LONGEST_NAME, LONGEST_DESCRIPTION, LONGEST_DEFAULT = 80, 500, 200
MOST_QUERIES, MOST_BYTES = 200, 4 * LONGEST + 50_000
SCHEMA_VERSION = 1
# What becomes of a query, as it is recorded.
KEPT, SHARED, DELETED = "kept", "shared", "deleted"
_STARTERS = Path(__file__).with_name("starters.toml")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")


class NotSaved(ValueError):
    """The query is not kept; the text says why and what to do."""


@dataclass(frozen=True)
class Parameter:
    """A value that is asked for: $name in the text, its kind, and what stands there at first.

    default is a text as the kind reads it (a month as YYYY-MM-01); empty where the page chooses.
    """

    name: str
    kind: str = TEXT
    default: str = ""


@dataclass(frozen=True)
class SavedQuery:
    """A named statement with its parameters; own where this reader may change it."""

    name: str
    sql: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    is_shared: bool = False
    is_own: bool = False


@dataclass(frozen=True)
class Shelf:
    """The saved queries of one reader; role is that of the sign-in, of a trust with its code.

    record is told first what becomes of a query (KEPT, SHARED or DELETED) and its text; where it
    raises NotSaved nothing is changed.
    """

    folder: Path
    role: str
    subject: str
    record: Callable[[str, str], None] = field(default=lambda outcome, sql: None, compare=False)

    def save(self, query: SavedQuery) -> None:
        """Keep a query under its name, in place of one of this reader with the same name.

        Raises NotSaved where it is too long, too many are kept, or the folder cannot be written.
        """
        _check(query)
        path = self._path(query.name)
        told = {
            "schema_version": SCHEMA_VERSION,
            "name": query.name,
            "description": query.description,
            "sql": query.sql,
            "parameters": [vars(parameter) for parameter in query.parameters],
            "is_shared": query.is_shared,
        }
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists() and len(list(path.parent.glob("*.json"))) >= MOST_QUERIES:
                raise NotSaved(f"{MOST_QUERIES} queries are kept; delete one that is not used.")
            self.record(SHARED if query.is_shared else KEPT, query.sql)
            write_whole(path, json.dumps(told).encode())
        except OSError as error:
            raise NotSaved(f"The query cannot be kept: {error.strerror}.") from error

    def delete(self, name: str) -> None:
        """Take away a query of this reader; nothing where there is none. Raises NotSaved."""
        gone = next((query.sql for query in self.own() if query.name == name), None)
        if gone is None:
            return
        self.record(DELETED, gone)
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise NotSaved(f"The query cannot be deleted: {error.strerror}.") from error

    def own(self) -> list[SavedQuery]:
        """This reader's queries by name."""
        return self._read([self._mine()], is_own=True)

    def shared(self) -> list[SavedQuery]:
        """What others of the same role share, by name."""
        folders = self._of_role().glob("*") if self._of_role().is_dir() else []
        found = self._read([one for one in folders if one != self._mine()], is_own=False)
        return [query for query in found if query.is_shared]

    def _read(self, folders: Sequence[Path], *, is_own: bool) -> list[SavedQuery]:
        paths = [path for folder in folders for path in folder.glob("*.json")]
        found = [query for path in paths if (query := _of_file(path, is_own=is_own))]
        return sorted(found, key=lambda query: query.name.casefold())

    def _of_role(self) -> Path:
        return self.folder / _hashed(self.role)

    def _mine(self) -> Path:
        return self._of_role() / _hashed(self.subject)

    def _path(self, name: str) -> Path:
        return self._mine() / f"{_hashed(name)}.json"


@cache
def starters() -> Sequence[SavedQuery]:
    """The queries that come with the product."""
    told = tomllib.loads(_STARTERS.read_text(encoding="utf-8"))["starter"]
    return [_of(one | {"name": one["title"]}, is_own=False) for one in told]


def guessed_kind(name: str) -> str:
    """The kind that the name of a parameter suggests; text where it suggests none."""
    for kind in (MONTH, TRUST, MODALITY, DATE):
        if kind in name.lower():
            return kind
    return DATE if name.lower().endswith("_on") else TEXT


def _check(query: SavedQuery) -> None:
    if not query.name.strip() or len(query.name) > LONGEST_NAME or not query.name.isprintable():
        raise NotSaved(f"Give the query a name of 1 to {LONGEST_NAME} characters.")
    if not query.sql.strip() or len(query.sql) > LONGEST:
        raise NotSaved(f"A query has 1 to {LONGEST:,} characters; this one has {len(query.sql):,}.")
    if len(query.description) > LONGEST_DESCRIPTION:
        raise NotSaved(f"A description has at most {LONGEST_DESCRIPTION} characters.")
    for parameter in query.parameters:
        is_known = _NAME.fullmatch(parameter.name) and parameter.kind in KINDS
        if not is_known or len(parameter.default) > LONGEST_DEFAULT:
            raise NotSaved(
                f"${parameter.name[:60]}: a name is letters, digits and _, a kind one of "
                f"{', '.join(KINDS)}, a first value at most {LONGEST_DEFAULT} characters."
            )


def _of_file(path: Path, *, is_own: bool) -> SavedQuery | None:
    """The query of a file; None where it holds none, so that one broken file hides no other."""
    try:
        if path.is_symlink() or path.stat().st_size > MOST_BYTES:
            return None
        query = _of(json.loads(path.read_text(encoding="utf-8")), is_own=is_own)
        _check(query)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return query if path.stem == _hashed(query.name) else None


def _of(told: Mapping[str, Any], *, is_own: bool) -> SavedQuery:
    parameters = [
        Parameter(one["name"], one.get("kind", TEXT), one.get("default", ""))
        for one in told.get("parameters", [])
    ]
    return SavedQuery(
        told["name"],
        told["sql"].strip(),
        told.get("description", ""),
        tuple(parameters),
        is_shared=told.get("is_shared") is True,
        is_own=is_own,
    )


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
