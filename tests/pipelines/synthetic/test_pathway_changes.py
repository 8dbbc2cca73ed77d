"""Vetting, moved appointments, downtime and corrections of the synthetic network."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.network import Network
from pipelines.synthetic import appointments, calendar, generate, ris_extract
from pipelines.synthetic.hl7_messages import REFUSED, VETTED
from pipelines.synthetic.offices import Room
from pipelines.synthetic.pathways import Simulation
from pipelines.synthetic.patients import invent_patients
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.reporting import NEVER
from pipelines.synthetic.scanner_queue import ScannerQueue
from pipelines.synthetic.worlds import World

SCALE, PERIOD = 0.006, Period.of(date(2023, 1, 1), 9)
VETTED_MODALITIES = ["CT", "MR", "NM", "PT", "RF"]


def simulation(period: Period = PERIOD, scale: float = SCALE) -> Simulation:
    seeds = Path(__file__).parents[3] / "dbt_project" / "seeds"
    world = World.load("effect", calendar.day_number(period.first_on))
    return Simulation(
        Network.load(seeds), load_profile(), period, scale, 7, world, may_add_rooms=True
    )


def months_of(made: Simulation, scale: float = SCALE) -> list[pl.DataFrame]:
    people = invent_patients(made.network, scale, np.random.default_rng([7, 0]))
    return list(made.months(people))


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulation()


@pytest.fixture(scope="module")
def exams(made: Simulation) -> pl.DataFrame:
    return pl.concat(months_of(made)).sort("exam_no")


@pytest.fixture(scope="module")
def downtime(made: Simulation) -> pl.DataFrame:
    """Downtime of the scanners with its instants in UTC."""
    return made.downtime.with_columns(
        pl.Series(name, calendar.local_to_utc(made.downtime[name].to_numpy()))
        for name in ("down_from", "down_to")
    )


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("received", "vetted"),
        ("vetted", "booked"),
        ("vetted", "first_booked"),
        ("vetted", "moved_booked"),
        ("vetted", "cancelled"),
        ("dna_told", "moved_booked"),
        ("moved_booked", "moved"),
        ("moved_booked", "moved_appointment"),
        ("moved", "booked"),
        ("moved", "started"),
        ("moved", "cancelled"),
        ("moved_appointment", "appointment"),
        ("booked", "appointment"),
        ("appointment", "started"),
        ("verified", "corrected"),
    ],
)
def test_what_happens_to_a_request_happens_in_order(exams, earlier, later):
    """Failing means that a message tells of something before it can have happened."""
    wrong = exams.filter(pl.col(later) < pl.col(earlier))
    assert wrong.is_empty()


def test_both_sides_cancel_appointments_and_say_why(exams):
    """Failing means that a kind of move is never seen by a reader, or has no reason."""
    moved = exams.filter(pl.col("moved").is_not_null())
    assert set(moved["moved_by"]) == {appointments.PATIENT, appointments.HOSPITAL}
    for (who,), rows in moved.partition_by("moved_by", as_dict=True).items():
        assert set(rows["move_reason"]) <= set(appointments.reason_texts(str(who)))
    assert appointments.EQUIPMENT_FAILURE in set(moved["move_reason"])
    assert exams.filter(pl.col("moved").is_null() & pl.col("moved_by").is_not_null()).is_empty()
    assert 0.01 < moved.height / exams["appointment"].count() < 0.08


def test_only_booked_requests_of_some_modalities_are_vetted_mostly_in_working_hours(exams):
    """Failing means that vetting times cannot be compared between modalities."""
    vetted = exams.filter(pl.col("vetted").is_not_null())
    assert set(vetted["dicom_modality"]) <= set(VETTED_MODALITIES)
    assert not vetted["is_unscheduled"].any()
    booked = pl.any_horizontal(pl.col("booked", "first_booked", "moved_booked").is_not_null())
    unvetted = exams.filter(
        booked & pl.col("vetted").is_null() & pl.col("dicom_modality").is_in(VETTED_MODALITIES)
    )
    assert unvetted.is_empty()
    local = calendar.utc_to_local(vetted["vetted"].to_numpy())
    day, second = local // calendar.DAY, local % calendar.DAY
    working = calendar.is_working_day(int(day.min()), int(day.max() - day.min()) + 1)
    hour = second // calendar.HOUR
    in_hours = working[day - day.min()] & (hour >= 8) & (hour < 18)
    assert in_hours.mean() > 0.9
    took = vetted.group_by("priority").agg((pl.col("vetted") - pl.col("received")).median())
    by_priority = dict(took.iter_rows())
    assert by_priority["U"] < by_priority["R"] < by_priority["P"]


def test_a_refused_request_was_never_booked_and_waits_no_longer(exams):
    """Failing means that a refused request is seen, or stays on the list."""
    refused = exams.filter("is_refused_at_vetting")
    assert refused.height > 10
    for name in ("vetted", "first_booked", "moved_booked", "booked", "appointment", "started"):
        assert refused[name].null_count() == refused.height, name
    assert refused["cancelled"].null_count() == 0
    codes = set(appointments.reason_texts(appointments.REFUSAL))
    assert set(refused["cancel_reason"]) <= codes
    others = exams.filter(~pl.col("is_refused_at_vetting"))
    assert not set(others["cancel_reason"].drop_nulls()) & codes


def test_nobody_is_examined_while_the_scanner_is_down(exams, downtime):
    """Failing means that downtime and exams of a scanner contradict each other."""
    during = exams.filter(pl.col("completed").is_not_null()).join_where(
        downtime.select("asset", "down_from", "down_to"),
        pl.col("station_name") == pl.col("asset"),
        pl.col("down_from") < pl.col("completed"),
        pl.col("down_to") > pl.col("started"),
    )
    assert during.is_empty()


def test_an_equipment_failure_that_moves_a_patient_is_in_the_downtime_record(exams, downtime):
    """Failing means that cancellations for failures cannot be traced to a failure."""
    moved = exams.filter(pl.col("move_reason") == appointments.EQUIPMENT_FAILURE)
    assert moved.height > 3
    failed = moved.join(
        downtime.select("asset", "down_from", "down_to"), left_on="station_name", right_on="asset"
    ).filter(
        (pl.col("moved_appointment") < pl.col("down_to"))
        # A session may run late, and the queue meets the failure after the slot.
        & (pl.col("moved_appointment") > pl.col("down_from") - 4 * calendar.HOUR)
        & (pl.col("moved") >= pl.col("down_from"))
    )
    assert set(failed["exam_no"]) == set(moved["exam_no"])


def test_downtimes_of_a_scanner_do_not_overlap_and_do_not_depend_on_other_scanners(made):
    """Failing means that a scanner fails while it is down, or that streams are shared."""
    rows = made.downtime.sort("asset", "down_from").with_columns(
        after=pl.col("down_from").shift(-1).over("asset")
    )
    assert rows.filter(pl.col("after") < pl.col("down_to")).is_empty()
    assert rows.filter(~pl.col("is_planned")).height > 20


def queue_of_two(down: list[tuple[str, int, int]]) -> ScannerQueue:
    """Two scanners side by side, a session every day; downtimes in hours of the first days."""
    rooms = [Room("S1", "CT", name, 1.0) for name in ("A", "B")]
    days = np.arange(60)
    sessions = pl.DataFrame(
        {
            "room": np.repeat([0, 1], 60),
            "session_end": np.tile(days * calendar.DAY + 17 * calendar.HOUR, 2),
        }
    )
    hour = calendar.HOUR
    frame = pl.DataFrame(
        [(name, since * hour, until * hour) for name, since, until in down],
        schema={"asset": pl.String, "down_from": pl.Int64, "down_to": pl.Int64},
        orient="row",
    )
    return ScannerQueue.of(rooms, sessions, frame)


def requests(hours: list[float], booked: list[bool]) -> dict[str, np.ndarray]:
    proposed = (np.array(hours) * calendar.HOUR).astype(np.int64)
    is_booked = np.array(booked)
    early = proposed - 2 * calendar.DAY
    return {
        "proposed": proposed,
        "seconds": np.full(len(hours), 1200),
        "resource": np.zeros(len(hours), dtype=np.int64),
        "booked": np.where(is_booked, early, NEVER),
        "appointment": np.where(is_booked, proposed, NEVER),
        "move": np.full(len(hours), -1, dtype=np.int8),
        **{
            name: np.full(len(hours), NEVER)
            for name in ("moved", "moved_booked", "moved_appointment")
        },
    }


@pytest.mark.parametrize("neighbour_is_up", [True, False])
def test_a_failure_moves_appointments_and_sends_emergencies_next_door(neighbour_is_up):
    """Failing means that a failure costs nobody anything, or stops an emergency for good."""
    down = [("A", 9, 15)] + ([] if neighbour_is_up else [("B", 8, 14)])
    a = requests([8.9, 10.0, 11.0, 16.0], [True, True, False, True])
    queue, until = queue_of_two(down), np.zeros(2, dtype=np.int64)
    every = np.ones(4, dtype=bool)
    month = 31 * calendar.DAY
    start = queue.perform(a, every, month, until, np.random.default_rng(1))
    moved = a["moved"] < NEVER
    assert moved.tolist() == [True, True, False, False], "one would still run when it fails"
    assert (a["appointment"][moved] >= (15 + 48) * calendar.HOUR).all()
    assert (a["booked"][moved] > a["moved"][moved]).all()
    assert (start[moved] >= a["appointment"][moved]).all()
    assert a["resource"][2] == (1 if neighbour_is_up else 0)
    assert start[2] == (11 if neighbour_is_up else 15) * calendar.HOUR
    assert start[3] == 16 * calendar.HOUR


def test_a_short_failure_moves_nobody():
    """Failing means that a restart of a console costs a morning of appointments."""
    a = requests([9.0, 9.5], [True, True])
    queue, until = queue_of_two([("A", 9, 10)]), np.zeros(2, dtype=np.int64)
    every = np.ones(2, dtype=bool)
    start = queue.perform(a, every, 31 * calendar.DAY, until, np.random.default_rng(1))
    assert (a["moved"] == NEVER).all()
    assert start.tolist() == [10 * calendar.HOUR, 10 * calendar.HOUR + 1200]


def test_a_correction_changes_no_addendum_and_is_rare(exams):
    """Failing means that corrections cannot be told from addenda."""
    corrected = exams.filter(pl.col("corrected").is_not_null())
    assert corrected["addendum"].null_count() == corrected.height > 0
    assert corrected.height / exams["verified"].count() < 0.01
    days = (corrected["corrected"] - corrected["verified"]) / calendar.DAY
    assert 2 < float(days.median()) < 20


def test_the_same_seed_moves_the_same_appointments_and_tells_each_request_once(made, exams):
    """Failing means that a request carried over a failure is lost or told in two months."""
    assert pl.concat(months_of(made)).sort("exam_no").equals(exams)
    assert exams["exam_no"].to_list() == list(range(exams.height))


@pytest.fixture(scope="module")
def inbox(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changes")
    period = Period.of(date(2023, 1, 1), 5)
    generate(network, folder / "inbox", folder / "truth", seed=7, scale=0.002, period=period)
    return folder


def test_the_live_messages_tell_every_change_of_the_truth_once(inbox):
    """Failing means that the live weeks cannot be rebuilt from the messages."""
    truth = pl.read_parquet(inbox / "truth" / "exams.parquet")
    since = Period.of(date(2023, 1, 1), 5).cutoff

    def live(name: str) -> pl.Expr:
        return (pl.col(name).dt.epoch("s") >= since).fill_null(False)

    told = [
        f.read_bytes().decode().split("MSH|^~\\&") for f in sorted(inbox.glob("inbox/hl7/*/*.hl7"))
    ]
    texts = {
        text.partition("|GM|")[2].split("\r", 1)[1]: text
        for file in told
        for text in file
        if "|GM|" in text and "\r" in text
    }

    def count(*signs: str) -> int:
        return sum(all(sign in text for sign in signs) for text in texts.values())

    at_once = (pl.col("moved_at") == pl.col("booked_at")).fill_null(False)
    refused = pl.col("is_refused_at_vetting")
    expected = {
        ("OMG^O19", f"||{VETTED}|"): truth.filter(live("vetted_at")).height,
        ("OMG^O19", f"||{REFUSED}|"): truth.filter(live("cancelled_at") & refused).height,
        ("OMG^O19", "\rORC|CA|"): truth.filter(live("cancelled_at") & ~refused).height,
        ("SIU^S13", "|HOSPITAL^"): truth.filter(live("moved_at") & at_once).height,
        ("SIU^S15", "|PATIENT^"): truth.filter(
            live("moved_at") & (pl.col("moved_by") == "patient")
        ).height,
        ("SIU^S15", "|HOSPITAL^"): truth.filter(
            live("moved_at") & (pl.col("moved_by") == "hospital") & ~at_once
        ).height,
        ("ORU^R01", "|C|"): truth.filter(live("corrected_at")).height,
    }
    assert {signs: count(*signs) for signs in expected} == expected
    assert min(expected.values()) > 0


def test_the_extract_shows_the_appointment_that_stands():
    """Failing means that the extract shows a slot that was cancelled before it was taken."""
    period = Period.of(date(2023, 1, 1), 5)
    row = {
        "first_booked": None, "first_appointment": None, "moved_booked": 100, "moved": 200,
        "moved_appointment": 900, "booked": 300, "appointment": 1000,
    }  # fmt: skip
    shown = []
    for shift in (50, 150, 250, 350):
        times = {k: v if v is None else period.cutoff - shift + v for k, v in row.items()}
        frame = pl.DataFrame([times], schema=dict.fromkeys(row, pl.Int64))
        shown.append(
            frame.select(
                ris_extract.standing(
                    "appointment", "moved_appointment", "first_appointment", period
                )
            ).item()
        )
        shown[-1] = None if shown[-1] is None else shown[-1] - period.cutoff + shift
    assert shown == [None, 900, None, 1000]
