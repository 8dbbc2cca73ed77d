"""Quality assurance: each scanner images its phantom before the first session of a day.

Such a scan holds the scanner, but nobody asked for it: no request, no accession number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.demo import DEMO_SCALE
from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, MINUTE
from pipelines.synthetic.dicom_nuclear import NM_FRAMES, PT_FRAME_SECONDS
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import read_text_table

if TYPE_CHECKING:
    from pipelines.network import Network

# The scan is over so long before the session begins.
_READY_BEFORE = 10 * MINUTE
_MODALITY = pl.col("dicom_modality")


def plan_phantoms(
    sessions: pl.DataFrame,
    busy: pl.DataFrame,
    network: Network,
    period: Period,
    scale: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per scan of a phantom in the live weeks, in order of time.

    Columns: station_name, site_code, party_code, dicom_modality, started, completed (UTC
    seconds), every_days, minutes, images. A scanner that has a patient just then or is down
    (`busy`: station_name, started, completed) misses its check. Below the scale of the demo only as
    large a share of the checks is done as of exams.
    """
    habits = read_text_table("phantom_habits").select(
        "dicom_modality",
        pl.col("every_days", "minutes", "images").cast(pl.Int64),
    )
    first = (
        sessions.filter(pl.col("station_name").is_not_null())
        .with_columns(day=pl.col("session_start") // DAY)
        .group_by("station_name", "day")
        .agg(pl.col("session_start").min())
        .join(
            network.scanner_register.select("station_name", "site_code", "dicom_modality"),
            on="station_name",
        )
        .join(network.sites.select("site_code", "party_code"), on="site_code")
        .join(habits, on="dicom_modality")
        .sort("day", "station_name")
        # Weekly checks fall on the first day of the week with a session.
        .with_columns(turn=(pl.col("day") + 3) // pl.col("every_days"))
        .unique(["station_name", "turn"], keep="first", maintain_order=True)
    )
    early = rng.integers(0, 10 * MINUTE, first.height)
    ready = calendar.local_to_utc(first["session_start"].to_numpy()) - _READY_BEFORE - early
    done = rng.random(first.height) < min(scale / DEMO_SCALE, 1.0)
    planned = (
        first.with_columns(completed=pl.Series(ready))
        .with_columns(started=pl.col("completed") - pl.col("minutes") * MINUTE)
        .filter(
            pl.Series(done)
            & (pl.col("started") >= period.cutoff)
            & (pl.col("completed") < period.end)
        )
        .sort("completed", "station_name")
    )
    return _while_free(planned, busy).drop("session_start", "turn", "day")


def _while_free(planned: pl.DataFrame, busy: pl.DataFrame) -> pl.DataFrame:
    """The scans during which the scanner is free: no row of `busy` meets them."""
    last = (
        busy.select("station_name", busy_from="started", busy_to="completed")
        .sort("busy_from")
        .with_columns(pl.col("busy_to").cum_max().over("station_name"))
    )
    return (
        planned.join_asof(
            last,
            left_on="completed",
            right_on="busy_from",
            by="station_name",
            check_sortedness=False,
        )
        .filter(pl.col("busy_to").is_null() | (pl.col("busy_to") < pl.col("started")))
        .drop("busy_from", "busy_to")
    )


def phantom_series(scans: pl.DataFrame, enhanced: set[str]) -> pl.DataFrame:
    """Series of the scans: the columns of `dicom_files.plan_series` down to frames_end.

    `enhanced` are the stations that write a whole series into one file.
    """
    begun, over = pl.col("started") + MINUTE, pl.col("completed") - MINUTE
    is_pet = _MODALITY == "PT"
    emission = begun + 2 * MINUTE
    last_bed = pl.max_horizontal(emission, over - PT_FRAME_SECONDS)
    is_single = _MODALITY.is_in(["DX", "MG"]) | (_MODALITY == "NM")
    in_one_file = pl.col("station_name").is_in(list(enhanced))
    main = scans.select(
        "exam_no",
        series=pl.when(is_pet).then(2).otherwise(1).cast(pl.Int64),
        series_modality=_MODALITY,
        is_planning_view=pl.lit(False),
        instances=pl.when(_MODALITY == "NM").then(NM_FRAMES).otherwise("images").cast(pl.Int64),
        files=pl.when(is_single | in_one_file).then(1).otherwise(2).cast(pl.Int64),
        start=pl.when(is_pet).then(emission).otherwise(begun),
        end=pl.when(is_single).then(begun).when(is_pet).then(last_bed).otherwise(over),
        frames_end=pl.when(is_pet)
        .then(last_bed + PT_FRAME_SECONDS)
        .when((_MODALITY == "NM") | in_one_file)
        .then(over),
    )
    attenuation = scans.filter(_MODALITY == "PT").select(
        "exam_no",
        series=pl.lit(1, pl.Int64),
        series_modality=pl.lit("CT"),
        is_planning_view=pl.lit(False),
        instances="images",
        files=pl.lit(2, pl.Int64),
        start=begun,
        end=begun + MINUTE,
        frames_end=pl.lit(None, pl.Int64),
    )
    return pl.concat([main, attenuation]).sort("exam_no", "series")


def study_attributes(study: dict[str, Any], every_days: int) -> dict[str, Any]:
    """Attributes of a study as a phantom has them: no request, no patient."""
    name = "Daily QA" if every_days == 1 else "Weekly QA"
    return study | {
        "AccessionNumber": "",
        "StudyID": "",
        "StudyDescription": name,
        "PatientName": "QA^PHANTOM",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "PatientAge": None,
        "ReferringPhysicianName": "",
        "QualityControlImage": "YES",
        "PerformedProcedureStepID": None,
        "RequestedProcedureDescription": None,
        "ProcedureCodeSequence": None,
        "RequestAttributesSequence": None,
    }
