"""Bytes to rows, a batch of messages at a time.

The text of many messages is cut into lines once, lines into fields once per kind of segment, and
values out of whole columns; a message is looked at by itself only in its header. A message with
separators of its own is first written with the usual ones, its own signs taking their places, and
its values are turned back: one way of reading serves all.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl

from pipelines.sources.hl7.character_sets import CHARSETS
from pipelines.sources.hl7.chunks import (
    COMPONENT,
    REPETITION,
    SUB,
    Chunk,
    Fields,
    Places,
    Signs,
    cut,
    first_of,
    gaps_as_nulls,
    given,
)
from pipelines.sources.hl7.escapes import USUAL
from pipelines.sources.hl7.feed_files import Feed
from pipelines.sources.hl7.field_map import (
    FIELDS,
    STUDY_CODES,
    STUDY_UID,
    STUDY_UID_PATHS,
    Path,
    paths,
)
from pipelines.sources.hl7.framing import ENVELOPE, pieces, tidy

# So many messages are read together: enough that the work of a column is not its overhead, few
# enough that their text stays in the caches of a processor.
CHUNK = 3_400
COLLECTED = {
    "patient_id": pl.String,
    "nhs_number": pl.String,
    "merges_one_authority": pl.Boolean,
    "study_uid": pl.String,
    "study_uid_source": pl.String,
    "study_uid_conflict": pl.Boolean,
    "observation_time": pl.String,
    "performing_org": pl.String,
    "section": pl.String,
    "report_text": pl.String,
}
ROW_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "message_no": pl.Int64,
    "obr_set": pl.Int32,
    **{name: pl.String for name, _ in FIELDS},
    **COLLECTED,
    "charset_fallback": pl.Boolean,
    "content_sha": pl.Binary,
}
REJECT_SCHEMA = {"message_no": pl.Int64, "rule": pl.String, "detail": pl.String}
NATIONAL_TYPES = ["NH", "NHS"]
# What lines say of a report, by OBX-11 (table 0085) and the ADT mark of OBX-3.
SECTIONS = ("plain", "corrected", "addendum", "withdrawn")
TEXT_TYPES = ["TX", "FT", "ST"]
LATEST, PERFORMING = "latest OBX-14", "first OBX-15"
NO_HEADER = ("has_message_header", "the message does not begin with an MSH segment")
SHORT_HEADER = ("has_message_header", "MSH-2 does not name the encoding characters")
ONE_SIGN_TWICE = (
    "has_distinct_separators",
    "MSH-1 and MSH-2 name one sign twice, or a letter, digit or blank; ask the sender to mend them",
)
TWO_PATIENTS = ("has_one_patient", "the message holds segments of two patients")


@dataclass(frozen=True)
class MessageBatch:
    """What a batch of bytes held.

    `rows`: one row per OBR group (ROW_SCHEMA: `message_no` from 1, `obr_set` from 1, one text
    column per field of the map as in `FIELDS`, `patient_id` and `nhs_number` (PID-3 by the type
    of each number), `merges_one_authority` (of a merge: both numbers are of one assigning
    authority, null where one states none), `study_uid`, `study_uid_source`,
    `study_uid_conflict`, `observation_time` (latest OBX-14), `performing_org` (OBX-15),
    `section` (plain | addendum | corrected | withdrawn), `report_text`, `charset_fallback` (the
    bytes were not of the character set that the message states), `content_sha` (equal for a
    message sent again); identities are raw, in memory only).
    `rejected`: one row per message that gave none (`message_no`, `rule`, `detail`).
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame


def read_messages(data: bytes, *, feed: str | Feed) -> MessageBatch:
    """Read a batch of HL7 v2 messages, whatever its framing (MLLP, CR, LF, CRLF, BOM, FHS/BHS).

    `feed` is a feed or its name; one without a feed file is read by the default field map. A
    message without an OBR group gives one row with empty OBR columns. Never raises on content:
    what cannot be read is in `rejected`. Raises FeedFileProblem for a broken feed file.
    """
    return read_batches([data], feed=feed)[0]


def read_batches(batches: Sequence[bytes], *, feed: str | Feed) -> list[MessageBatch]:
    """Read many small batches of one feed as if each were read alone, at the cost of one."""
    feed = Feed.named(feed) if isinstance(feed, str) else feed
    plan = _Plan.of(tuple(sorted(feed.fields.items())))
    frames: list[pl.DataFrame] = []
    rejected: list[tuple[int, str, str]] = []
    # Those with separators of their own are read by themselves: their values are turned back.
    usual, own = _Opened(feed), _Opened(feed)
    number, ends = 0, []
    for data in batches:
        for piece, begins in pieces(data):
            number += 1
            broken = usual.add(piece, number, own) if begins else NO_HEADER
            if broken is not None:
                rejected.append((number, *broken))
            for opened in (usual, own):
                if len(opened.texts) == CHUNK:
                    frames.append(_rows(opened, plan, rejected))
                    opened.clear()
        ends.append(number)
    frames += [_rows(opened, plan, rejected) for opened in (usual, own) if opened.texts]
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=ROW_SCHEMA)
    if not rows["message_no"].is_sorted():
        rows = rows.sort("message_no", "obr_set")
    broken_ones = pl.DataFrame(sorted(rejected), schema=REJECT_SCHEMA, orient="row")
    both = zip(_apart(rows, ends), _apart(broken_ones, ends), strict=True)
    return [MessageBatch(mine, refused) for mine, refused in both]


def _apart(frame: pl.DataFrame, ends: list[int]) -> Iterator[pl.DataFrame]:
    """The records of each batch, numbered from 1; `ends` are the numbers of the last messages."""
    if len(ends) == 1:
        yield frame
        return
    begin = before = 0
    numbers = frame["message_no"].to_numpy()
    for end, place in zip(ends, np.searchsorted(numbers, ends, "right").tolist(), strict=True):
        mine = frame.slice(before, place - before)
        yield mine.with_columns(pl.col("message_no") - begin)
        begin, before = end, place


@dataclass(frozen=True)
class _Plan:
    """What a field map asks of the lines: fields by segment, parts of fields, places by column."""

    fields: Mapping[str, list[int]]
    codes: Mapping[str, frozenset[str]]
    parts: Mapping[str, tuple[str, int, int]]
    places: Mapping[str, list[str]]
    study_uid: tuple[Path, ...]
    segments: list[str]

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, changed: tuple[tuple[str, str], ...]) -> "_Plan":
        """The plan of the field map with the changed columns of a feed."""
        mapped = {**dict(FIELDS), STUDY_UID: STUDY_UID_PATHS, **dict(changed)}
        study_uid = paths(mapped.pop(STUDY_UID))
        fields: dict[str, set[int]] = {}
        codes, parts = {}, {LATEST: (LATEST, 1, 1), PERFORMING: (PERFORMING, 1, 1)}
        places: dict[str, list[str]] = {}
        for column, written in mapped.items():
            for path in paths(written):
                segment = _name(path)
                fields.setdefault(segment, set()).add(path.field)
                codes[segment] = path.codes
                place = f"{segment}-{path.field}.{path.component}.{path.sub}"
                parts[place] = (f"{segment}-{path.field}", path.component, path.sub)
                places.setdefault(column, []).append(place)
        named = {name.partition("(")[0] for name in fields} | {path.segment for path in study_uid}
        return cls(
            {name: sorted(numbers) for name, numbers in fields.items()},
            codes,
            parts,
            places,
            study_uid,
            sorted(named | {"MSH", "PID", "MRG", "ORC", "OBR", "OBX"}),
        )


def _name(path: Path) -> str:
    """Name of the lines that a path looks at: the segment, with its codes if it has some."""
    return f"{path.segment}({'|'.join(sorted(path.codes))})" if path.codes else path.segment


@dataclass
class _Opened:
    """Messages whose headers are read: text, character set, separators and digest of each."""

    feed: Feed
    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    charsets: list[str] = field(default_factory=list)
    fallbacks: list[bool] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    signs: dict[int, Signs] = field(default_factory=dict)
    # As they were sent, for those whose lines are looked at again.
    sent: list[bytes] = field(default_factory=list)
    _codecs: dict[tuple[bytes, bytes], str] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget the messages."""
        for held in (self.numbers, self.texts, self.charsets, self.fallbacks, self.digests):
            held.clear()
        self.sent.clear()
        self.signs.clear()

    def add(self, piece: bytes, number: int, own: "_Opened") -> tuple[str, str] | None:
        """Take in a message, or say which rule it breaks; `own` gets one with other separators."""
        taker = self
        if len(piece) < 8:
            return NO_HEADER
        if b"\n" in piece:
            piece = piece.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
        end = piece.find(b"\r")
        end = end if end >= 0 else len(piece)
        names = piece[:end].split(piece[3:4])
        codec = self._codec(names)
        try:
            text = piece.decode(codec)
            fell_back = False
        except UnicodeDecodeError:
            text, codec, fell_back = piece.decode("latin-1"), "latin-1", True
        if codec != "utf-8" and not text.isascii():
            piece = text.encode()
            end = piece.find(b"\r")
            end = end if end >= 0 else len(piece)
            names = piece[:end].split(piece[3:4])
        # MSH-7 and MSH-10 are blanked: the digest is equal for a message sent again.
        digest = hashlib.sha256(_blanked(piece, names, end)).digest()[:16]
        if piece[3:8] != b"|^~\\&" or names[1][4:] not in (b"", b"#"):
            signs = _signs(text)
            if isinstance(signs, tuple):
                return signs
            if signs is not None:
                taker = own
                own.signs[len(own.texts)] = signs
                text = text.translate(signs.to_usual)
        taker.numbers.append(number)
        taker.texts.append(text)
        taker.charsets.append(codec)
        taker.fallbacks.append(fell_back)
        taker.digests.append(digest)
        taker.sent.append(piece)
        return None

    def _codec(self, names: list[bytes]) -> str:
        """Codec of the character set that MSH-18 states first, or the one of the feed."""
        if self.feed.charset is not None:
            return self.feed.charset
        stated = names[17] if len(names) > 17 else b""
        key = (stated, names[1][1:2] or b"~" if len(names) > 1 else b"~")
        if key not in self._codecs:
            label = stated.split(key[1])[0].strip().upper().decode("latin-1")
            self._codecs[key] = CHARSETS.get(label, self.feed.default_charset)
        return self._codecs[key]


def _signs(text: str) -> Signs | tuple[str, str] | None:
    """Separators of a message, None for the usual ones, or the rule that they break.

    The characters that a short MSH-2 leaves out are the standard's; a fifth is the truncation sign
    of 2.7, which is not read.
    """
    separator = text[3]
    encoding = text.split("\r", 1)[0].split(separator)[1]
    if len(encoding) < 2:
        return SHORT_HEADER
    own = (encoding + USUAL[len(encoding) : 4])[:4] + separator
    if own == USUAL:
        return None
    if len(set(own)) < len(own) or any(sign.isalnum() or sign.isspace() for sign in own):
        return ONE_SIGN_TWICE
    return Signs.of(own)


def _blanked(piece: bytes, names: list[bytes], end: int) -> bytes:
    """A message without what differs when it is sent again; its header ends at `end`."""
    for index in (6, 9):
        if len(names) > index:
            names[index] = b""
    return piece[3:4].join(names) + piece[end:]


def _rows(opened: _Opened, plan: _Plan, rejected: list[tuple[int, str, str]]) -> pl.DataFrame:
    """One row per OBR group of the opened messages; appends to `rejected`."""
    chunk = Chunk(opened.texts, opened.charsets, opened.signs, plan.segments)
    messages = chunk.message_of_row
    digests = _digests_without_envelope(chunk, opened)
    lines = _observations(chunk)
    rows = _values(chunk, plan, lines).hstack(
        [
            pl.Series("message_no", np.array(opened.numbers)[messages], dtype=pl.Int64),
            pl.Series("obr_set", chunk.number_in_message, dtype=pl.Int32),
            *_patient_numbers(chunk),
            _merges_one_authority(chunk),
            *_study_uids(chunk, plan.study_uid, lines),
            *_reports(chunk, lines),
            pl.Series("charset_fallback", np.array(opened.fallbacks)[messages]),
            pl.Series("content_sha", digests, dtype=pl.Binary).gather(messages),
        ]
    )
    several = _several_patients(chunk)
    if several:
        numbers = [opened.numbers[message] for message in several]
        rejected += [(number, *TWO_PATIENTS) for number in numbers]
        rows = rows.filter(~pl.col("message_no").is_in(numbers))
    return rows.select(*ROW_SCHEMA)


def _digests_without_envelope(chunk: Chunk, opened: _Opened) -> list[bytes]:
    """Digests, computed anew for messages with blank lines or envelope segments between theirs."""
    places, heads = chunk.others()
    names = [name.decode() for name in ENVELOPE]
    odd = [
        head
        for head in heads.unique().to_list()
        if not head.strip() or head[0].isspace() or head[:3] in names
    ]
    if odd:
        found = heads.is_in(odd).to_numpy()
        for message in np.unique(chunk.message_of_line[places[found]]).tolist():
            piece = tidy(opened.sent[message])
            end = piece.find(b"\r")
            end = end if end >= 0 else len(piece)
            blanked = _blanked(piece, piece[:end].split(piece[3:4]), end)
            opened.digests[message] = hashlib.sha256(blanked).digest()[:16]
    return opened.digests


def _several_patients(chunk: Chunk) -> list[int]:
    """Messages with a second PID of other numbers: two that ran together, or a batch in one.

    Whose orders follow is then uncertain, and a guess would give one patient's exam to another.
    """
    places = chunk.places("PID")
    messages = chunk.message_of_line[places]
    several = np.bincount(messages, minlength=chunk.message_count)[messages] > 1
    if not several.any():
        return []
    people = cut(pl.DataFrame({"PID": chunk.lines.gather(places[several])}), {"PID": [3]})
    named = people.with_columns(pl.col("PID-3").fill_null(""), message=messages[several])
    counts = named.group_by("message").agg(pl.col("PID-3").n_unique())
    return sorted(counts.filter(pl.col("PID-3") > 1)["message"].to_list())


def _observations(chunk: Chunk) -> pl.DataFrame:
    """One row per OBX line: `row`, `message`, its fields, `identifier` (OBX-3.1) and `code`."""
    places = chunk.places("OBX")
    lines = pl.DataFrame({"OBX": chunk.lines.gather(places)})
    identifier = pl.col("OBX-3").str.splitn(COMPONENT, 2).struct.field("field_0")
    return cut(lines, {"OBX": [2, 3, 5, 11, 14, 15]}).with_columns(
        pl.Series("row", chunk.row_of_line[places]),
        pl.Series("place", places),
        identifier=identifier,
        code=identifier.str.splitn(SUB, 2).struct.field("field_0"),
    )


def _places(chunk: Chunk, path_segment: str, codes: frozenset[str], lines: pl.DataFrame) -> Places:
    """Lines of a segment, of an OBX with codes only those."""
    if not codes:
        return chunk.places(path_segment)
    coded = lines["code"].is_in(list(codes)).fill_null(False).to_numpy()
    return lines["place"].to_numpy()[coded]


def _values(chunk: Chunk, plan: _Plan, lines: pl.DataFrame) -> pl.DataFrame:
    """The columns of the field map, each from the first of its places that holds a value."""
    firsts = {}
    for name, codes in plan.codes.items():
        segment = name.partition("(")[0]
        found = _places(chunk, segment, codes, lines)
        if len(found):
            firsts[name] = chunk.by_row(segment, found)
    by_row = pl.DataFrame({name: chunk.lines.gather(places) for name, places in firsts.items()})
    fields = cut(by_row, plan.fields).hstack([_latest(chunk, lines), _performing(chunk, lines)])
    parts = {name: part for name, part in plan.parts.items() if part[0] in fields.columns}
    found = Fields(chunk, fields, chunk.message_of_row, by_row).values(parts)
    return found.select(
        *(
            pl.coalesce(*(given(pl.col(place)) for place in places if place in parts), None)
            .cast(pl.String)
            .alias(column)
            for column, places in plan.places.items()
        ),
        given(pl.col(LATEST)).alias("observation_time"),
        given(pl.col(PERFORMING)).alias("performing_org"),
    )


def _latest(chunk: Chunk, lines: pl.DataFrame) -> pl.Series:
    """Latest OBX-14 of each row, compared as text."""
    stated = lines.filter(pl.col("OBX-14") != "")
    latest = stated.group_by("row").agg(pl.col("OBX-14").max())
    places = first_of(np.arange(len(latest)), latest["row"].to_numpy(), chunk.row_count)
    return latest["OBX-14"].gather(gaps_as_nulls(places)).alias(LATEST)


def _performing(chunk: Chunk, lines: pl.DataFrame) -> pl.Series:
    """First OBX-15 of each row."""
    places = np.flatnonzero((lines["OBX-15"] != "").fill_null(False).to_numpy())
    first = first_of(places, lines["row"].to_numpy()[places], chunk.row_count)
    return lines["OBX-15"].gather(gaps_as_nulls(first)).alias(PERFORMING)


def _patient_numbers(chunk: Chunk) -> list[pl.Series]:
    """NHS number and local number of PID-3, by the type of each repetition, whatever their order.

    The local number is the first that is not an NHS number; a message that knows the patient by
    NHS number only has that in both.
    """
    places = chunk.by_row("PID", chunk.places("PID"))
    people = cut(pl.DataFrame({"PID": chunk.lines.gather(places)}), {"PID": [3]})
    each = people.select(
        pl.col("PID-3").str.split(REPETITION).alias("number"),
        row=pl.int_range(pl.len(), dtype=pl.Int64),
    ).explode("number")
    rows = each["row"].to_numpy()
    found = Fields(chunk, each.select("number"), chunk.message_of_row[rows]).values(
        {"value": ("number", 1, 1), "kind": ("number", 5, 1)}
    )
    is_national = pl.col("kind").is_in(NATIONAL_TYPES).fill_null(False)
    chosen = found.select(
        national=(pl.col("value") != "") & is_national, local=(pl.col("value") != "") & ~is_national
    ).fill_null(False)
    national, local = (
        found["value"].gather(gaps_as_nulls(first_of(ones, rows[ones], chunk.row_count)))
        for ones in (np.flatnonzero(chosen[name].to_numpy()) for name in ("national", "local"))
    )
    numbers = pl.DataFrame({"national": national, "local": local}).select(
        patient_id=pl.coalesce("local", "national"),
        nhs_number=pl.col("national").str.replace_all(" ", "", literal=True),
    )
    return numbers.get_columns()


def _merges_one_authority(chunk: Chunk) -> pl.Series:
    """Whether the number that a merge keeps and the one it gives up are of one authority.

    The number kept is that of `_patient_numbers`. Null for messages without MRG, and where one of
    the two states no authority: then it is the sender's.
    """
    places = chunk.places("MRG")
    if not len(places):
        return pl.repeat(None, chunk.row_count, dtype=pl.Boolean, eager=True).alias(
            "merges_one_authority"
        )
    messages = chunk.message_of_line[places]
    people = chunk.places("PID")
    person = first_of(people, chunk.message_of_line[people], chunk.message_count)[messages]
    lines = pl.DataFrame(
        {"MRG": chunk.lines.gather(places), "PID": chunk.lines.gather(gaps_as_nulls(person))}
    )
    numbers = cut(lines, {"MRG": [1], "PID": [3]}).with_row_index("merge")
    given_up = Fields(chunk, numbers.select("MRG-1"), messages).values(
        {"authority": ("MRG-1", 4, 1)}
    )
    each = numbers.select("merge", number=pl.col("PID-3").str.split(REPETITION)).explode("number")
    found = Fields(chunk, each.select("number"), messages[each["merge"].to_numpy()]).values(
        {"value": ("number", 1, 1), "authority": ("number", 4, 1), "kind": ("number", 5, 1)}
    )
    kept = (
        found.with_columns(each["merge"], is_national=pl.col("kind").is_in(NATIONAL_TYPES))
        .filter(pl.col("value") != "")
        .sort("merge", pl.col("is_national").fill_null(False), maintain_order=True)
        .unique("merge", keep="first", maintain_order=True)
    )
    both = given_up.with_row_index("merge").join(
        kept, on="merge", how="left", maintain_order="left"
    )
    same = both.select(given(pl.col("authority")) == given(pl.col("authority_right"))).to_series()
    whose = first_of(np.arange(len(places)), messages, chunk.message_count)[chunk.message_of_row]
    return same.gather(gaps_as_nulls(whose)).alias("merges_one_authority")


def _study_uids(chunk: Chunk, wanted: tuple[Path, ...], lines: pl.DataFrame) -> list[pl.Series]:
    """The study UID of each row from the best place, and whether others name another study."""
    values, rows, sources = [], [], []
    for path in wanted:
        places = _places(chunk, path.segment, path.codes, lines)
        fields = cut(
            pl.DataFrame({path.segment: chunk.lines.gather(places)}), {path.segment: [path.field]}
        )
        field_name = f"{path.segment}-{path.field}"
        found = Fields(chunk, fields, chunk.message_of_line[places]).values(
            {"uid": (field_name, path.component, path.sub)}
        )["uid"]
        is_given = (found != "").fill_null(False)
        values.append(found.filter(is_given))
        rows.append(chunk.row_of_line[places[is_given.to_numpy()]])
        sources.append(np.full(len(rows[-1]), len(sources)))
    every, row_of, source = pl.concat(values), np.concatenate(rows), np.concatenate(sources)
    first = first_of(np.arange(len(every)), row_of, chunk.row_count)
    chosen = every.gather(gaps_as_nulls(first))
    conflicts = np.zeros(chunk.row_count, dtype=bool)
    conflicts[row_of[(every != chosen.gather(row_of)).to_numpy()]] = True
    names = pl.Series([path.segment for path in wanted])
    taken = np.where(first >= 0, np.append(source, -1)[first], -1)
    return [
        chosen.alias("study_uid"),
        names.gather(gaps_as_nulls(taken)).alias("study_uid_source"),
        pl.Series("study_uid_conflict", conflicts),
    ]


def _reports(chunk: Chunk, lines: pl.DataFrame) -> list[pl.Series]:
    """Text of each report, and what its lines say of the whole.

    Text has no components: an unescaped ^ or & in it is a character like any other; repetitions
    are lines.
    """
    suffixes = pl.col("identifier").str.split(SUB).list.slice(1)
    texts = lines.filter(
        pl.col("OBX-2").is_in(TEXT_TYPES) & ~pl.col("code").is_in(STUDY_CODES).fill_null(False)
    ).select(
        "row",
        text=pl.col("OBX-5").fill_null("").str.replace_all(REPETITION, "\n", literal=True),
        corrected=pl.col("OBX-11") == "C",
        addendum=suffixes.list.contains("ADT"),
        withdrawn=pl.col("OBX-11").is_in(["D", "W"]),
    )
    rows = texts["row"].to_numpy()
    meant = chunk.meant(texts.select("text"), chunk.message_of_row[rows])
    joined = (
        texts.select("row")
        .hstack(meant)
        .group_by("row", maintain_order=True)
        .agg(pl.col("text").str.join("\n"))
    )
    whole = joined["text"].gather(
        gaps_as_nulls(first_of(np.arange(len(joined)), joined["row"].to_numpy(), chunk.row_count))
    )
    section = np.zeros(chunk.row_count, dtype=np.int64)
    # The later of these outdoes the one before.
    for number, name in enumerate(SECTIONS[1:], start=1):
        section[rows[texts[name].fill_null(False).to_numpy()]] = number
    return [
        pl.Series(SECTIONS).gather(section).alias("section"),
        whole.set(whole == "", None).alias("report_text"),
    ]
