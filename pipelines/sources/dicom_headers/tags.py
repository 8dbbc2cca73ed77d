"""Which attributes are harvested, by keyword (tags.toml), and their places in a file."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from pydicom.datadict import dictionary_VR, tag_for_keyword

TAGS_FILE = Path(__file__).parent / "tags.toml"
# Attributes of the file meta information (group 0002), which is always explicit little endian.
META = {"TransferSyntaxUID", "MediaStorageSOPInstanceUID"}


def snake_case(keyword: str) -> str:
    """DICOM keyword to column name: SOPInstanceUID -> sop_instance_uid."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword)
    return spaced.replace("DIvol", "divol").lower().replace("ctd_ivol", "ctdivol")


@dataclass(frozen=True)
class Wanted:
    """One attribute that is read: its tag, the VR of the dictionary and its column."""

    tag: int
    vr: str
    column: str


@dataclass(frozen=True)
class TagList:
    """Which attributes are read and how each is treated (tags.toml)."""

    attributes: dict[str, str]
    sequences: dict[str, dict[str, str]]

    @classmethod
    @cache
    def load(cls, path: Path = TAGS_FILE) -> "TagList":
        """Read a tag list."""
        document = tomllib.loads(path.read_text())
        return cls(document["attributes"], document["sequences"])

    def columns(self) -> list[str]:
        """Column names in reading order."""
        names = [snake_case(keyword) for keyword in self.attributes]
        return names + [column for item in self.sequences.values() for column in item.values()]

    def treated(self, treatment: str) -> list[str]:
        """Columns of one treatment."""
        return [snake_case(k) for k, how in self.attributes.items() if how == treatment]

    @cached_property
    def meta(self) -> list[Wanted]:
        """Attributes of the file meta information."""
        return [_wanted(keyword) for keyword in self.attributes if keyword in META]

    @cached_property
    def flat(self) -> list[Wanted]:
        """Attributes of the data set itself, in order of their tags."""
        found = [_wanted(keyword) for keyword in self.attributes if keyword not in META]
        return sorted(found, key=lambda wanted: wanted.tag)

    @cached_property
    def items(self) -> dict[int, list[Wanted]]:
        """Attributes of the first item of each sequence, by the tag of the sequence."""
        return {
            _tag(sequence): sorted(
                (_wanted(keyword, column) for keyword, column in item.items()),
                key=lambda wanted: wanted.tag,
            )
            for sequence, item in self.sequences.items()
        }

    @cached_property
    def last_tag(self) -> int:
        """The highest tag of the data set that is read; whatever lies beyond is not looked at."""
        return max([wanted.tag for wanted in self.flat] + list(self.items))


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(f"{keyword} in {TAGS_FILE.name} is no DICOM keyword")
    return int(tag)


def _wanted(keyword: str, column: str | None = None) -> Wanted:
    tag = _tag(keyword)
    return Wanted(tag, dictionary_VR(tag), column or snake_case(keyword))
