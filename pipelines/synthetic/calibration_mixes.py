"""What is imaged and who asks for it: mixes of a simulated year beside published ones.

The published mixes (`reference/published_mixes.csv`) are of another region, since none of Greater
Manchester was at hand; they say whether the mixes are believable, and no aim is set on them.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.pathways import Simulation
from pipelines.synthetic.patients import invent_patients
from pipelines.synthetic.period import Period, midnight
from pipelines.synthetic.reference_tables import load_profile, read_text_table
from pipelines.synthetic.worlds import World

if TYPE_CHECKING:
    from pipelines.network import Network

# A hundredth of a year holds some 25,000 exams: a share is known to half a point.
LARGEST_SCALE = 0.01
# The year of the mixes, and the months before it in which its waiting lists arise.
YEAR_FROM, MONTHS_BEFORE = date(2025, 4, 1), 6
WORLD = "effect"


def simulated_year(network: Network, *, seed: int, scale: float) -> pl.DataFrame:
    """One row per exam done in the twelve months from YEAR_FROM: modality_group, setting_group."""
    scale = min(scale, LARGEST_SCALE)
    first_on = calendar.month_after(YEAR_FROM, -MONTHS_BEFORE)
    period = Period.of(first_on, MONTHS_BEFORE + 12)
    world = World.load(WORLD, calendar.day_number(first_on))
    simulation = Simulation(network, load_profile(), period, scale, seed, world, may_add_rooms=True)
    people = invent_patients(simulation.network, scale, np.random.default_rng([seed, 0]))
    settings = network.patient_source_settings.select("source_setting", "setting_group")
    return pl.concat(
        month.filter(pl.col("completed") >= midnight(YEAR_FROM))
        .select("modality_group", "source_setting")
        .join(settings, on="source_setting", how="left")
        .select("modality_group", "setting_group")
        for month in simulation.months(people)
    )


def compare_mixes(exams: pl.DataFrame) -> pl.DataFrame:
    """One row per mix and category: mix, category, published_percent, simulated_percent.

    A published mix by modality leaves out what it could not name, so its shares and the simulated
    ones are of the categories it has.
    """
    published = read_text_table("published_mixes").with_columns(
        pl.col("published_percent").cast(pl.Float64)
    )
    counted = [
        exams.group_by(category=name).len().with_columns(mix=pl.lit(mix))
        for mix, name in (("setting", "setting_group"), ("modality", "modality_group"))
    ] + [
        exams.filter(pl.col("modality_group") == modality)
        .group_by(category=pl.col("setting_group").replace("Day case", "Other"))
        .len()
        .with_columns(mix=pl.lit(f"setting of {modality}"))
        for modality in ("CT", "MRI")
    ]
    both = published.join(
        pl.concat(counted), on=["mix", "category"], how="left", maintain_order="left"
    )
    return both.select(
        "mix",
        "category",
        *(
            (100 * pl.col(name).fill_null(0) / pl.col(name).sum().over("mix")).alias(share)
            for name, share in (
                ("published_percent", "published_percent"),
                ("len", "simulated_percent"),
            )
        ),
    )
