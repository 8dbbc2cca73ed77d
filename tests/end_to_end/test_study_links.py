"""Studies whose images lack the numbers of their request, against the exams they are truly of."""

import duckdb
import polars as pl

from pipelines.landing.keys import load_keys
from pipelines.landing.pseudonymise import pseudonyms

ANOTHER = "images_with_accession_of_another"
KINDS = ["images_without_accession", "images_with_mistyped_accession", ANOTHER]


def test_a_study_without_its_number_is_linked_to_its_own_exam_or_to_none(demo):
    """A study under another patient's exam is worse than one under none."""
    folder, key = demo.path / "truth", load_keys(demo.key_file).pseudonym
    exams = pl.read_parquet(folder / "exams.parquet")
    faults = pl.read_parquet(folder / "dirt.parquet").filter(pl.col("kind").is_in(KINDS))
    faults = faults.select(
        "kind", party_code=pl.col("file").str.split("/").list.last(), accession_number="accession"
    )
    series = pl.read_parquet(folder / "dicom_series.parquet").filter(pl.col("scan_kind") == "exam")
    studies = faults.join(
        exams.select("exam_no", "party_code", "accession_number"), on=faults.columns[1:]
    ).join(series.select("exam_no", "study_instance_uid").unique(), on="exam_no")
    assert set(studies["kind"]) == set(KINDS)
    numbers = pseudonyms(studies["accession_number"], "accession", key)
    studies = studies.with_columns(
        study_uid=pseudonyms(studies["study_instance_uid"], "study", key),
        true_key=pl.format("{}|A|{}", "party_code", numbers),
    )
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.sql(
            "select study_uid, outcome, exam_key, is_number_of_another_patient "
            "from intermediate.int_unnumbered_studies"
        ).pl()
    judged = studies.join(found, on="study_uid")
    assert judged.height == studies.height
    linked = judged.filter(pl.col("outcome") == "linked")
    assert linked.height > 0
    assert linked["exam_key"].equals(linked["true_key"], check_names=False)
    flagged = judged.filter("is_number_of_another_patient")
    assert set(flagged["kind"]) == {ANOTHER}
    assert flagged.height == judged.filter(pl.col("kind") == ANOTHER).height
    # nobody's exam is under a study that is not of it
    others = found.filter(
        (pl.col("outcome") == "linked") & ~pl.col("study_uid").is_in(studies["study_uid"].implode())
    )
    assert others.is_empty(), others
