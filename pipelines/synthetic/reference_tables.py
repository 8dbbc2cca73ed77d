"""The figures the synthetic network is made of, as CSV files beside this module.

One file per subject, so that another network needs other files and no other code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "reference"


@dataclass(frozen=True)
class Profile:
    """Frames of the reference folder, one attribute per file, numbers and dates typed."""

    modality_demand: pl.DataFrame
    party_demand: pl.DataFrame
    setting_mix: pl.DataFrame
    exam_mix: pl.DataFrame
    wait_shape: pl.DataFrame
    wait_eras: pl.DataFrame
    covid_demand: pl.DataFrame
    go_lives: pl.DataFrame
    offices: pl.DataFrame
    service_volumes: pl.DataFrame
    waiting_list_inputs: pl.DataFrame
    waiting_list_habits: pl.DataFrame

    def shape_of(self, office: str) -> NDArray[np.float64]:
        """Weights of the six weeks in which a patient of one booking office falls due."""
        weeks = self.wait_shape.filter(pl.col("office") == office).sort("week")
        return weeks["weight"].to_numpy()


def read_text_table(name: str, folder: Path = FOLDER) -> pl.DataFrame:
    """One row per line of a reference CSV, every column text, empty values null."""
    return pl.read_csv(folder / f"{name}.csv", infer_schema=False)


def _typed(frame: pl.DataFrame, numbers: list[str], dates: list[str]) -> pl.DataFrame:
    return frame.with_columns(
        *(pl.col(name).cast(pl.Float64) for name in numbers),
        *(pl.col(name).str.to_date("%Y-%m-%d") for name in dates),
    )


def load_profile(folder: Path = FOLDER) -> Profile:
    """Read the whole reference folder; a missing or mistyped file raises a Polars error."""

    def table(name: str, numbers: list[str], dates: list[str] | None = None) -> pl.DataFrame:
        return _typed(read_text_table(name, folder), numbers, dates or [])

    return Profile(
        modality_demand=table("modality_demand", ["preliminary_rate"]),
        party_demand=table("party_demand", ["weight", "emergency_department_rate"]),
        setting_mix=table("setting_mix", ["weight"]),
        exam_mix=table("exam_mix", ["unscheduled_weight", "scheduled_weight"]),
        wait_shape=table("wait_shape", ["week", "weight"]),
        wait_eras=table("wait_eras", ["breach_factor"], ["from_on"]),
        covid_demand=table("covid_demand", ["elective_factor", "emergency_factor"], ["month_on"]),
        go_lives=table("go_lives", [], ["go_live_on"]),
        offices=table(
            "offices",
            [
                "growth_per_year",
                "missed_rate",
                "removal_rate",
                "slot_minutes",
                "planned_lead_shortest",
                "planned_lead_longest",
            ],
        ),
        service_volumes=table(
            "service_volumes", ["exams_per_year", "unscheduled_rate", "walk_in_rate"]
        ),
        waiting_list_inputs=table(
            "waiting_list_inputs",
            ["requests", "slots", "scarce_slots", "planned", "unscheduled"],
            ["month_on"],
        ),
        waiting_list_habits=table(
            "waiting_list_habits", ["scarce_rate", "scarce_spread_days", "removal_rate"]
        ),
    )
