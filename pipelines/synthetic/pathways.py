"""The exam table: every request of the network and what became of it. This is the truth.

Requests are booked into the diaries of the scanners, exams queue on their scanner, reports
follow. Everything before the history extract is known to the minute, everything after it to the
second, as the feeds give it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar, patients, reporting, rota
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE, Seconds
from pipelines.synthetic.demand import Places, draw_requests, find_places
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import Profile
from pipelines.synthetic.reporting import NEVER

if TYPE_CHECKING:
    from pipelines.network import Network

TARGET_DAYS = 41  # the last whole day under six weeks

CANCEL_REASONS = {
    "DUP": "Duplicate request",
    "CLIN": "No longer clinically indicated",
    "PAT": "Patient declined",
    "ELSE": "Done elsewhere",
    "CONTRA": "Contraindication found",
}

# Minutes in the room: shortest, usual, longest. The longest fits the shortest session.
_MINUTES = {
    "DX": (4, 6, 12),
    "CT": (7, 12, 22),
    "MR": (17, 25, 45),
    "US": (9, 14, 24),
    "RF": (15, 20, 30),
    "BMD": (8, 12, 18),
}
_TIMES = (
    "requested",
    "received",
    "first_booked",
    "first_appointment",
    "dna",
    "dna_told",
    "booked",
    "appointment",
    "cancelled",
    "started",
    "completed",
    "preliminary",
    "verified",
    "addendum",
)


@dataclass(frozen=True)
class Simulation:
    """The exam table, the sessions and the resources.

    `exams`: one row per request, in order of request. Times are UTC seconds (Int64, null when it
    has not happened by the end of the period).
    `sessions`: one row per session, see `rota.plan_sessions`.
    """

    exams: pl.DataFrame
    sessions: pl.DataFrame
    resources: list[rota.Resource]


def simulate(
    network: Network,
    profile: Profile,
    period: Period,
    patient_table: pl.DataFrame,
    scale: float,
    seed: int,
) -> Simulation:
    """Draw the requests and carry each to its report. The same seed gives the same tables."""
    codes = network.exam_codes
    modality_of_group = dict(codes.select("modality_group", "dicom_modality").iter_rows())
    places = find_places(network, modality_of_group)
    requests = draw_requests(
        network, profile, period, places, scale, np.random.default_rng([seed, 1])
    )
    rng = np.random.default_rng([seed, 2])
    requests = requests.with_columns(
        pl.col("modality_group").replace_strict(modality_of_group).alias("dicom_modality")
    )
    requests, resources = _assign_resources(network, requests, rng)
    a = {name: requests[name].to_numpy() for name in requests.columns}
    a = {k: v.astype(str) if v.dtype == object else v.copy() for k, v in a.items()}
    a["is_unscheduled"] = np.isin(a["source_setting"], ["01", "05"])
    a["priority"] = _priorities(a, rng)
    a["seconds"] = _durations(a["dicom_modality"], rng)
    a["into_session"] = ~a["is_unscheduled"] | (
        (a["source_setting"] == "01") & (a["priority"] == "R")
    )
    diaries, sessions = rota.plan_sessions(
        resources,
        _weekly_minutes(a, len(resources), period),
        profile,
        period,
        np.random.default_rng([seed, 3]),
    )
    a["is_walk_in"] = (
        (a["dicom_modality"] == "DX")
        & ~a["is_unscheduled"]
        & (rng.random(len(a["priority"])) < np.where(a["source_setting"] == "04", 0.55, 0.75))
    )
    _move_walk_ins(a, diaries, rng)
    order = np.argsort(a["requested"], kind="stable")
    a = {name: values[order] for name, values in a.items()}
    a["requested"] = calendar.local_to_utc(a["requested"])
    a["received"] = a["requested"] + _received_after(a, rng)
    _choose_exam_and_patient(a, network, profile, places, patient_table, rng)
    _choose_waits(a, codes, profile, np.random.default_rng([seed, 4]))
    _book(a, diaries, profile, np.random.default_rng([seed, 5]))
    _queue(a)
    _report(a, profile, np.random.default_rng([seed, 6]))
    _round_and_hide(a, period)
    exams = _as_frame(a, network, period, resources, np.random.default_rng([seed, 7]))
    return Simulation(exams, sessions, resources)


def _assign_resources(
    network: Network, requests: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.DataFrame, list[rota.Resource]]:
    """Give every request a scanner of its site and modality, or the unnamed room of the site."""
    scanners = network.scanner_register.select("site_code", "dicom_modality").rows()
    needed = requests.select("site_code", "dicom_modality").unique(maintain_order=True).rows()
    rooms = sorted(set(needed) - set(scanners))
    resources = rota.list_resources(network, rooms)
    choices: dict[tuple[str, str], list[int]] = {}
    for index, resource in enumerate(resources):
        choices.setdefault((resource.site_code, resource.dicom_modality), []).append(index)
    place = (requests["site_code"] + "|" + requests["dicom_modality"]).to_list()
    pick = rng.random(len(place))
    options = {f"{site}|{modality}": found for (site, modality), found in choices.items()}
    chosen = [options[p][int(u * len(options[p]))] for p, u in zip(place, pick, strict=True)]
    return requests.with_columns(pl.Series("resource", chosen, dtype=pl.Int64)), resources


def _priorities(a: dict[str, NDArray], rng: np.random.Generator) -> NDArray[np.str_]:
    count = len(a["requested"])
    u = rng.random(count)
    emergency = np.where(u < 0.72, "S", "U")
    inpatient = np.select([u < 0.18, u < 0.62], ["S", "U"], "R")
    cancer = np.select(
        [a["modality_group"] == "CT", a["modality_group"] == "MRI", a["dicom_modality"] == "US"],
        [0.17, 0.12, 0.08],
        0.02,
    )
    planned = rng.random(count) < a["planned_rate"]
    elective = np.select([planned, u < cancer, u < cancer + 0.11], ["P", "T", "U"], "R")
    return np.select(
        [a["source_setting"] == "05", a["source_setting"] == "01"], [emergency, inpatient], elective
    )


def _durations(modality: NDArray[np.str_], rng: np.random.Generator) -> Seconds:
    seconds = np.zeros(len(modality), dtype=np.int64)
    for name, (low, usual, high) in _MINUTES.items():
        mask = modality == name
        seconds[mask] = rng.triangular(low, usual, high, int(mask.sum())) * MINUTE
    return seconds


def _weekly_minutes(a: dict[str, NDArray], resources: int, period: Period) -> NDArray[np.float64]:
    """Scheduled minutes a week by resource, over the last year of requests."""
    recent = a["into_session"] & (a["requested"] >= period.end - 365 * DAY)
    minutes = np.bincount(
        a["resource"][recent], weights=a["seconds"][recent] / MINUTE, minlength=resources
    )
    return np.asarray(minutes * 0.95 / (365 / 7), dtype=np.float64)


def _move_walk_ins(
    a: dict[str, NDArray], diaries: list[rota.Diary], rng: np.random.Generator
) -> None:
    """Clinics run on the days the X-ray room is staffed: move walk-in requests to such a day."""
    rows = np.flatnonzero(a["is_walk_in"] & (a["source_setting"] != "04"))
    lead = rng.integers(-20 * MINUTE, 50 * MINUTE, len(rows))
    for row, seconds in zip(rows.tolist(), lead.tolist(), strict=True):
        diary = diaries[a["resource"][row]]
        index = diary.next_session(int(a["requested"][row] // DAY))
        a["requested"][row] = diary.opens[index] - seconds


def _received_after(a: dict[str, NDArray], rng: np.random.Generator) -> Seconds:
    count = len(a["requested"])
    prompt = rng.integers(20, 6 * MINUTE, count)
    electronic = (rng.exponential(2.5 * HOUR, count)).astype(np.int64) + MINUTE
    return np.where(a["is_unscheduled"] | a["is_walk_in"], prompt, electronic)


def _choose_exam_and_patient(
    a: dict[str, NDArray],
    network: Network,
    profile: Profile,
    places: Places,
    patient_table: pl.DataFrame,
    rng: np.random.Generator,
) -> None:
    """Exam code by modality, then a patient whom the exam fits."""
    count = len(a["requested"])
    codes = network.exam_codes.join(profile.exam_mix, on="exam_code", how="left").fill_null(0.0)
    exam = np.full(count, "", dtype="<U8")
    for group in codes["modality_group"].unique().sort().to_list():
        table = codes.filter(pl.col("modality_group") == group)
        for flag, column in ((True, "unscheduled_weight"), (False, "scheduled_weight")):
            mask = (a["modality_group"] == group) & (a["is_unscheduled"] == flag)
            weight = table[column].to_numpy()
            exam[mask] = rng.choice(
                table["exam_code"].to_numpy().astype(str), int(mask.sum()), p=weight / weight.sum()
            )
    child = np.isin(a["site_code"], list(places.children_only))
    exam[child & (exam == "UOBST")] = "UABDO"
    a["exam_code"] = exam
    fit = np.select([child, exam == "UOBST", exam == "MPROS", exam == "NDEXA"], [1, 2, 3, 4], 0)

    birth = patient_table["birth_on"].cast(pl.Int32).to_numpy()
    sex = patient_table["sex"].to_numpy().astype(str)
    home = patient_table["home_party"].to_numpy().astype(str)
    age = (calendar.day_number(date(2022, 7, 1)) - birth) / 365.25
    fits = {
        0: age > 4,
        1: age < 16,
        2: (sex == "2") & (age > 18) & (age < 44),
        3: (sex == "1") & (age > 50),
        4: age > 45,
    }
    local = rng.random(count) < 0.86
    u = rng.random(count)
    chosen = np.zeros(count, dtype=np.int64)
    for number, fitting in fits.items():
        everyone = np.flatnonzero(fitting)
        visitors = (fit == number) & ~local
        chosen[visitors] = everyone[(u[visitors] ** 1.6 * len(everyone)).astype(np.int64)]
        for party in np.unique(a["party_code"]):
            mask = (fit == number) & local & (a["party_code"] == party)
            pool = np.flatnonzero(fitting & (home == party))
            pool = pool if len(pool) else everyone
            chosen[mask] = pool[(u[mask] ** 1.6 * len(pool)).astype(np.int64)]
    a["patient_no"] = chosen


def _choose_waits(
    a: dict[str, NDArray], codes: pl.DataFrame, profile: Profile, rng: np.random.Generator
) -> None:
    """Wanted days from request to exam, and whether the six-week target binds the booking.

    Routine waits follow the weekly exit shape of the test; a party's share over six weeks sets
    how many are booked past the target (stock over target = breaches x mean excess).
    """
    count = len(a["requested"])
    test_of_code = dict(codes.select("exam_code", "dm01_test").iter_rows())
    test = np.array([test_of_code[c] or "OTHER" for c in a["exam_code"].tolist()])
    a["dm01_test"] = test
    days = np.zeros(count, dtype=np.int64)
    tail = np.zeros(count, dtype=bool)
    eras = profile.wait_eras
    era = np.interp(
        a["requested"] / DAY,
        [calendar.day_number(d) for d in eras["from_on"].to_list()],
        eras["breach_factor"].to_numpy(),
    )
    month = (a["requested"].astype("datetime64[s]").astype("datetime64[M]").astype(int)) % 12
    era = era * np.where(np.isin(month, (10, 11)), 1.25, 1.0)
    exact = {
        (party, name): (over, mean)
        for party, name, over, mean in profile.wait_profile.select(
            "party_code", "dm01_test", "over_six_weeks_rate", "tail_mean_days"
        ).iter_rows()
    }
    for name in np.unique(test):
        shape = profile.wait_shape.filter(pl.col("dm01_test") == name)
        weight = shape["weight"].to_numpy()
        weeks = shape["week"].to_numpy()
        mean_inside = float(((weeks - 0.5) * 7 * weight).sum() / weight.sum())
        for party in np.unique(a["party_code"]):
            mask = (test == name) & (a["party_code"] == party)
            number = int(mask.sum())
            over, mean_tail = exact.get((party, name), exact.get(("*", name), (0.01, 10.0)))
            share = np.clip(over * era[mask], 0, 0.5)
            breach = (
                share * mean_inside / (mean_tail + share * mean_inside - share * (42 + mean_tail))
            )
            late = rng.random(number) < np.clip(breach, 0, 0.6)
            inside = (rng.choice(weeks, number, p=weight / weight.sum()) - rng.random(number)) * 7
            beyond = 42 + rng.exponential(mean_tail, number)
            days[mask] = np.where(late, beyond, np.minimum(inside, TARGET_DAYS)).astype(np.int64)
            tail[mask] = late
    short = 1 + rng.gamma(2.0, 3.2, count)
    plain = a["dicom_modality"] == "DX"
    days = np.select(
        [
            a["is_unscheduled"] | a["is_walk_in"],
            a["priority"] == "P",
            np.isin(a["priority"], ("U", "T")),
            plain,
        ],
        [
            np.zeros(count, dtype=np.int64),
            rng.integers(60, 200, count),
            np.minimum(short, 20).astype(np.int64),
            1 + rng.integers(0, 9, count),
        ],
        days,
    )
    a["wanted_days"] = days
    a["is_late"] = (tail & (a["priority"] == "R") & ~a["is_unscheduled"] & ~plain) | (
        a["priority"] == "P"
    )


def _book(
    a: dict[str, NDArray],
    diaries: list[rota.Diary],
    profile: Profile,
    rng: np.random.Generator,
) -> None:
    """Find a slot for every scheduled request, in order of request; missed slots stay empty."""
    count = len(a["requested"])
    missed_rate = dict(
        profile.modality_demand.select("modality_group", "did_not_attend_rate").iter_rows()
    )
    rate = np.array([missed_rate[g] for g in a["modality_group"].tolist()])
    open_to_miss = np.isin(a["source_setting"], ("03", "04", "07")) & ~a["is_walk_in"]
    a["is_missed"] = open_to_miss & (rng.random(count) < rate)
    u = rng.random(count)
    a["is_cancelled"] = u < np.select([a["is_unscheduled"], a["is_walk_in"]], [0.015, 0.004], 0.05)
    a["is_missed"] &= ~a["is_cancelled"]
    again = rng.integers(5, 36, count)
    no_show = rng.integers(15 * MINUTE, 50 * MINUTE, count)
    gap = rng.integers(0, 100, count)

    local = calendar.utc_to_local(a["received"])
    request_day = calendar.utc_to_local(a["requested"]) // DAY
    first_slot = np.full(count, -1, dtype=np.int64)
    slot = np.full(count, -1, dtype=np.int64)
    rows = np.flatnonzero(a["into_session"])
    inpatient = a["is_unscheduled"]
    walk_in = a["is_walk_in"]
    for row in rows.tolist():
        diary = diaries[a["resource"][row]]
        seconds = int(a["seconds"][row] + gap[row])
        asked = int(request_day[row])
        now = int(local[row])
        if walk_in[row] or inpatient[row]:
            same_day = not inpatient[row]
            slot[row] = diary.book(
                seconds=seconds,
                not_before=now + 5 * MINUTE,
                wanted_day=asked,
                last_day=asked + (14 if same_day else 1),
                strict=not same_day,
            )
            continue
        wanted = asked + int(a["wanted_days"][row])
        limit = wanted + 400 if a["is_late"][row] else asked + TARGET_DAYS
        earliest = (asked + 1) * DAY
        if a["is_cancelled"][row]:
            slot[row] = diary.opens[diary.next_session(max(wanted, asked + 1))]
            continue
        found = diary.book(
            seconds=seconds, not_before=earliest, wanted_day=max(wanted, asked + 1), last_day=limit
        )
        if a["is_missed"][row] and found >= 0:
            first_slot[row] = found
            missed_day = found // DAY
            found = diary.book(
                seconds=seconds,
                not_before=(missed_day + 2) * DAY,
                wanted_day=missed_day + int(again[row]),
                last_day=missed_day + TARGET_DAYS,
            )
        slot[row] = found
    a["is_missed"] &= first_slot >= 0
    _set_bookings(a, first_slot, slot, no_show, rng)


def _set_bookings(
    a: dict[str, NDArray],
    first_slot: Seconds,
    slot: Seconds,
    no_show: Seconds,
    rng: np.random.Generator,
) -> None:
    count = len(slot)
    found = slot >= 0
    slot, first_slot = (np.maximum(s, 0) // MINUTE * MINUTE for s in (slot, first_slot))
    appointment = np.where(found, calendar.local_to_utc(slot), NEVER)
    first = np.where(a["is_missed"], calendar.local_to_utc(first_slot), NEVER)
    has_booking = found & ~a["is_unscheduled"] & ~a["is_walk_in"]
    lag = (rng.uniform(0.03, 1.0, count) ** 2 * 4 * DAY).astype(np.int64)
    initial = np.where(a["is_missed"], first, appointment)
    start = a["received"]
    room = np.clip(initial - start - 2 * HOUR, 60, None)
    booked_first = start + np.minimum(lag, room // 2)
    booked_first = _office_hours(booked_first, initial, rng)
    # A missed slot is missed when it begins; the department says so some minutes later.
    a["dna"] = first
    a["dna_told"] = np.where(a["is_missed"], first + no_show, NEVER)
    rebooked = np.where(a["is_missed"], first + no_show + HOUR, 0) + np.minimum(lag, DAY)
    rebooked = np.where(a["is_missed"], _office_hours(rebooked, appointment, rng), NEVER)
    a["first_booked"] = np.where(has_booking & a["is_missed"], booked_first, NEVER)
    a["first_appointment"] = np.where(has_booking & a["is_missed"], first, NEVER)
    a["booked"] = np.where(has_booking, np.where(a["is_missed"], rebooked, booked_first), NEVER)
    a["appointment"] = np.where(has_booking, appointment, NEVER)

    u = rng.random(count)
    hours = np.select(
        [a["priority"] == "S", a["source_setting"] == "05", a["priority"] == "U"],
        [0.6 * np.exp(0.7 * (u * 4 - 2)), 1.0 * np.exp(0.6 * (u * 4 - 2)), 1.0 + 11 * u * u],
        2.0 + 20 * u,
    )
    unplanned = a["received"] + (hours * HOUR).astype(np.int64)
    late = rng.integers(0, 80, count)
    a["proposed"] = np.where(found, np.minimum(appointment, NEVER - DAY) + late, unplanned)

    wait = np.clip(np.minimum(a["proposed"], a["received"] + 2000 * DAY) - a["received"], 600, None)
    cancelled = a["received"] + (wait * rng.uniform(0.05, 0.95, count)).astype(np.int64)
    cancelled = np.where(
        a["is_unscheduled"], cancelled, _office_hours(cancelled, a["proposed"], rng)
    )
    a["cancelled"] = np.where(a["is_cancelled"], cancelled, NEVER)
    gone = a["is_cancelled"] & (a["booked"] > a["cancelled"])
    a["booked"] = np.where(gone, NEVER, a["booked"])
    a["appointment"] = np.where(gone, NEVER, a["appointment"])
    a["cancel_reason"] = np.where(
        a["is_cancelled"], rng.choice(list(CANCEL_REASONS), size=count), ""
    )


def _office_hours(utc: Seconds, before: Seconds, rng: np.random.Generator) -> Seconds:
    """Move night instants to the morning, unless that would pass `before`."""
    local = calendar.utc_to_local(utc)
    second = local % DAY
    morning = 8 * HOUR + rng.integers(0, 2 * HOUR, len(utc))
    moved = np.select(
        [second < 8 * HOUR, second >= 19 * HOUR],
        [local - second + morning, local - second + DAY + morning],
        local,
    )
    instant = calendar.local_to_utc(moved)
    return np.where(instant < before - 30 * MINUTE, instant, utc)


def _queue(a: dict[str, NDArray]) -> None:
    """One exam at a time on a resource: an exam starts when the one before it has ended."""
    done = ~a["is_cancelled"]
    start = np.full(len(done), NEVER)
    order = np.lexsort((a["proposed"], a["resource"]))
    order = order[done[order]]
    resource = a["resource"][order]
    edges = np.flatnonzero(np.diff(resource)) + 1
    for part in np.split(order, edges):
        # Rounding to minutes later keeps the order, because start and end round the same way.
        length = a["seconds"][part]
        earlier = np.cumsum(length) - length
        start[part] = np.maximum.accumulate(a["proposed"][part] - earlier) + earlier
    a["started"] = start
    a["completed"] = np.where(done, start + a["seconds"], NEVER)


def _report(a: dict[str, NDArray], profile: Profile, rng: np.random.Generator) -> None:
    sizes = profile.party_demand.group_by("party_code", maintain_order=True).agg(
        pl.col("weight").sum()
    )
    reports = reporting.write_reports(
        {
            "party": a["party_code"],
            "modality_group": a["modality_group"],
            "priority": a["priority"],
            "is_unscheduled": a["is_unscheduled"],
            "completed": a["completed"],
        },
        reporting.network_reporting_days(profile.go_lives),
        dict(sizes.iter_rows()),
        dict(profile.modality_demand.select("modality_group", "preliminary_rate").iter_rows()),
        rng,
    )
    a["preliminary"] = reports.preliminary
    a["verified"] = reports.verified
    a["addendum"] = reports.addendum
    a["reporter_org"] = reports.reporter_org
    a["is_cross_site"] = reports.is_cross_site


def _round_and_hide(a: dict[str, NDArray], period: Period) -> None:
    """Minutes before the extract, seconds after; what lies past the end has not happened."""
    for name in _TIMES:
        values = np.where(a[name] < period.cutoff, a[name] // MINUTE * MINUTE, a[name])
        if name not in ("appointment", "first_appointment"):
            values = np.where(values >= period.end, NEVER, values)
        a[name] = values
    # A start is told by the message of the completed exam only, or by the history extract.
    untold = (a["completed"] == NEVER) & (a["started"] >= period.cutoff)
    a["started"] = np.where(untold, NEVER, a["started"])
    # An appointment is known once it is booked, however far ahead it lies.
    for booked, slot in (("booked", "appointment"), ("first_booked", "first_appointment")):
        a[slot] = np.where(a[booked] == NEVER, NEVER, a[slot])
    # A missed appointment whose rebooking lies past the end leaves the missed one as the last.
    unmade = (a["booked"] == NEVER) & (a["first_booked"] < NEVER)
    a["booked"] = np.where(unmade, a["first_booked"], a["booked"])
    a["appointment"] = np.where(unmade, a["first_appointment"], a["appointment"])


def _as_frame(
    a: dict[str, NDArray],
    network: Network,
    period: Period,
    resources: list[rota.Resource],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Typed table of the requests made within the period, with codes and identifiers."""
    names = (
        "party_code", "site_code", "resource", "modality_group", "dicom_modality", "exam_code",
        "source_setting", "priority", "patient_no", "is_unscheduled", "cancel_reason",
        "reporter_org", "is_cross_site", *_TIMES,
    )  # fmt: skip
    exams = pl.DataFrame({name: a[name] for name in names}).filter(pl.col("requested") < period.end)
    exams = exams.with_columns(
        *(pl.when(pl.col(t) < int(NEVER)).then(pl.col(t)).alias(t) for t in _TIMES)
    )
    exams = exams.with_columns(
        pl.when(pl.col("cancelled").is_not_null()).then("cancel_reason").alias("cancel_reason"),
        *(
            pl.when(pl.coalesce("verified", "preliminary").is_not_null()).then(name).alias(name)
            for name in ("reporter_org", "is_cross_site")
        ),
        pl.Series(
            "station_name",
            [resources[i].station_name for i in exams["resource"].to_list()],
            dtype=pl.String,
        ),
    )
    codes = network.exam_codes.select(
        "exam_code", "snomed_code", "exam_name", "body_region", "dm01_test"
    )
    exams = exams.join(codes, on="exam_code", how="left", maintain_order="left")
    return _with_identifiers(_with_trust(exams, network), network, period, rng)


def _with_trust(exams: pl.DataFrame, network: Network) -> pl.DataFrame:
    """Add trust_as_was: the owner of the site on the local day of the exam, else of the request."""
    moment = exams.select(pl.coalesce("completed", "requested")).to_series().to_numpy()
    day = pl.Series("owned_on", calendar.utc_to_local(moment) // DAY).cast(pl.Int32).cast(pl.Date)
    exams = exams.with_row_index("exam_no").with_columns(day)
    owners = network.site_trust_history.select(
        "site_code",
        "trust_code",
        pl.col("valid_from").str.to_date().fill_null(date(1990, 1, 1)),
        pl.col("valid_to").str.to_date().fill_null(date(2100, 1, 1)),
    )
    owned = (
        exams.select("exam_no", "site_code", "owned_on")
        .join(owners, on="site_code")
        .filter(pl.col("owned_on").is_between("valid_from", "valid_to"))
        .select("exam_no", pl.col("trust_code").alias("trust_as_was"))
    )
    return exams.join(owned, on="exam_no", how="left", maintain_order="left").drop("owned_on")


def _with_identifiers(
    exams: pl.DataFrame, network: Network, period: Period, rng: np.random.Generator
) -> pl.DataFrame:
    """Add accession number, study UID and the invented codes of staff and referrers.

    Accession numbers count per party and year, so the same number occurs at several parties.
    """
    count = exams.height
    parties = network.programme_parties["party_code"].to_list()
    party = np.array([parties.index(p) for p in exams["party_code"].to_list()])
    orgs = network.reporting_organisations["reporting_org_code"].to_list()
    org = np.array([orgs.index(o) if o else 0 for o in exams["reporter_org"].to_list()])
    high, low = rng.integers(2**60, 2**61, count), rng.integers(0, 2**62, count)
    uids = [f"2.25.{(h << 62) | w}" for h, w in zip(high.tolist(), low.tolist(), strict=True)]
    year = pl.from_epoch("requested", time_unit="s").dt.strftime("%y")
    running = pl.int_range(1, pl.len() + 1).over("party_code", "year").cast(pl.String)
    is_gp = pl.col("source_setting") == "04"
    staff, reader, doctor, practice = (rng.integers(n, size=count) for n in (24, 40, 90, 60))
    return (
        exams.with_columns(year.alias("year"))
        .with_columns(
            (pl.lit("A") + pl.col("year") + running.str.zfill(6)).alias("accession_number"),
            pl.Series(
                "patient_id", patients.local_patient_ids(exams["patient_no"].to_numpy(), party)
            )
            .cast(pl.String)
            .str.zfill(7)
            .map_elements(lambda text: f"H{text}", return_dtype=pl.String),
            pl.when(pl.col("completed").is_not_null())
            .then(pl.Series(uids))
            .alias("study_instance_uid"),
            pl.when(pl.col("completed").is_not_null())
            .then(_codes("R999", party, staff))
            .alias("radiographer_code"),
            pl.when(pl.col("reporter_org").is_not_null())
            .then(_codes("C999", org, reader))
            .alias("reporter_code"),
            pl.when(is_gp)
            .then(_codes("G999", party, doctor))
            .otherwise(_codes("C998", party, doctor))
            .alias("referrer_code"),
            pl.when(is_gp)
            .then(_codes("ZZG", party, practice))
            .otherwise("party_code")
            .alias("referring_org_code"),
            (pl.col("requested") < period.cutoff).alias("is_in_extract"),
        )
        .drop("year")
    )


def _codes(prefix: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> pl.Series:
    return pl.Series(first * 100 + second).cast(pl.String).str.zfill(4).str.replace("^", prefix)
