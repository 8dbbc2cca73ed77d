"""The exams, month by month: every request of the network and what became of it. The truth.

The booking offices say who was seen when; emergencies and inpatients come between; exams queue
on their scanner, reports follow. Everything before the history extract is known to the minute,
everything after it to the second, as the feeds give it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import appointments, calendar, downtime, patients, reporting
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE, Seconds
from pipelines.synthetic.offices import Office, Room, find_offices, keep_diaries, register_of
from pipelines.synthetic.period import Period, midnight
from pipelines.synthetic.reference_tables import Profile, read_text_table
from pipelines.synthetic.reporting import NEVER
from pipelines.synthetic.requests import Columns, Requests, joined, taken
from pipelines.synthetic.scanner_queue import ScannerQueue
from pipelines.synthetic.worlds import World

if TYPE_CHECKING:
    from pipelines.network import Network

_MAMMOGRAMS = ("XMAMB", "XMAML", "XMAMR")
# Sex and age in years (from, below) of those an exam fits: any other exam, a children's hospital,
# obstetric ultrasound, prostate, bone density, mammogram.
_ANYONE = ("1", "2", "9")
_FITS = (
    (_ANYONE, 4, 200),
    (_ANYONE, 0, 16),
    (("2",), 18, 44),
    (("1",), 50, 200),
    (_ANYONE, 45, 200),
    (("2",), 35, 200),
)
# Share of the exams of patients who live with the party; how often the same patients come again
# (1 = all alike); draws after which an exam keeps a patient of another age.
_SEEN_AT_HOME, _RETURNING, _MOST_DRAWS = 0.86, 1.25, 60
_TIMES = (
    "requested",
    "received",
    *appointments.TIMES,
    "started",
    "completed",
    "preliminary",
    "verified",
    "addendum",
    "corrected",
)


class Simulation:
    """The network at work. `sessions` are known at once, exams come by the month.

    `sessions`: one row per session: site_code, station_name, dicom_modality, session_start,
    session_end (local seconds), pay_type.
    """

    def __init__(
        self,
        network: Network,
        profile: Profile,
        period: Period,
        scale: float,
        seed: int,
        world: World,
        *,
        may_add_rooms: bool = False,
    ) -> None:
        """Run the booking offices; same seed, same tables. See `offices.find_offices`."""
        self.profile, self.period, self.seed, self.world = profile, period, seed, world
        self.rooms, self.offices = find_offices(
            network, profile, period, scale, may_add_rooms=may_add_rooms
        )
        self.network = replace(network, scanner_register=register_of(self.rooms, network))
        diaries = keep_diaries(self.rooms, self.offices, scale, seed)
        self.sessions = _room_sessions(diaries.sessions, self.rooms)
        self.downtime = downtime.scanner_downtime(self.sessions, self.network, period, seed)
        self._queue = ScannerQueue.of(self.rooms, diaries.sessions, self.downtime)
        party_of = dict(network.sites.select("site_code", "party_code").iter_rows())
        self._sites = np.array([room.site_code for room in self.rooms])
        self._parties = np.array([party_of[room.site_code] for room in self.rooms])
        sizes = profile.party_demand.group_by("party_code", maintain_order=True)
        self._party_sizes = dict(sizes.agg(pl.col("weight").sum()).iter_rows())
        self._adoption = Adoption.of(world, profile.go_lives, list(self._party_sizes))
        self._requests = Requests(diaries, self.rooms, self.offices, profile, period, scale, seed)

    def months(self, people: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The exams that were done, given up or left undone in each month of the period.

        One row per request, in order of request; a request appears in one month only. Times are
        UTC seconds (Int64), null when it has not happened by the end of the period. What a later
        month needs is kept: who still waits, and until when each room is taken.
        """
        chooser = _Chooser(self.network, self.profile, self.offices, people)
        numbers = _Numbers(self.network.programme_parties["party_code"].to_list())
        taken_until = np.zeros(len(self.rooms), dtype=np.int64)
        waiting: Columns | None = None
        for month_on in self.period.months:
            streams = _Streams(self.seed, month_on)
            every = self._asked(month_on, chooser, numbers, streams)
            every = every if waiting is None else joined(waiting, every)
            end = midnight(calendar.month_after(month_on))
            is_open = ~every["is_cancelled"]
            started = self._queue.perform(every, is_open, end, taken_until, streams.of(14))
            if end < self.period.end:
                is_later = is_open & (started == NEVER) & (every["proposed"] < NEVER)
                waiting, every = taken(every, is_later), taken(every, ~is_later)
                started = started[~is_later]
            every["started"] = started
            every["completed"] = np.where(started < NEVER, started + every["seconds"], NEVER)
            self._report(every, streams.of(6), streams.of(15))
            _round_and_hide(every, self.period)
            yield self._as_frame(every)

    def _asked(
        self, month_on: date, chooser: _Chooser, numbers: _Numbers, streams: _Streams
    ) -> Columns:
        """The requests of one month with everything that is settled when they are made."""
        a = self._requests.of_month(month_on)
        a = taken(a, np.argsort(a["requested"], kind="stable"))
        a["site_code"] = self._sites[a["resource"]]
        a["party_code"] = self._parties[a["resource"]]
        a["modality_group"] = np.array([o.modality_group for o in self.offices])[a["office"]]
        a["dicom_modality"] = np.array([o.dicom_modality for o in self.offices])[a["office"]]
        rng = streams.of(3)
        a["requested"] = calendar.local_to_utc(a["requested"])
        a["received"] = a["requested"] + _received_after(a, rng)
        chooser.choose(a, streams.of(4))
        a["seconds"] = _durations(a["exam_code"], rng)
        is_vetted = np.array([o.is_vetted for o in self.offices])[a["office"]]
        appointments.set_bookings(a, is_vetted, streams.of(5), streams.of(12), streams.of(13))
        numbers.give(a, streams.of(7))
        return a

    def _report(
        self, a: Columns, rng: np.random.Generator, corrections_rng: np.random.Generator
    ) -> None:
        rates = self.profile.modality_demand.select("modality_group", "preliminary_rate")
        reports = reporting.write_reports(
            {
                "party": a["party_code"],
                "modality_group": a["modality_group"],
                "priority": a["priority"],
                "is_unscheduled": a["is_unscheduled"],
                "completed": a["completed"],
            },
            self._adoption,
            self._party_sizes,
            dict(rates.iter_rows()),
            rng,
        )
        a["preliminary"] = reports.preliminary
        a["verified"] = reports.verified
        a["addendum"] = reports.addendum
        a["corrected"] = reporting.correct_reports(reports, corrections_rng)
        a["reporter_org"] = reports.reporter_org
        a["is_cross_site"] = reports.is_cross_site

    def _as_frame(self, a: Columns) -> pl.DataFrame:
        """Typed table of one month's exams, with codes and identifiers."""
        plain = (
            "exam_no", "party_code", "site_code", "resource", "modality_group", "dicom_modality",
            "exam_code", "source_setting", "priority", "patient_no", "is_unscheduled",
            "cancel_reason", "is_refused_at_vetting", "move", "reporter_org", "is_cross_site",
            "due_day", *_TIMES, *_DRAWN,
        )  # fmt: skip
        exams = pl.DataFrame({name: a[name] for name in plain}).sort("exam_no")
        exams = exams.with_columns(
            *(pl.when(pl.col(t) < int(NEVER)).then(pl.col(t)).alias(t) for t in _TIMES)
        )
        exams = exams.with_columns(
            pl.when(pl.col("cancelled").is_not_null()).then("cancel_reason").alias("cancel_reason"),
            pl.when(pl.col("due_day") >= 0)
            .then(pl.col("due_day").cast(pl.Int32).cast(pl.Date))
            .alias("due_on"),
            *(
                pl.col("move")
                .replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
                .alias(column)
                for column, names in zip(
                    ("moved_by", "move_reason"), appointments.moves(), strict=True
                )
            ),
            *(
                pl.when(pl.coalesce("verified", "preliminary").is_not_null()).then(name).alias(name)
                for name in ("reporter_org", "is_cross_site")
            ),
            pl.Series(
                "station_name",
                [self.rooms[i].station_name for i in exams["resource"].to_list()],
                dtype=pl.String,
            ),
        )
        codes = self.network.exam_codes.select(
            "exam_code", "snomed_code", "exam_name", "body_region", "dm01_test"
        )
        exams = exams.join(codes, on="exam_code", how="left", maintain_order="left")
        exams = _with_identifiers(_with_trust(exams, self.network), self.network, self.period)
        return exams.drop(*_DRAWN, "move", "due_day")


@dataclass(frozen=True)
class _Streams:
    """Random streams of one month, by purpose."""

    seed: int
    month_on: date

    def of(self, purpose: int) -> np.random.Generator:
        """A fresh generator; 1 and 2 belong to the requests."""
        return np.random.default_rng([self.seed, purpose, self.month_on.year, self.month_on.month])


class _Chooser:
    """Exam code by office, then a patient whom the exam fits."""

    def __init__(
        self, network: Network, profile: Profile, offices: list[Office], people: pl.DataFrame
    ) -> None:
        """Find the codes of each office, and the patients of each party whom an exam may fit."""
        codes = network.exam_codes.join(profile.exam_mix, on="exam_code", how="left")
        self.codes = [_codes_of(office, codes.fill_null(0.0)) for office in offices]
        is_for_children = pl.col("site_name").str.to_lowercase().str.contains("children")
        self.child_sites = network.sites.filter(is_for_children)["site_code"].to_list()
        self.birth = people["birth_on"].cast(pl.Int32).to_numpy()
        sex = people["sex"].to_numpy().astype(str)
        # Whoever may fit at some time; who does at the time of the request is looked at later.
        fits = [np.isin(sex, sexes) for sexes, _, _ in _FITS]
        home = people["home_party"].to_numpy().astype(str)
        self.everyone = [np.flatnonzero(fit) for fit in fits]
        self.of_party = {
            (number, party): np.flatnonzero(fit & (home == party))
            for party in np.unique(home).tolist()
            for number, fit in enumerate(fits)
        }

    def choose(self, a: Columns, rng: np.random.Generator) -> None:
        """Add exam_code and patient_no; most patients live where they are examined."""
        count = len(a["requested"])
        exam = np.full(count, "", dtype="<U8")
        for number, table in enumerate(self.codes):
            for flag, column in ((True, "unscheduled_weight"), (False, "scheduled_weight")):
                mask = (a["office"] == number) & (a["is_unscheduled"] == flag)
                weight = table[column].to_numpy()
                names = table["exam_code"].to_numpy().astype(str)
                exam[mask] = rng.choice(names, int(mask.sum()), p=weight / weight.sum())
        a["exam_code"] = exam
        child = np.isin(a["site_code"], self.child_sites) & (exam != "UOBST")
        breast = np.isin(exam, _MAMMOGRAMS)
        fits = [child, exam == "UOBST", exam == "MPROS", exam == "NDEXA", breast]
        fit = np.select(fits, [1, 2, 3, 4, 5], 0)
        local = rng.random(count) < _SEEN_AT_HOME
        day = a["requested"] // DAY
        chosen = np.zeros(count, dtype=np.int64)
        left = np.arange(count)
        for _ in range(_MOST_DRAWS):
            chosen[left] = self._drawn(left, fit, local, a["party_code"], rng.random(len(left)))
            left = left[~self._is_of_age(chosen[left], fit[left], day[left])]
            if not len(left):
                break
        a["patient_no"] = chosen

    def _drawn(
        self,
        rows: NDArray[np.int64],
        fit: NDArray[np.int64],
        local: NDArray[np.bool_],
        party_code: NDArray[np.str_],
        u: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """A patient of the right sex for each of the rows, some of them more often than others."""
        found = np.zeros(len(rows), dtype=np.int64)
        fit, local, party = fit[rows], local[rows], party_code[rows]
        for number, everyone in enumerate(self.everyone):
            visitors = (fit == number) & ~local
            found[visitors] = everyone[(u[visitors] ** _RETURNING * len(everyone)).astype(np.int64)]
            for name in np.unique(party_code).tolist():
                mask = (fit == number) & local & (party == name)
                pool = self.of_party.get((number, name), everyone)
                pool = pool if len(pool) else everyone
                found[mask] = pool[(u[mask] ** _RETURNING * len(pool)).astype(np.int64)]
        return found

    def _is_of_age(
        self, patient: NDArray[np.int64], fit: NDArray[np.int64], day: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        years = (day - self.birth[patient]) / 365.25
        youngest, oldest = np.array([ages for _, *ages in _FITS]).T
        return (years >= youngest[fit]) & (years < oldest[fit])


def _codes_of(office: Office, codes: pl.DataFrame) -> pl.DataFrame:
    """Exam codes of one office: those of its waiting-list test, else those without one."""
    listed = codes.filter(pl.col("dm01_test") == office.name)
    if len(listed):
        return listed
    same_group = pl.col("modality_group") == office.modality_group
    return codes.filter(same_group & pl.col("dm01_test").is_null())


# Drawn when the request is made, so that they do not depend on when the exam is done.
_DRAWN = ("accession_no", "uid_high", "uid_low", "staff", "reader", "doctor", "practice")


@dataclass
class _Numbers:
    """Running numbers, carried from month to month.

    Accession numbers count per party and year, so the same number occurs at several parties.
    """

    parties: list[str]
    exams: int = 0
    accessions: dict[tuple[str, int], int] = field(default_factory=dict)

    def give(self, a: Columns, rng: np.random.Generator) -> None:
        """Add exam_no and what identifiers are made of, in order of request."""
        count = len(a["requested"])
        a["exam_no"] = np.arange(self.exams, self.exams + count)
        self.exams += count
        year = a["requested"].astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64)
        a["accession_no"] = np.zeros(count, dtype=np.int64)
        for party in self.parties:
            for one in np.unique(year).tolist():
                mine = np.flatnonzero((a["party_code"] == party) & (year == one))
                last = self.accessions.get((party, one), 0)
                a["accession_no"][mine] = last + 1 + np.arange(len(mine))
                self.accessions[party, one] = last + len(mine)
        a["uid_high"] = rng.integers(2**60, 2**61, count)
        a["uid_low"] = rng.integers(0, 2**62, count)
        for name, most in (("staff", 24), ("reader", 40), ("doctor", 90), ("practice", 60)):
            a[name] = rng.integers(most, size=count)


def _room_sessions(sessions: pl.DataFrame, rooms: list[Room]) -> pl.DataFrame:
    described = pl.DataFrame(
        [(n, r.site_code, r.station_name, r.dicom_modality) for n, r in enumerate(rooms)],
        schema={
            "room": pl.Int32,
            "site_code": pl.String,
            "station_name": pl.String,
            "dicom_modality": pl.String,
        },
        orient="row",
    )
    return sessions.join(described, on="room", how="left", maintain_order="left").drop("room")


def _durations(exam_code: NDArray[np.str_], rng: np.random.Generator) -> Seconds:
    """Seconds in the room, by the code of the exam; the longest fits the shortest session."""
    minutes = {code: tuple(map(float, row)) for code, *row in _exam_minutes().iter_rows()}
    codes, place = np.unique(exam_code, return_inverse=True)
    low, usual, high = np.array([minutes[code] for code in codes]).reshape(-1, 3)[place].T
    return (rng.triangular(low, usual, high) * MINUTE).astype(np.int64)


@cache
def _exam_minutes() -> pl.DataFrame:
    """exam_code, shortest, usual and longest minutes in the room (text)."""
    return read_text_table("exam_minutes").drop("source_status")


def _received_after(a: dict[str, NDArray], rng: np.random.Generator) -> Seconds:
    count = len(a["requested"])
    prompt = rng.integers(20, 6 * MINUTE, count)
    electronic = (rng.exponential(2.5 * HOUR, count)).astype(np.int64) + MINUTE
    return np.where(a["is_unscheduled"] | a["is_walk_in"], prompt, electronic)


def _round_and_hide(a: dict[str, NDArray], period: Period) -> None:
    """Minutes before the extract, seconds after; what lies past the end has not happened."""
    for name in _TIMES:
        values = np.where(a[name] < period.cutoff, a[name] // MINUTE * MINUTE, a[name])
        if name not in appointments.APPOINTMENTS.values():
            values = np.where(values >= period.end, NEVER, values)
        a[name] = values
    # A start is told by the message of the completed exam only, or by the history extract.
    untold = (a["completed"] == NEVER) & (a["started"] >= period.cutoff)
    a["started"] = np.where(untold, NEVER, a["started"])
    appointments.hide_untold(a)


def _with_trust(exams: pl.DataFrame, network: Network) -> pl.DataFrame:
    """Add trust_as_was: the owner of the site on the local day of the exam, else of the request."""
    moment = exams.select(pl.coalesce("completed", "requested")).to_series().to_numpy()
    day = pl.Series("owned_on", calendar.utc_to_local(moment) // DAY).cast(pl.Int32).cast(pl.Date)
    exams = exams.with_columns(day)
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


def _with_identifiers(exams: pl.DataFrame, network: Network, period: Period) -> pl.DataFrame:
    """Add accession number, study UID and the invented codes of staff and referrers."""
    parties = network.programme_parties["party_code"].to_list()
    party = np.array([parties.index(p) for p in exams["party_code"].to_list()], dtype=np.int64)
    orgs = network.reporting_organisations["reporting_org_code"].to_list()
    org = np.array(
        [orgs.index(o) if o else 0 for o in exams["reporter_org"].to_list()], dtype=np.int64
    )
    halves = exams.select("uid_high", "uid_low").iter_rows()
    uids = pl.Series([f"2.25.{(high << 62) | low}" for high, low in halves], dtype=pl.String)
    staff, reader, doctor, practice = (exams[name].to_numpy() for name in _DRAWN[3:])
    year = pl.from_epoch("requested", time_unit="s").dt.strftime("%y")
    is_gp = pl.col("source_setting") == "04"
    is_done, has_reporter = pl.col("completed").is_not_null(), pl.col("reporter_org").is_not_null()
    patient = patients.local_patient_ids(exams["patient_no"].to_numpy(), party)
    return exams.with_columns(
        (pl.lit("A") + year + pl.col("accession_no").cast(pl.String).str.zfill(6)).alias(
            "accession_number"
        ),
        (pl.lit("H") + pl.Series(patient).cast(pl.String).str.zfill(7)).alias("patient_id"),
        pl.when(is_done).then(uids).alias("study_instance_uid"),
        pl.when(is_done).then(_codes("R999", party, staff)).alias("radiographer_code"),
        pl.when(has_reporter).then(_codes("C999", org, reader)).alias("reporter_code"),
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


def _codes(prefix: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> pl.Series:
    return pl.Series(first * 100 + second).cast(pl.String).str.zfill(4).str.replace("^", prefix)
