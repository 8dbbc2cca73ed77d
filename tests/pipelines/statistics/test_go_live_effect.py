"""Effect of staged go-lives. A failure here credits the programme with what it did not do, or hides it.

Expected figures: cases/go_live_effect_examples.json, a synthetic panel with a known effect, its
results by a second implementation (generator and tolerance in the file's `meta`).
"""

import itertools
import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.effect_worlds import (
    World,
    before_and_after,
    manchester_calendar,
    panel_of,
    reference_calendar,
    told,
)
from pipelines.statistics.go_live_effect import (
    GoLiveEffect,
    adjust,
    as_percent,
    estimate,
    first_month,
)
from pipelines.statistics.intervals import t_quantile

EXAMPLES = json.loads((Path(__file__).parent / "cases/go_live_effect_examples.json").read_text())
TRUSTS = EXAMPLES["panel"]["trusts"]
GO_LIVE = {each["trust"]: each["go_live"] for each in TRUSTS}
BETTER, WORSE = "consistent with improvement", "consistent with worsening"


def panel_from(series: dict[str, list[float]], first: int = 0) -> pl.DataFrame:
    """One row per party and month."""
    return pl.DataFrame(
        [
            (trust, month, value)
            for trust, values in series.items()
            for month, value in enumerate(values, start=first)
        ],
        schema={"trust": pl.String, "month": pl.Int64, "value": pl.Float64},
        orient="row",
    )


def example(added: float = 0.0) -> pl.DataFrame:
    """The panel of the examples, something added to every month after go-live."""
    return panel_from(
        {
            each["trust"]: [y + added * (m >= each["go_live"]) for m, y in enumerate(each["y"])]
            for each in TRUSTS
        }
    )


def told_of(panel: pl.DataFrame, go_live=GO_LIVE, **options) -> GoLiveEffect:
    return estimate(panel, go_live, **{"improvement": "decrease", **options})


def noise(count: int, months: int, seed: int = 1) -> dict[str, list[float]]:
    values = np.random.default_rng(seed).normal(50, 1, (count, months))
    return {f"P{place}": list(row) for place, row in enumerate(values)}


def check(found: GoLiveEffect, name: str) -> pl.DataFrame:
    return found.diagnostics.filter(pl.col("check") == name)


@pytest.mark.parametrize("case", EXAMPLES["cases"], ids=lambda case: case["id"])
def test_the_worked_examples_come_out_to_the_last_order(case):
    """Failing means that a published effect is not the one the method gives."""
    options, expected = case["options"], case["expected"]
    found = told_of(
        example(-EXAMPLES["panel"]["true_effect"] if options["remove_true_effect"] else 0),
        horizon_months=options["K"],
        trust_trends=options["trends"],
    )
    for name in ("att", "se", "ci_low", "ci_high"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-6), name
    counts = (found.ri_count, found.n_effect_cells, found.n_untreated_cells)
    assert counts == tuple(
        expected[name] for name in ("ri_count", "n_effect_cells", "n_untreated_cells")
    )
    assert found.order_count == EXAMPLES["meta"]["n_permutations"]
    assert found.p_randomisation == pytest.approx(expected["ri_p"], abs=1e-9)
    assert found.verdict == ("not shown" if options["remove_true_effect"] else BETTER)


def test_the_parts_add_up_to_the_whole():
    """Failing means that the effects by party or by month are of other months than the headline."""
    found = told_of(example())
    after = found.by_month_since.filter(pl.col("months_since") >= 0)
    for part in (found.by_trust, after):
        assert part["n_effect_cells"].sum() == found.n_effect_cells
        whole = (part["att"] * part["n_effect_cells"]).sum() / found.n_effect_cells
        assert whole == pytest.approx(found.att)
    assert "T8" not in found.by_trust["trust"]
    assert found.by_trust["months_before"].to_list() == [24, 27, 30, 33, 37, 41, 45]
    assert after["months_since"].to_list() == list(range(12))


def test_an_effect_is_the_mean_difference_from_an_independent_fit():
    """Failing means that the estimate is not what the page says it is."""
    found = told_of(example())
    last = max(GO_LIVE.values())
    cells = [(p, m) for p in range(8) for m in range(last)]
    starts = list(GO_LIVE.values())
    rows = np.zeros((len(cells), 8 + last - 1 + 7))
    for row, (party, month) in zip(rows, cells, strict=True):
        row[party] = 1
        if month:
            row[7 + month] = 1
        if party < 7:  # another party without a trend, and trends in months
            row[8 + last - 1 + party] = month
    y = np.array([TRUSTS[p]["y"][m] for p, m in cells])
    before = np.array([m < starts[p] for p, m in cells])
    counted = np.array([starts[p] <= m < starts[p] + 12 for p, m in cells])
    fit, *_ = np.linalg.lstsq(rows[before], y[before], rcond=None)
    assert found.att == pytest.approx(float((y - rows @ fit)[counted].mean()), abs=1e-8)


def test_what_randomisation_does_not_refuse_is_found_by_trying_every_effect():
    """Failing means that the interval of the randomisation is of another test than its p."""
    found = told_of(example())
    for end, outwards in ((found.ri_low, -1), (found.ri_high, 1)):
        inside, outside = (told_of(example(-(end + step * outwards))) for step in (-1e-6, 1e-6))
        assert inside.p_randomisation > 0.05 >= outside.p_randomisation


def test_every_check_of_the_method_is_told():
    """Failing means that a reader is not shown what would speak against the effect."""
    found = told_of(example())
    assert check(found, "leave one out")["variant"].to_list() == list(GO_LIVE)
    assert check(found, "horizon")["n_effect_cells"].to_list() == [41, 74, 98]
    assert check(found, "placebo")["n_effect_cells"].item() == 74
    without = next(c for c in EXAMPLES["cases"] if c["id"] == "effect_no_trends")["expected"]
    assert check(found, "trends")["att"].item() == pytest.approx(without["att"])
    assert check(found, "not yet live")["ci_low"].item() is None
    leads = found.by_month_since.filter(pl.col("months_since") < 0)
    assert leads["months_since"].to_list() == list(range(-12, 0))


def test_the_placebo_sees_no_month_after_the_real_go_live():
    """Failing means that an effect proves itself: the months after it stand in its own check."""
    one, other = told_of(example()), told_of(example(-40))
    for name in ("att", "se"):
        seen = [check(each, "placebo")[name].item() for each in (one, other)]
        assert seen[0] == pytest.approx(seen[1], abs=1e-9)


def test_the_base_month_estimate_is_change_less_that_of_those_not_yet_live():
    """Failing means that the check by another method is not that method."""
    series = {"A": [10.0] * 24 + [7.0, 8.0], "B": [20.0] * 24 + [21.0, 22.0], "C": [5.0] * 26}
    found = told_of(panel_from(series), {"A": 24, "B": 26, "C": 26}, trust_trends=False)
    # A changed by -3 and -2, the others by 0.5 and 1 on average.
    assert check(found, "not yet live")["att"].item() == pytest.approx(-3.25)


# Edge cases ---------------------------------------------------------------------------------


def test_too_short_a_time_before_the_first_go_live_is_refused():
    """Failing means that an effect is told apart from a season nobody has seen twice."""
    series = noise(3, 40)
    told_of(panel_from(series), {"P0": 24, "P1": 30, "P2": 36})
    with pytest.raises(ValueError, match="P0: 23 months before the first go-live, 24 are needed"):
        told_of(panel_from(series), {"P0": 23, "P1": 30, "P2": 36})


def test_go_lives_in_one_month_leave_nobody_to_compare_with():
    """Failing means that a common change is told as an effect."""
    with pytest.raises(ValueError, match="nobody can be compared with"):
        told_of(panel_from(noise(3, 40)), dict.fromkeys(("P0", "P1", "P2"), 30))
    with pytest.raises(ValueError, match="nobody can be compared with"):
        told_of(panel_from(noise(1, 40)), {"P0": 30})


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda p: p.drop("value"), "no column value"),
        (lambda p: p.clear(), "no rows"),
        (lambda p: p.filter(~((pl.col("trust") == "T3") & (pl.col("month") == 7))), "T3 7: no"),
        (lambda p: pl.concat([p, p.head(1)]), "T1 0: more than one value"),
        (
            lambda p: p.with_columns(
                pl.when((pl.col("trust") != "T2") | (pl.col("month") != 3)).then("value")
            ),
            "T2 3: the value is None",
        ),
        (lambda p: p.with_columns(value=pl.lit(float("inf"))), "T1 0: the value is inf"),
        (lambda p: p.filter(pl.col("trust") != "T4"), "different parties: T4"),
    ],
    ids=["column", "empty", "gap", "double", "null", "infinite", "party"],
)
def test_a_panel_with_a_hole_is_refused_by_name(broken, message):
    """Failing means that a missing month moves an effect in silence."""
    with pytest.raises(ValueError, match=message):
        told_of(broken(example()))


def test_options_that_mean_nothing_are_refused():
    """Failing means that a misspelt direction turns an improvement into a worsening."""
    with pytest.raises(ValueError, match="'decrease' or 'increase', not 'down'"):
        told_of(example(), improvement="down")
    with pytest.raises(ValueError, match="horizon_months is at least 1"):
        told_of(example(), horizon_months=0)


def test_dates_and_numbers_of_months_are_the_same_months():
    """Failing means that a panel of real months is counted differently from a worked example."""
    first = 2018 * 12

    def as_date(month: int) -> date:
        return date((first + month) // 12, (first + month) % 12 + 1, 1)

    dated = example().with_columns(pl.col("month").map_elements(as_date, return_dtype=pl.Date))
    found = told_of(dated, {trust: as_date(month) for trust, month in GO_LIVE.items()})
    assert found == told_of(example())
    with pytest.raises(ValueError, match="T1 2019-05-01: no value"):
        told_of(
            dated.filter((pl.col("trust") != "T1") | (pl.col("month") != date(2019, 5, 1))),
            {trust: as_date(month) for trust, month in GO_LIVE.items()},
        )
    assert first_month(date(2021, 2, 15)) == date(2021, 2, 1)


def test_months_from_the_last_go_live_on_are_not_used():
    """Failing means that months without anybody to compare with move the effect."""
    moved = example().with_columns(
        pl.when(pl.col("month") >= 50).then(pl.col("value") * 3).otherwise("value").alias("value")
    )
    assert told_of(moved) == told_of(example())


def test_a_go_live_after_the_last_month_makes_a_party_to_compare_with():
    """Failing means that a programme under way cannot be judged before it ends."""
    cut = example().filter(pl.col("month") < 45)
    assert told_of(cut) == told_of(cut, {**GO_LIVE, "T8": 999})
    assert told_of(cut).n_effect_cells == 12 * 4 + 8 + 4


def test_parties_that_go_live_last_together_are_both_compared_with():
    """Failing means that two last go-lives in one month stop the estimate."""
    found = told_of(example(), {**GO_LIVE, "T7": 50})
    assert found.by_trust["trust"].to_list() == ["T1", "T2", "T3", "T4", "T5", "T6"]
    # The two can change places, so every count is even.
    assert found.ri_count % 2 == 0


def test_a_party_outside_the_programme_is_never_permuted_and_lengthens_the_view():
    """Failing means that another region is asked what it would have done with a go-live."""
    found = told_of(example(), {**GO_LIVE, "T8": None})
    assert found.order_count == 5_040
    assert found.by_trust["trust"].to_list() == [f"T{number}" for number in range(1, 8)]
    assert found.by_trust["n_effect_cells"].to_list() == [12] * 7
    assert found.n_untreated_cells == sum([24, 27, 30, 33, 37, 41, 45, 60])


def test_months_left_out_are_not_used_and_do_not_shift_the_calendar():
    """Failing means that a shock taken out moves the months after go-live."""
    shocked = example().with_columns(
        pl.when(pl.col("month").is_in([20, 21]) & (pl.col("trust") < "T4"))
        .then(pl.col("value") + 30)
        .otherwise("value")
        .alias("value")
    )
    later = {trust: month + 2 for trust, month in GO_LIVE.items()}
    chosen = {"months_left_out": [20, 21]}
    assert told_of(shocked, later, **chosen) == told_of(example(), later, **chosen)
    holes = shocked.filter(~pl.col("month").is_in([20, 21]))
    assert told_of(holes, later, **chosen) == told_of(shocked, later, **chosen)
    with pytest.raises(ValueError, match="22 months before"):
        told_of(example(), **chosen)


def test_a_constant_series_has_no_effect():
    """Failing means that rounding is told as an effect."""
    found = told_of(panel_from({trust: [0.1] * 60 for trust in GO_LIVE}))
    assert found.att == 0
    assert found.p_randomisation == 1
    assert found.verdict == "not shown"


def test_an_effect_without_any_noise_is_told_exactly():
    """Failing means that a perfect fit is taken for no fit."""
    starts = list(GO_LIVE.values())
    lines = {
        trust: [place + 0.1 * place * m + m % 12 - 2 * (m >= starts[place]) for m in range(60)]
        for place, trust in enumerate(GO_LIVE)
    }
    found = told_of(panel_from(lines))
    assert found.att == pytest.approx(-2)
    assert found.se == pytest.approx(0, abs=1e-9)
    assert found.verdict == BETTER


def test_two_parties_can_show_nothing():
    """Failing means that one party's luck is told as an effect of the programme."""
    series = noise(2, 60)
    series["P0"] = [value - 50 * (month >= 30) for month, value in enumerate(series["P0"])]
    found = told_of(panel_from(series), {"P0": 30, "P1": 50})
    assert (found.order_count, found.verdict) == (2, "not shown")
    assert check(found, "leave one out")["note"].to_list() == ["nobody is left to compare with"] * 2


def test_three_parties_have_too_few_orders_to_show_anything():
    """Failing means that a p of one in six is taken for proof."""
    series = noise(3, 60)
    for trust, start in (("P0", 30), ("P1", 40)):
        series[trust] = [v - 50 * (m >= start) for m, v in enumerate(series[trust])]
    found = told_of(panel_from(series), {"P0": 30, "P1": 40, "P2": 50})
    assert found.p_randomisation >= 1 / 6
    assert found.verdict == "not shown"


def test_many_parties_draw_their_orders_from_the_generator_that_is_passed():
    """Failing means that a p cannot be computed again."""
    series = noise(10, 60)
    go_live = {trust: 26 + 3 * place for place, trust in enumerate(series)}
    with pytest.raises(ValueError, match="10 parties have too many orders"):
        told_of(panel_from(series), go_live)
    once, again = (
        told_of(panel_from(series), go_live, generator=np.random.default_rng(5)) for _ in range(2)
    )
    assert once == again
    assert once.order_count == 40_320


def test_a_placebo_with_too_little_before_it_is_told_as_missing():
    """Failing means that a check that was not made reads as one that was passed."""
    starts = {"P0": 34, "P1": 36, "P2": 40, "P3": 48}
    left_out = list(range(10))
    told = told_of(panel_from(noise(4, 60)), starts, months_left_out=left_out)
    assert check(told, "placebo")["note"].to_list() == [None]
    few = told_of(panel_from(noise(4, 60)), {**starts, "P0": 35}, months_left_out=range(11, 0, -1))
    assert check(few, "placebo")["note"].to_list() == [None]


def test_few_parties_in_a_month_have_no_interval():
    """Failing means that the spread of two parties is told as that of eight."""
    rows = told_of(example(), horizon_months=30).by_month_since
    few = rows.filter(pl.col("trust_count") < 3)
    assert len(few)
    assert few["ci_low"].null_count() == len(few)
    assert rows.filter(pl.col("trust_count") >= 3)["ci_low"].null_count() == 0


def test_quantiles_of_t_are_those_of_the_tables():
    """Failing means that every interval is too wide or too narrow."""
    assert t_quantile(0.975, 7) == pytest.approx(EXAMPLES["meta"]["t_quantile_975_df7"], abs=1e-12)
    table = {1: 12.7062047, 2: 4.3026527, 3: 3.1824463, 6: 2.4469119, 30: 2.0422725}
    for degrees, expected in table.items():
        assert t_quantile(0.975, degrees) == pytest.approx(expected, abs=1e-7)
    assert t_quantile(0.8, 7) == pytest.approx(0.8960296, abs=1e-7)
    assert t_quantile(0.5, 7) == pytest.approx(0, abs=1e-9)
    for share, degrees in ((0.4, 7), (1.0, 7), (0.9, 0)):
        with pytest.raises(ValueError, match="no t quantile"):
            t_quantile(share, degrees)


# Verdicts -----------------------------------------------------------------------------------


def test_harm_is_said_in_words():
    """Failing means that "not shown" hides a worsening."""
    assert told_of(example(4)).verdict == WORSE
    assert told_of(example(4), improvement="increase").verdict == BETTER


def test_one_party_that_carries_the_effect_alone_is_not_enough():
    """Failing means that what happened at one party is told of the programme."""
    found = told_of(example())
    assert found.sign_holds
    series = {each["trust"]: list(each["y"]) for each in TRUSTS}
    series = {t: [y + 2 * (m >= GO_LIVE[t]) for m, y in enumerate(v)] for t, v in series.items()}
    series["T2"] = [y - 20 * (m >= 27) for m, y in enumerate(series["T2"])]
    alone = told_of(panel_from(series))
    assert not alone.sign_holds
    assert alone.verdict == "not shown"


def test_a_promise_too_small_to_be_seen_is_said_to_be():
    """Failing means that a missing effect is held against a promise nobody could have checked."""
    found = told_of(example(2), promised=-0.5)
    assert found.verdict == "could not have been seen"
    assert 0.5 < found.detectable < 2
    assert told_of(example(2), promised=-2).verdict == "not shown"
    assert told_of(example(2)).verdict == "not shown"
    assert told_of(example(), promised=-0.5).verdict == BETTER


def test_many_measures_need_stronger_proof():
    """Failing means that of twenty measures one shows an effect by chance."""
    one, other, third = told_of(example()), told_of(example(2)), told_of(example(-3))
    p = [each.p_randomisation for each in (one, other, third)]
    found = adjust({"one": one, "other": other, "third": third})
    assert list(found) == ["one", "other", "third"]
    assert p[2] < p[0] < p[1]
    assert found["third"].p_adjusted == pytest.approx(3 * p[2])
    assert found["one"].p_adjusted == pytest.approx(2 * p[0])
    assert found["other"].p_adjusted == pytest.approx(p[1])
    assert [each.verdict for each in found.values()] == [BETTER, "not shown", BETTER]
    crowd = adjust({"one": one} | {f"null {number}": other for number in range(19)})
    assert crowd["one"].p_adjusted == pytest.approx(20 * p[0])
    assert crowd["one"].verdict == "not shown"
    assert crowd["null 0"].p_adjusted == 1
    assert adjust({}) == {}


def test_an_effect_on_the_logarithm_is_told_in_per_cent():
    """Failing means that a fall by a third is told as one by forty per cent."""
    assert as_percent(np.log(0.66)) == pytest.approx(-34)
    assert as_percent(0) == 0


# What must change nothing ------------------------------------------------------------------


SIZES = st.floats(-1e3, 1e3, allow_nan=False)


def assert_alike(found: GoLiveEffect, expected: GoLiveEffect, scale: float = 1.0) -> None:
    for name in ("att", "se", "ci_low", "ci_high", "ri_low", "ri_high", "detectable"):
        told, wanted = getattr(found, name), getattr(expected, name) * scale
        assert told == pytest.approx(wanted, rel=1e-7, abs=1e-7 * abs(scale)), name
    assert (found.ri_count, found.verdict) == (expected.ri_count, expected.verdict)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.001, 1e4), SIZES)
def test_units_and_origin_of_the_values_do_not_matter(scale, shift):
    """Failing means that hours and minutes have different effects."""
    changed = example().with_columns(pl.col("value") * scale + shift)
    assert_alike(told_of(changed), told_of(example()), scale)


@settings(max_examples=5, deadline=None)
@given(st.permutations(list(GO_LIVE)), st.randoms(use_true_random=False))
def test_the_order_of_the_parties_and_rows_does_not_matter(order, chance):
    """Failing means that the name of a party moves the effect."""
    names = dict(zip(GO_LIVE, order, strict=True))
    panel = example().with_columns(pl.col("trust").replace(names))
    panel = panel.sample(fraction=1, shuffle=True, seed=chance.randrange(2**31))
    go_live = {names[trust]: GO_LIVE[trust] for trust in GO_LIVE}
    assert_alike(told_of(panel, go_live), told_of(example()))


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(list(GO_LIVE)), SIZES, st.floats(-5, 5), st.integers(0, 2**31))
def test_a_level_a_line_or_a_common_month_changes_nothing(trust, level, slope, seed):
    """Failing means that a larger party, a trend or a winter is told as an effect."""
    common = np.random.default_rng(seed).normal(0, 100, 60)
    months = pl.DataFrame({"month": range(60), "common": common})
    own = pl.when(pl.col("trust") == trust).then(level + slope * pl.col("month")).otherwise(0.0)
    changed = (
        example().join(months, on="month").with_columns(pl.col("value") + own + pl.col("common"))
    )
    assert_alike(told_of(changed), told_of(example()))


@settings(max_examples=15, deadline=None)
@given(st.floats(-6, 6), st.booleans())
def test_the_other_direction_mirrors_the_verdict(added, turned):
    """Failing means that what is better for one metric is not worse for its mirror."""
    panel = example(added)
    if turned:
        panel = panel.with_columns(-pl.col("value"))
    here, there = told_of(panel), told_of(panel, improvement="increase")
    mirrored = {BETTER: WORSE, WORSE: BETTER}
    assert there.verdict == mirrored.get(here.verdict, here.verdict)


@settings(max_examples=15, deadline=None)
@given(st.floats(-6, 6), st.sampled_from([6, 12, 18]), st.booleans())
def test_an_effect_added_to_every_live_month_is_added_to_the_estimate(added, horizon, trends):
    """Failing means that the estimate is biased."""
    options = {"horizon_months": horizon, "trust_trends": trends}
    base, found = told_of(example(), **options), told_of(example(added), **options)
    assert found.att == pytest.approx(base.att + added, abs=1e-9)
    assert found.se == pytest.approx(base.se, abs=1e-9)
    assert found.ri_high - found.att == pytest.approx(base.ri_high - base.att, abs=1e-8)


# Known worlds -------------------------------------------------------------------------------


def test_the_calendar_of_the_programme_has_its_parties_and_mergers():
    """Failing means that the coverage told for Greater Manchester is of another network."""
    calendar = manchester_calendar()
    assert len(calendar.starts) == 8
    assert calendar.starts["RW6"] == 31
    assert calendar.shock == (23, 35)
    assert [month for month, _ in calendar.steps] == [36, 42]


def test_intervals_hold_the_truth_and_null_worlds_claim_little():
    """Failing means that the interval of the page is not a 95 % interval."""
    null = told(World("null", reference_calendar()), 40, seed=3)
    held = null.row()
    # Of 40 at 95 %, fewer than 33 happen once in 1,500 runs of seeds; this one is fixed.
    assert held["coverage"] >= 33 / 40
    assert held["improvement"] <= 4 / 40
    assert held["naive_claims"] > held["improvement"]


def test_a_panel_of_a_world_has_its_effect_in_it():
    """Failing means that coverage is counted against another truth."""
    calendar = reference_calendar()
    quiet = World("quiet", calendar, effect=-2.0, noise_spread=0.0)
    panel, true = panel_of(quiet, np.random.default_rng(1))
    assert true == pytest.approx(-2)
    without, _ = panel_of(World("quiet", calendar, noise_spread=0.0), np.random.default_rng(1))
    gap = (panel["value"] - without["value"]).round(9)
    starts = list(calendar.starts.values())
    after = [m >= s for s, m in itertools.product(starts, range(calendar.month_count))]
    assert gap.to_list() == [-2.0 if live else 0.0 for live in after]
    low, att, high = (before_and_after(panel, calendar.starts)[place] for place in (1, 0, 2))
    assert low < att < high
