"""A reader opens a page and must find figures that explain themselves, from one stored frame."""

import json
import re

import polars as pl
import published_build
import pytest
from conftest import PENNINE, ROOT, VIEWS

from dashboards.components import benefit_table
from dashboards.data.queries import quality

WITH_CHARTS = [
    view
    for view in VIEWS
    if view not in {"metric_dictionary", "sql_workbench", "steward", "what_if"}
]


def charts(app) -> dict[str, dict]:
    """Key of the figure -> its drawing, as the browser gets it."""
    return {key(chart.proto.id): json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


def tables(app) -> dict:
    """Title of the figure -> the rows of the table below it."""
    return {table.proto.alt: table.value for table in app.dataframe}


def key(widget_id: str) -> str:
    return widget_id.rsplit("-", 1)[-1].removesuffix("_chart")


def text_of(app) -> str:
    blocks = [*app.markdown, *app.caption, *app.warning, *app.error, *app.info, *app.success]
    return "\n".join([str(b.value) for b in blocks] + [str(h.proto.body) for h in app.get("html")])


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_with_its_title(open_view, view):
    """A page that stops with an error shows its reader nothing."""
    app = open_view(view)
    assert not app.exception
    assert not app.error
    assert [title.value for title in app.title] == [VIEWS[view]]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "organisation", [PENNINE, "Pennine Acute Hospitals NHS Trust (trust, to Sep 2021)"]
)
def test_every_page_opens_for_a_party_and_for_a_closed_trust(open_view, view, organisation):
    """Half of the readers look at one organisation; a trust that closed keeps its history."""
    app = open_view(view, organisation=organisation, months="All months")
    assert not app.exception
    assert [title.value for title in app.title] == [VIEWS[view]]


@pytest.mark.parametrize("view", WITH_CHARTS)
def test_every_drawing_has_a_title_on_the_page_and_a_description(open_view, view):
    """A drawing without words is nothing to a screen reader, and a riddle to everyone else."""
    app = open_view(view)
    headings = {heading.value for heading in app.header}
    drawn = app.get("plotly_chart")
    assert drawn
    for chart in drawn:
        title = json.loads(chart.proto.spec)["layout"]["meta"]["title"]
        assert title in headings
        assert len(chart.proto.alt) > len(title)
        assert chart.proto.alt.startswith(title)


@pytest.mark.parametrize("view", WITH_CHARTS)
def test_the_table_below_a_drawing_holds_exactly_the_drawn_values(open_view, view):
    """Chart and table disagree: one of the two numbers a reader quotes is wrong."""
    app = open_view(view)
    shown = tables(app)
    for name, drawing in charts(app).items():
        frame = shown[drawing["layout"]["meta"]["title"]]
        stored = {None if x != x else x for column in frame for x in plain(frame[column])}
        for trace in drawing["data"]:
            if trace.get("yaxis") == "y9" or str(trace.get("name", "")).startswith("Target"):
                continue
            values = trace.get("z") or [trace["x" if trace.get("orientation") == "h" else "y"]]
            for value in (v for line in values for v in line):
                assert value is None or value in stored, f"{name}: {value} is not in the table"


def plain(column) -> list:
    return [x.item() if hasattr(x, "item") else x for x in column.tolist()]


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_says_what_it_is_made_of(open_view, view):
    """Without build, freshness and the word synthetic a figure can be mistaken for a real one."""
    app = open_view(view)
    assert "Synthetic data: no real patient, no real figure" in text_of(app)
    labels = [box.label for box in app.expander]
    assert any(
        "Data to 31 March 2026; 7 of 8 parties level with each other (late: Tameside and Glossop)"
        in label
        and "build 20260401T060000Z" in label
        for label in labels
    )


def test_how_a_figure_is_counted_is_the_registry_text(open_view):
    """A definition that differs from the registry is a second definition of the metric."""
    text = text_of(open_view("waiting_times"))
    assert "Share of the list waiting 42 days or more." in text
    for part in ("Numerator", "Denominator", "Exclusions", "Unit", "Owner", "Source"):
        assert f"- {part}: " in text


def test_an_unverified_target_is_called_unverified(open_view):
    """A target from memory that looks official would be quoted as one."""
    text = text_of(open_view("waiting_times"))
    assert "Target below 1.0% (verified)" in text
    assert "Target at most 5.0% (unverified)" in text


def test_a_value_that_is_not_known_is_a_gap_and_never_zero(open_view):
    """A month too young to judge must not look like a month in which nothing was reported."""
    drawing = charts(open_view("waiting_times"))
    share = next(d for n, d in drawing.items() if n.endswith("reported_within_28_days"))
    line = share["data"][0]
    assert line["y"][-1] is None
    assert line["connectgaps"] is False


def test_events_are_marked_on_the_time_charts_of_a_party(open_view):
    """A step at go-live without its mark looks like an accident."""
    app = open_view("benefits_summary", organisation=PENNINE)
    name = next(n for n in charts(app) if "reports_shared" in n)
    names = {trace.get("name") for trace in charts(app)[name]["data"]}
    assert {"Archive go-live", "Viewing go-live", "Organisation change"} <= names
    assert "COVID-19" in json.dumps(charts(app)[name]["layout"])


def test_mine_is_highlighted_among_the_peers(open_view):
    """A manager who cannot find the own bar compares with the wrong one."""
    app = open_view("throughput", organisation=PENNINE)
    bars = next(d for n, d in charts(app).items() if "against_peers" in n)["data"][0]
    colours = dict(zip(bars["y"], bars["marker"]["color"], strict=True))
    assert len(colours) == 8
    assert [name for name, colour in colours.items() if colour == "#005EB8"] == ["Pennine Acute"]


def test_choices_come_from_the_address(open_view):
    """A link sent to a colleague must open what the sender saw."""
    app = open_view("waiting_times", organisation=PENNINE, test="CT", months="Last 3 years")
    headings = [heading.value for heading in app.header]
    assert "Waiting 6 weeks or more, Pennine Acute Hospitals NHS Trust, CT" in headings
    shares = next(d for n, d in charts(app).items() if n.endswith("waiting_6_weeks_or_more"))
    assert len(shares["data"][0]["x"]) == 36


def test_custom_months_can_be_picked_in_either_order(open_view):
    """Two months in the wrong order must not give an empty page."""
    app = open_view("throughput", months="Custom months", **{"from": "Jun 2024", "to": "Apr 2024"})
    exams = next(d for n, d in charts(app).items() if "exams_performed_each_month" in n)
    assert exams["data"][0]["x"] == ["2024-04-01", "2024-05-01", "2024-06-01"]


def test_benefits_are_grouped_by_class_and_never_added_up(open_view):
    """Cash and hoped-for value in one sum is a number nobody promised."""
    app = open_view("benefits_summary")
    text = text_of(app)
    for kind in ("Cash-releasing (CRB)", "Non-cash-releasing (NCRB)", "Societal (SB)"):
        assert kind in text
    assert "Total" not in text


def test_the_realised_value_stands_with_interval_plan_and_evidence_or_a_reason(open_view):
    """A pound without how sure it is, or an empty cell without a reason, misleads the board."""
    text = text_of(open_view("benefits_summary"))
    assert "£1,034" in text and "evidence B: consistent with improvement" in text
    assert (
        "95 % interval -£85 to £2,154; £9,000 was planned for the same months, "
        "£7,200 after optimism. January 2021 to "
        "December 2021, prices of 2024."
    ) in text
    assert text.count("No value: RMC has 7 months before go-live.") >= 8
    assert "of its group counts." in text


def test_costs_and_benefits_are_told_by_basis_and_class_with_their_uncertainty(open_view):
    """A forecast read as a result, or a value without its spread, is a promise and no evidence."""
    text = text_of(open_view("benefits_summary"))
    assert "Cash only" in text and "All monetised" in text
    assert "Realised, up to December 2021" in text and "Forecast, up to December 2021" in text
    assert "-£150,000" in text and "-£400,000 to £90,000" in text and "0.85" in text
    assert "no benefit of these classes is told on this basis" in text


def test_the_board_reads_first_how_many_promises_can_be_measured(open_view):
    """A table of ten lines is not an answer; the count of those that moved the right way is."""
    text = text_of(open_view("benefits_summary"))
    assert "4 of 9 promised benefits can be measured: " in text
    assert (
        "Of the others: 1 measured now, but not in the baseline, "
        "3 without evidence, for want of a feed, 1 without a metric yet."
    ) in text
    assert "Targets met: 1 of 2 that can be judged." in text


def test_a_line_says_movement_target_certainty_and_owner_in_words(open_view):
    """Colour alone, or a planned value without its certainty, misleads the board."""
    app = open_view("benefits_summary")
    text = text_of(app)
    for words in (
        ">as promised<",
        ">no baseline<",
        "at least 5.0% by 1 April 2026",
        "£410,000",
        "After 20.0% for optimism (the line&#x27;s own): £328,000.",
        "(of its class, illustrative, to be replaced by finance): £76,000.",
        ">invented for the demonstration<",
        "Certainty of the unit cost",
        "Owner: Programme director. Double-count group B01_B02",
    ):
        assert words in text, words
    assert "Benefit register, whole network, all modalities" in [h.value for h in app.header]
    assert any("Certainty of the planned value" in caption.value for caption in app.caption)


def test_a_line_without_a_figure_names_the_feed_that_would_bring_it(open_view):
    """'Not measured' leaves the board to guess whether nobody looked or nobody sent anything."""
    text = text_of(open_view("benefits_summary"))
    assert ">no evidence: storage and contract lines missing<" in text
    assert ">no evidence: admissions missing<" in text
    assert ">no metric yet<" in text
    assert "Rests on: HL7 messages or RIS extract." in text
    assert 'in March 2026 <span class="tag">no baseline<' in text


def test_occupied_time_outside_staffed_time_is_drawn_and_acquiring_is_a_share_of_its_own(open_view):
    """Acquiring drawn inside staffed time claims a nesting that the numbers do not have."""
    drawn = charts(open_view("scanner_utilisation"))
    bars = next(d for n, d in drawn.items() if "scanner_time" in n)["data"][:3]
    assert [trace["name"] for trace in bars] == [
        "Staffed",
        "Occupied, inside staffed time",
        "Occupied, outside staffed time",
    ]
    assert bars[2]["base"] == bars[0]["y"]
    assert any("acquisition_efficiency" in name for name in drawn)


def test_efficiency_of_single_images_is_called_not_measurable(open_view):
    """Without a word, a scanner of single images looks as if it made none while it was occupied."""
    text = text_of(open_view("scanner_utilisation", modality="Ultrasound"))
    assert "Acquisition efficiency is not measurable for this choice" in text
    assert "not measurable for this choice" not in text_of(open_view("scanner_utilisation"))


def test_a_sentence_compares_a_week_with_the_whole_week_before(open_view):
    """The first stored week is a part week: every later one looks like growth beside it."""
    text = text_of(open_view("scanner_utilisation"))
    assert "in the week from 23 March 2026" in text
    assert "in the week from 16 March 2026" in text
    assert "in the week from 5 January 2026" not in text


def test_a_stock_has_a_date_and_a_flow_has_a_month(open_view):
    """Tests done 'at 31 March' sound like one day's work, a backlog 'in March' like a month's."""
    text = text_of(open_view("waiting_times"))
    assert "Tests done from the waiting list: " in text
    assert " in March 2026, " in text.split("Tests done from the waiting list: ")[1][:60]
    assert " at 31 March 2026, " in text.split("Exams without a report: ")[1][:60]
    assert "The pile is cumulative" in text


def test_the_effect_of_a_go_live_is_told_with_verdict_interval_and_what_is_not_known(open_view):
    """An effect without its interval, its adjusted p or its caveats is quoted as proof."""
    app = open_view("go_live_effect")
    text = text_of(app)
    assert "Consistent with improvement: -4.0 points in the months after go-live" in text
    assert "(95 % interval -6.0 points to -2.0 points)" in text
    assert "16 of 40,320 orders" in text and "below 0.001" in text
    assert "From April 2022 on every party is live." in text
    assert "Without a dot of its own: Manchester University." in text
    drawn = next(d for n, d in charts(app).items() if "month_by_month_since" in n)
    assert [trace["x"][0] for trace in drawn["data"]] == [-12, 0]
    assert drawn["layout"]["shapes"][0]["y0"] == drawn["layout"]["shapes"][0]["y1"] == 0
    none = open_view("go_live_effect", effect_of="R08 Cross-site reporting")
    assert "No effect can be told: RMC has 7 months before go-live." in text_of(none)


def test_the_legend_of_marks_lists_only_what_is_drawn(open_view):
    """A sign in the legend that is not on the chart sends the reader looking for it."""
    network = text_of(open_view("benefits_summary"))
    assert "Marks: ▼ archive go-live." in network
    text = text_of(open_view("benefits_summary", organisation=PENNINE))
    assert "■ viewing go-live" in text
    assert not re.search(r"(Pennine Acute: )\1", text)


def test_network_wide_figures_of_data_quality_say_so(open_view):
    """A figure that ignores the chosen organisation must not seem to be about it."""
    headings = [h.value for h in open_view("data_quality", organisation=PENNINE).header]
    for title in (
        "Reconciliation by feed",
        "Rejected records by rule",
        "Clocks of the scanners in their newest week",
        "Freshness by party and feed",
    ):
        assert f"{title}, whole network" in headings


def test_a_clock_that_is_off_is_named_on_data_quality(open_view):
    """A scanner whose clock was not changed passes for one that is used at other hours."""
    text = text_of(open_view("data_quality"))
    assert "Clocks that are wrong: RMC01MR1 (3,602 seconds behind)." in text
    assert "State of a clock: What clock_state holds." in text


def test_each_quality_figure_is_in_its_own_unit(open_view):
    """Hours of latency as a percentage would be no figure at all."""
    text = text_of(open_view("data_quality"))
    said = text.split("Data latency: ")[1][:40]
    assert "hour" in said and "%" not in said


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(4.0, "seconds", "4.0 seconds"), (3.05, "nights", "3.0 nights"), (1.5, "TB", "1.5 TB")],
)
def test_a_unit_of_the_register_is_written_once(value, unit, text):
    """A board that reads "4.0 seconds seconds" wonders what else is careless."""
    assert benefit_table.written(value, unit) == text


def test_values_of_the_register_are_as_fine_as_they_are_written():
    """From 0.10 % to 0.25 % must not be shown as 0.10 % to 0.30 %."""
    row = {
        "metric_baseline_value": 0.00105,
        "metric_latest_value": 0.00252,
        "metric_change": 0.00147,
    }
    shown = benefit_table.as_displayed(pl.DataFrame([row | {"unit": "rate"}])).row(0, named=True)
    texts = [benefit_table.written(shown[name], "rate") for name in list(row)[:2]]
    assert texts == ["0.10%", "0.25%"]


def test_late_changes_of_published_months_are_told_or_that_there_are_none(open_view):
    """A figure that is not the one of the board pack needs a reason on the page."""
    text = text_of(open_view("data_quality"))
    assert "Published figures that changed: 1, the last on 1 April 2026." in text
    assert "Published first" in text and "+7" in text
    text = text_of(open_view("data_quality", organisation=PENNINE))
    assert "No published month of this choice has changed since." in text


def test_the_conventions_of_scanner_time_are_printed(open_view):
    """The same week has another utilisation under another convention: the published words say which."""
    text = text_of(open_view("scanner_utilisation"))
    assert text.count("What occupied_minutes holds.") == 2
    assert "Changeover: What changeover_minutes holds." in text
    assert "Idle: What idle_minutes holds." in text
    assert "Late: What is_late holds." in text


READ_WHOLE = {
    "scanner_utilisation": {
        "Bridges between the conventions": ["Step", "Minutes"],
        "How the end of a series": ["How the end is known", "Series", "Share of all series"],
        "RIS against DICOM": ["Difference in time", "Found", "Of", "Share", "What was compared"],
    },
    "data_quality": {
        "Reconciliation by feed": ["Feed", "Files", "Records received", "Reconciles"],
        "Clocks of the scanners": ["Scanner", "Clock", "Off by, seconds", "Uncertainty, seconds"],
        "Freshness by party": ["Party", "Feed", "Newest entry (local time)", "Level with others"],
    },
}


@pytest.mark.parametrize("view", READ_WHOLE)
def test_a_table_that_is_read_shows_every_row_and_every_heading(open_view, view):
    """A grid that shows eleven of thirty rows and cuts a heading is read as if that were all."""
    app = open_view(view)
    drawn = [str(block.proto.body) for block in app.get("html")]
    for title, headings in READ_WHOLE[view].items():
        html = next(text for text in drawn if f'aria-label="{title}' in text)
        stored = next(table for name, table in tables(app).items() if name.startswith(title))
        assert html.count('<th scope="row">') == len(stored)
        assert all(f">{heading}</th>" in html for heading in headings)


def test_gaps_are_told_apart_by_hatching_too_and_add_up_to_the_staffed_minutes(open_view):
    """Seven classes told apart by hue alone are one class to some readers."""
    app = open_view("scanner_utilisation")
    name = next(n for n in charts(app) if "staffed_time_without" in n)
    bars = [trace for trace in charts(app)[name]["data"] if trace["type"] == "bar"]
    looks = {(bar["marker"]["color"], bar["marker"]["pattern"]["shape"]) for bar in bars}
    assert len(bars) == len(looks) == 7
    table = next(t for title, t in tables(app).items() if "without a patient" in title)
    classes = [
        name for name in table.columns if name.endswith("_minutes") and name != "total_minutes"
    ]
    assert (table[classes].sum(axis=1) - table["total_minutes"]).abs().max() < 1e-6


def test_other_conventions_stand_under_how_counted_with_their_bridges(open_view):
    """A figure from elsewhere that differs from ours looks like an error of one of the two."""
    app = open_view("scanner_utilisation")
    text = text_of(app)
    assert "How counted" in text
    drawn = next(d for n, d in charts(app).items() if "other_conventions" in n)["data"][0]
    assert len(drawn["y"]) == 8
    colours = dict(zip(drawn["y"], drawn["marker"]["color"], strict=True))
    blue = [name for name, colour in colours.items() if colour == "#005EB8"]
    assert blue == ["Our default: occupied in staffed time"]
    assert any("Bridges between the conventions" in title for title in tables(app))


def test_without_images_a_comparison_with_the_ris_is_empty_and_never_zero(open_view):
    """Zero findings where nothing was looked at would praise the one who sends nothing."""
    known = open_view("scanner_utilisation")
    assert "110 of 120 exams completed in the RIS fall on days with images" in text_of(known)
    unknown = open_view("scanner_utilisation", modality="Ultrasound")
    assert "no images are known of these exams" in text_of(unknown)
    table = next(t for title, t in tables(unknown).items() if title.startswith("RIS against"))
    assert table["finding_count"].isna().all()


def test_image_access_stands_beside_the_network_with_its_certainty(open_view):
    """Failing means that a rate has nothing to be judged by, or seems surer than it is."""
    app = open_view("image_access", organisation="Bolton NHS Foundation Trust (party)")
    lines = next(d for n, d in charts(app).items() if n.endswith("_failed_launches"))["data"]
    assert [line["name"] for line in lines][1] == "Whole network"
    text = text_of(app)
    assert "Whole network: 7 parties with audit messages of all of March 2026." in text
    assert "Certainty of the definition: invented for the demonstration. Source: attribute" in text
    assert "Certainty of the definition: verified. Source: EventOutcomeIndicator" in text
    assert "The viewer noted an outcome other than success" in text
    whole = charts(open_view("image_access"))
    assert len(next(d for n, d in whole.items() if n.endswith("_failed_launches"))["data"]) == 1


def test_missing_image_access_names_the_feed_that_would_bring_it(open_view, tmp_path, tables):
    """Failing means that a party without audit messages reads an empty page, or a zero."""
    silent = "Tameside and Glossop Integrated Care NHS Foundation Trust (party)"
    text = text_of(open_view("image_access", organisation=silent))
    assert (
        "Not known, and not 0: no image access audit (image_access) has come from Tameside" in text
    )
    assert "Lacking a feed at one party or more: Images opened in the patient record (B13)." in text
    trust = open_view("image_access", organisation="Bolton NHS Foundation Trust (trust)")
    assert "Image access is counted by party, not by trust" in text_of(trust)
    table = "marts.rpt_image_access_monthly"
    published_build.write_build(tmp_path, found=tables | {table: tables[table].clear()})
    nowhere = open_view("image_access", folder=tmp_path)
    assert not nowhere.exception
    assert "Not known, and not 0" in text_of(nowhere)


def test_a_figure_names_the_feeds_that_its_metric_lacks(open_view):
    """Failing means that a trust which gives no list reads an empty page, and not what to send."""
    tameside = "Tameside and Glossop Integrated Care NHS Foundation Trust"
    said = (
        "Missing feed: HL7 messages or RIS extract, from Tameside and Glossop. What only it tells"
    )
    for level in ("party", "trust"):
        text = text_of(open_view("waiting_times", organisation=f"{tameside} ({level})"))
        assert f"{said} (W02) is not known, which is not 0." in text
    assert "Missing feed" not in text_of(
        open_view("throughput", organisation=f"{tameside} (party)")
    )
    assert "Missing feed" not in text_of(open_view("waiting_times", organisation=PENNINE))


def test_a_page_asks_once_which_feeds_are_missing(open_view, monkeypatch):
    """A question asked for every figure again makes every click slower."""
    asked = []

    def missing_feeds(*chosen):
        asked.append(chosen)
        return found(*chosen)

    found = quality.missing_feeds
    monkeypatch.setattr(quality, "missing_feeds", missing_feeds)
    assert not open_view("waiting_times").exception
    assert len(asked) == 1


def test_the_dictionary_can_be_searched(open_view):
    """An analyst who cannot find a metric invents a new one."""
    app = open_view("metric_dictionary", q="6 weeks")
    found = [box.label for box in app.expander if box.label.startswith("W")]
    assert found == ["W02 · Waiting 6 weeks or more"]


def test_there_is_no_pages_folder():
    """A folder of that name gives the first visitor of a deep link 'Page not found'."""
    assert not (ROOT / "dashboards" / "pages").exists()


def test_who_waits_longer_names_the_gap_what_is_withheld_and_what_it_does_not_prove(open_view):
    """A gap without its group sizes, or taken as proof of a cause, is read wrongly by a board."""
    app = open_view(
        "waiting_times", organisation="Bolton NHS Foundation Trust (trust)", modality="CT"
    )
    text = text_of(app)
    assert "Most deprived fifth at 31 March 2026: 19.0% of " in text
    assert "; the most deprived 4.0 points higher." in text
    heading = "Median hours from exam to report by ethnic group, Bolton NHS Foundation Trust, CT"
    assert heading in [found.value for found in app.header]
    assert "The ethnic group is known for 83.3% of them." in text
    assert "Withheld: a group too small to be told" in text
    assert "it is no proof of unequal treatment" in text
    drawn = next(d for n, d in charts(app).items() if n.endswith("more_by_ethnic_group"))
    assert drawn["layout"]["yaxis"]["ticktext"][1] == "Mixed  <b>withheld</b>"
    assert drawn["data"][0]["x"][1] is None
    quintiles = next(d for n, d in charts(app).items() if n.endswith("by_deprivation_quintile"))
    assert quintiles["layout"]["yaxis"]["type"] == "category", "else 1 and 5 have no place"


def test_who_waits_longer_has_no_figures_of_a_party_and_says_why(open_view):
    """An empty place without a reason looks like a broken page."""
    app = open_view("waiting_times", organisation=PENNINE, modality="CT")
    assert "Groups of patients are told for the network and for trusts" in text_of(app)
    assert "7 trusts at 31 March 2026: from 4.0% at Bolton to 12.0% at " in text_of(app)
