"""HL7 v2 bytes in, one row per OBR group out; then rows to imaging events by a rule table.

Format rules are those of HL7 v2.3.1 to 2.5.1: separators come from MSH, the character set from
MSH-18; a segment counts only when its id is followed by the field separator.
"""

from pipelines.sources.hl7.escapes import unescape
from pipelines.sources.hl7.events import (
    DEFAULT_EVENT_MAP,
    events_from_messages,
    read_event_map,
)
from pipelines.sources.hl7.feed_files import Feed, FeedFileProblem
from pipelines.sources.hl7.field_map import FIELDS
from pipelines.sources.hl7.framing import (
    framed,
    frames_that_disagree,
    split_messages,
    stated_count,
)
from pipelines.sources.hl7.reading import MessageBatch, read_batches, read_messages

__all__ = [
    "DEFAULT_EVENT_MAP",
    "FIELDS",
    "Feed",
    "FeedFileProblem",
    "MessageBatch",
    "events_from_messages",
    "framed",
    "frames_that_disagree",
    "read_batches",
    "read_event_map",
    "read_messages",
    "split_messages",
    "stated_count",
    "unescape",
]
