"""Precision and recall of the link by patient, scanner and time, against the truth of a synthetic network.

    python tools/measure_study_links.py WAREHOUSE TRUTH KEY_FILE

The warehouse is built from the network whose truth and key are given. Prints one line per kind of
fault: studies, linked, linked to the exam they are of, and the reasons of the others.
"""

import sys
from pathlib import Path

import duckdb
import polars as pl

from pipelines.landing.keys import load_keys
from pipelines.landing.pseudonymise import pseudonyms

FAULTS = "images_"


def told(truth: Path, name: str) -> pl.DataFrame:
    """A table of the truth, in one file or in one file per month."""
    whole = truth / f"{name}.parquet"
    return pl.read_parquet(whole if whole.exists() else truth / name / "*.parquet")


def judged(warehouse: Path, truth: Path, key_file: Path) -> pl.DataFrame:
    """One row per study of an exam that carries another number: kind, outcome, is_right."""
    key = load_keys(key_file).pseudonym
    exams = told(truth, "exams").select("exam_no", "party_code", "accession_number")
    dirt = pl.read_parquet(truth / "dirt.parquet").filter(
        pl.col("kind").str.starts_with(FAULTS) & pl.col("kind").str.contains("accession")
    )
    faults = dirt.select(
        "kind", party_code=pl.col("file").str.split("/").list.last(), accession_number="accession"
    )
    series = told(truth, "dicom_series").filter(pl.col("scan_kind") == "exam")
    studies = (
        series.select("exam_no", "study_instance_uid")
        .unique()
        .join(exams, on="exam_no")
        .join(faults, on=["party_code", "accession_number"])
    )
    numbers = pseudonyms(studies["accession_number"], "accession", key)
    studies = studies.with_columns(
        study_uid=pseudonyms(studies["study_instance_uid"], "study", key),
        true_key=pl.format("{}|A|{}", "party_code", numbers),
    )
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        rows = connection.sql(
            "select study_uid, outcome, exam_key from intermediate.int_unnumbered_studies"
        ).pl()
    found = studies.join(rows, on="study_uid", how="left")
    return found.select(
        "kind",
        pl.col("outcome").fill_null("linked by a number"),
        is_right=(pl.col("exam_key") == pl.col("true_key")).fill_null(False),
    )


if __name__ == "__main__":
    found = judged(*map(Path, sys.argv[1:4]))
    for (kind,), part in sorted(found.partition_by("kind", as_dict=True).items()):
        linked = part.filter(pl.col("outcome") == "linked")
        reasons = dict(part["outcome"].value_counts().iter_rows())
        right = int(linked["is_right"].sum())
        sys.stdout.write(f"{kind} {part.height} {linked.height} {right} {reasons}\n")
