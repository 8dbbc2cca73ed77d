"""Exams done again at another party because the earlier images could not be seen there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic.adoption import Adoption, another_party, party_index
from pipelines.synthetic.calendar import DAY, HOUR
from pipelines.synthetic.period import Period
from pipelines.synthetic.worlds import World

if TYPE_CHECKING:
    from pipelines.network import Network

REPEAT_DAYS = 28
# Booked by a date of its own, so that the next one is surveillance and no repeat.
_NOT_REPEATED = ("P",)
_MEAN_DAYS = 6.0


def imaging_sites(network: Network) -> pl.DataFrame:
    """One row per registered scanner: party_code, site_code, dicom_modality."""
    return network.scanner_register.join(
        network.sites.select("site_code", "party_code"), on="site_code", maintain_order="left"
    ).select("party_code", "site_code", "dicom_modality")


def choose_repeats(
    exams: pl.DataFrame,
    sites: pl.DataFrame,
    world: World,
    go_lives: pl.DataFrame,
    parties: list[str],
    period: Period,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per exam that another party will ask for again, in order of the new request.

    Columns: earlier_exam_no, earlier_party; and of the new request patient_no, party_code,
    site_code, modality_group, dicom_modality, exam_code, body_region, source_setting, priority
    and requested (UTC seconds), which lies within 28 days of the earlier end. The rate follows
    the archive go-lives of both parties at that end. `sites` is one row per scanner
    (party_code, site_code, dicom_modality); a modality that only one party has is not repeated.
    A batch of exams needs nothing from the others.

    No exam is made here and `exams` stays as it is: the scanners have not been asked. To make
    the repeats real a caller adds the rows as further requests of unscheduled work before
    exams queue for their scanner, gives them the `patient_no` of the row, and keeps those
    requested after the end of the batch for the next one. A repeat is not repeated.
    """
    adoption = Adoption.of(world, go_lives, parties)
    exams = exams.filter(
        pl.col("dicom_modality").is_in(sites["dicom_modality"].unique().to_list())
        & ~pl.col("priority").is_in(_NOT_REPEATED)
        & (pl.col("body_region") != "obstetric")
    )
    own = party_index(exams["party_code"], parties)
    home = party_index(exams["patient_home_party"], parties)
    away = own != home
    wanted = np.where(away, home, another_party(own, len(parties), rng))
    day = exams["completed"].to_numpy() / DAY
    shared = adoption.shared_archive(own, wanted, day)
    rate = np.where(
        away,
        adoption.level("repeats_per_away_exam", shared, own),
        adoption.level("repeats_per_home_exam", shared, own),
    )
    rate = rate * world.drift("repeats", parties, own, day)
    chosen = np.flatnonzero(rng.random(len(rate)) < rate)
    site = _sites(exams["dicom_modality"].gather(chosen), wanted[chosen], sites, parties, rng)
    days = np.minimum(rng.exponential(_MEAN_DAYS, len(chosen)), REPEAT_DAYS - 1)
    requested = exams["completed"].to_numpy()[chosen] + HOUR + (days * DAY).astype(np.int64)
    rows = exams[chosen].select(
        pl.col("exam_no").alias("earlier_exam_no"),
        pl.col("party_code").alias("earlier_party"),
        "patient_no",
        pl.Series("party_code", pl.Series(parties).gather(wanted[chosen])),
        pl.Series("site_code", site, dtype=pl.String),
        "modality_group",
        "dicom_modality",
        "exam_code",
        "body_region",
        "source_setting",
        "priority",
        pl.Series("requested", requested),
    )
    possible = pl.col("site_code").is_not_null() & (pl.col("requested") < period.end)
    different = pl.col("party_code") != pl.col("earlier_party")
    return rows.filter(possible & different).sort("requested", "earlier_exam_no")


def _sites(
    modalities: pl.Series,
    party: NDArray[np.int64],
    sites: pl.DataFrame,
    parties: list[str],
    rng: np.random.Generator,
) -> list[str | None]:
    """A scanner's site at the party for each, null where the party has none of the modality."""
    found: list[str | None] = [None] * len(party)
    modality = modalities.to_numpy().astype(str)
    for (code, name), part in sites.partition_by(
        "party_code", "dicom_modality", as_dict=True, maintain_order=True
    ).items():
        if code not in parties:
            continue
        mine = np.flatnonzero((party == parties.index(str(code))) & (modality == name))
        choice = rng.integers(part.height, size=len(mine)).tolist()
        codes = part["site_code"].to_list()
        for place, number in zip(mine.tolist(), choice, strict=True):
            found[place] = codes[number]
    return found
