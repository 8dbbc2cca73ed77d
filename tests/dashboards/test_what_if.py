"""What capacity a list needs, as its manager asks: stored numbers first, then the own ones."""

from conftest import PENNINE


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
