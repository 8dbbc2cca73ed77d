"""What capacity a list needs, as its manager asks: stored numbers first, then the own ones."""

import polars as pl
import pytest
from conftest import PENNINE

from dashboards.components import downloads
from dashboards.data import whatif
from dashboards.data.published import current_build


def text_of(app) -> str:
    return "\n".join(str(block.proto.body) for block in app.get("html"))


def field(app, name: str):
    return next(box for box in app.number_input if box.key.startswith(f"what_if_{name}"))


def test_it_begins_with_the_list_that_is_stored(open_view, tables):
    """Failing means that a manager starts from another list than the one on the waiting page."""
    app = open_view("what_if", organisation=PENNINE)
    assert not app.exception
    metrics = tables["marts.rpt_metrics_monthly"]
    last = metrics.filter(
        metric_id="W07", org_level="party", org_code="RW6", modality_group="All"
    ).sort("period_start_on")[-1]
    assert field(app, "queue_size").value == last["numerator"][0]
    assert field(app, "capacity").value == round(last["denominator"][0], 2)
    assert field(app, "demand").value > field(app, "capacity").value, "the list grew"
    assert "The list is at its target, or below it." in text_of(app)


def test_an_own_number_changes_the_answer(open_view):
    """Failing means that the page answers another question than the one on it."""
    app = open_view("what_if", organisation=PENNINE)
    field(app, "demand").set_value(100.0)
    field(app, "capacity").set_value(110.0)
    field(app, "queue_size").set_value(1000.0)
    app.run()
    text = text_of(app)
    assert "150.0 patients" in text, "100 a week, and a mean wait of a quarter of six weeks"
    assert "85.0 weeks" in text, "850 too many, ten a week fewer"
    assert "132.7 a week" in text, "100 and 850 within 26 weeks"
    assert "reached in 85.0 weeks, later than asked" in text


def test_a_list_of_nobody_is_said(open_view):
    """Failing means that a page breaks where an organisation has no waiting list."""
    app = open_view(
        "what_if", organisation="Pennine Acute Hospitals NHS Trust (trust, to Sep 2021)"
    )
    assert not app.exception


def benefits_of(app) -> str:
    """The words of the second part of the page."""
    return text_of(app).split(">Benefits</p>")[1]


def benefit(app, name: str):
    boxes = [*app.number_input, *app.selectbox]
    return next(box for box in boxes if box.key == f"benefit_{name}")


def test_benefits_begin_with_the_stored_appraisal_to_the_last_digit(published):
    """Failing means that a reader who changes nothing is told of a difference."""
    build = current_build(published, "demo")
    rows, problem = whatif.compared(build, whatif.NOTHING_CHANGED)
    assert problem == "" and rows.height == 12
    assert rows["changed_value"].equals(rows["stored_value"], check_names=False)
    assert rows["changed_note"].equals(rows["stored_note"], check_names=False)
    late = whatif.compared(build, whatif.Doubts(delay=1, delay_unit="years", price=2.0))[0]
    npsv = (pl.col("measure") == "npsv") & (pl.col("basis") != "forecast")
    # 850,000 measured are worth double, the forecast of the year comes too late to be in it
    assert late.filter(npsv & (pl.col("basis") == "realised"))["changed_value"][0] == 700_000
    mixed = late.filter(npsv & (pl.col("basis") != "realised"))["changed_value"][0]
    assert mixed == pytest.approx(700_000 - 100_000 / 1.035), "the costs of October stay"


def test_a_doubt_changes_the_forecast_beside_the_stored_value_and_heads_the_download(
    open_view, monkeypatch
):
    """Failing means that a figure of a reader's own leaves the page without what it rests on."""
    heads = {}
    monkeypatch.setattr(
        downloads, "buttons", lambda _, head, file_stem, **_more: heads.update({file_stem: head})
    )
    app = open_view("what_if")
    assert not app.exception
    assert "Nothing is changed yet: both columns are the stored appraisal." in benefits_of(app)
    assert benefits_of(app).count("-£150,000") == 2, "realised, stored and unchanged"
    benefit(app, "haircut").set_value(100.0)
    benefit(app, "haircut_of").set_value("B06 Old archives switched off")
    app.run()
    words = benefits_of(app)
    assert words.count("-£150,000") == 2, "a haircut leaves what was measured"
    assert "Cash-only ratio: cash-releasing benefits over all costs" in words
    assert '<td data-label="With your numbers" class="right">0.00</td>' in words
    (head,) = [head for name, head in heads.items() if "appraisal" in name]
    assert "Asked: forecast 100 % less, of: B06 Old archives switched off" in head
    assert "Asked: forecast 0 months later, of: All benefits" in head
    assert any("Realised benefits stay as they were measured" in c.value for c in app.caption)


def test_a_doubt_that_cannot_be_counted_is_answered_in_words(open_view):
    """Failing means that a slip of the hand is put right in silence, or breaks the page."""
    app = open_view("what_if")
    benefit(app, "delay").set_value(-3)
    benefit(app, "price").set_value(-1.0)
    app.run()
    assert not app.exception
    (said,) = [error.value for error in app.error]
    assert "a delay of -3 months cannot be counted; give whole months, 0 or more" in said
    assert "a price -1 times the stored one is no price" in said
    assert "not counted" in benefits_of(app)


def test_a_reader_may_ask_how_sure_it_is_and_raise_the_costs(open_view, published):
    """Failing means that the doubt of the stored appraisal is lost once a number is changed."""
    app = open_view("what_if")
    assert "by simulation" not in text_of(app)
    app.toggle(key="benefit_draws").set_value(True)
    benefit(app, "cost_bias").set_value(41.0)
    app.run()
    assert not app.exception
    said = [header.value for header in app.header]
    assert any(title.startswith("Net present value (NPSV) by simulation") for title in said)
    assert any(title.startswith("What each line does") for title in said)
    assert "In eight draws of ten the programme is worth" in text_of(app)
    assert any("Mott MacDonald 2002" in c.value and "verified" in c.value for c in app.caption)
    build = current_build(published, "demo")
    plain, dear = (
        whatif.simulated(build, whatif.Doubts(cost_bias_percent=percent)) for percent in (0, 41)
    )
    npsv = dict(dear.figures.select("measure", "value").iter_rows())
    paid = 1_000_000 + 100_000 / 1.035
    assert npsv["npsv"] == pytest.approx(plain.figures["value"][0] - 0.41 * paid)
    assert npsv["npsv_p10"] < npsv["npsv_p50"] < npsv["npsv_p90"]
    line = plain.lines.filter(variant="B01 realised").row(0, named=True)
    assert (line["npsv_low_gbp"], line["npsv_high_gbp"]) == pytest.approx((300_000, 900_000))
