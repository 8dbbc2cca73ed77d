"""Images sent from one trust to another: portal push, disc in the post, courier.

They are needed while the two trusts do not share the archive; see `adoption`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.adoption import Adoption, party_index, to_daytime, waiting
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.image_files import month_end_files
from pipelines.synthetic.period import Period
from pipelines.synthetic.ris_extract import wall_clock
from pipelines.synthetic.worlds import World

FEED = "image_transfers"
METHODS = ("portal", "disc", "courier")
# Share of the methods for care and for meetings; hours from request to sending and on the way
# (medians); staff minutes at both ends (means). Assumed.
_SHARE_CARE = (0.72, 0.22, 0.06)
_SHARE_MEETING = (0.86, 0.04, 0.10)
_HOURS_TO_SEND = np.array([5.0, 20.0, 8.0])
_HOURS_ON_THE_WAY = np.array([0.7, 46.0, 5.0])
_STAFF_MINUTES = np.array([8.0, 22.0, 30.0])
_NEVER_SENT = 0.02

COLUMNS = (
    "from_party_code", "to_party_code", "nhs_number", "accession_number", "study_instance_uid",
    "purpose", "method", "requested_at", "sent_at", "arrived_at", "staff_minutes",
)  # fmt: skip


def simulate_transfers(
    exams: pl.DataFrame,
    meetings: pl.DataFrame,
    world: World,
    go_lives: pl.DataFrame,
    parties: list[str],
    period: Period,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per transfer asked for within the period, in order of request.

    Columns: exam_no, from_party, to_party, purpose (care, meeting), method (portal, disc,
    courier), requested_at, sent_at, received_at (UTC seconds, null when it has not happened by
    the end of the period, or never does), staff_minutes. The home party asks for images of
    patients seen elsewhere, in proportion to the exams; a meeting asks for those of its cases
    with is_sent_for, which arrive before it exactly when the images are available there.
    `exams` are completed ones and hold every exam_no of `meetings`. A batch of exams needs
    nothing from the others: `meetings` are those of the batch, and requests of later months
    are in the result.
    """
    adoption = Adoption.of(world, go_lives, parties)
    rows = pl.concat(
        [
            _for_care(exams, adoption, world, rng),
            _for_meetings(meetings, parties, rng),
        ]
    ).filter(pl.col("requested_at") < period.end)
    happened = [
        pl.when(pl.col(name) < period.end).then(pl.col(name)).alias(name)
        for name in ("sent_at", "received_at")
    ]
    return rows.with_columns(happened).sort("requested_at", "exam_no", "purpose")


def _for_care(
    exams: pl.DataFrame, adoption: Adoption, world: World, rng: np.random.Generator
) -> pl.DataFrame:
    parties = adoption.parties
    exams = exams.filter(pl.col("party_code") != pl.col("patient_home_party"))
    own = party_index(exams["party_code"], parties)
    home = party_index(exams["patient_home_party"], parties)
    day = exams["completed"].to_numpy() / DAY
    shared = adoption.shared_archive(own, home, day)
    rate = adoption.level("transfers_per_away_exam", shared, own)
    rate = rate * world.drift("transfers", parties, own, day)
    chosen = np.flatnonzero(rng.random(len(rate)) < rate)
    count = len(chosen)
    method = rng.choice(len(METHODS), count, p=_SHARE_CARE)
    completed = exams["completed"].to_numpy()[chosen]
    requested = completed + waiting(90.0, 1.2, 120, count, rng)
    requested = to_daytime(requested, np.ones(count, dtype=bool), rng)
    sent = requested + waiting(_HOURS_TO_SEND[method], 0.8, 21, count, rng)
    received = sent + waiting(_HOURS_ON_THE_WAY[method], 0.4, 14, count, rng)
    lost = rng.random(count) < _NEVER_SENT
    return _frame(
        exams["exam_no"].gather(chosen),
        pl.Series(parties).gather(own[chosen]),
        pl.Series(parties).gather(home[chosen]),
        "care",
        method,
        requested,
        (sent, ~lost),
        (received, ~lost),
        rng,
    )


def _for_meetings(
    meetings: pl.DataFrame, parties: list[str], rng: np.random.Generator
) -> pl.DataFrame:
    """Transfers for cases of a meeting: in time for it, or too late, or never."""
    asked = meetings.filter("is_sent_for")
    count = asked.height
    method = rng.choice(len(METHODS), count, p=_SHARE_MEETING)
    requested = asked["listed_at"].to_numpy()
    meeting = asked["meeting_at"].to_numpy()
    in_time = asked["is_image_available_at_meeting"].to_numpy()
    left = meeting - requested
    sent_early = requested + (left * rng.uniform(0.05, 0.6, count)).astype(np.int64)
    soon = sent_early + np.minimum(
        waiting(_HOURS_ON_THE_WAY[method], 0.4, 2, count, rng), (meeting - sent_early) * 9 // 10
    )
    late = meeting + waiting(10.0, 1.0, 14, count, rng)
    sent_late = np.maximum(requested + MINUTE, late - waiting(2.0, 0.5, 2, count, rng))
    lost = ~in_time & (rng.random(count) < 0.3)
    return _frame(
        asked["exam_no"],
        asked["exam_party"],
        asked["meeting_party"],
        "meeting",
        method,
        requested,
        (np.where(in_time, sent_early, sent_late), ~lost),
        (np.where(in_time, soon, late), ~lost),
        rng,
    )


def _frame(
    exam_no: pl.Series,
    sender: pl.Series,
    receiver: pl.Series,
    purpose: str,
    method: NDArray[np.int64],
    requested: NDArray[np.int64],
    sent: tuple[NDArray[np.int64], NDArray[np.bool_]],
    received: tuple[NDArray[np.int64], NDArray[np.bool_]],
    rng: np.random.Generator,
) -> pl.DataFrame:
    minutes = np.maximum(np.round(rng.gamma(3.0, _STAFF_MINUTES[method] / 3.0)), 1)
    return pl.DataFrame(
        {
            "exam_no": exam_no,
            "from_party": sender,
            "to_party": receiver,
            "purpose": pl.repeat(purpose, len(method), dtype=pl.String, eager=True),
            "method": pl.Series(METHODS).gather(method),
            "requested_at": requested,
            "sent_at": pl.select(pl.when(pl.Series(sent[1])).then(pl.Series(sent[0]))).to_series(),
            "received_at": pl.select(
                pl.when(pl.Series(received[1])).then(pl.Series(received[0]))
            ).to_series(),
            "staff_minutes": minutes.astype(np.int64),
        }
    )


def write_transfers(
    transfers: pl.DataFrame,
    exams: pl.DataFrame,
    parties: list[str],
    period: Period,
    inbox: Path,
) -> dict[str, int]:
    """One CSV per sending party and month of request, delivered on the first of the next month.

    Times are London wall clock; what happened after the day of delivery is empty and is not
    sent later. Returns rows by file.
    """
    facts = exams.select("exam_no", "nhs_number", "accession_number", "study_instance_uid")
    rows = transfers.join(facts, on="exam_no", how="left", maintain_order="left").with_columns(
        pl.col("from_party").alias("from_party_code"),
        pl.col("to_party").alias("to_party_code"),
        moment=pl.col("requested_at"),
        delivered=pl.Series(_month_ends(transfers["requested_at"].to_numpy())),
    )
    rows = rows.with_columns(
        wall_clock(pl.when(pl.col(name) < pl.col("delivered")).then(pl.col(name))).alias(name)
        for name in ("requested_at", "sent_at", "received_at")
    )
    rows = rows.rename({"received_at": "arrived_at"})
    return month_end_files(rows, FEED, "from_party", COLUMNS, parties, period, inbox)


def _month_ends(utc: NDArray[np.int64]) -> NDArray[np.int64]:
    """UTC second at which the local month of each instant ends."""
    day = (calendar.utc_to_local(utc) // DAY).astype("datetime64[D]")
    following = (day.astype("datetime64[M]") + 1).astype("datetime64[D]").astype(np.int64)
    return calendar.local_to_utc(following * 24 * HOUR)
