"""Harvest: deliveries of one feed kind become landing rows, rejects and receipts.

read -> validate against the contract -> judge file by file -> pseudonymise -> land. Running it
again over the same deliveries changes nothing: a source file is known by the hash of its bytes.
"""

from pipelines.harvest.custody import CUSTODY_FILE, Kept, custody
from pipelines.harvest.dicom import dicom_delivery
from pipelines.harvest.intake import harvest, unseen
from pipelines.harvest.model import Failure, HarvestResult, Setup
from pipelines.harvest.opening import feed_of
from pipelines.harvest.replaying import Replayed, Waiting, replay, replay_waiting, waiting
from pipelines.harvest.retention import prune_inbox
from pipelines.harvest.spooled import harvest_arrived, harvest_spool, prune_spool, waiting_segments

__all__ = [
    "CUSTODY_FILE",
    "Failure",
    "HarvestResult",
    "Kept",
    "Replayed",
    "Setup",
    "Waiting",
    "custody",
    "dicom_delivery",
    "feed_of",
    "harvest",
    "harvest_arrived",
    "harvest_spool",
    "prune_inbox",
    "prune_spool",
    "replay",
    "replay_waiting",
    "unseen",
    "waiting",
    "waiting_segments",
]
