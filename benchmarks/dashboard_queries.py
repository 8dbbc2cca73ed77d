"""Every stored question of the dashboards, asked of a published file and timed."""

import inspect
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import streamlit as st

from dashboards.data import queries
from dashboards.data.filters import ALL_MONTHS, Filters, month_bounds
from dashboards.data.published import Build, current_build
from dashboards.data.queries import organisations
from dashboards.sqllab.desk import SCHEMAS
from pipelines.statistics.benefit_balance import MONETISED

REPEATS = 20
LEVELS = ("network", "party", "trust")
# What a page hands a query besides the build and what the reader chose.
CHOSEN_BY_PAGE = {
    "metric_id": "W02",
    "measure": "views",
    "family": "W",
    "go_live_type": "archive",
    "dm01_test": "All",
    "modality_group": "All",
    "kind": "deprivation_quintile",
    "qualified_name": "marts.rpt_metrics_monthly",
    "table_name": "rpt_metrics_monthly",
    "column_name": "value",
    "schemas": SCHEMAS,
    "search": "waiting",
    "classes": MONETISED,
}
# Outside a served page each call says anew that answers are kept in memory only.
logging.getLogger("streamlit.runtime.caching.cache_data_api").setLevel(logging.ERROR)


class NoArgument(ValueError):
    """A query takes what this benchmark does not know how to give; the message says where to."""


def time_queries(published: Path, audience: str, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """One row per query, slowest first: median and most milliseconds, first call, rows found.

    Each is asked for the network, a party and a trust over all their months; the row is of the
    slowest of the three, with the most rows of any. The first call is a warm-up. Raises NoArgument.
    """
    build = current_build(published, audience)
    if build is None:
        raise FileNotFoundError(f"{published} holds no published build")
    readers = [_reader(build, level) for level in LEVELS]
    rows = []
    for name, query in every_query().items():
        asked = [
            _timed(partial(query, build, **given), repeats) for given in _given(query, readers)
        ]
        slowest = max(asked, key=lambda row: row["median_milliseconds"])
        rows.append({"query": name, **slowest, "rows": max(row["rows"] for row in asked)})
    return sorted(rows, key=lambda row: -row["median_milliseconds"])


def every_query() -> dict[str, Callable[..., Any]]:
    """Queries by "module.function": every public function of the room that takes a build."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": function
        for module in _modules()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and next(iter(inspect.signature(function).parameters), "") == "build"
    }


def _modules() -> Iterator[ModuleType]:
    for found in iter_modules(queries.__path__, f"{queries.__name__}."):
        yield import_module(found.name)


def _reader(build: Build, level: str) -> Filters:
    """The first organisation of a level, every modality, from its first month to its last."""
    offered = organisations.choices(build).filter(org_level=level).row(0, named=True)
    months = organisations.months(build, level, offered["org_code"])
    return Filters(
        level, offered["org_code"], offered["org_name"], "All", *month_bounds(months, ALL_MONTHS)
    )


def _given(query: Callable[..., Any], readers: list[Filters]) -> list[dict[str, Any]]:
    """What the query is given besides the build, once or for each reader."""
    wanted = [
        name
        for name, parameter in list(inspect.signature(query).parameters.items())[1:]
        if parameter.default is inspect.Parameter.empty
    ]
    found = [{name: _value(query, name, reader) for name in wanted} for reader in readers]
    return [given for number, given in enumerate(found) if given not in found[:number]]


def _value(query: Callable[..., Any], name: str, reader: Filters) -> Any:
    known = CHOSEN_BY_PAGE | {
        "filters": reader,
        "org_level": reader.org_level,
        "org_code": reader.org_code,
    }
    if name not in known:
        raise NoArgument(
            f"{query.__module__}.{query.__name__} takes {name}, for which the benchmark has no "
            f"value; add one to CHOSEN_BY_PAGE of {Path(__file__).name}"
        )
    return known[name]


def _timed(ask: Callable[[], Any], repeats: int) -> dict[str, Any]:
    first, found = _once(ask)
    again = [_once(ask)[0] for _ in range(repeats)]
    return {
        "median_milliseconds": round(statistics.median(again), 2),
        "most_milliseconds": round(max(again), 2),
        "first_milliseconds": round(first, 2),
        "rows": 1 if isinstance(found, str) else len(found),
    }


def _once(ask: Callable[[], Any]) -> tuple[float, Any]:
    # A page keeps answers; here each is asked for anew.
    st.cache_data.clear()
    began = time.perf_counter()
    found = ask()
    return (time.perf_counter() - began) * 1000, found
