"""A small network with images, and invented exams with what becomes of their images."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.network import Network
from pipelines.synthetic import audit_xml, image_transfers, meetings
from pipelines.synthetic.calendar import DAY, HOUR, day_number
from pipelines.synthetic.image_sharing import ImageSharing, simulate_sharing
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.worlds import World

FEEDS = (audit_xml.FEED, image_transfers.FEED, meetings.FEED)
PERIOD = Period.of(date(2018, 4, 1), 96)
# The first go-live of any party is in November 2020, the last one has grown in by June 2022.
WINDOWS = {
    "before": (date(2018, 6, 1), date(2020, 6, 1)),
    "after": (date(2023, 1, 1), date(2025, 1, 1)),
}


@dataclass(frozen=True)
class Written:
    """A small network whose live weeks, in summer 2021, lie between the go-lives."""

    inbox: Path
    truth: Path
    parties: list[str]

    def told(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.truth / f"{name}.parquet")

    def dirt(self) -> dict[str, int]:
        return json.loads((self.truth / "dirt.json").read_text())[audit_xml.FEED]

    def rows(self, feed: str, party: str) -> pl.DataFrame:
        """Rows of a monthly feed with the party of the file in the column `party`."""
        return pl.concat(
            pl.read_csv(f, infer_schema=False).with_columns(pl.lit(f.stem[-3:]).alias(party))
            for f in sorted(self.inbox.glob(f"{feed}/*/*.csv"))
        )


def invented_exams(network: Network, count: int, windows: list[tuple[date, date]]) -> pl.DataFrame:
    """One row per completed exam, shared out between windows; a third of the patients are away."""
    rng = np.random.default_rng(11)
    parties = network.programme_parties["party_code"].to_list()
    first, end = (np.array([day_number(d) for d in ends]) for ends in zip(*windows, strict=True))
    window = rng.integers(len(windows), size=count)
    completed = ((first + (end - first - 1) * rng.random((count, 1)))[range(count), window]) * DAY
    own = rng.integers(len(parties), size=count)
    home = np.where(rng.random(count) < 1 / 3, rng.integers(len(parties), size=count), own)
    verified = completed + rng.exponential(24 * HOUR, count)
    return pl.DataFrame(
        {
            "exam_no": np.arange(count),
            "patient_no": rng.integers(count, size=count),
            "party_code": pl.Series(parties).gather(own),
            "patient_home_party": pl.Series(parties).gather(home),
            "completed": completed.astype(np.int64),
            "verified": verified.astype(np.int64),
            "source_setting": rng.choice(["01", "03", "04", "05"], count),
            "referring_org_code": rng.choice(["P00001", "P00002"], count),
            "modality_group": "CT",
            "dicom_modality": rng.choice(["CT", "DX"], count),
            "exam_code": "CCHES",
            "body_region": rng.choice(["chest", "abdomen", "head"], count),
            "priority": rng.choice(["R", "T", "P"], count, p=[0.4, 0.5, 0.1]),
            "nhs_number": rng.integers(9_990_000_000, 9_999_999_999, count).astype(str),
            "patient_id": rng.integers(10**6, 10**7, count).astype(str),
            "accession_number": np.arange(10**7, 10**7 + count).astype(str),
            "study_instance_uid": [f"2.25.{number}" for number in range(count)],
        }
    ).with_columns(verified=pl.when(pl.col("exam_no") % 10 > 0).then("verified"))


def shared(
    network: Network, exams: pl.DataFrame, world: str = "effect", seed: tuple[int, ...] = (7,)
) -> ImageSharing:
    chosen = World.load(world, day_number(PERIOD.first_on))
    return simulate_sharing(exams, network, load_profile().go_lives, PERIOD, chosen, seed)


@dataclass(frozen=True)
class Shared:
    """What was simulated from the invented exams, by world."""

    exams: pl.DataFrame
    worlds: dict[str, ImageSharing]

    def seen(self, world: str, window: str) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """Exams of a window and what became of them, each row with facts of its exam."""
        ends = [day_number(day) * DAY for day in WINDOWS[window]]
        exams = self.exams.filter(pl.col("completed").is_between(*ends)).with_columns(
            away=pl.col("party_code") != pl.col("patient_home_party")
        )
        facts = exams.select("exam_no", "away")
        found = self.worlds[world]
        return exams, {
            "views": found.views.join(facts, on="exam_no"),
            "transfers": found.transfers.join(facts, on="exam_no"),
            "meetings": found.meetings.join(facts, on="exam_no"),
            "repeats": found.repeats.join(facts, left_on="earlier_exam_no", right_on="exam_no"),
        }
