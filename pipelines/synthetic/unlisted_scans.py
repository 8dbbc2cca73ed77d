"""Scans that nobody called from the worklist: their images lack the numbers of the request.

The radiographer typed the patient by hand, so the scanner made up a study UID, and the accession
number is missing, mistyped, or that of another patient's exam. The radiology system tells its own
numbers, and patient, scanner and time of the images are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipelines.synthetic.dicom_encoding import new_uids
from pipelines.synthetic.dirt import DirtLedger

WITHOUT = "images_without_accession"
MISTYPED = "images_with_mistyped_accession"
OF_ANOTHER = "images_with_accession_of_another"
KINDS = (WITHOUT, MISTYPED, OF_ANOTHER)


@dataclass
class UnlistedScans:
    """Chooses scans month by month; of each kind at least one, else the rate times the scans.

    `habits` has a `<kind>_rate` for each of KINDS, `feed` is what the ledger calls the images.
    """

    habits: Mapping[str, float]
    ledger: DirtLedger
    feed: str
    seen: int = 0
    given: Counter[str] = field(default_factory=Counter)

    def mark(self, scans: pl.DataFrame, told: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
        """The scans of one month, some with another accession_number and study_instance_uid.

        Only scans whose exam the radiology system tells (`told`, one truth value a scan) are
        chosen. The ledger gets the accession number of the exam, not that of the images.
        """
        self.seen += scans.height
        usable = rng.permutation(np.flatnonzero(told.to_numpy()))
        wanted = [
            kind
            for kind in KINDS
            for _ in range(
                max(1, round(self.habits[f"{kind}_rate"] * self.seen)) - self.given[kind]
            )
        ]
        chosen = usable[: len(wanted)].tolist()
        rest = usable[len(wanted) :].tolist()
        uids = new_uids(len(chosen), rng)
        numbers, studies = (
            scans["accession_number"].to_list(),
            scans["study_instance_uid"].to_list(),
        )
        parties, patients = scans["party_code"].to_list(), scans["patient_id"].to_list()
        for row, kind, uid in zip(chosen, wanted, uids, strict=False):
            own = numbers[row]
            if kind == OF_ANOTHER:
                others = (
                    numbers[n]
                    for n in rest
                    if parties[n] == parties[row] and patients[n] != patients[row]
                )
                other = next(others, None)
                if other is None:
                    continue
                numbers[row] = other
            else:
                # one letter wrong, as no number of a request begins
                numbers[row] = None if kind == WITHOUT else "X" + own[1:]
            studies[row] = uid
            self.given[kind] += 1
            place = f"{self.feed}/*/{parties[row]}"
            self.ledger.add(self.feed, kind, place, own)
        return scans.with_columns(
            pl.Series("accession_number", numbers, pl.String),
            pl.Series("study_instance_uid", studies, pl.String),
        )
