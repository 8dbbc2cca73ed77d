"""The effects of go-lives as stored; a failure here lets a board believe, or doubt, the wrong figure."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from pipelines.statistics.effect_panel import Measure, NoPanel, next_month, panel_of, shock_months
from pipelines.statistics.effect_tables import GO_LIVE_EFFECT_TABLES
from pipelines.statistics.go_live_effect import as_percent
from pipelines.statistics.staged_effects import TYPES, Calendar, StagedEffects, staged_effects

START = date(2018, 1, 1)
MONTHS = 60
PARTIES = {f"P{place}": next_month(START, 30 + 3 * place) for place in range(6)}
MEASURE = Measure("R06", "network_reporting", "decrease", "rate", baseline=0.3, target=0.2)


def values(
    effect: float = -0.1, *, metric_id: str = "R06", is_rate: bool = True, starts=None
) -> pl.DataFrame:
    """Every party and month: own level, a common season, small noise, and the effect from its go-live."""
    noise = np.random.default_rng(7)
    rows = []
    for place, (party, start) in enumerate((starts or PARTIES).items()):
        for number in range(MONTHS):
            month = next_month(START, number)
            usual = 0.3 + 0.02 * place + 0.01 * math.cos(number / 12 * 2 * math.pi)
            usual += 0.002 * noise.standard_normal()
            is_live = start is not None and month >= start
            told = usual + effect * is_live if is_rate else 100 * usual * math.exp(effect * is_live)
            rows.append((metric_id, party, month, told, False))
    return pl.DataFrame(
        rows,
        schema=["metric_id", "party_code", "month_on", "value", "is_outside"],
        orient="row",
    )


def calendar(
    go_lives: dict[str, date] | None = None,
    *,
    kind: str = "network_reporting",
    others: tuple[tuple[str, str, date], ...] = (),
    shocks: tuple[tuple[date, date, str], ...] = (),
    events: tuple[tuple[date | str, ...], ...] = (),
) -> Calendar:
    rows = [
        (party, kind, day) for party, day in (PARTIES if go_lives is None else go_lives).items()
    ]
    return Calendar(
        pl.DataFrame(
            [*rows, *others],
            schema={"party_code": pl.String, "go_live_type": pl.String, "go_live_on": pl.Date},
            orient="row",
        ),
        pl.DataFrame(
            list(shocks),
            schema={"from_on": pl.Date, "to_on": pl.Date, "label": pl.String},
            orient="row",
        ),
        pl.DataFrame(
            [(*event, None)[:4] for event in events],
            schema={
                "event_on": pl.Date,
                "scope_code": pl.String,
                "label": pl.String,
                "metric_ids": pl.String,
            },
            orient="row",
        ),
    )


def told(rows: pl.DataFrame, of: Calendar, *measures: Measure) -> StagedEffects:
    return staged_effects(measures or (MEASURE,), rows, of, np.random.default_rng(1))


def only(found: StagedEffects) -> dict:
    (row,) = found.effects.to_dicts()
    return row


def test_an_effect_is_told_with_verdict_months_and_all_that_is_described():
    """Failing means that the ledger reads other columns, or another effect, than there is."""
    found = told(values(), calendar())
    for frame, table in zip(
        (found.effects, found.monthly, found.checks, found.by_month_since, found.by_party),
        GO_LIVE_EFFECT_TABLES,
        strict=True,
    ):
        assert dict(frame.schema) == {name: TYPES[kind] for name, kind, _ in table["columns"]}
        assert not frame.is_empty()
        assert not frame.select(table["grain"].split(", ")).is_duplicated().any()
    row = only(found)
    assert row["verdict"] == "consistent with improvement"
    assert row["ci_low"] < -0.1 < row["ci_high"] < 0
    assert row["not_estimated_because"] is None and not row["is_logged"]
    assert (row["promised"], row["party_count"]) == (pytest.approx(0.1), 6)
    assert row["order_count"] == math.factorial(6)
    assert found.monthly["effect"].mean() == pytest.approx(row["att"])
    assert (row["change_unit"], row["change"]) == ("rate", row["att"])
    parties = {one["party_code"]: one for one in found.by_party.to_dicts()}
    assert list(parties) == list(PARTIES)
    assert (parties["P5"]["change"], parties["P5"]["n_effect_cells"]) == (None, 0)
    own = found.monthly.filter(party_code="P1")
    assert parties["P1"]["change"] == pytest.approx(own["effect"].mean())
    assert parties["P1"]["n_effect_cells"] == len(own)


def test_the_months_of_a_party_carry_the_interval_of_the_estimate():
    """Failing means that pounds get an interval that no estimate gave them."""
    found = told(values(), calendar())
    row, months = only(found), found.monthly
    assert (months["value"] - months["counterfactual"] - months["effect"]).abs().max() < 1e-12
    for end in ("ci_low", "ci_high"):
        apart = (months[end] - months["effect"]) - (row[end] - row["att"])
        assert apart.abs().max() < 1e-12
    assert months["month_spread"].is_between(0.0013, 0.003).all(), "the noise of a month is 0.002"
    last = max(PARTIES.values())
    assert months["month_on"].max() < last, "nobody is left to compare with then"
    assert "P5" not in months["party_code"], "the last to go live is only compared with"
    first = months.filter(pl.col("party_code") == "P0").sort("month_on").row(0, named=True)
    assert (first["month_on"], first["months_since"]) == (PARTIES["P0"], 0)


def test_an_effect_that_multiplies_is_told_in_the_unit_of_the_metric_month_by_month():
    """Failing means that a change of a tenth is booked as a tenth of a pound."""
    measure = Measure("F05", "network_reporting", "decrease", "GBP per exam", 40.0, 36.0)
    found = told(values(-0.1, metric_id="F05", is_rate=False), calendar(), measure)
    row = only(found)
    assert row["is_logged"] and row["promised"] == pytest.approx(math.log(40 / 36))
    assert as_percent(row["att"]) == pytest.approx(100 * math.expm1(-0.1), abs=0.5)
    assert (row["change_unit"], row["change"]) == ("relative", math.expm1(row["att"]))
    assert row["change_low"] < row["change"] < row["change_high"] < 0
    assert row["promised_change"] == pytest.approx(0.1), "a tenth less was promised"
    since = found.by_month_since
    assert (since["change"] - (since["att"].exp() - 1)).abs().max() < 1e-12
    shares = found.monthly["effect"] / found.monthly["counterfactual"]
    assert shares.to_list() == pytest.approx([math.expm1(-0.1)] * len(shares), abs=0.03)
    low, high = found.monthly["ci_low"], found.monthly["ci_high"]
    assert (low < found.monthly["effect"]).all() and (found.monthly["effect"] < high).all()


def test_a_metric_with_a_month_of_nothing_is_not_logged():
    """Failing means that a month in which nothing happened stops the figure, or is dropped."""
    rows = values(metric_id="C03", is_rate=False).with_columns(
        pl.when(pl.col("month_on") == START).then(0.0).otherwise("value").alias("value")
    )
    measure = Measure("C03", "network_reporting", "decrease", "transfers per 1,000 exams")
    assert only(told(rows, calendar(), measure))["is_logged"] is False


def test_a_missing_month_stays_missing_and_is_left_out_for_all():
    """Failing means that a month which nobody told is read as 0, or takes the figure with it."""
    month = next_month(START, 5)
    rows = values().filter((pl.col("party_code") != "P1") | (pl.col("month_on") != month))
    empty = values().with_columns(
        pl.when((pl.col("party_code") == "P1") & (pl.col("month_on") == month))
        .then(None)
        .otherwise("value")
        .alias("value")
    )
    for given in (rows, empty):
        panel = panel_of(MEASURE, given, PARTIES)
        assert panel.missing == {month} and month not in panel.rows["month"]
    row = only(told(rows, calendar()))
    assert (row["missing_month_count"], row["verdict"]) == (1, "consistent with improvement")


def test_a_party_that_tells_little_is_left_out_by_name():
    """Failing means that one party's young feed takes the figure from all, or that nobody hears of it."""
    rows = values().filter((pl.col("party_code") != "P2") | (pl.col("month_on") > date(2020, 6, 1)))
    row = only(told(rows, calendar()))
    assert (row["left_out_parties"], row["party_count"]) == ("P2", 5)
    assert row["verdict"] == "consistent with improvement"


def test_a_party_that_never_went_live_is_compared_with_to_the_end():
    """Failing means that the party nobody connected counts as one that was."""
    starts = {**PARTIES, "P5": None}
    live = {party: day for party, day in PARTIES.items() if party != "P5"}
    found = told(values(starts=starts), calendar(live))
    row = only(found)
    assert "P5" not in found.monthly["party_code"] and row["party_count"] == 6
    assert row["last_month_on"] == next_month(START, MONTHS - 1)
    assert not row["cannot_tell"].startswith("From"), "somebody is left to compare with"
    assert found.monthly["month_on"].max() == next_month(PARTIES["P4"], 11)


def test_go_lives_of_another_type_move_nothing_but_are_told():
    """Failing means that one go-live's effect is dated by another, or claimed for it alone."""
    others = tuple(("P0", "viewing", day) for day in (date(2019, 2, 1), date(2020, 10, 1)))
    plain, both = told(values(), calendar()), told(values(), calendar(others=others))
    assert plain.monthly.equals(both.monthly)
    assert "another type (viewing)" in only(both)["cannot_tell"]
    assert "another type" not in only(plain)["cannot_tell"]


def test_of_two_go_lives_of_one_type_the_first_counts():
    """Failing means that months with the effect are read as months before it."""
    later = (("P0", "network_reporting", date(2022, 6, 1)),)
    assert told(values(), calendar(others=later)).monthly.equals(told(values(), calendar()).monthly)


def test_the_month_of_a_go_live_is_the_first_with_the_effect():
    """Failing means that days with the effect teach what would have been without it."""
    late = {party: day.replace(day=28) for party, day in PARTIES.items()}
    assert told(values(), calendar(late)).monthly.equals(told(values(), calendar()).monthly)


def shock(first: date, last: date) -> tuple[tuple[date, date, str], ...]:
    return ((first, last, "an epidemic"),)


def test_the_months_of_a_shock_are_left_out_where_two_years_remain():
    """Failing means that a shock which met the parties unequally passes for an effect."""
    of = calendar(shocks=shock(date(2019, 3, 16), date(2019, 6, 30)))
    assert len(shock_months(of.shocks)) == 4
    struck = values().with_columns(
        pl.when((pl.col("party_code") == "P0") & (pl.col("month_on") == date(2019, 4, 1)))
        .then(9.0)
        .otherwise("value")
        .alias("value")
    )
    found = told(struck, of)
    row = only(found)
    assert row["shock_months"] == "left out" and "4 months of an epidemic" in row["cannot_tell"]
    assert found.monthly.equals(told(values(), of).monthly)
    other = found.checks.filter(pl.col("check_name") == "shock months").row(0, named=True)
    assert other["variant"] == "kept" and other["att"] != pytest.approx(row["att"], abs=0.01)


def test_a_shock_that_takes_too_many_months_is_kept_and_said_so():
    """Failing means that a programme of three years before gets no figure, or hides what it stands on."""
    of = calendar(shocks=shock(date(2018, 6, 1), date(2019, 6, 30)))
    found = told(values(), of)
    row = only(found)
    assert row["shock_months"] == "kept" and row["att"] is not None
    assert "looks like an effect" in row["cannot_tell"]
    other = found.checks.filter(pl.col("check_name") == "shock months").row(0, named=True)
    assert (other["variant"], other["att"]) == ("left out", pytest.approx(row["att"], abs=0.01))


@pytest.mark.parametrize(
    ("rows", "go_lives", "words"),
    [
        (values().filter(pl.col("month_on") >= date(2019, 6, 1)), None, "13 months before"),
        (values().filter(pl.col("month_on") >= date(2022, 6, 1)), None, "nothing is known of before"),
        (values().clear(), None, "no month of R06 by party"),
        (values(), {}, "no party of R06 has a go-live of network_reporting"),
        (values(), dict.fromkeys(PARTIES, date(2021, 1, 1)), "all in one month"),
        (values().filter(pl.col("party_code") == "P0"), None, "nobody to compare with"),
    ],
    ids=["too short", "after it all", "no month", "no go-live", "all at once", "one party"],
)  # fmt: skip
def test_what_cannot_be_estimated_says_why(rows, go_lives, words):
    """Failing means that a reader sees an empty row, or a figure that nothing supports."""
    found = told(rows, calendar(go_lives))
    row = only(found)
    assert words in row["not_estimated_because"]
    assert row["att"] is row["verdict"] is row["ci_low"] is row["p_adjusted"] is None
    assert found.monthly.is_empty() and found.checks.is_empty()


def test_a_month_short_of_every_party_is_no_panel():
    """Failing means that parties are compared that never told the same month."""
    even = pl.col("month_on").dt.month() % 2 == 0
    rows = values().filter(pl.col("party_code").is_in(["P0", "P1"]))
    rows = rows.filter(pl.when(pl.col("party_code") == "P0").then(even).otherwise(~even))
    with pytest.raises(NoPanel, match="every party"):
        panel_of(MEASURE, rows, PARTIES)


def test_the_verdicts_stand_on_the_p_of_all_measures_together():
    """Failing means that of many measures the lucky one is told as the programme's."""
    measures = [MEASURE, *(Measure(f"X{n}", "viewing", "decrease", "rate") for n in range(3))]
    rows = pl.concat([values(), *(values(0.0, metric_id=f"X{n}") for n in range(3))])
    both = Calendar(
        pl.concat([calendar().go_lives, calendar(kind="viewing").go_lives]),
        calendar().shocks,
        calendar().events,
    )
    found = {row["metric_id"]: row for row in told(rows, both, *measures).effects.to_dicts()}
    alone = only(told(values(), calendar()))
    assert found["R06"]["p_randomisation"] == alone["p_randomisation"]
    assert found["R06"]["p_adjusted"] == pytest.approx(4 * alone["p_randomisation"])
    assert list(found) == sorted(found)


def test_a_comparator_outside_gives_the_last_party_an_effect_and_no_order():
    """Failing means that the rest of the country is read as a party, or is not used."""
    country = values(0.0).filter(pl.col("party_code") == "P0")
    country = country.with_columns(party_code=pl.lit("rest of England"), is_outside=pl.lit(True))
    found = told(pl.concat([values(), country]), calendar())
    row = only(found)
    assert (row["comparator"], row["party_count"]) == ("rest of England", 6)
    assert row["order_count"] == math.factorial(6)
    assert "rest of England" not in found.monthly["party_code"]
    last = found.monthly.filter(pl.col("party_code") == "P5")
    assert last["months_since"].to_list() == list(range(12))
    assert "nothing later can be compared" not in row["cannot_tell"]


def test_a_month_that_the_comparator_lacks_is_lost_only_where_nobody_else_is_left():
    """Failing means that a gap in the national return takes months from parties that tell them all."""
    country = values(0.0).filter(pl.col("party_code") == "P0")
    country = country.with_columns(party_code=pl.lit("rest of England"), is_outside=pl.lit(True))
    early, late = next_month(START, 40), next_month(PARTIES["P5"], 2)
    gaps = country.filter(~pl.col("month_on").is_in([early, late]))
    full, found = (told(pl.concat([values(), rows]), calendar()) for rows in (country, gaps))
    row = only(found)
    assert row["missing_month_count"] == 0
    keys = [set(one.monthly.select("party_code", "month_on").iter_rows()) for one in (full, found)]
    assert keys[0] - keys[1] == {(party, late) for party in ("P2", "P3", "P4", "P5")}
    assert row["att"] == pytest.approx(only(full)["att"], abs=0.002)
    assert "rest of England has no value in May 2021, " in row["cannot_tell"]
    assert f"nobody else is left: {late:%B %Y} cannot be compared." in row["cannot_tell"]
    (check,) = found.checks.filter(pl.col("check_name") == "comparator gaps").to_dicts()
    assert check["n_effect_cells"] < row["n_effect_cells"] < only(full)["n_effect_cells"]
    assert "rest of England has no value" in check["note"]
    assert "comparator gaps" not in full.checks["check_name"]


def test_what_else_happened_in_the_months_compared_is_told():
    """Failing means that a merger's change is read as the programme's by people who were not told."""
    events = (
        (date(2020, 10, 1), "P3", "a merger"),
        (date(2017, 1, 1), "P1", "long before"),
        (date(2021, 1, 1), "NETWORK", "a rule for others", "R01; R02"),
        (date(2021, 2, 1), "NETWORK", "a rule for us", "R05; R06"),
    )
    assert only(told(values(), calendar(events=events)))["co_interventions"] == (
        "2020-10 P3: a merger; 2021-02 NETWORK: a rule for us"
    )


def test_the_same_measure_twice_is_refused():
    """Failing means that one metric counts twice among the measures."""
    with pytest.raises(ValueError, match="told twice"):
        told(values(), calendar(), MEASURE, MEASURE)


def test_the_order_of_the_rows_decides_nothing():
    """Failing means that two networks with the same records read different effects."""
    mixed = told(values().sample(fraction=1, shuffle=True, seed=3), calendar())
    assert mixed.effects.equals(told(values(), calendar()).effects)
