"""What becomes of images after the exam: meetings, transfers, views and repeats as one block.

Exams may come all at once or in batches, in any order: every row depends on one exam, the go-lives
and the random stream alone, and nothing is carried from one batch to the next. A batch leaves
rows in later months (a meeting next week, a transfer in two months). So simulate by batch, then
join the batches and write the files once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.synthetic import audit_xml, image_access, image_transfers, meetings, repeats
from pipelines.synthetic.clocks import instant
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.period import Period
from pipelines.synthetic.worlds import World
from pipelines.synthetic.writer import write_parquet

if TYPE_CHECKING:
    from pipelines.network import Network

_STREAMS = {"meetings": 30, "transfers": 31, "views": 32, "repeats": 33, "audit": 34}
_INSTANTS = (
    "viewed_at", "requested_at", "sent_at", "received_at", "listed_at", "meeting_at", "requested",
)  # fmt: skip


@dataclass(frozen=True)
class ImageSharing:
    """Frames of the simulation functions of the same names; times are UTC seconds."""

    meetings: pl.DataFrame
    transfers: pl.DataFrame
    views: pl.DataFrame
    repeats: pl.DataFrame


def _stream(seed: Sequence[int], name: str) -> np.random.Generator:
    """Streams of a batch are those of no other part, whatever its number: the number comes last."""
    network, *batch = seed
    return np.random.default_rng([network, _STREAMS[name], *batch])


def simulate_sharing(
    exams: pl.DataFrame,
    network: Network,
    go_lives: pl.DataFrame,
    period: Period,
    world: World,
    seed: Sequence[int],
) -> ImageSharing:
    """Everything that happens to the images of a batch of exams; those not completed are ignored.

    `seed` is (seed of the network,) for all exams at once; a batch adds its number. `exams`
    needs exam_no (unique over all batches), patient_no, patient_home_party, party_code,
    completed, verified, source_setting, referring_org_code, modality_group, dicom_modality,
    exam_code, body_region and priority. Rows are in order of time within the batch.
    """
    parties = network.programme_parties["party_code"].to_list()
    exams = exams.filter(pl.col("completed").is_not_null())
    rest = (world, go_lives, parties, period)
    listed = meetings.simulate_meetings(exams, *rest, _stream(seed, "meetings"))
    return ImageSharing(
        meetings=listed,
        transfers=image_transfers.simulate_transfers(
            exams, listed, *rest, _stream(seed, "transfers")
        ),
        views=image_access.simulate_views(exams, listed, *rest, _stream(seed, "views")),
        repeats=repeats.choose_repeats(
            exams, repeats.imaging_sites(network), *rest, _stream(seed, "repeats")
        ),
    )


def write_feeds(
    sharing: ImageSharing,
    exams: pl.DataFrame,
    parties: list[str],
    period: Period,
    scale: float,
    inbox: Path,
    seed: Sequence[int],
    ledger: DirtLedger,
) -> dict[str, dict[str, int]]:
    """Write audit messages, transfers and meeting lists; returns records by file and feed.

    Takes all batches at once, since a file holds rows of several: joined, and of views only
    those of the live weeks are needed. `exams` are all the rows name and all of the live weeks;
    besides, it has nhs_number, patient_id, accession_number and study_instance_uid.
    """
    exams = exams.filter(pl.col("completed").is_not_null())
    files = (parties, period, inbox)
    return {
        audit_xml.FEED: audit_xml.write_audit(
            sharing.views,
            sharing.transfers,
            exams,
            parties,
            period,
            scale,
            inbox,
            _stream(seed, "audit"),
            ledger,
        ),
        image_transfers.FEED: image_transfers.write_transfers(sharing.transfers, exams, *files),
        meetings.FEED: meetings.write_lists(sharing.meetings, exams, *files),
    }


def write_sharing_truth(folder: Path, sharing: ImageSharing) -> None:
    """Write image_views, image_transfers, meeting_patients and repeats as Parquet; times are UTC."""
    write_parquet(folder / "image_views.parquet", _told(sharing.views))
    write_parquet(folder / "image_transfers.parquet", _told(sharing.transfers))
    write_parquet(folder / "meeting_patients.parquet", _told(sharing.meetings))
    write_parquet(folder / "repeats.parquet", _told(sharing.repeats))


def _told(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        instant(pl.col(name)) for name in _INSTANTS if name in frame.columns
    ).rename({"requested": "requested_at"}, strict=False)
