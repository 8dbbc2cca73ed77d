"""Makes the pack of a build: the figures of the pages, of the same queries and components.

Nothing is counted here: what a figure says and draws is what the screen says and draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import polars as pl

from dashboards.components import (
    benefit_table,
    effect_figures,
    equity_figures,
    figure,
    network_map,
    turnaround_figures,
    waiting_figures,
    wording,
)
from dashboards.components.figure import Figure
from dashboards.contents import ENTRIES
from dashboards.data.filters import ALL_MONTHS, LAST_36, Filters, month_bounds
from dashboards.data.published import Build
from dashboards.data.queries import (
    benefits,
    catalogue,
    effects,
    equity,
    metrics,
    organisations,
    quality,
    turnaround,
    waiting_times,
)
from dashboards.export.model import Item, PackModel, Section, Table, read_table
from dashboards.page import EVERY, MONTHLY, Page

LIST, COHORTS = "marts.rpt_waiting_times_monthly", "marts.rpt_report_turnaround_monthly"
SURVIVAL, SPREAD = "statistics.turnaround_survival", "statistics.trust_spread"
SUMMARY, TOLD = "marts.rpt_benefits_summary", "statistics.go_live_effects"
CROSS_SITE = "marts.rpt_cross_site_reporting_yearly"
# Measures of the work of teams; they are of organisations, never of a person.
STAFF = ("P01", "P02", "R11", "R12", "R13")
# Columns that a reader of paper has no use for: keys of the row, and what a drawing needs only.
LEFT_OUT = frozenset(
    {
        "special_cause_type",
        "charted_on",
        "point_type",
        "org_level",
        "org_code",
        "metric_id",
        "modality_group",
    }
)
MONTHS = frozenset({"period_start_on", "month_on", "acquired_month_on"})


def make(build: Build, audience: str) -> PackModel:
    """The pack of a build as an audience may see it; the whole network, all modalities."""
    facts = organisations.build_facts(build).row(0, named=True)
    stored = organisations.months(build, "network", "NETWORK")
    years, ever = (_page(build, facts, stored, period) for period in (LAST_36, ALL_MONTHS))
    register = benefit_table.as_displayed(benefits.summary(build))
    sections = [
        Section("Promise by promise", "What was promised, and what arrived?",
                list(_promises(build, register))),
        Section("Costs and benefits", "Does it pay for itself, and how sure is that?",
                [_item(benefit_table.appraisal(benefits.appraisal(build)), "statistics.appraisal")]),
        Section("Effect of go-live", "Did the go-lives change what was promised?",
                list(_effects(build))),
        Section("Waits and the cancer pathway", "How long do people wait?", list(_waits(years))),
        Section("Reports", "How long do people wait for the report?", list(_reports(years))),
        Section("Sharing across sites", "Who reads for whom, and is it in balance?",
                list(_sharing(ever))),
        Section("Staff", "What does the work ask of teams?", list(_staff(years))),
        Section("Equity", "Who waits longer?", list(_equity(years))),
    ]  # fmt: skip
    used = {name for part in sections for item in part.items for name in item.metrics}
    feeds = quality.freshness(build)
    return PackModel(
        build_id=build.build_id,
        made_at=build.created_at,
        audience=audience,
        network=facts["network_name"],
        is_synthetic=facts["is_synthetic"],
        rule=build.rule,
        answers=[_headline(build), *_arrived(feeds)],
        caveats=_caveats(build, facts),
        promises=Table(
            ("Promise", "Is it arriving?"), [("", list(map(_answer, register.to_dicts())))]
        ),
        freshness=written(
            feeds.select("party", "feed_kind", "as_at_local", "is_level_with_others", "file_count")
        ),
        targets=written(catalogue.all_targets(build).rename({"metric_id": "metric"})),
        definitions=catalogue.metrics(build).filter(pl.col("metric_id").is_in(sorted(used))),
        sections=sections,
    )


def written(frame: pl.DataFrame) -> Table:
    """The rows as they are written on the screen: a star where hidden, rates as per cent."""
    frame = figure.starred(frame)
    names = [name for name in frame.columns if name not in LEFT_OUT]
    cells = [[_cell(row[name], name) for name in names] for row in frame.iter_rows(named=True)]
    return Table([wording.column(name) for name in names], [("", cells)])


def _cell(value: Any, name: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return wording.instant(value)
    if isinstance(value, date):
        return f"{value:%b %Y}" if name in MONTHS else f"{value:%d %b %Y}"
    if isinstance(value, int | float):
        if name.endswith("_rate"):
            return wording.number(value, "rate")
        if isinstance(value, float) and 0 < abs(value) < 1:
            # a small change must not read as none
            return f"{value:.3g}" if abs(value) >= 0.0001 else f"{value:.6f}"
        whole, _, decimals = f"{value:,.3f}".partition(".")
        return f"{whole}.{decimals.rstrip('0')}".rstrip(".")
    return wording.status(value) if name.endswith("source_status") else str(value)


def _page(build: Build, facts: dict[str, Any], stored: list[date], period: str) -> Page:
    from_on, to_on = month_bounds(stored, period)
    name = f"{facts['network_name']} (whole network)"
    filters = Filters("network", "NETWORK", name, EVERY, from_on, to_on)
    return Page(ENTRIES[0], build, filters, EVERY)


def _item(drawn: Figure, source: str, *names: str, build: Build | None = None) -> Item:
    if build is not None and build.rule and drawn.table.is_empty():
        drawn = replace(drawn, takeaway=wording.NOT_TOLD, nothing=wording.NOT_TOLD_WHY)
    drawn = replace(drawn, notes=[*drawn.notes, *figure.hidden_note(drawn.table)])
    table = read_table(drawn.reading) if drawn.reading else written(drawn.table)
    return Item(drawn, table, source, names)


def _promises(build: Build, register: pl.DataFrame) -> Iterator[Item]:
    title = "Benefit register, whole network"
    takeaway = (
        "Planned was promised; the metric shows what changed, whatever the cause; realised is what a "
        "comparison with parties not yet live gives the programme. The classes count different kinds "
        "of value and are never added together."
    )
    reading = benefit_table.html(register, title)
    names = register["measure_metric_id"].drop_nulls().to_list()
    yield _item(Figure(title, takeaway, register, reading=reading), SUMMARY, *names)
    yield _item(
        benefit_table.planned(register, title="Planned value a year by promise, whole network"),
        SUMMARY,
    )


def _effects(build: Build) -> Iterator[Item]:
    measures = effects.measures(build)
    yield _item(effect_figures.overview(measures), TOLD, build=build)
    for row in measures.filter(pl.col("verdict").is_not_null()).iter_rows(named=True):
        chosen = (build, row["metric_id"], row["go_live_type"])
        one = effects.measure(*chosen)
        whole, told = one.row(0, named=True), effect_figures.verdict(one)
        study = effect_figures.by_month_since(effects.by_month_since(*chosen), whole)
        limits = read_table(effect_figures.caveats(one).reading).rows
        study = replace(
            study,
            title=told.title,
            takeaway=told.takeaway,
            verdicts=told.verdicts,
            alt=f"{study.alt} {told.takeaway}",
            notes=[*told.notes, *study.notes, *(f"{what}: {answer}" for what, answer in limits)],
        )
        yield _item(study, f"{TOLD}_by_month_since", row["metric_id"])
    lives = organisations.go_lives(build)
    item = _item(network_map.timeline(lives, title="Go-lives of the parties"), "marts.dim_event")
    kinds = [wording.EVENT_TYPES.get(kind, kind) for kind in lives["event_type"]]
    named = lives.drop("label").with_columns(pl.Series("event_type", kinds, dtype=pl.String))
    yield replace(item, table=written(named))


def _waits(page: Page) -> Iterator[Item]:
    listed = waiting_times.by_month(page.build, page.filters, EVERY)
    test = page.where_tested
    share = waiting_figures.share(listed, test, page.events_of("W02"), page.targets("W02"))
    yield _of(page, page.charted(share, "W02", column="waiting_6_plus_rate"), LIST, "W02")
    size = waiting_figures.size(listed, test, page.events)
    size = page.charted(size, "W01", column="waiting_list_count", label="Waiting list")
    yield _of(page, size, LIST, "W01")
    peers = waiting_times.peers_latest(page.build, page.filters, EVERY)
    drawn = waiting_figures.peers(peers, page.test, page.targets("W02"))
    yield _of(page, drawn, LIST, "W02")
    yield from _metrics(page, "W10")


def _reports(page: Page) -> Iterator[Item]:
    chosen = (page.build, page.filters)
    hours = turnaround_figures.percentiles(
        turnaround.survival_by_month(*chosen), page.where, page.events_of("R01")
    )
    yield _of(page, page.charted(hours, "R01", column="p50_hours", label="Median"), SURVIVAL, "R01")
    within = turnaround_figures.within_28_days(
        turnaround.by_month(*chosen), page.where, page.events_of("R02"), page.targets("R02")
    )
    yield _of(page, page.charted(within, "R02", column="within_28_days_rate"), COHORTS, "R02")


def _sharing(page: Page) -> Iterator[Item]:
    shared = network_map.shared_by_year(
        benefits.cross_site_by_year(page.build, page.filters),
        page.where,
        page.events,
        page.targets("R08"),
    )
    yield _of(page, shared, CROSS_SITE, "R08")
    cells = benefits.cross_site_matrix_latest(page.build, page.filters)
    title = "Who reports for whom, whole network, all modalities"
    item = _of(page, network_map.matrix(cells, title=title), CROSS_SITE, "R08", "R06")
    yield replace(item, table=_matrix(cells), figure=replace(item.figure, chart=None))


def _matrix(cells: pl.DataFrame) -> Table:
    """Acquired by down, reported by along; each cell as the screen writes it."""
    rows = cells["acquired_by"].unique(maintain_order=True).to_list()
    others = cells["reported_by"].unique(maintain_order=True).to_list()
    columns = [*[r for r in rows if r in others], *[c for c in others if c not in rows]]
    told = {(c["acquired_by"], c["reported_by"]): c for c in cells.to_dicts()}
    lines = [
        [row, *(wording.told(told[row, name], "report_count", "count") if (row, name) in told else ""
                for name in columns)]
        for row in rows
    ]  # fmt: skip
    return Table(["Acquired by / reported by", *columns], [("", lines)])


def _staff(page: Page) -> Iterator[Item]:
    yield from _metrics(page, *STAFF)


def _metrics(page: Page, *names: str) -> Iterator[Item]:
    for row in catalogue.metrics(page.build).iter_rows(named=True):
        if (
            row["metric_id"] in names
            and not metrics.by_month(page.build, page.filters, row["metric_id"]).is_empty()
        ):
            yield _of(page, page.metric(row, page.where), MONTHLY, row["metric_id"])


def _equity(page: Page) -> Iterator[Item]:
    chosen = (page.build, page.filters)
    for one in equity_figures.MEASURES[:1]:
        for kind in equity_figures.KINDS:
            rows = equity.latest(*chosen, one.metric_id, kind)
            drawn = equity_figures.bars(rows, one, kind, page.where)
            yield _of(page, drawn, one.source, one.metric_id)
        spread = equity.spread_by_month(*chosen, one.metric_id)
        drawn = equity_figures.spread(spread, one, page.modality, page.network_events)
        yield _of(page, drawn, SPREAD, one.metric_id)


def _of(page: Page, drawn: Figure, source: str, *names: str) -> Item:
    lacking = quality.missing_feeds(page.build, page.filters)
    lacking = lacking.filter(pl.col("metric_id").is_in(list(names)))
    drawn = replace(drawn, notes=[*drawn.notes, *wording.missing_feeds(lacking)])
    return _item(drawn, source, *names, build=page.build)


def _headline(build: Build) -> str:
    return benefit_table.headline_text(benefits.overview(build).row(0, named=True))


def _arrived(feeds: pl.DataFrame) -> list[str]:
    parties = feeds.filter(pl.col("party_code") != "NETWORK")
    everyone = parties["party"].unique(maintain_order=True).to_list()
    late = parties.filter(~pl.col("is_level_with_others"))["party"].unique(maintain_order=True)
    happened = feeds.filter("tells_of_exams").sort("as_at_local", descending=True)
    newest = happened["as_at_local"][0] if happened.height else None
    text = f"Data to {wording.day(newest)}; {len(everyone) - len(late)} of {len(everyone)} parties "
    text += "are level with each other"
    return [f"{text} (late: {', '.join(late)})." if len(late) else f"{text}."]


def _answer(row: dict[str, Any]) -> tuple[str, str]:
    """A promise, and in a sentence what its metric did and what it brought."""
    moved = row["movement"] if row["is_measured"] else row["evidence"] or "no metric yet"
    name = row["measure_name"] or "no metric"
    if row["realised_to_date_gbp"] is None:
        because = row["empty_because"] or "the register has no such line"
        worth = f"no realised value: {because}"
    else:
        low, high = (wording.number(row[f"realised_{end}_gbp"], "gbp") for end in ("low", "high"))
        worth = (
            f"{wording.number(row['realised_to_date_gbp'], 'gbp')} realised to date "
            f"(95 % interval {low} to {high}; evidence {row['evidence_grade']})"
        )
    return f"{row['benefit_id']} {row['title']}", f"{name}: {moved}; {worth}."


def _caveats(build: Build, facts: dict[str, Any]) -> list[str]:
    told = ["Synthetic data: no real patient, no real figure."] if facts["is_synthetic"] else []
    told.append("Management information, not for clinical decisions.")
    told.append(
        "The classes of benefit count different kinds of value and are never added together."
    )
    if build.rule:
        told.append(
            f"Small numbers: {build.rule}. What is hidden is shown as {wording.HIDDEN} or as a gap, "
            "never as 0."
        )
    if not build.gate.passed:
        told.append("A delivery was refused when this build was checked; see Data quality.")
    return told
