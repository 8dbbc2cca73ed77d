"""What every view shares: the build, the filters, the head of the page, and how a figure is put.

Joins data and components, so that neither has to know the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboards.auth import door, purpose, review
from dashboards.auth.audit import REFUSED, SHOWN, STOPPED, NotRecorded, Seen
from dashboards.auth.principal import DEMO, NoFile, Principal
from dashboards.auth.purpose import NotStated, Stated
from dashboards.components import (
    banners,
    control,
    effect_figures,
    figure,
    filter_bar,
    metric_figures,
    wording,
)
from dashboards.components.figure import Figure
from dashboards.components.parameters import Choices
from dashboards.contents import Entry
from dashboards.data import stewardship
from dashboards.data.filters import CUSTOM, PERIODS, Filters, month_bounds
from dashboards.data.published import Build, PublishedFilesBroken, build_for
from dashboards.data.queries import (
    catalogue,
    effects,
    metrics,
    organisations,
    quality,
    waiting_times,
)
from dashboards.settings import Settings
from dashboards.sqllab.broker import QueryRefused, QueryResult
from dashboards.sqllab.desk import Asked, Desk
from dashboards.sqllab.saved import NotSaved, Shelf

BUILD, PAGE, DESK, ENTRY = "open_build", "open_page", "open_desk", "open_entry"
RECORD_PAGE = "open_record"
RECORDED = "recorded_view"
EVERY = "All"
MONTHLY = "marts.rpt_metrics_monthly"
# What the page of stewards reads beside published tables: name, and what it is.
MANIFEST = ("published/manifest.json", "The files of the build that is served, and these pages.")
RECORD = (
    "the record of access",
    "One line for each page, file, statement and sign-in, written before it is shown. Days are UTC.",
)
CUSTODY = ("published/custody.json", "Written by the pipeline when it has deleted what was due.")
# Words of a time -> how many days back it begins; today is the last of them.
TIMES = {"Last 30 days": 30, "Last 7 days": 7, "Last 12 months": 366, "All time": 36_500}
# What is chosen at the head of a page does not reach every table: these ignore some or all of it.
FILTERED_BY = {
    "marts.rpt_benefits_summary": (),
    "marts.dim_staff_protection": (),
    "marts.rpt_reporting_output_weekly": ("Organisation", "Months"),
    "marts.rpt_reporting_balance_monthly": ("Organisation", "Months"),
    "marts.dim_event": (),
    "marts.rpt_reconciliation": (),
    "marts.rpt_rejects": (),
    "marts.rpt_device_clocks_weekly": (),
    "marts.rpt_feed_freshness": (),
    "statistics.metric_revisions": ("Organisation", "Months"),
    "statistics.appraisal": (),
    "statistics.trust_spread": ("Modality", "Months"),
    "statistics.go_live_effects": ("Measure",),
    "statistics.go_live_effects_by_month_since": ("Measure",),
    "statistics.go_live_effects_by_party": ("Measure",),
    "statistics.go_live_effects_checks": ("Measure",),
    "marts.rpt_feed_metric_matrix": (),
    "marts.rpt_image_access_monthly": ("Organisation", "Months"),
    "marts.rpt_waiting_times_monthly": ("Organisation", "Waiting list test", "Months"),
    "marts.rpt_published_waits_monthly": ("Organisation", "Waiting list test", "Months"),
}


@dataclass(frozen=True)
class Page:
    """An open page: the build it reads, what the reader chose, and the events to mark.

    measure is the metric and type of go-live of a page about an effect.
    """

    entry: Entry
    build: Build
    filters: Filters
    dm01_test: str
    measure: tuple[str, str] = ("", "")

    @property
    def where(self) -> str:
        """The end of a figure title: organisation and modality."""
        return f"{self.filters.org_name}, {self.modality}"

    @property
    def where_tested(self) -> str:
        """The end of a waiting-list title: organisation and DM01 test."""
        return f"{self.filters.org_name}, {self.test}"

    @property
    def modality(self) -> str:
        """The end of a peer title: the modality alone."""
        return wording.modality(self.filters.modality_group)

    @property
    def test(self) -> str:
        """The end of a waiting-list peer title: the DM01 test alone."""
        return wording.TESTS.get(self.dm01_test, self.dm01_test)

    def text(self, source: str, column: str) -> str:
        """The published text of a column of a table given as schema.table."""
        return catalogue.column_text(self.build, source, column)

    @cached_property
    def events(self) -> pl.DataFrame:
        """One row per event to mark on time charts."""
        return organisations.events(self.build, self.filters)

    def events_of(self, metric_id: str) -> pl.DataFrame:
        """The same, with the events that concern this metric only."""
        return organisations.events(self.build, self.filters, metric_id)

    @cached_property
    def network_events(self) -> pl.DataFrame:
        """One row per event to mark on time charts of the whole network."""
        network = replace(self.filters, org_level="network", org_code="NETWORK")
        return organisations.events(self.build, network)

    def targets(self, metric_id: str, modality_group: str | None = None) -> pl.DataFrame:
        """One row per target of a metric for the chosen modality."""
        modality = modality_group or self.filters.modality_group
        return organisations.targets(self.build, metric_id, modality)

    @cached_property
    def tested(self) -> str:
        """The modality group of the chosen waiting list test: metrics are counted by modality."""
        return waiting_times.modality_group(self.build, self.dm01_test)

    def charted(
        self,
        drawn: Figure,
        metric_id: str,
        *,
        column: str = "",
        label: str = "",
        modality_group: str = "",
    ) -> Figure:
        """The figure with the stored control chart of a metric of the chosen organisation.

        column and label are those of control.with_limits; modality_group is another than the
        chosen one.
        """
        group = modality_group or self.filters.modality_group
        chosen = (self.build, replace(self.filters, modality_group=group), metric_id)
        charts, points = metrics.control_chart(*chosen), metrics.control_points(*chosen)
        return control.with_limits(drawn, charts, points, column=column, label=label)

    def metric(self, measure: dict[str, Any], where: str) -> Figure:
        """One metric of the registry by month, with targets, events and its control chart.

        measure is its row of the registry, where the end of the title.
        """
        name = measure["metric_id"]
        monthly = metrics.by_month(self.build, self.filters, name)
        drawn = metric_figures.over_time(
            monthly, measure, where, self.events_of(name), self.targets(name)
        )
        return self.charted(drawn, name, column="value")

    def any_metric(self, families: str, shown: Collection[str]) -> None:
        """A part of the page with one more metric, picked by the reader, as a control chart.

        families are first letters of metric ids; shown are ids that have a figure of their own.
        """
        found = [catalogue.metrics_of(self.build, family) for family in families]
        rows = {row["metric_id"]: row for frame in found for row in frame.rows(named=True)}
        rows = {name: row for name, row in rows.items() if name not in shown}
        if not rows:
            return
        self.section(
            "Any other measure", "Every measure of this page has a control chart: pick one more."
        )
        words = {name: f"{name} {row['name']}" for name, row in rows.items()}
        picked = filter_bar.choice("Measure", list(rows), "measure", words)
        self.figure(self.metric(rows[picked], self.where), metrics=[picked], source=MONTHLY)

    @cached_property
    def _lacking(self) -> pl.DataFrame:
        return quality.missing_feeds(self.build, self.filters)

    # Every figure of a page has these; even a kept answer takes a millisecond to be found again.
    @cached_property
    def _registry(self) -> pl.DataFrame:
        return catalogue.metrics(self.build)

    @cached_property
    def _whole_file(self) -> list[str]:
        return whole_file(self.build)

    @staticmethod
    def columns() -> list[DeltaGenerator]:
        """Two columns, the left one wider; below each other on a narrow screen."""
        return st.columns([5, 4])

    @staticmethod
    def tiles(count: int) -> list[DeltaGenerator]:
        """A place for each of so many figures, two in a row."""
        return [place for _ in range(0, count, 2) for place in st.columns(2)][:count]

    def beside(self, *shown: tuple[Figure, Sequence[str], str]) -> None:
        """Two figures beside each other: each with the metrics that explain it and its source."""
        for place, (drawn, names, source) in zip(self.columns(), shown, strict=True):
            with place:
                self.figure(drawn, metrics=names, source=source)

    def figure(
        self,
        drawn: Figure,
        *,
        metrics: Sequence[str] = (),
        source: str,
        filtered_by: Sequence[str] | None = None,
        registry: pl.DataFrame | None = None,
    ) -> None:
        """Show one figure; metrics are the registry ids that explain it.

        filtered_by names the choices the rows depend on, where the table does not say it.
        registry holds the texts of measures that a table explains itself, one row each. Feeds that
        a metric lacks at the chosen organisation are named below the drawing; without metrics the
        text of the table explains the figure, and no feed is named.
        """
        if metrics:
            lacking = self._lacking.filter(pl.col("metric_id").is_in(list(metrics)))
            drawn = replace(drawn, notes=[*drawn.notes, *wording.missing_feeds(lacking)])
        if self.build.rule and drawn.table.is_empty():
            # a table that this audience may not see has no rows here, whatever the figure says
            drawn = replace(drawn, takeaway=wording.NOT_TOLD, nothing=wording.NOT_TOLD_WHY)
        figure.show(drawn, **self._told(drawn, metrics, source, filtered_by, registry))

    @staticmethod
    def section(title: str, text: str) -> None:
        """Begin a part of the page: what the figures below have in common."""
        st.html(f'<p class="headline">{title}</p><p class="question">{text}</p>')

    def footer(self, drawn: Figure, *, metrics: Sequence[str] = (), source: str) -> None:
        """Show only what stands below a figure, for a table that is drawn by other means."""
        figure.footer(drawn, **self._told(drawn, metrics, source, None))

    def _told(
        self,
        drawn: Figure,
        metrics: Sequence[str],
        source: str,
        filtered_by: Sequence[str] | None,
        registry: pl.DataFrame | None = None,
    ) -> dict[str, Any]:
        texts = self._registry if registry is None else registry
        known = texts.filter(pl.col("metric_id").is_in(list(metrics)))
        described = catalogue.table_text(self.build, source)
        name = f"{self.entry.view}_{source.rsplit('.', 1)[-1]}_{_slug(drawn.title)}"
        names = FILTERED_BY.get(source, ("Organisation", "Modality", "Months"))
        return {
            "definitions": known,
            "source": source,
            "described": described,
            "provenance": self._provenance(names if filtered_by is None else filtered_by),
            "key": name,
            "taken": self.taken,
        }

    @property
    def taken(self) -> Callable[[str, int | None], None]:
        """Records a file that the reader takes away: its name, and its rows as far as known."""
        return _taker(self.build, self.entry.view, self.chosen)

    @property
    def chosen(self) -> dict[str, str]:
        """Name of a choice of this page -> what was chosen."""
        found = self.filters.describe() | {"Waiting list test": self.test}
        return found | {"Measure": f"{self.measure[0]}, {effect_figures.go_live(self.measure[1])}"}

    def _provenance(self, filtered_by: Sequence[str]) -> list[str]:
        """The lines every download carries: filters, build, and the newest entry per feed."""
        filters = [f"{name}: {self.chosen[name]}" for name in filtered_by]
        if "Organisation" not in filtered_by:
            filters = ["Organisation: whole network", *filters]
        return [*filters, *self._whole_file]


@dataclass(frozen=True)
class RecordPage:
    """The open page of stewards: time and kinds that were chosen, and what it reads."""

    entry: Entry
    build: Build
    published: Path
    period: str
    kinds: Sequence[str]
    record: review.Record
    custody: stewardship.Custody
    since: str | None

    @property
    def chosen(self) -> dict[str, str]:
        """Name of a choice of this page -> what was chosen."""
        return {"Time": self.period, "Kind": ", ".join(self.kinds)}

    @staticmethod
    def section(title: str, text: str) -> None:
        """Begin a part of the page: what the tables below have in common."""
        Page.section(title, text)

    @staticmethod
    def warn(text: str) -> None:
        """A sentence that stands out; nothing where it is empty."""
        if text:
            st.warning(text, icon=":material/warning:")

    def figure(self, drawn: Figure, source: tuple[str, str]) -> None:
        """Show one table; source is the name of what it is read from, and what that is."""
        choices = [f"{name}: {chosen}" for name, chosen in self.chosen.items()]
        figure.show(
            drawn,
            definitions=pl.DataFrame(),
            source=source[0],
            described=source[1],
            provenance=[*(choices if source == RECORD else []), *whole_file(self.build)],
            key=f"{self.entry.view}_{_slug(drawn.title)}",
            taken=_taker(self.build, self.entry.view, self.chosen),
        )


def open_build() -> Build:
    """The current build; shows what to do and stops the page when there is none."""
    settings = Settings()
    try:
        build = build_for(settings.published_folder, door.current(), settings.audience)
    except NoFile as error:
        door.no_access(str(error))
    except PublishedFilesBroken as error:
        banners.unreadable(str(error))
        st.stop()
    if build is None:
        banners.nothing_published(str(settings.published_folder))
        st.stop()
    return build


def prepare(entry: Entry) -> None:
    """Show title, question, banners, freshness and filters; keep what was chosen for the view."""
    for left in (BUILD, PAGE, ENTRY, RECORD_PAGE):
        st.session_state.pop(left, None)
    _check(entry)
    build = open_build().typed if entry.is_typed else open_build()
    st.session_state[BUILD], st.session_state[ENTRY] = build, entry
    _head(build, entry)
    if entry.pick_organisation:
        filters, test = _choose(build, entry)
        st.session_state[PAGE] = Page(entry, build, filters, test)
    if entry.pick_effect:
        filters = Filters("network", "NETWORK", "", EVERY, date.min, date.max)
        st.session_state[PAGE] = Page(entry, build, filters, EVERY, _choose_effect(build))
    if entry.pick_record:
        st.session_state[RECORD_PAGE] = _choose_record(build, entry, datetime.now(UTC))
    page = st.session_state.get(PAGE) or st.session_state.get(RECORD_PAGE)
    _record_view(build, entry, page.chosen if page else {})


def _check(entry: Entry) -> None:
    """Stop the run unless the reader's role may open the page."""
    principal = door.current()
    if entry.is_open_to(principal):
        return
    _record(None, principal, Seen("view", REFUSED, view=entry.view))
    door.no_access(f"The page {entry.title} is not open to the role {principal.words}.")


def _record(build: Build | None, principal: Principal, seen: Seen) -> None:
    """Add a line to the record; what cannot be recorded is not shown."""
    name, build_id = (build.audience, build.build_id) if build else ("", "")
    door.recorder(principal, name, build_id).add(seen, datetime.now(UTC))


def _record_view(build: Build, entry: Entry, chosen: dict[str, str]) -> None:
    seen = Seen("view", SHOWN, view=entry.view, filters=chosen)
    if st.session_state.get(RECORDED) == (build.path, seen):
        return
    try:
        _record(build, door.current(), seen)
    except NotRecorded as error:
        banners.unreadable(str(error))
        st.stop()
    st.session_state[RECORDED] = (build.path, seen)


def _taker(build: Build, view: str, chosen: dict[str, str]) -> Callable[..., None]:
    """Records a file that the reader of this run takes: its name, its rows, a statement if any.

    Reader and purpose are those of the moment the button was drawn: the file is made outside the
    run. What it raises leaves no file.
    """
    given = (door.current(), purpose.current(), purpose.is_lacking())
    return partial(_record_download, build, view, chosen, *given)


def _record_download(
    build: Build,
    view: str,
    chosen: dict[str, str],
    principal: Principal,
    stated: Stated | None,
    is_lacking: bool,
    taken: str,
    rows: int | None,
    sql: str = "",
) -> None:
    """Raises NotStated, after it is recorded, where a purpose is asked of the reader and none stated."""
    seen = Seen("download", SHOWN, view=view, sql=sql, rows=rows, taken=taken, filters=chosen)
    if stated is not None:
        seen = replace(seen, purpose=stated.key, purpose_words=stated.words)
    if is_lacking:
        _record(build, principal, replace(seen, outcome=REFUSED, reason="no purpose was stated"))
        raise NotStated("State what the file is for, then download it again.")
    _record(build, principal, seen)


def _record_answer(build: Build, principal: Principal, asked: Asked) -> None:
    answer, values = asked.answer, {f"${n}": str(v) for n, v in asked.parameters.items()}
    if isinstance(answer, QueryResult):
        seen = Seen("sql", SHOWN, sql=asked.sql, rows=answer.frame.height)
    else:
        word = REFUSED if isinstance(answer, QueryRefused) else STOPPED
        seen = Seen("sql", word, sql=asked.sql, reason=answer.reason)
    _record(build, principal, replace(seen, view="sql_workbench", filters=values))


def shown_build() -> Build:
    """The build that prepare() opened in this run; all a page without filters needs."""
    _check(st.session_state[ENTRY])
    return st.session_state[BUILD]


def open_desk() -> Desk:
    """The SQL workbench of this session."""
    build, principal = shown_build(), door.current()
    if DESK not in st.session_state or st.session_state[DESK].user != principal.subject:
        st.session_state[DESK] = Desk(user=principal.subject)
    desk: Desk = st.session_state[DESK]
    desk.record = partial(_record_answer, build, principal)
    desk.taken = _taker(build, "sql_workbench", {})
    return desk


def open_shelf() -> Shelf:
    """The saved queries of this reader."""
    principal = door.current()
    record = partial(_record_query, shown_build(), principal)
    return Shelf(Settings().queries_folder, principal.words, principal.subject, record)


def _record_query(build: Build, principal: Principal, outcome: str, sql: str) -> None:
    try:
        _record(build, principal, Seen("query", outcome, view="sql_workbench", sql=sql))
    except NotRecorded as error:
        raise NotSaved(str(error)) from error


def typed_choices(build: Build) -> Choices:
    """What can be picked as a value of typed SQL."""
    trusts = organisations.choices(build).filter(pl.col("org_level") == "trust")
    return Choices(
        organisations.months(build, "network", "NETWORK"),
        {row["org_code"]: row["org_name"] for row in trusts.to_dicts()},
        organisations.modalities(build),
    )


def whole_file(build: Build) -> list[str]:
    """The lines a download carries that is of no filter: build, and the newest entry per feed."""
    as_at = [
        f"As at: {row['party']} {row['feed_kind']} {wording.instant(row['as_at_local'])}"
        for row in quality.freshness(build).iter_rows(named=True)
    ]
    hidden = [f"Small numbers: {build.rule}"] if build.rule else []
    return [f"Build: {build.build_id}", *hidden, *as_at]


def typed_file(build: Build) -> list[str]:
    """The lines of an answer of typed SQL: build, rule of small numbers, how far it reaches, feeds."""
    feeds = quality.freshness(build).filter("tells_of_exams")
    reached = feeds.sort("as_at_local", descending=True)["as_at_local"].to_list()
    newest = wording.instant(next(iter(reached), None))
    return [
        f"Build: {build.build_id}",
        f"Small numbers: {build.rule or 'none are hidden in this file'}",
        f"Data to: {newest} local time, the newest entry of a feed of exams",
        *(line for line in whole_file(build) if line.startswith("As at: ")),
    ]


def current_page() -> Page:
    """The page that prepare() opened in this run, for an entry whose organisation is picked."""
    _check(st.session_state[ENTRY])
    return st.session_state[PAGE]


def open_record() -> RecordPage:
    """The page of stewards that prepare() opened in this run."""
    _check(st.session_state[ENTRY])
    return st.session_state[RECORD_PAGE]


def _choose_record(build: Build, entry: Entry, now: datetime) -> RecordPage:
    settings = Settings()
    with st.container(border=False, key="filters"):
        left, right = st.columns(2)
        with left:
            period = filter_bar.choice("Time", list(TIMES), "record_time", {})
        with right:
            kind = filter_bar.choice("Kind", [EVERY, *review.KINDS], "record_kind", {})
    told = stewardship.custody(settings.published_folder)
    today = now.date()
    first = today - timedelta(days=TIMES[period] - 1)
    return RecordPage(
        entry,
        build,
        settings.published_folder,
        period.lower(),
        review.KINDS if kind == EVERY else (kind,),
        review.read(settings.audit_folder, first, today, told.time_zone),
        told,
        review.first_month(settings.audit_folder),
    )


def _choose(build: Build, entry: Entry) -> tuple[Filters, str]:
    with st.container(border=False, key="filters"):
        others = entry.pick_modality + entry.pick_test + entry.pick_months
        columns = iter(st.columns([2] + [1] * others))
        with next(columns):
            level, code, name = filter_bar.organisation(organisations.choices(build))
        test, modality = EVERY, EVERY
        if entry.pick_test:
            tests = waiting_times.tests(build)
            with next(columns):
                test = filter_bar.choice("Waiting list test", tests, "test", wording.TESTS)
        if entry.pick_modality:
            groups = organisations.modalities(build)
            with next(columns):
                modality = filter_bar.choice("Modality", groups, "modality", wording.MODALITIES)
        period = entry.default_period
        if entry.pick_months:
            with next(columns):
                period = filter_bar.period(PERIODS, default=entry.default_period)
        months = organisations.months(build, level, code)
        if not months:
            st.info(f"Nothing is stored for {name}. Choose another organisation.")
            st.stop()
        first, last = filter_bar.custom_months(months) if period == CUSTOM else (None, None)
    from_on, to_on = month_bounds(months, period, first, last)
    return Filters(level, code, name, modality, from_on, to_on), test


def _choose_effect(build: Build) -> tuple[str, str]:
    """Metric and type of go-live, of those the benefit register names together."""
    found = effects.measures(build).rows(named=True)
    if not found:
        st.info(
            "The benefit register names no metric with a type of go-live, so nothing is compared."
        )
        st.stop()
    names = {row["metric_id"]: f"{row['metric_id']} {row['metric']}" for row in found}
    with st.container(border=False, key="filters"):
        left, right = st.columns(2)
        with left:
            metric_id = filter_bar.choice("Metric", list(names), "effect_of", names)
        kinds = [row["go_live_type"] for row in found if row["metric_id"] == metric_id]
        words = {kind: effect_figures.go_live(kind) for kind in kinds}
        with right:
            kind = filter_bar.choice("Go-live", kinds, "go_live", words)
    return metric_id, kind


def _head(build: Build, entry: Entry) -> None:
    st.title(entry.title, anchor=False)
    st.html(f'<p class="question">{entry.question}</p>')
    if not build.gate.passed:
        gate = build.gate
        banners.refused(build.build_id, build.created_at, gate.checked_at, gate.failures)
    if door.current().role == DEMO:
        st.caption("Demo user: no sign-in is configured, so this machine alone is served.")
    facts = organisations.build_facts(build).row(0, named=True)
    if facts["is_synthetic"]:
        banners.synthetic()
    late_means = catalogue.column_text(build, "marts.rpt_feed_freshness", "is_late")
    if build.rule:
        banners.suppressed(build.rule)
    banners.freshness(quality.freshness(build), build.build_id, late_means)


def _slug(title: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in title.split(",")[0])
    return "_".join(words.lower().split())


def follow_new_builds() -> None:
    """Look now and then for a newer build or gate result; show it without a reload.

    Choices stay as they are: the page reruns with the same filters on the new file.
    """
    settings = Settings()
    shown = _signature(settings)
    before = st.session_state.get("shown_build")
    if shown is not None:
        st.session_state["shown_build"] = shown[0]
        if before not in (None, shown[0]):
            st.toast(f"New build {shown[0]}: the figures were updated.", duration="long")

    @st.fragment(run_every=settings.refresh_seconds)
    def watch() -> None:
        if door.has_ended(datetime.now(UTC)) or _signature(settings) != shown:
            st.rerun(scope="app")

    watch()


def _signature(settings: Settings) -> tuple[str, object] | None:
    try:
        build = build_for(settings.published_folder, door.current(), settings.audience)
    except (PublishedFilesBroken, NoFile):
        return None
    return build.signature if build else None
