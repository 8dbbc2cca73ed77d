"""National code lists that some DIDS rules look into; lists that are not there are not asked."""

from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from pipelines.problems import Problem

# Columns that each list must have; dates are YYYY-MM-DD or empty.
COLUMNS = {
    "postcodes": ("code",),
    "practices": ("code", "opened_on", "closed_on"),
    "organisations": ("code", "opened_on", "closed_on"),
    "sites": ("code", "opened_on", "closed_on"),
    "nicip": ("code", "snomed_code", "inactive_on"),
    "snomed": ("code", "inactive_on"),
}


class ReferenceProblem(Problem):
    """A code list cannot be used; the message names the file and what it must hold."""


@dataclass(frozen=True)
class DidsReference:
    """One frame per code list, or None where it was not supplied; dates as dates."""

    postcodes: pl.DataFrame | None = None
    practices: pl.DataFrame | None = None
    organisations: pl.DataFrame | None = None
    sites: pl.DataFrame | None = None
    nicip: pl.DataFrame | None = None
    snomed: pl.DataFrame | None = None

    @classmethod
    def load(cls, folder: Path) -> "DidsReference":
        """Read `<list>.csv` of a folder that need not exist; raises ReferenceProblem."""
        found = {}
        for one in fields(cls):
            path = folder / f"{one.name}.csv"
            if path.exists():
                found[one.name] = _list(path, COLUMNS[one.name])
        return cls(**found)


def _list(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ReferenceProblem(f"{path} is not a CSV file with a header: {error}") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ReferenceProblem(
            f"{path}: column(s) {', '.join(missing)} missing; it needs {columns}"
        )
    dates = [name for name in columns if name.endswith("_on")]
    try:
        typed = frame.select(
            pl.col(name).str.strip_chars().replace("", None)
            if name not in dates
            else pl.col(name).str.strip_chars().replace("", None).str.to_date("%Y-%m-%d")
            for name in columns
        )
    except pl.exceptions.PolarsError as error:
        raise ReferenceProblem(f"{path}: {', '.join(dates)} must be YYYY-MM-DD or empty") from error
    return typed.unique("code", keep="last", maintain_order=True)
