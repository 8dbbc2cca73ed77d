"""Two examinations in one acquisition: two accession numbers, one study, one set of images.

A second examination of the same room time takes the place of one that would have been done later
in the month at the same party and trust, so that activity and lists keep their size: each
examination code counts as one exam, as in DM01 and DIDS.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipelines.synthetic import appointments
from pipelines.synthetic.dirt import DirtLedger, files_of
from pipelines.synthetic.period import Period

MODALITY = "CT"
# Share of the CT exams that were done in the scan of another exam.
JOINT_SHARE = 0.035
# At least so many exams of the live weeks, of other modalities where CT has too few.
FEWEST_LIVE = 3
OTHER_MODALITIES = ("DX", "MR")
# The second exam gets the patient of the first, whom these may not fit.
_OF_ONE_SEX = ["MPROS"]
# How the reports of the pairs of the live weeks are sent, in turn.
SEVERAL_GROUPS = "several_groups"  # one message with an OBR group for each exam
ONE_ACCESSION = "one_accession"  # one message that names the first exam only
OWN_REPORTS = "own_reports"
REPORT_SHARING = (SEVERAL_GROUPS, ONE_ACCESSION, OWN_REPORTS)

_SAME = ("trust_as_was", "party_code", "dicom_modality", "is_live")
_OF_THE_REQUEST = (
    "site_code", "resource", "station_name", "trust_as_was", "patient_no",
    "patient_id", "source_setting", "priority", "is_unscheduled", "is_in_extract",
    "referrer_code", "referring_org_code", "radiographer_code", "study_instance_uid", "requested",
    "received", *appointments.TIMES, "moved_by", "move_reason", "started", "completed",
)  # fmt: skip
_OF_THE_REPORT = (
    "preliminary", "verified", "addendum", "corrected", "reporter_org", "reporter_code",
    "is_cross_site",
)  # fmt: skip


@dataclass
class JointScans:
    """Makes pairs month by month; what is due is carried."""

    period: Period
    seen: Counter[bool] = field(default_factory=Counter)
    given: Counter[bool] = field(default_factory=Counter)

    def perform(self, exams: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Give the patient, request and times of the first exam of each pair to the second.

        New columns: performed_with (exam_no of the first exam, else null), report_sharing (of the
        second exam: a word of REPORT_SHARING or null), is_spoken_for (either exam of a pair).
        """
        pairs = self._chosen(exams, rng)
        firsts = exams.select("exam_no", *_OF_THE_REQUEST, *_OF_THE_REPORT)
        found = pairs.join(firsts, left_on="performed_with", right_on="exam_no", how="left")
        exams = exams.join(
            found, on="exam_no", how="left", suffix="_of_first", maintain_order="left"
        )
        is_second = pl.col("performed_with").is_not_null()
        is_shared = pl.col("report_sharing") == SEVERAL_GROUPS
        is_untold = pl.col("report_sharing") == ONE_ACCESSION
        both = pairs["exam_no"].to_list() + pairs["performed_with"].to_list()
        return exams.with_columns(
            *(
                pl.when(is_second).then(f"{name}_of_first").otherwise(name).alias(name)
                for name in _OF_THE_REQUEST
            ),
            *(
                pl.when(is_shared)
                .then(f"{name}_of_first")
                .when(is_untold)
                .then(None)
                .otherwise(name)
                .alias(name)
                for name in _OF_THE_REPORT
            ),
            pl.col("exam_no").is_in(both).alias("is_spoken_for"),
        ).drop(pl.selectors.ends_with("_of_first"))

    def _chosen(self, exams: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """One row per pair: exam_no of the second, performed_with, report_sharing."""
        done = exams.filter(
            pl.col("dicom_modality").is_in([MODALITY, *OTHER_MODALITIES])
            & pl.col("completed").is_not_null()
            & pl.col("verified").is_not_null()
        )
        # Scan and reports lie before the history extract or after it, and nothing that follows a
        # report is shared.
        reported = pl.min_horizontal("verified", "preliminary")
        live = (pl.col("completed") >= self.period.cutoff) & pl.col("addendum").is_null()
        live &= pl.col("corrected").is_null()
        live &= reported >= self.period.cutoff
        past = pl.col("verified") < self.period.cutoff
        rows = (
            done.with_columns(is_live=live)
            .filter(live | past)
            .sort(*_SAME, "is_unscheduled", "started", "exam_no")
        )
        same = pl.lit(True)
        for name in _SAME:
            same &= pl.col(name) == pl.col(name).shift(-1)
        # The live weeks of a small network hold too few exams to be choosy.
        same &= (pl.col("is_unscheduled") == pl.col("is_unscheduled").shift(-1)) | pl.col("is_live")
        same &= pl.col("started") <= pl.col("started").shift(-1)
        rows = rows.select(
            "exam_no",
            "is_live",
            is_ct=pl.col("dicom_modality") == MODALITY,
            second=pl.col("exam_no").shift(-1),
            fits=(
                same
                & (pl.col("exam_code") != pl.col("exam_code").shift(-1))
                & ~pl.col("exam_code").shift(-1).is_in(_OF_ONE_SEX)
            ).fill_null(False),
        )
        chosen = np.zeros(len(rows), dtype=bool)
        for is_live in (False, True):
            mine = (rows["is_live"] == is_live).to_numpy()
            is_ct = rows["is_ct"].to_numpy()
            self.seen[is_live] += int((mine & is_ct).sum())
            due = round(JOINT_SHARE * self.seen[is_live])
            fits = mine & rows["fits"].to_numpy()
            self._choose(chosen, rng.permutation(np.flatnonzero(fits & is_ct)), is_live, due)
            if is_live:
                others = rng.permutation(np.flatnonzero(fits))
                self._choose(chosen, others, is_live, FEWEST_LIVE)
        pairs = rows.filter(pl.Series(chosen))
        before = int(self.given[True] - pairs["is_live"].sum())
        number = before + pl.col("is_live").cast(pl.Int64).cum_sum() - 1
        words = (number % len(REPORT_SHARING)).replace_strict(dict(enumerate(REPORT_SHARING)))
        return pairs.select(
            pl.col("second").alias("exam_no"),
            pl.col("exam_no").alias("performed_with"),
            pl.when("is_live").then(words).alias("report_sharing"),
        )

    def _choose(self, chosen: np.ndarray, usable: np.ndarray, is_live: bool, due: int) -> None:
        """Mark rows as first exams until as many are given as due; no exam is in two pairs."""
        for place in usable.tolist():
            if self.given[is_live] >= due:
                break
            if not chosen[max(place - 1, 0) : place + 2].any():
                chosen[place] = True
                self.given[is_live] += 1


_REPORT_FAULTS = {
    SEVERAL_GROUPS: "one_report_several_exams",
    ONE_ACCESSION: "one_report_one_accession",
}


def note_joint_scans(exams: pl.DataFrame, cutoff: int, ledger: DirtLedger) -> None:
    """One piece per exam done in the scan of another, and per report shared with another."""
    second = exams.filter(pl.col("performed_with").is_not_null())
    for party, accession, is_past, sharing in second.select(
        "party_code", "accession_number", pl.col("completed") < cutoff, "report_sharing"
    ).iter_rows():
        feed = "ris_extract" if is_past else "hl7"
        ledger.add(feed, "one_scan_several_exams", files_of(feed, party), accession)
        if sharing in _REPORT_FAULTS:
            ledger.add("hl7", _REPORT_FAULTS[sharing], files_of("hl7", party), accession)
