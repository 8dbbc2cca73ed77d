"""Archives that are asked for their series: QIDO-RS, C-FIND, or the changes of an Orthanc.

An answer becomes an ordinary delivery of the feed dicom_series in the inbox; only then does the
cursor move. Who was killed in between asks the same window again.
"""

from pipelines.sources.dicom_archives.archives import (
    Archive,
    ArchiveProblem,
    read_archives,
    read_list_maps,
)
from pipelines.sources.dicom_archives.ask import (
    Answered,
    Places,
    ask_archive,
    ask_due,
    is_due,
    recent_column_changes,
)
from pipelines.sources.dicom_archives.summary import summary
from pipelines.sources.dicom_archives.windows import Window

__all__ = [
    "Answered",
    "Archive",
    "ArchiveProblem",
    "Places",
    "Window",
    "ask_archive",
    "ask_due",
    "is_due",
    "read_archives",
    "read_list_maps",
    "recent_column_changes",
    "summary",
]
