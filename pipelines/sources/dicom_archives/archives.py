"""Which archives there are and how each may be asked: a TOML file, read and checked here."""

import re
import ssl
import stat
import tomllib
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.problems import Problem, nearest

# A name becomes part of a file name, where a party code in capitals says whose it is.
NAME = re.compile(r"^[a-z][a-z0-9_]*$")
HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# Others could read it: group and world bits.
SHARED = stat.S_IRWXG | stat.S_IRWXO
NEEDED = {
    "qido": ("url", "start_on"),
    "cfind": ("host", "port", "ae_title", "start_on"),
    "changes": ("url",),
}
# Sections of the file, and what stands after the dot.
SECTIONS = {"archives": "NAME", "series_lists": "PARTY"}
# What a key wants, by how pydantic calls the kind of fault.
WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "date": "a date such as 2026-01-31, without quotes",
    "list": 'a list such as ["19:00-07:00"]',
    "path": "a path in quotes",
    "string_too_short": "filled",
    "string": "text in quotes",
}
LITERAL_SECRETS = {"password", "token", "secret"}
AnyEnvironment = Callable[[str], str | None]


class ArchiveProblem(Problem):
    """An archive cannot be asked, or its answer cannot be used; the message says what to do."""


class Archive(BaseModel):
    """One archive: whose it is, by which route it is asked, and what it may be burdened with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    party: str = Field(min_length=1)
    route: Literal["qido", "cfind", "changes"]
    url: str | None = None
    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    ae_title: str | None = Field(None, max_length=16)
    calling_ae_title: str = Field("IMAGING", max_length=16)
    # Whether series may be asked for by the date of their study, without naming the study.
    relational: Literal["probe", "yes", "no"] = "probe"
    read_one_image: bool = True
    received_zone: str = "UTC"

    start_on: date | None = None
    window_days: int = Field(1, ge=1)
    # At least one: today is never complete.
    overlap_days: int = Field(3, ge=1)
    page_size: int = Field(500, ge=0)
    every_hours: float = Field(24, gt=0)
    quiet_hours: list[str] = Field(default_factory=list)
    requests_per_second: float = Field(10, gt=0)
    longest_run_minutes: float = Field(60, gt=0)

    connect_timeout_seconds: float = Field(10, gt=0)
    answer_timeout_seconds: float = Field(120, gt=0)
    attempts: int = Field(5, ge=1)
    longest_wait_seconds: float = Field(300, gt=0)
    largest_answer_mb: float = Field(64, gt=0)
    most_series: int = Field(200_000, ge=1)

    tls: bool = False
    verify_tls: bool = True
    ca_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    user: str | None = None
    password_variable: str | None = None
    password_file: Path | None = None
    token_variable: str | None = None
    token_file: Path | None = None

    @field_validator("received_zone")
    @classmethod
    def _is_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ValueError, OSError, KeyError):
            raise ValueError("must be a time zone such as UTC or Europe/London") from None
        return zone

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        missing = [key for key in NEEDED[self.route] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"route {self.route} needs the key(s) {', '.join(missing)}: add them")
        if not all(HOURS.match(span) for span in self.quiet_hours):
            raise ValueError('quiet_hours must be like ["19:00-07:00"]')
        has_password = self.password_variable or self.password_file
        has_token = self.token_variable or self.token_file
        if bool(self.user) != bool(has_password):
            raise ValueError("user and password_variable (or password_file) belong together")
        if has_password and has_token:
            raise ValueError("give a user with password, or a token, not both")
        if self.url is not None:
            try:
                address = urlsplit(self.url)
                _ = address.port
            except ValueError:
                raise ValueError("url must be like https://archive.example/dicom-web") from None
            if address.scheme not in ("http", "https") or not address.hostname:
                raise ValueError("url must be like https://archive.example/dicom-web")
            if address.username or address.password:
                raise ValueError("url holds credentials; use user and password_variable")
            is_open = address.scheme == "http" and address.hostname not in LOOPBACK
            if is_open and (has_password or has_token):
                raise ValueError("url is http: credentials would travel in clear; use https")
        return self

    @property
    def label(self) -> str:
        """Name, host and port for messages; nothing else of the address, which may hold secrets."""
        address = urlsplit(self.url or "")
        host = self.host if self.route == "cfind" else address.hostname
        port = self.port if self.route == "cfind" else address.port
        port = port or (443 if address.scheme == "https" else 80)
        return f"archive {self.name} ({f'[{host}]' if ':' in (host or '') else host}:{port})"

    @property
    def tries(self) -> str:
        """How often a request is made, for messages."""
        return f"{self.attempts} attempt{'s' * (self.attempts > 1)}"

    def may_ask_at(self, local: datetime) -> bool:
        """Say whether a local wall-clock time lies in the quiet hours (none given: always)."""
        return not self.quiet_hours or any(
            _holds(*_ends(span), local.time()) for span in self.quiet_hours
        )

    def credentials(self, environment: AnyEnvironment, data: Path) -> str | None:
        """The password or token; None where the archive asks for none.

        Raises ArchiveProblem when the reference leads nowhere, into the data folder `data`, or to
        a file that others can read.
        """
        variable = self.password_variable or self.token_variable
        if variable is not None:
            value = environment(variable)
            if not value:
                raise ArchiveProblem(
                    f"archive {self.name}: environment variable {variable} is not set; set it, or "
                    "name a file with password_file or token_file"
                )
            return value
        path = self.password_file or self.token_file
        if path is None:
            return None
        if path.resolve().is_relative_to(data.resolve()):
            raise ArchiveProblem(
                f"archive {self.name}: {path} lies below {data}, with the data; move it elsewhere"
            )
        try:
            if path.stat().st_mode & SHARED:
                raise ArchiveProblem(
                    f"archive {self.name}: {path} can be read by others; chmod 600 {path}"
                )
            return path.read_text().strip()
        except OSError as error:
            raise ArchiveProblem(
                f"archive {self.name}: {path} cannot be read ({error.strerror}); mend the path or "
                "its rights"
            ) from error

    def tls_context(self) -> ssl.SSLContext:
        """TLS as the settings want it; raises ArchiveProblem that names an unusable file."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.private_key_file)
        except (OSError, ssl.SSLError) as error:
            raise ArchiveProblem(
                f"archive {self.name}: ca_file or certificate_file cannot be used ({error}); "
                "mend the path or the file"
            ) from error
        if not self.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def read_archives(path: Path) -> dict[str, Archive]:
    """Archives by name; none where the file does not exist.

    Raises ArchiveProblem that names file, archive and key.
    """
    return {name: _archive(path, name, keys) for name, keys in _tables(path, "archives").items()}


def read_list_maps(path: Path) -> dict[str, str]:
    """Which column map each party's series lists need: party code to name of the map."""
    found = {}
    for party, keys in _tables(path, "series_lists").items():
        if not isinstance(keys, dict) or set(keys) != {"map"}:
            raise ArchiveProblem(
                f'{path}: [series_lists.{party}] must hold one key, map = "NAME"; it names the file '
                f"series_list_maps/NAME.toml beside {path.name}"
            )
        found[party] = str(keys["map"])
    return found


def _tables(path: Path, section: str) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArchiveProblem(f"{path} is not TOML: {error}; mend that line") from error
    unknown = sorted(set(document) - set(SECTIONS))
    if unknown:
        raise ArchiveProblem(
            f"{path}: there is no section {unknown[0]}{nearest(unknown[0], SECTIONS)}; there are "
            "[archives.NAME] and [series_lists.PARTY], see docs/archives.md"
        )
    tables = document.get(section, {})
    if not isinstance(tables, dict):
        raise ArchiveProblem(
            f"{path}: [{section}] must hold one table per name, such as [{section}.{SECTIONS[section]}]"
        )
    return tables


def _archive(path: Path, name: str, keys: Any) -> Archive:
    if not NAME.match(name):
        raise ArchiveProblem(
            f"{path}: [archives.{name}]: a name has small letters, digits and _ only; rename it"
        )
    if not isinstance(keys, dict):
        raise ArchiveProblem(f"{path}: archives.{name} must be a table, [archives.{name}]")
    literal = LITERAL_SECRETS & set(keys)
    if literal:
        key = literal.pop()
        raise ArchiveProblem(
            f"{path}: [archives.{name}] holds the secret itself ({key}); remove it and name an "
            "environment variable or file with password_variable, password_file, token_variable "
            "or token_file"
        )
    try:
        return Archive.model_validate({"name": name, **keys})
    except ValidationError as error:
        # Never the input: a misplaced secret would be in it.
        found = error.errors(include_input=False, include_url=False)
        wrong = "; ".join(_in_words(dict(one)) for one in found)
        raise ArchiveProblem(
            f"{path}: [archives.{name}]: {wrong}; keys are listed in docs/archives.md"
        ) from None


def _in_words(error: dict[str, Any]) -> str:
    """What pydantic finds wrong with a key, in words for those who write the file."""
    key = str(error["loc"][0]) if error["loc"] else ""
    kind, given = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return f"{key} {given['error']}".strip()
    if kind == "missing":
        return f"the key {key} is missing: add it"
    if kind == "extra_forbidden":
        return f"there is no key {key}{nearest(key, Archive.model_fields)}"
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "max_length": "at most"}
    for name, words in bounds.items():
        if name in given:
            unit = " characters long" * (name == "max_length")
            return f"{key} must be {words} {given[name]:g}{unit}"
    if kind == "literal_error":
        return f"{key} must be one of {given['expected'].replace(chr(39), chr(34))}"
    wanted = next((words for start, words in WANTED.items() if kind.startswith(start)), "")
    return f"{key} must be {wanted or 'of another kind'}"


def _ends(span: str) -> tuple[time, time]:
    first, last = span.split("-")
    return time.fromisoformat(first), time.fromisoformat(last)


def _holds(first: time, last: time, moment: time) -> bool:
    """Say whether a time lies in a span that may run over midnight."""
    if first <= last:
        return first <= moment < last
    return moment >= first or moment < last
