"""Weekly multidisciplinary meetings: who is listed with which exam, and whether images are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.adoption import Adoption, another_party, party_index
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE, Seconds
from pipelines.synthetic.image_files import month_end_files
from pipelines.synthetic.period import Period
from pipelines.synthetic.ris_extract import wall_clock
from pipelines.synthetic.worlds import World

FEED = "meeting_lists"

# Where the exam of a body region is discussed, with rough shares.
_TUMOUR_SITES = {
    "chest": {"lung": 1.0},
    "trunk": {"colorectal": 0.4, "haematology": 0.3, "upper GI": 0.3},
    "abdomen": {"upper GI": 0.4, "colorectal": 0.35, "urology": 0.25},
    "pelvis": {"urology": 1.0},  # the only exam of the pelvis that is listed is of the prostate
    "head": {"brain": 0.6, "head and neck": 0.4},
    "spine": {"brain": 0.5, "haematology": 0.5},
    "lower limb": {"sarcoma": 1.0},
    "upper limb": {"sarcoma": 1.0},
}
TUMOUR_SITES = sorted({site for sites in _TUMOUR_SITES.values() for site in sites})
# Share of exams that are listed: of suspected cancers, of other CT and MRI.
_LISTED_CANCER, _LISTED_OTHER = 0.5, 0.02
# Cases discussed at another party: of patients seen away from home, and at home.
_OUTSIDE_AWAY, _OUTSIDE_HOME = 0.6, 0.08
_OWN_IMAGES_AVAILABLE = 0.99
# An exam must be this many days old when the meeting takes place.
_LEAD_DAYS = 2
_LIST_OPEN_DAYS = 4

COLUMNS = (
    "meeting_id", "tumour_site", "meeting_at", "listed_at", "nhs_number", "exam_party_code",
    "accession_number", "study_instance_uid", "is_image_available", "preparation_minutes",
)  # fmt: skip


def simulate_meetings(
    exams: pl.DataFrame,
    world: World,
    go_lives: pl.DataFrame,
    parties: list[str],
    period: Period,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per exam discussed at a meeting of one party and tumour site, in order of meeting.

    Columns: meeting_id, meeting_party, tumour_site, exam_no, patient_no, exam_party, listed_at,
    meeting_at (UTC seconds), is_cross_trust, is_sent_for (images of the other party were asked
    for as a transfer), is_image_available_at_meeting, preparation_minutes. Effects follow the
    archive go-lives of both parties at the end of the exam. Exams are completed ones; an exam
    is discussed once. Meetings after the period are left out. A batch of exams needs nothing
    from the others: its cases join the meetings of later weeks, whose ids follow from party,
    site and day.
    """
    adoption = Adoption.of(world, go_lives, parties)
    exams = exams.filter(_is_listed(exams, rng))
    count = exams.height
    own = party_index(exams["party_code"], parties)
    home = party_index(exams["patient_home_party"], parties)
    away = own != home
    outside = rng.random(count) < np.where(away, _OUTSIDE_AWAY, _OUTSIDE_HOME)
    elsewhere = np.where(away, home, another_party(own, len(parties), rng))
    host = np.where(outside, elsewhere, own)
    cross = host != own

    tumour = _tumour_sites(exams["body_region"], rng)
    completed = exams["completed"].to_numpy()
    meeting_local = _next_meeting(calendar.utc_to_local(completed) // DAY, host, tumour)
    meeting = calendar.local_to_utc(meeting_local)
    open_since = meeting - (rng.uniform(1, _LIST_OPEN_DAYS, count) * DAY).astype(np.int64)
    listed = np.maximum(completed + 2 * HOUR, open_since)

    day = completed / DAY
    shared = adoption.shared_archive(own, host, day)
    sent_for = cross & (rng.random(count) < adoption.level("meeting_transfer_rate", shared, host))
    there = adoption.level("meeting_images_available_rate", shared, host)
    available = rng.random(count) < np.where(cross, there, _OWN_IMAGES_AVAILABLE)
    mean = np.where(
        cross,
        adoption.level("preparation_minutes_per_outside_case", shared, host),
        adoption.level("preparation_minutes_per_own_case", shared, host),
    )
    minutes = np.round(np.maximum(rng.gamma(4.0, mean / 4.0), 0.5), 1)
    names = pl.Series(parties)
    rows = pl.DataFrame(
        {
            "meeting_party": names.gather(host),
            "tumour_site": pl.Series(TUMOUR_SITES).gather(tumour),
            "exam_no": exams["exam_no"],
            "patient_no": exams["patient_no"],
            "exam_party": exams["party_code"],
            "listed_at": listed,
            "meeting_at": meeting,
            "is_cross_trust": cross,
            "is_sent_for": sent_for,
            "is_image_available_at_meeting": available,
            "preparation_minutes": minutes,
        }
    ).filter(pl.col("meeting_at") < period.end)
    return rows.select(_meeting_id(), pl.all()).sort("meeting_at", "meeting_id", "exam_no")


def _is_listed(exams: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    rate = (
        pl.when(~pl.col("body_region").is_in(list(_TUMOUR_SITES)))
        .then(0.0)
        .when((pl.col("priority") == "T") & pl.col("dicom_modality").is_in(["CT", "MR", "US"]))
        .then(_LISTED_CANCER)
        .when(pl.col("dicom_modality").is_in(["CT", "MR"]))
        .then(_LISTED_OTHER)
        .otherwise(0.0)
    )
    return pl.Series(rng.random(exams.height)) < exams.select(rate).to_series()


def _tumour_sites(regions: pl.Series, rng: np.random.Generator) -> NDArray[np.int64]:
    """Index in TUMOUR_SITES of each listed exam."""
    known = list(_TUMOUR_SITES)
    region = party_index(regions, known)
    reach = np.zeros((len(known), len(TUMOUR_SITES)))
    for row, sites in enumerate(_TUMOUR_SITES.values()):
        for site, share in sites.items():
            reach[row, TUMOUR_SITES.index(site)] = share
    reach = reach.cumsum(axis=1)
    reach[:, -1] = 1.0
    return (rng.random(len(region))[:, None] >= reach[region]).sum(axis=1)


def _next_meeting(
    day: NDArray[np.int64], host: NDArray[np.int64], tumour: NDArray[np.int64]
) -> Seconds:
    """Local second of the first meeting on or after the lead time; a holiday costs a week."""
    if not len(day):
        return np.zeros(0, dtype=np.int64)
    weekday = (3 * host + 2 * tumour) % 5
    earliest = day + _LEAD_DAYS
    meeting = earliest + (weekday - (earliest + 3)) % 7  # day 0 was a Thursday
    first = int(meeting.min())
    working = calendar.is_working_day(first, int(meeting.max()) - first + 22)
    for _ in range(2):  # Christmas and New Year fall on the same weekday
        meeting = meeting + 7 * ~working[meeting - first]
    return meeting * DAY + (8 + (host + tumour) % 6) * HOUR + 30 * MINUTE


def _meeting_id() -> pl.Expr:
    day = pl.from_epoch("meeting_at", time_unit="s").dt.strftime("%Y%m%d")
    site = pl.col("tumour_site").str.replace_all(" ", "-").str.to_uppercase()
    return pl.concat_str("meeting_party", site, day, separator="-").alias("meeting_id")


def write_lists(
    meetings: pl.DataFrame,
    exams: pl.DataFrame,
    parties: list[str],
    period: Period,
    inbox: Path,
) -> dict[str, int]:
    """One CSV per party and month of meetings, delivered on the first of the next month.

    Times are London wall clock. Returns rows by file; a month without cases is a header.
    """
    facts = exams.select("exam_no", "nhs_number", "accession_number", "study_instance_uid")
    rows = meetings.join(facts, on="exam_no", how="left", maintain_order="left").with_columns(
        pl.col("exam_party").alias("exam_party_code"),
        pl.when("is_image_available_at_meeting")
        .then(pl.lit("Y"))
        .otherwise(pl.lit("N"))
        .alias("is_image_available"),
        wall_clock(pl.col("listed_at")).alias("listed_at"),
        wall_clock(pl.col("meeting_at")).alias("meeting_at"),
        moment=pl.col("meeting_at"),
    )
    return month_end_files(rows, FEED, "meeting_party", COLUMNS, parties, period, inbox)
