"""Old studies that a migration tool delivers on the day a party's archive goes live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.dicom_encoding import new_uids
from pipelines.synthetic.period import Period, midnight

AE_TITLE = "MIGRATION_SCU"
# What a migration tool leaves of a scanner: a maker, and neither a station nor a serial number.
SCANNER: dict[str, Any] = {
    "manufacturer": "LEGACY",
    "manufacturer_model_name": "LEGACY",
    "site_name": "DATA MIGRATION",
    "station_name": None,
    "device_serial_number": None,
    "ae_title": AE_TITLE,
    "number": 1,  # sends no time zone
}
_MODALITIES = ("CT", "MR", "DX")
_YEAR = 365 * DAY


def plan_priors(
    exams: pl.DataFrame,
    go_lives: pl.DataFrame,
    period: Period,
    scale: float,
    habits: Mapping[str, float],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per old study of the archive go-lives in the live weeks.

    Patients and kinds are those of `exams`, the imaged exams of the live weeks. The columns of an
    exam that image files need; `delivered` (UTC seconds) lies on the day of the go-live,
    `started` and `completed` years before.
    """
    days = go_lives.filter(
        (pl.col("go_live_type") == "archive")
        & pl.col("go_live_on").is_between(period.live_on, period.end_on, closed="left")
    ).sort("go_live_on", "party_code")
    parts = [exams.clear().with_columns(delivered=pl.lit(None, pl.Int64))]
    wanted = max(1, round(habits["migrated_studies"] * scale))
    for party, day in days.select("party_code", "go_live_on").iter_rows():
        of_party = exams.filter(
            (pl.col("party_code") == party) & pl.col("dicom_modality").is_in(_MODALITIES)
        )
        if of_party.is_empty():
            continue
        chosen = of_party[rng.choice(of_party.height, wanted)]
        years = rng.uniform(1, habits["longest_years_migrated"], wanted)
        started = midnight(day) - (years * _YEAR).astype(np.int64)
        started = started // DAY * DAY + 8 * HOUR + rng.integers(0, 9 * HOUR, wanted)
        old = chosen.with_columns(
            pl.lit(None, pl.String).alias("station_name"),
            pl.format("OLD{}", pl.int_range(1, wanted + 1).cast(pl.String).str.zfill(7)).alias(
                "accession_number"
            ),
            pl.Series("study_instance_uid", new_uids(wanted, rng), dtype=pl.String),
            pl.Series("started", started),
            pl.Series("completed", started + 12 * MINUTE),
            delivered=pl.lit(midnight(day) + 12 * HOUR, pl.Int64),
        )
        # Nobody was imaged before birth.
        parts.append(old.filter(pl.col("birth_on") < pl.lit(day).dt.offset_by("-6y")))
    return pl.concat(parts)


def prior_series(scans: pl.DataFrame) -> pl.DataFrame:
    """One series per old study: the columns of `dicom_files.plan_series` down to frames_end."""
    begun = pl.col("started") + MINUTE
    is_single = pl.col("dicom_modality") == "DX"
    return scans.select(
        "exam_no",
        series=pl.lit(1, pl.Int64),
        series_modality="dicom_modality",
        is_planning_view=pl.lit(False),
        instances=pl.when(is_single).then(1).otherwise(60).cast(pl.Int64),
        files=pl.when(is_single).then(1).otherwise(2).cast(pl.Int64),
        start=begun,
        end=pl.when(is_single).then(begun).otherwise(begun + 6 * MINUTE),
        frames_end=pl.lit(None, pl.Int64),
    )
