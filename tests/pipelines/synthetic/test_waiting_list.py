"""The booking office: what goes in comes out, and waits arise from the queue alone."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.synthetic.calendar import months_between
from pipelines.synthetic.calibration import lanes
from pipelines.synthetic.waiting_list import (
    MAIN,
    BookingOffice,
    Demand,
    slot_weights,
    spread_over,
)

EVEN = np.ones(6)
PLAIN = Demand(
    requests=300.0,
    planned=20.0,
    shape=EVEN,
    scarce_rate=0.1,
    scarce_spread_days=10.0,
    missed_rate=0.05,
    removal_rate=0.05,
)
MONTHS = months_between(date(2021, 1, 1), date(2022, 1, 1))


def run(office: BookingOffice, demand: Demand, slots: float, scarce: float) -> int:
    """Tests done in a year of equal months."""
    done = 0
    for month_on in MONTHS:
        days, weights = slot_weights(month_on)
        given, offered = office.book_month(
            days, demand, weights, lanes(weights, slots, scarce, demand)
        )
        done += given
        assert len(offered) == len(days)
    return done


def test_every_referral_is_seen_gone_or_waiting():
    """Failing means that patients appear from nowhere or are lost."""
    office = BookingOffice(np.random.default_rng(1))
    done = run(office, PLAIN, slots=290, scarce=28)
    bookings = office.bookings
    assert bookings is not None
    slot, left = np.array(bookings.slot), np.array(bookings.removed_day)
    planned = np.array(bookings.lane) == 2
    seen = int(((slot >= 0) & ~planned).sum())
    assert seen == done
    assert ((slot >= 0) & (left >= 0)).sum() == 0
    waiting = int(((slot < 0) & (left < 0) & ~planned).sum())
    assert waiting == len(office.clock_start)
    assert seen + int((left >= 0).sum()) + waiting == int((~planned).sum())
    used = np.concatenate(
        [slot[slot >= 0], np.array(bookings.missed_slot)[np.array(bookings.missed_slot) >= 0]]
    )
    assert len(np.unique(used)) == len(used), "a slot was given twice"
    assert used.max() < office.slots_offered


def test_nobody_is_seen_before_the_day_after_the_referral():
    """Failing means negative or impossible waits."""
    office = BookingOffice(np.random.default_rng(2))
    days, weights = slot_weights(date(2021, 1, 1))
    demand = replace(PLAIN, missed_rate=0.0, removal_rate=0.0)
    slots = lanes(weights, 400, 40, demand)
    _, offered = office.book_month(days, demand, weights, slots)
    bookings = office.bookings
    assert bookings is not None
    day_of_slot = np.repeat(days, offered)
    slot, asked = np.array(bookings.slot), np.array(bookings.requested_day)
    assert (slot >= 0).sum() > 100
    assert (day_of_slot[slot[slot >= 0]] > asked[slot >= 0]).all()


@pytest.mark.parametrize(("slots", "over"), [(300, False), (240, True)])
def test_breaches_arise_when_slots_run_short(slots, over):
    """Failing means that a waiting time is put in and not the result of the queue."""
    demand = replace(PLAIN, scarce_rate=0.0, removal_rate=0.0, missed_rate=0.0, planned=0.0)
    office = BookingOffice(np.random.default_rng(3))
    days, weights = slot_weights(date(2020, 12, 1))
    office.book_month(days, demand, weights, lanes(weights, 60, 0, demand))
    run(office, demand, slots=slots, scarce=0)
    last, _ = slot_weights(MONTHS[-1])
    share = float((office.ages(int(last[-1])) >= 42).mean())
    assert (share > 0.2) == over


def test_an_empty_slot_is_made_good_when_somebody_waits_again():
    """Failing means that a small list drifts upwards although slots and referrals balance."""
    demand = replace(
        PLAIN, requests=4.0, planned=0.0, scarce_rate=0.0, missed_rate=0.0, removal_rate=0.0
    )
    office = BookingOffice(np.random.default_rng(4))
    for _ in range(30):
        run(office, demand, slots=4.0, scarce=0.0)
    assert len(office.clock_start) < 12


def test_a_missed_appointment_restarts_the_clock_and_uses_its_slot():
    """Failing means that the list breaks the national rule of the reset."""
    demand = replace(PLAIN, planned=0.0, removal_rate=0.0, scarce_rate=0.0, missed_rate=0.5)
    office = BookingOffice(np.random.default_rng(5))
    run(office, demand, slots=300, scarce=0)
    bookings = office.bookings
    assert bookings is not None
    missed = np.array(bookings.missed_slot)
    assert (missed >= 0).sum() > 100
    again = np.array(bookings.slot)
    both = (missed >= 0) & (again >= 0)
    assert (again[both] > missed[both]).all()
    waiting = [n for n in office.clock_start if missed[n] >= 0]
    assert waiting
    assert all(office.clock_start[n] > bookings.requested_day[n] for n in waiting)
    assert set(bookings.lane) == {MAIN}


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=31),
    st.floats(0, 400),
    st.floats(0, 0.999),
)
def test_slots_are_shared_out_whole_and_the_rest_is_carried(weights, count, phase):
    """Failing means that slots are lost or invented by rounding."""
    given_weights = np.array(weights)
    shared, left = spread_over(given_weights, count, phase)
    assert (shared >= 0).all()
    assert shared.sum() + left == pytest.approx(count + phase, abs=1e-6)
    if given_weights.sum() > 0:
        assert left < 1.0 + 1e-6
