"""Many messages at once as columns: which line belongs to which row, and the values of lines.

A row is an OBR group; a message without one has a single row. Texts are written with the usual
separators here; what a message wrote with its own is turned back as its values are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.sources.hl7.escapes import USUAL, unescape
from pipelines.sources.hl7.field_map import GROUP_SEGMENTS

# Places of lines, or numbers of rows and messages; -1 where there is none.
Places = npt.NDArray[np.int64]
COMPONENT, REPETITION, ESCAPE, SUB, FIELD = USUAL
SIGNS = USUAL[:4]


@dataclass(frozen=True)
class Signs:
    """Separators that a message chose itself (order of `USUAL`), and the way to and from them."""

    own: str
    to_usual: Mapping[int, str]
    to_own: Mapping[int, str]

    @classmethod
    def of(cls, own: str) -> "Signs":
        """The signs as an exchange: what stands in the usual place of a sign takes the place that
        the sign had, so that no character is lost."""
        spare = sorted(set(USUAL) - set(own))
        freed = sorted(set(own) - set(USUAL))
        pairs = [*zip(own, USUAL, strict=True), *zip(spare, freed, strict=True)]
        to_usual = {ord(mine): usual for mine, usual in pairs}
        return cls(own, to_usual, {ord(usual): mine for mine, usual in pairs})


class Chunk:
    """Messages of a batch, decoded and with the usual separators, as columns of their lines.

    `charsets` are codecs by message, `signs` the separators of those messages that had their own.
    """

    def __init__(
        self,
        texts: Sequence[str],
        charsets: Sequence[str],
        signs: Mapping[int, Signs],
        segments: Sequence[str],
    ) -> None:
        """Cut the texts into lines and find those of the wanted segments."""
        self.charsets, self.signs = charsets, signs
        self.message_count = len(texts)
        self.lines = pl.Series(["\r".join(texts)]).str.split("\r").explode()
        self.heads = self.lines.str.head(4)
        kinds = pl.Enum([segment + FIELD for segment in segments])
        codes = self.heads.cast(kinds, strict=False).to_physical().cast(pl.Int64).fill_null(-1)
        self._codes = codes.to_numpy()
        self._code = {segment: code for code, segment in enumerate(segments)}
        begins = self._codes == self._code["MSH"]
        if begins.sum() == len(texts):
            self.message_of_line = np.cumsum(begins) - 1
        else:
            # A character set can hide a line that reads as a header from those who cut the bytes.
            counts = [text.count("\r") + 1 for text in texts]
            self.message_of_line = np.repeat(np.arange(len(texts)), counts)
        self._group()

    def _group(self) -> None:
        """Give every line its row: ORC or OBR begins one, but an OBR after an ORC is of its row.

        Lines before the first belong to the first row of their message.
        """
        orders, requests = self._code["ORC"], self._code["OBR"]
        openers = np.flatnonzero((self._codes == orders) | (self._codes == requests))
        kinds, messages = self._codes[openers], self.message_of_line[openers]
        begins = np.ones(len(openers), dtype=bool)
        begins[1:] = ~(
            (kinds[1:] == requests) & (kinds[:-1] == orders) & (messages[1:] == messages[:-1])
        )
        groups = np.bincount(messages[begins], minlength=self.message_count)
        rows = np.maximum(groups, 1)
        self.first_row = np.cumsum(rows) - rows
        self.message_of_row = np.repeat(np.arange(self.message_count), rows)
        self.row_count = len(self.message_of_row)
        self.number_in_message = np.arange(self.row_count) - self.first_row[self.message_of_row] + 1
        begun = np.zeros(len(self._codes), dtype=np.int64)
        begun[openers[begins]] = 1
        within = np.cumsum(begun) - (np.cumsum(groups) - groups)[self.message_of_line]
        self.row_of_line = self.first_row[self.message_of_line] + np.maximum(within - 1, 0)

    def places(self, segment: str) -> Places:
        """Lines of a segment, in order."""
        return np.flatnonzero(self._codes == self._code[segment])

    def others(self) -> tuple[Places, pl.Series]:
        """Lines of no wanted segment, and how each begins."""
        places = np.flatnonzero(self._codes < 0)
        return places, self.heads.gather(places)

    def by_row(self, segment: str, places: Places) -> pl.Series:
        """The first of the lines at `places` in each row, as places to gather by."""
        if is_of_group(segment):
            first = first_of(places, self.row_of_line[places], self.row_count)
        else:
            first = first_of(places, self.message_of_line[places], self.message_count)
            first = first[self.message_of_row]
        return gaps_as_nulls(first)

    def meant(self, values: pl.DataFrame, messages: Places) -> pl.DataFrame:
        """Values as their messages meant them: escapes resolved, own signs in their places.

        `messages` is the message of each row; a column without an odd value stays as it is.
        """
        escaped = values.select(
            pl.all().str.contains(ESCAPE, literal=True).fill_null(False)  # of all columns at once
        )
        has_own = np.zeros(self.message_count, dtype=bool)
        has_own[list(self.signs)] = True
        changed = []
        for name in values.columns:
            is_odd = escaped[name].to_numpy()
            if self.signs:
                is_odd = is_odd | (has_own[messages] & values[name].is_not_null().to_numpy())
            places = np.flatnonzero(is_odd)
            if not len(places):
                continue
            owners = messages[places].tolist()
            found = [
                self._meant(value, message)
                for value, message in zip(
                    values[name].gather(places).to_list(), owners, strict=True
                )
            ]
            changed.append(values[name].clone().scatter(places, pl.Series(found, dtype=pl.String)))
        return values.with_columns(changed) if changed else values

    def _meant(self, value: str, message: int) -> str:
        signs = self.signs.get(message)
        if signs is None:
            return unescape(value, USUAL, self.charsets[message])
        return unescape(value.translate(signs.to_own), signs.own, self.charsets[message])


class Fields:
    """Fields of lines as columns, one column per segment and field, as they were sent.

    `messages` is the message of each row of the frame. Which separators occur in a column is
    looked for once; those that do not need no work.
    """

    def __init__(
        self, chunk: Chunk, frame: pl.DataFrame, messages: Places, lines: pl.DataFrame | None = None
    ) -> None:
        """Take the columns; `lines` are those that they were cut from, to look at first."""
        self.chunk, self.frame, self.messages = chunk, frame, messages
        in_lines = {} if lines is None else _held(lines, {name: SIGNS for name in lines.columns})
        self._held = _held(
            frame, {name: in_lines.get(name.rpartition("-")[0], SIGNS) for name in frame.columns}
        )

    def values(self, places: Mapping[str, tuple[str, int, int]]) -> pl.DataFrame:
        """Parts of fields by name (field, component, sub-component), without blanks around them."""
        found = self.frame.select(
            self._part(field, component, sub).str.strip_chars().alias(name)
            for name, (field, component, sub) in places.items()
        )
        odd = [
            name
            for name, (field, _, _) in places.items()
            if self.chunk.signs or ESCAPE in self._held[field]
        ]
        if not odd:
            return found
        meant = self.chunk.meant(found.select(odd), self.messages)
        return found.with_columns(meant.select(pl.all().str.strip_chars()))

    def _part(self, field: str, component: int, sub: int) -> pl.Expr:
        value = pl.col(field)
        if REPETITION in self._held[field]:
            value = value.str.splitn(REPETITION, 2).struct.field("field_0")
        for sign, number in ((COMPONENT, component), (SUB, sub)):
            if sign not in self._held[field]:
                value = value if number == 1 else pl.lit(None, pl.String)
            elif number == 1:
                value = value.str.splitn(sign, 2).struct.field("field_0")
            else:
                value = value.str.split(sign).list.get(number - 1, null_on_oob=True)
        return value


def _held(frame: pl.DataFrame, signs: Mapping[str, str]) -> dict[str, str]:
    """Which of some separators occur in each column at all."""
    asked = [(name, sign) for name, wanted in signs.items() for sign in wanted]
    if not asked:
        return dict(signs)
    found = frame.select(
        pl.col(name).str.contains(sign, literal=True).any().alias(f"{sign}{name}")
        for name, sign in asked
    ).row(0)
    held = dict.fromkeys(signs, "")
    for (name, sign), is_held in zip(asked, found, strict=True):
        held[name] += sign if is_held else ""
    return held


def cut(lines: pl.DataFrame, wanted: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    """Fields of lines, a column per segment in and one per wanted field out: `OBR-18`."""
    names = [name for name in wanted if name in lines.columns]
    split = lines.select(pl.col(name).str.split(FIELD) for name in names)
    return split.select(
        pl.col(name).list.get(number - (name == "MSH"), null_on_oob=True).alias(f"{name}-{number}")
        for name in names
        for number in wanted[name]
    )


def is_of_group(segment: str) -> bool:
    """Whether a segment speaks of one order; Z segments do."""
    return segment in GROUP_SEGMENTS or segment.startswith("Z")


def first_of(places: Places, owners: Places, count: int) -> Places:
    """The first of the places of each owner."""
    first = np.full(count, -1, dtype=np.int64)
    first[owners[::-1]] = places[::-1]
    return first


def gaps_as_nulls(places: Places) -> pl.Series:
    """Places to gather by, null where there is none."""
    if len(places) and places.min() < 0:
        return pl.Series(places).set(pl.Series(places < 0), None)
    return pl.Series(places)


def given(value: pl.Expr) -> pl.Expr:
    """A value, null where it is empty."""
    return pl.when(value != "").then(value)
