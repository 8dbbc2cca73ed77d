"""Deliveries under a sender's own column names, as the columns of the contract, by a map."""

import io
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.contracts import Contract
from pipelines.problems import Problem, nearest
from pipelines.sources.clock import localise
from pipelines.sources.extract_tables import FIRST_ROW, Refused, table_of

FOLDER = "series_list_maps"
KEYS = {"delimiter", "encoding", "columns"}
ENTRY_KEYS = {"column", "date", "time", "format", "zone", "value", "values"}
EXTRACTS_FOLDER = "extract_maps"
SERIES_LIST = "dicom_series"
SERIES = "series_instance_uid"


class SeriesListMapProblem(Problem):
    """A column map cannot be used; the message names file, key and next step."""


@dataclass(frozen=True)
class Source:
    """Where a column of the contract comes from: columns of the report, or one constant value.

    Several columns (a date and a time) are joined by a blank. `format` (strptime) tells how a time
    is written, `zone` on whose wall clock; None is that of the network. `values` translate a
    sender's codes; a code that is not among them stays as it is.
    """

    columns: tuple[str, ...] = ()
    format: str | None = None
    zone: str | None = None
    value: str | None = None
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesListMap:
    """Which column of one sender's report is which column of a contract."""

    path: Path
    delimiter: str
    encoding: str
    sources: dict[str, Source]

    @classmethod
    def load(cls, path: Path, contract: Contract) -> "SeriesListMap":
        """Read a map; raises SeriesListMapProblem that names file and key."""
        try:
            document = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise SeriesListMapProblem(
                f"{path} does not exist; write the map, or correct the name in [series_lists]"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SeriesListMapProblem(f"{path} is not TOML: {error}; mend that line") from error
        unknown = set(document) - KEYS
        if unknown:
            raise SeriesListMapProblem(
                f"{path}: unknown key(s) {', '.join(sorted(unknown))}; there are "
                f"{', '.join(sorted(KEYS))}; columns of the contract belong below [columns]"
            )
        if not isinstance(document.get("columns"), dict):
            raise SeriesListMapProblem(
                f"{path}: the table [columns] is missing; it says which column of the report is "
                'which of the contract, such as patient_id = "MRN"'
            )
        times = {c.name for c in contract.columns if c.logical_type in ("timestamp", "date")}
        sources = {
            name: _source(path, name, entry, is_time=name in times)
            for name, entry in document["columns"].items()
        }
        for name in sources:
            if name not in contract.column_names():
                raise SeriesListMapProblem(
                    f"{path}: columns.{name} is no column of {contract.path.name}"
                    f"{nearest(name, contract.column_names())}; left of = is the contract's name, "
                    "right of it the report's"
                )
        return cls(
            path, document.get("delimiter", ","), document.get("encoding", "utf-8-sig"), sources
        )

    def read(self, data: bytes, contract: Contract, zone: str) -> pl.DataFrame | Refused:
        """One row per series of a report, in the shape of `extract_tables.read_table`.

        Columns without a place in the map are ignored. Refused: a report that lacks a column of
        the map, and a list of studies. A study is no series: standing for one it could not be met
        again by any other route, and would count beside its own series.
        """
        if not data.strip():
            return Refused("is_not_empty", "the file is empty; ask the sender to deliver it again")
        is_series_list = contract.name == SERIES_LIST
        if is_series_list and SERIES not in self.sources:
            return Refused(
                "is_series_level",
                f"{self.path.name} names no column for {SERIES}: this report has a row per study; "
                "ask the supplier for a row per series, or ask the archive (docs/archives.md)",
            )
        try:
            raw = self._as_delivered(data)
        except (pl.exceptions.PolarsError, UnicodeDecodeError, LookupError) as error:
            return Refused(
                "is_readable",
                f"not readable as delimited text ({type(error).__name__}); compare delimiter and "
                f"encoding with {self.path.name}",
            )
        missing = self._missing(raw)
        if missing:
            return Refused(
                "has_all_columns",
                f"missing column(s) {', '.join(missing)}; the map is {self.path.name}: where the "
                f"report names them otherwise now, correct it there, such as {self._example(missing)}",
            )
        mapped = raw.select(
            (
                self._mapped(raw, name, contract, zone)
                if name in self.sources
                else pl.Series([None] * len(raw), dtype=pl.String)
            ).alias(name)
            for name in contract.column_names()
        )
        if is_series_list:
            mapped = mapped.with_columns(route=self._route(mapped))
        return table_of(mapped, contract, zone)

    def rows(self, data: bytes, row_numbers: list[int]) -> bytes:
        """Cut the named records, with the header, out of a report: what quarantine keeps of it."""
        chosen = self._as_delivered(data)[[number - FIRST_ROW for number in row_numbers]]
        return chosen.write_csv(separator=self.delimiter).encode(self.encoding)

    def _as_delivered(self, data: bytes) -> pl.DataFrame:
        """One row per record of the report, all columns as text, names without blanks around."""
        text = data.decode(self.encoding)
        frame = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False, separator=self.delimiter)
        return frame.rename({name: name.strip() for name in frame.columns})

    def _missing(self, raw: pl.DataFrame) -> list[str]:
        wanted = [column for source in self.sources.values() for column in source.columns]
        return [column for column in dict.fromkeys(wanted) if column not in raw.columns]

    def _example(self, missing: list[str]) -> str:
        """A line of the map that reads a missing column, for who has to correct it."""
        name = next(n for n, one in self.sources.items() if set(one.columns) & set(missing))
        source = self.sources[name]
        keys = ("column",) if len(source.columns) == 1 else ("date", "time")
        if source.format is None and len(keys) == 1:
            return f'{name} = "NAME IN THE REPORT"'
        places = ", ".join(f'{key} = "NAME IN THE REPORT"' for key in keys)
        return f"{name} = {{{places}, ...}}"

    def _mapped(self, raw: pl.DataFrame, name: str, contract: Contract, zone: str) -> pl.Series:
        """Text of one column of the contract; a time that cannot be read stays as it is."""
        source = self.sources[name]
        if source.value is not None:
            return pl.Series([source.value] * len(raw), dtype=pl.String)
        parts = [raw[column].str.strip_chars().replace("", None) for column in source.columns]
        text = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=" ")).to_series()
        if source.format is None:
            return text.replace(source.values) if source.values else text
        if any(c.name == name and c.logical_type == "date" for c in contract.columns):
            return self._dated(text, source.format, contract)
        wall = text.str.to_datetime(source.format, strict=False, time_unit="us")
        if source.zone is not None and source.zone != zone:
            wall = (
                localise(wall, source.zone)["utc"].dt.convert_time_zone(zone)
            ).dt.replace_time_zone(None)
        written = wall.dt.strftime(str(contract.settings["timestampFormat"]))
        return pl.DataFrame({"written": written, "text": text}).select(
            pl.coalesce("written", "text")
        )["written"]

    def _dated(self, text: pl.Series, pattern: str, contract: Contract) -> pl.Series:
        day = text.str.to_date(pattern, strict=False)
        written = day.dt.strftime(str(contract.settings["dateFormat"]))
        return pl.DataFrame({"written": written, "text": text}).select(
            pl.coalesce("written", "text")
        )["written"]

    def _route(self, mapped: pl.DataFrame) -> pl.Expr:
        """The route is a report's unless the map says otherwise; a blank line has none."""
        is_blank = pl.all_horizontal(pl.exclude("route").is_null())
        return pl.coalesce("route", pl.when(~is_blank).then(pl.lit("extract")))


def _source(path: Path, name: str, entry: Any, *, is_time: bool) -> Source:
    if isinstance(entry, str):
        entry = {"column": entry}
    if not isinstance(entry, dict) or set(entry) - ENTRY_KEYS:
        raise SeriesListMapProblem(
            f"{path}: columns.{name} must be a column name, or a table of "
            f"{', '.join(sorted(ENTRY_KEYS))}"
        )
    columns = tuple(str(entry[key]) for key in ("column", "date", "time") if key in entry)
    if bool(columns) == ("value" in entry) or len(columns) != (2 if "date" in entry else 1) * bool(
        columns
    ):
        raise SeriesListMapProblem(
            f"{path}: columns.{name} needs column, or date and time, or value"
        )
    if is_time and columns and "format" not in entry:
        raise SeriesListMapProblem(
            f'{path}: columns.{name} is a time: say how it is written, format = "%d/%m/%Y %H:%M"'
        )
    values = {str(code): str(ours) for code, ours in entry.get("values", {}).items()}
    return Source(columns, entry.get("format"), entry.get("zone"), entry.get("value"), values)
