"""Who opens the images of an exam, from where, and how long the first image takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic.adoption import (
    Adoption,
    another_party,
    party_index,
    to_daytime,
    waiting,
)
from pipelines.synthetic.calendar import DAY, MINUTE
from pipelines.synthetic.period import Period
from pipelines.synthetic.worlds import World

ROUTES = ("own_record", "shared_record", "gp", "meeting", "archive_viewer")
# Who opens images by route, with shares.
_ROLES = {
    "own_record": {
        "consultant": 0.34, "resident doctor": 0.38, "nurse": 0.17, "allied health professional": 0.11,
    },
    "shared_record": {"consultant": 0.55, "resident doctor": 0.35, "nurse": 0.10},
    "gp": {"general practitioner": 1.0},
    "meeting": {"radiologist": 1.0},
    "archive_viewer": {
        "radiologist": 0.30, "consultant": 0.35, "resident doctor": 0.25, "radiographer": 0.10,
    },
}  # fmt: skip
# First letters of the staff code and people at each party.
_STAFF = {
    "consultant": ("C998", 90),
    "resident doctor": ("C997", 90),
    "radiologist": ("C999", 40),
    "nurse": ("N999", 90),
    "allied health professional": ("T999", 60),
    "radiographer": ("R999", 24),
    "general practitioner": ("G999", 90),
}
ROLES = list(_STAFF)
# Median hours from the end of the exam (for a practice: from the report) to the launch, spread of
# its logarithm, most days. Assumed.
_DELAYS = {
    "own_record": (7.0, 1.6, 60),
    "archive_viewer": (5.0, 1.6, 60),
    "shared_record": (120.0, 1.3, 120),
    "gp": (48.0, 1.1, 60),
}
# Emergencies and inpatients are looked at sooner, at any hour.
_ACUTE_FACTOR = 0.2
_ACUTE_SETTINGS = ("01", "05")
_GP_SETTING = "04"
_SPREAD_OF_SECONDS = 0.45
# One viewer in three writes no time of the first image; by the party's place in the list.
_LOGS_EVERY, _LOGS_NOT = 3, 2


@dataclass(frozen=True)
class _Launches:
    """Launches of one route: row of the exam, viewing party and share of the effect at each."""

    route: str
    exam: NDArray[np.int64]
    viewer: NDArray[np.int64]
    ramp: NDArray[np.float64]
    viewed: NDArray[np.int64]


def simulate_views(
    exams: pl.DataFrame,
    meetings: pl.DataFrame,
    world: World,
    go_lives: pl.DataFrame,
    parties: list[str],
    period: Period,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per launch of a viewer on one exam within the period, in order of time.

    Columns: exam_no, viewed_at (UTC seconds, after the end of the exam), viewer_party,
    viewer_org (the practice for gp, else the party), route (of ROUTES), staff_role, staff_code,
    launch_failed, seconds_to_first_image (null when the launch failed or the viewer does not log
    it), is_cross_trust. An effect follows the viewing go-live of the viewing party at the end of
    the exam; for images of another party the smaller of that and its archive go-live. `exams`
    are completed ones and hold every exam_no of `meetings`; meetings show what is available
    there without a transfer. A batch of exams needs nothing from the others: `meetings` are
    those of the batch, and views of later months are in the result.
    """
    adoption = Adoption.of(world, go_lives, parties)
    own = party_index(exams["party_code"], parties)
    launches = [
        *_at_home(exams, own, adoption, rng),
        _in_the_shared_record(exams, own, adoption, rng),
        _by_practices(exams, own, adoption, rng),
        _at_meetings(exams, own, meetings, adoption, rng),
    ]
    frames = [_described(part, exams, own, adoption, rng) for part in launches]
    views = pl.concat(frames).filter(pl.col("viewed_at") < period.end)
    return views.sort("viewed_at", "exam_no", "staff_code")


def _at_home(
    exams: pl.DataFrame, own: NDArray[np.int64], adoption: Adoption, rng: np.random.Generator
) -> list[_Launches]:
    """Own images, from the trust's record with one click or in the PACS client after a login."""
    day = exams["completed"].to_numpy() / DAY
    ramp = adoption.ramp("viewing", own, day)
    drift = adoption.world.drift("views", adoption.parties, own, day)
    parts = []
    for route in ("own_record", "archive_viewer"):
        rate = adoption.level(f"{route}_views_per_exam", ramp, own) * drift
        exam = np.repeat(np.arange(len(own)), rng.poisson(rate))
        viewed = _viewed(exams, "completed", exam, route, rng)
        parts.append(_Launches(route, exam, own[exam], ramp[exam], viewed))
    return parts


def _in_the_shared_record(
    exams: pl.DataFrame, own: NDArray[np.int64], adoption: Adoption, rng: np.random.Generator
) -> _Launches:
    """Images of another party: mostly the home party of a patient who was seen elsewhere."""
    home = party_index(exams["patient_home_party"], adoption.parties)
    viewer = np.where(own != home, home, another_party(own, len(adoption.parties), rng))
    day = exams["completed"].to_numpy() / DAY
    ramp = np.minimum(adoption.ramp("viewing", viewer, day), adoption.ramp("archive", own, day))
    rate = np.where(
        own != home,
        adoption.level("shared_record_views_per_away_exam", ramp, viewer),
        adoption.level("shared_record_views_per_home_exam", ramp, viewer),
    )
    rate = rate * adoption.world.drift("views", adoption.parties, viewer, day)
    exam = np.repeat(np.arange(len(own)), rng.poisson(rate))
    viewed = _viewed(exams, "completed", exam, "shared_record", rng)
    return _Launches("shared_record", exam, viewer[exam], ramp[exam], viewed)


def _by_practices(
    exams: pl.DataFrame, own: NDArray[np.int64], adoption: Adoption, rng: np.random.Generator
) -> _Launches:
    """General practitioners look through the trust's viewer once the report is there."""
    asked = exams.select(
        (pl.col("source_setting") == _GP_SETTING) & pl.col("verified").is_not_null()
    ).to_series()
    rows = np.flatnonzero(asked.to_numpy())
    day = exams["completed"].to_numpy()[rows] / DAY
    ramp = adoption.ramp("viewing", own[rows], day)
    rate = adoption.level("gp_views_per_gp_exam", ramp, own[rows])
    times = rng.poisson(rate * adoption.world.drift("views", adoption.parties, own[rows], day))
    exam = np.repeat(rows, times)
    viewed = _viewed(exams, "verified", exam, "gp", rng)
    return _Launches("gp", exam, own[exam], np.repeat(ramp, times), viewed)


def _at_meetings(
    exams: pl.DataFrame,
    own: NDArray[np.int64],
    meetings: pl.DataFrame,
    adoption: Adoption,
    rng: np.random.Generator,
) -> _Launches:
    """Cases shown at a meeting; a transferred copy is not a view of the original."""
    places = exams.select("exam_no").with_row_index("place")
    shown = meetings.filter(pl.col("is_image_available_at_meeting") & ~pl.col("is_sent_for")).join(
        places, on="exam_no", maintain_order="left"
    )
    exam = shown["place"].to_numpy().astype(np.int64)
    viewer = party_index(shown["meeting_party"], adoption.parties)
    day = exams["completed"].to_numpy()[exam] / DAY
    ramp = adoption.ramp("viewing", viewer, day)
    shared = np.minimum(ramp, adoption.ramp("archive", own[exam], day))
    ramp = np.where(viewer == own[exam], ramp, shared)
    viewed = shown["meeting_at"].to_numpy() + rng.integers(0, 90 * MINUTE, len(exam))
    return _Launches("meeting", exam, viewer, ramp, viewed)


def _viewed(
    exams: pl.DataFrame,
    since: str,
    exam: NDArray[np.int64],
    route: str,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    median, sigma, most_days = _DELAYS[route]
    acute = exams["source_setting"].is_in(_ACUTE_SETTINGS).to_numpy()[exam]
    hours = np.where(acute, median * _ACUTE_FACTOR, median)
    start = exams[since].gather(exam).to_numpy().astype(np.int64)
    return to_daytime(start + waiting(hours, sigma, most_days, len(exam), rng), ~acute, rng)


def _described(
    part: _Launches,
    exams: pl.DataFrame,
    own: NDArray[np.int64],
    adoption: Adoption,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Who it was, whether it worked and how long it took."""
    count = len(part.exam)
    codes = pl.Series(adoption.parties).gather(part.viewer)
    roles = _ROLES[part.route]
    numbers = np.array([ROLES.index(role) for role in roles])
    reach = np.cumsum(list(roles.values()))[:-1]
    role = numbers[np.searchsorted(reach, rng.random(count), side="right")]
    failed = rng.random(count) < adoption.level("launch_failure_rate", part.ramp, part.viewer)
    median = adoption.level("seconds_to_first_image", part.ramp, part.viewer)
    seconds = np.round(median * np.exp(_SPREAD_OF_SECONDS * rng.standard_normal(count)), 1)
    is_logged = part.viewer % _LOGS_EVERY != _LOGS_NOT
    is_gp = part.route == "gp"
    organisation = exams["referring_org_code"].gather(part.exam) if is_gp else codes
    return pl.DataFrame(
        {
            "exam_no": exams["exam_no"].gather(part.exam),
            "viewed_at": part.viewed,
            "viewer_party": codes,
            "viewer_org": organisation,
            "route": pl.repeat(part.route, count, dtype=pl.String, eager=True),
            "staff_role": pl.Series(ROLES, dtype=pl.String).gather(role),
            "staff_code": _staff_codes(role, part.viewer, len(adoption.parties), rng),
            "launch_failed": failed,
            "seconds_to_first_image": pl.select(
                pl.when(pl.Series(is_logged & ~failed)).then(pl.Series(seconds))
            ).to_series(),
            "is_cross_trust": part.viewer != own[part.exam],
        }
    )


def _staff_codes(
    role: NDArray[np.int64], party: NDArray[np.int64], parties: int, rng: np.random.Generator
) -> pl.Series:
    """Invented people of a role at a party, drawn from a table of all of them."""
    most = max(people for _, people in _STAFF.values())
    table = pl.Series(
        [
            f"{prefix}{number * 100 + person:04d}"
            for prefix, _ in _STAFF.values()
            for number in range(parties)
            for person in range(most)
        ]
    )
    people = np.array([people for _, people in _STAFF.values()])[role]
    person = (rng.random(len(role)) * people).astype(np.int64)
    return table.gather((role * parties + party) * most + person)
