"""What the published tables say that is worth an alert. Pure: tables in, alerts out."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl

CONCERN, IMPROVEMENT, CHANGE = "concern", "improvement", "change"
BREACH, LATE_FEED = "breach", "late_feed"
KINDS = (CONCERN, IMPROVEMENT, CHANGE, BREACH, LATE_FEED)
# Kind of a stored point of a control chart -> kind of alert; a common cause is none.
OF_POINTS = {
    "special_cause_concern": CONCERN,
    "special_cause_improvement": IMPROVEMENT,
    "special_cause_neutral_high": CHANGE,
    "special_cause_neutral_low": CHANGE,
}
SIGNS = {"at_least": "at least", "at_most": "at most", "less_than": "below"}
MEETS: dict[str, Callable[[float, float], bool]] = {
    "at_least": lambda value, target: value >= target,
    "at_most": lambda value, target: value <= target,
    "less_than": lambda value, target: value < target,
}
# A count below it is written by no alert, whatever the file it came from held.
LEAST_COUNT = 5


@dataclass(frozen=True)
class Alert:
    """One thing to know. Its id is the same in every build while the thing goes on.

    month_on is the month it was last seen in, since_on the first of the unbroken run; of a feed
    both are the day of its newest entry, or the first day there is where nothing ever came.
    metric_id is a feed id where the alert is of a feed.
    """

    kind: str
    metric_id: str
    org_level: str
    org_code: str
    organisation: str
    month_on: date
    since_on: date
    text: str
    link: str

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """What the alert is of, whenever it was."""
        return self.kind, self.metric_id, self.org_level, self.org_code

    @property
    def id(self) -> str:
        """Twelve letters and digits, made of the subject and the beginning."""
        told = "|".join((*self.subject, self.since_on.isoformat()))
        return hashlib.sha256(told.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Tables:
    """What alerts are made of, as reading.read_tables() brings it.

    charts: one row per control chart of all modalities, with name and unit of its metric.
    points: one row per month of these charts. feeds: one row per feed that is late.
    organisations: one row per organisation that the dashboards let choose.
    """

    charts: pl.DataFrame
    points: pl.DataFrame
    feeds: pl.DataFrame
    organisations: pl.DataFrame


def find(tables: Tables, dashboards_url: str) -> list[Alert]:
    """Every alert of a build, by organisation, metric and kind.

    A month whose value is hidden from the readers of the file ends no run and begins none; a chart
    whose last month is hidden gives no alert.
    """
    labels = {
        (row["org_level"], row["org_code"]): (row["org_name"], row["label"])
        for row in tables.organisations.iter_rows(named=True)
    }
    keys = ["metric_id", "org_level", "org_code"]
    series = {
        tuple(str(part) for part in key): rows.sort("period_start_on").rows(named=True)
        for key, rows in tables.points.group_by(keys)
    }
    found = [
        alert
        for chart in tables.charts.iter_rows(named=True)
        if (chart["org_level"], chart["org_code"]) in labels
        for alert in _of_chart(
            chart, series.get(tuple(chart[key] for key in keys), []), labels, dashboards_url
        )
    ]
    found += [_late(row, labels, dashboards_url) for row in tables.feeds.iter_rows(named=True)]
    return sorted(found, key=lambda one: (one.org_level, one.org_code, one.metric_id, one.kind))


def _of_chart(
    chart: Mapping[str, Any],
    points: list[dict[str, Any]],
    labels: Mapping[tuple[str, str], tuple[str, str]],
    url: str,
) -> Iterator[Alert]:
    if not points or points[-1]["value"] is None:
        return
    last = points[-1]
    name, label = labels[chart["org_level"], chart["org_code"]]
    level, month = chart["org_level"], f"{last['period_start_on']:%B %Y}"
    # A trust and a party can bear one name.
    who = name if level == "network" else f"{name} ({level})"
    now = f"{who}: {chart['name']} {written(last['value'], chart['unit'])} in {month}"
    kind = OF_POINTS.get(last["point_type"] or "") if chart["has_icons"] else None
    if kind is not None:
        since = _since(points, lambda one: one["point_type"] in (last["point_type"], None))
        text = f"{now}. {chart['variation_text']}, since {since:%B %Y}.{_limits(chart)}"
        yield _alert(kind, chart, name, label, last["period_start_on"], since, text, url)
    target, comparator = chart["target_value"], chart["comparator"]
    if target is None or MEETS[comparator](last["value"], target):
        return
    since = _since(
        points, lambda one: one["value"] is None or not MEETS[comparator](one["value"], target)
    )
    # A target that no public source confirms is told as such, as on every page.
    status = "" if chart["target_source_status"] == "verified" else ", not verified"
    text = (
        f"{now}. Target {SIGNS[comparator]} {written(target, chart['unit'])}{status}: "
        f"missed since {since:%B %Y}."
    )
    yield _alert(BREACH, chart, name, label, last["period_start_on"], since, text, url)


def _since(points: list[dict[str, Any]], goes_on: Callable[[dict[str, Any]], bool]) -> date:
    """First month with a value of the run that ends at the last point."""
    since = points[-1]["period_start_on"]
    for point in reversed(points):
        if not goes_on(point):
            break
        if point["value"] is not None:
            since = point["period_start_on"]
    return since


def _alert(
    kind: str,
    chart: Mapping[str, Any],
    name: str,
    label: str,
    month: date,
    since: date,
    text: str,
    url: str,
) -> Alert:
    metric = chart["metric_id"]
    link = _link(url, page_of(metric), organisation=label)
    level, code = chart["org_level"], chart["org_code"]
    return Alert(kind, metric, level, code, name, month, since, text, link)


def _late(
    row: Mapping[str, Any], labels: Mapping[tuple[str, str], tuple[str, str]], url: str
) -> Alert:
    level = "network" if row["party_code"] == "NETWORK" else "party"
    name, label = labels.get((level, row["party_code"]), (row["party_code"], ""))
    as_at = row["as_at_local"]
    told = f"its newest entry is of {as_at:%d %B %Y, %H:%M}" if as_at else "nothing has come of it"
    day = as_at.date() if as_at else date(1900, 1, 1)
    text = f"{name}: the feed {row['feed_id']} ({row['feed_kind']}) is late; {told}, local time."
    link = _link(url, pages()["late_feed"], organisation=label)
    feed = f"{row['feed_id']}/{row['feed_kind']}"
    return Alert(LATE_FEED, feed, level, row["party_code"], name, day, day, text, link)


def _link(url: str, page: str, **filters: str) -> str:
    chosen = urlencode({name: value for name, value in filters.items() if value})
    return f"{url.rstrip('/')}/{page}" + (f"?{chosen}" if chosen else "")


@cache
def pages() -> dict[str, Any]:
    """Where metrics are shown: pages.toml."""
    return tomllib.loads(Path(__file__).with_name("pages.toml").read_text(encoding="utf-8"))


def page_of(metric_id: str) -> str:
    """The page of a metric, as its address names it."""
    return pages()["metrics"].get(metric_id) or pages()["families"][metric_id[0]]


def written(value: float, unit: str) -> str:
    """A value with its unit; a small count is not written."""
    if unit == "rate":
        return f"{value:.1%}"
    if unit == "count":
        return "(too few to write)" if 0 < abs(value) < LEAST_COUNT else f"{value:,.0f}"
    return f"{value:,.1f} {unit}"


def _limits(chart: Mapping[str, Any]) -> str:
    low, high = chart["lpl"], chart["upl"]
    if low is None or high is None:
        return ""
    unit = chart["unit"]
    return f" Process limits: {written(low, unit)} to {written(high, unit)}."
