"""The DICOM feed: folders of files, and archives of them, to header rows, unit by unit."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.harvest.dicom_units import (
    LARGEST_BATCH,
    Unit,
    by_archive,
    parts,
    units,
)
from pipelines.harvest.dose import can_be_dose_report, readable, unread_reports
from pipelines.harvest.model import Batch, Progress, Setup, SourceFile, contract_of
from pipelines.harvest.opening import feed_of, latest_allowed, unregistered
from pipelines.landing.pseudonymise import pseudonymise_headers, pseudonymise_path
from pipelines.landing.writer import LandingStore
from pipelines.network import Network
from pipelines.sources.archives import Archive, ArchiveRefused, Member, is_archive
from pipelines.sources.dicom_headers import acquisition_times, comparison
from pipelines.sources.dicom_headers.read import (
    HeaderBatch,
    HeaderReaders,
    Named,
    name_inside,
    path_of_text,
    read_members,
    rejected_as,
    text_of_path,
)
from pipelines.sources.dicom_headers.tags import TagList
from pipelines.sources.dicom_headers.times import TIMES
from pipelines.sources.extract_tables import Refused
from pipelines.sources.inbox import Delivery

UNREADABLE = "header_is_readable"
TABLE = "dicom_headers"


class DicomHarvest:
    """One harvest of DICOM deliveries: what is known, and the processes that read.

    A context: its end ends the processes. `known` counts the deliveries without anything new.
    """

    def __init__(
        self, setup: Setup, tell: Progress, *, replay_of: str | None, compares_all: bool
    ) -> None:
        """Prepare; `compares_all` lets pydicom read every header once more."""
        self.setup, self.tell = setup, tell
        self.replay_of, self.compares_all = replay_of, compares_all
        self.readers = HeaderReaders(setup.workers)
        self.seen = set(setup.landing.receipts()["manifest_sha"].drop_nulls())
        self.refused = self._still_refused()
        self.known = 0
        self.done = self.total = 0
        self.compared = 0
        self.differing: dict[str, str] = {}
        self.tallies: Counter[str] = Counter()
        self._latest: list[str] = []

    def __enter__(self) -> "DicomHarvest":
        """Use as a context."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes that read."""
        self.readers.__exit__(None, None, None)

    @cached_property
    def _headers(self) -> "_KnownHeaders":
        return _KnownHeaders(self.setup, with_rejects=self.replay_of is None)

    @cached_property
    def _makers(self) -> set[comparison.Maker]:
        return comparison.makers_in(_landed_files(self.setup))

    def _still_refused(self) -> str | None:
        """Hash of the source that is replayed, if the last reading of it was refused whole."""
        if self.replay_of is None:
            return None
        mine = (pl.col("feed_kind") == "dicom") & (pl.col("source_sha") == self.replay_of)
        told = self.setup.landing.receipts().filter(mine).sort("landed_at")["status"]
        return self.replay_of if len(told) and told[-1] == "quarantined" else None

    @cached_property
    def _quarantined(self) -> set[str]:
        return quarantined_paths(self.setup)

    def fresh(self, delivery: Delivery) -> Iterator[Unit]:
        """Units whose listing no receipt speaks of; reads no file.

        A unit of which retention has left nothing but quarantined files is not new.
        """
        for unit in units(delivery):
            if self.replay_of is None and unit.manifest in self.seen:
                continue
            if self.replay_of is None and set(unit.files) <= self._quarantined:
                continue
            yield unit

    def batches(self, deliveries: Sequence[Delivery]) -> Iterator[tuple[list[SourceFile], Batch]]:
        """What is new, in batches that are landed one after another; memory holds one of them."""
        counts = [sum(unit.weight for unit in self.fresh(d)) for d in deliveries]
        self.total = sum(counts)
        self.known = counts.count(0)
        waiting: list[Unit] = []
        weight = 0
        for delivery, count in zip(deliveries, counts, strict=True):
            for unit in self.fresh(delivery) if count else ():
                if waiting and (unit.is_large_archive or weight + unit.weight > LARGEST_BATCH):
                    yield self._batch(waiting)
                    waiting, weight = [], 0
                if unit.is_large_archive:
                    yield from self._large_archive(unit)
                    continue
                waiting.append(unit)
                weight += unit.weight
        if waiting:
            yield self._batch(waiting)

    def _large_archive(self, unit: Unit) -> Iterator[tuple[list[SourceFile], Batch]]:
        (text,) = unit.files
        try:
            archive = Archive(path_of_text(text))
        except (ArchiveRefused, OSError) as error:
            yield self._landable([unit], [(0, rejected_as([(text, _why(error))]))])
            return
        with archive:
            for part in parts(unit, archive):
                if self.replay_of is not None or part.manifest not in self.seen:
                    members = archive.members[part.start : part.stop]
                    read = read_members(archive, text, members, self._look)
                    yield self._landable([part], [(0, self._counted(batch)) for batch in read])

    def _batch(self, waiting: list[Unit]) -> tuple[list[SourceFile], Batch]:
        """Read the files of some units; those of all units side by side."""
        singles: list[Path] = []
        place: dict[str, int] = {}
        found: list[tuple[int | None, HeaderBatch]] = []
        for number, unit in enumerate(waiting):
            single, archives = by_archive(unit.files)
            singles += single
            place.update(dict.fromkeys(unit.files, number))
            for text, wanted in archives.items():
                found += [(number, batch) for batch in self._members(text, wanted)]
        read = [
            (None, self._counted(batch))
            for batch in self.readers.read(singles, expected=self.total)
        ]
        return self._landable(waiting, [*read, *found], place)

    def _members(self, text: str, wanted: list[str] | None) -> Iterator[HeaderBatch]:
        """Headers of the members of an archive, of all or of those of these names."""
        try:
            archive = Archive(path_of_text(text))
        except (ArchiveRefused, OSError) as error:
            yield self._counted(rejected_as([(path, _why(error)) for path in wanted or [text]]))
            return
        with archive:
            by_name = {name_inside(text, member): member for member in archive.members}
            members: list[Member] = archive.members
            if wanted is not None:
                members = [by_name[path] for path in wanted if path in by_name]
                gone = [(path, "the member is gone") for path in wanted if path not in by_name]
                yield rejected_as(gone)
            yield from map(self._counted, read_members(archive, text, members, self._look))

    def _counted(self, batch: HeaderBatch) -> HeaderBatch:
        self.done += len(batch.accepted) + len(batch.rejected)
        self.tell("read dicom", self.done, max(self.total, self.done))
        return batch

    def _landable(
        self,
        waiting: list[Unit],
        read: list[tuple[int | None, HeaderBatch]],
        place: dict[str, int] | None = None,
    ) -> tuple[list[SourceFile], Batch]:
        """Source files and records of some units, without the headers that are known."""
        accepted = _of_units([(n, b.accepted) for n, b in read], place or {})
        rejected = _of_units([(n, b.rejected) for n, b in read], place or {})
        self.tallies.update(dict(accepted["reader"].value_counts().iter_rows()))
        self.tallies["quarantined"] += len(rejected)
        # what has landed since may hold a report that could not be read
        self._headers.doubt(unread_reports(self.setup, self._latest))
        accepted = self._headers.unknown(self._one_of_each(accepted))
        rejected = self._headers.unknown(_known_by_name(rejected, waiting))
        rejected = rejected.drop("is_single").with_columns(rule=pl.lit(UNREADABLE))
        single = accepted.filter("is_single").drop("unit", "is_single")
        self._compare(single, "".join(str(unit.manifest) for unit in waiting))
        accepted, differing = self._without_differing(accepted)
        rejected = pl.concat([rejected, differing])
        again = self._headers.unread & set(accepted["content_sha"])
        self._headers.add(accepted["content_sha"])
        files, frames, rejects = [], [], []
        for number, unit in enumerate(waiting):
            is_mine = pl.col("unit") == number
            mine, bad = accepted.filter(is_mine), rejected.filter(is_mine)
            file, mine, bad = self._file(unit, mine, bad, again)
            files.append(file)
            frames.append(mine)
            rejects.append(bad)
            if unit.manifest is not None:
                self.seen.add(unit.manifest)
        self._latest = [file.sha for file in files]
        zone = self.setup.network.time_zone
        allowed = latest_allowed(files, contract_of("dicom", self.setup), zone)
        records = pl.concat(frames).join(allowed, on="source_sha", how="left")
        records = records.hstack(acquisition_times(records, zone).get_columns())
        rows, tallies = _Landed(self.setup), dict(self.tallies)
        self.tallies.clear()
        return files, Batch(records, pl.concat(rejects), rows, tallies)

    def _one_of_each(self, headers: pl.DataFrame) -> pl.DataFrame:
        """One file of each header: of a dose report one that can be read, whatever others there are.

        Of a report that landed unread, only a file that can be read: the others say nothing new.
        """
        is_unread = pl.col("content_sha").is_in(list(self._headers.unread))
        is_doubtful = can_be_dose_report() & (pl.col("content_sha").is_duplicated() | is_unread)
        doubtful = headers.filter(is_doubtful)["path"].to_list()
        good = readable(doubtful, self.setup) if doubtful else set()
        is_bad = pl.col("path").is_in([path for path in doubtful if path not in good])
        return (
            headers.filter(~(is_bad & is_unread))
            .sort(is_bad, maintain_order=True)
            .unique("content_sha", keep="first", maintain_order=True)
            .sort("unit", "path", maintain_order=True)
        )

    def _look(self, batch: HeaderBatch, named: dict[str, Named]) -> None:
        """Compare members of an archive while their bytes are at hand."""
        if len(batch.accepted):
            self._compare(batch.accepted, str(batch.accepted["path"][0]), named)

    def _compare(
        self, headers: pl.DataFrame, seed: str, named: dict[str, Named] | None = None
    ) -> None:
        """Let pydicom read a sample of headers once more; note in which it reads otherwise."""
        least = max(comparison.AT_LEAST - self.compared, 0)
        share = 1.0 if self.compares_all else self.setup.compare_share
        tags = TagList.load()
        for row in comparison.chosen(headers, share, least, self._makers, seed):
            header = headers.row(row, named=True)
            found = comparison.differing(header, tags, (named or {}).get(header["path"]))
            if found is not None:
                self.compared += 1
                self.tallies["compared_with_pydicom"] += 1
            if found:
                self.differing[header["path"]] = ", ".join(found)

    def _without_differing(self, headers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The headers that pydicom reads alike or that were not compared; and rejects of the others.

        What the reference reads otherwise does not land: it is rejected, and stands until a
        replay with a mended reader, or until it is dismissed.
        """
        is_wrong = pl.col("path").is_in(list(self.differing))
        wrong = headers.filter(is_wrong)
        reasons = [
            f"file {pseudonymise_path(path, self.setup.keys)[:12]}: pydicom reads something else in "
            f"{self.differing[path]}"
            for path in wrong["path"]
        ]
        self.differing.clear()
        rejects = wrong.select(
            "path",
            pl.Series("reason", reasons, dtype=pl.String),
            "content_sha",
            "unit",
            pl.lit(comparison.RULE).alias("rule"),
        )
        return headers.filter(~is_wrong), rejects

    def _file(
        self, unit: Unit, mine: pl.DataFrame, bad: pl.DataFrame, again: set[bytes]
    ) -> tuple[SourceFile, pl.DataFrame, pl.DataFrame]:
        delivery, setup = unit.delivery, self.setup
        digests = sorted(mine["content_sha"].to_list() + bad["content_sha"].to_list())
        listing = unit.manifest or "\n".join(unit.files)
        if not again.isdisjoint(digests):
            # The same headers may have landed before; a receipt speaks of one landing file.
            digests.append(listing.encode())
        sha = hashlib.sha256(b"".join(digests) or listing.encode()).hexdigest()
        if self.refused is not None:
            # The refused delivery once more, even where some of it has landed by another since.
            sha, self.refused = self.refused, None
        feed_id, issuer = _dicom_feed(delivery, setup.network)
        name = public_name(delivery, setup)
        if unit.first:
            name += f"#{pseudonymise_path(unit.first, setup.keys)[:12]}"
        file = SourceFile(delivery, name, sha, feed_id or "dicom", issuer, manifest=unit.manifest)
        file.replay_of = self.replay_of
        if feed_id is None and delivery.path.parent.name == delivery.delivered_on.isoformat():
            # Patients would be hashed without their issuer. A folder given by hand has no feed.
            file.refused = unregistered(delivery, setup.network)
        file.received = len(mine) + len(bad)
        if file.refused is None and bad["path"].to_list() == [text_of_path(delivery.path)]:
            file.refused = _unopened(delivery, bad["reason"][0])
        columns = ("path", "content_sha")
        both = pl.concat([mine.select(columns), bad.select(columns)]).sort("path")
        file.paths = dict(enumerate(both["path"].to_list(), start=1))
        file.record_shas = {
            number: digest.hex() for number, digest in enumerate(both["content_sha"], start=1)
        }
        numbers = both.select("path", row_no=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        source = pl.lit(sha).alias("source_sha")
        rows = mine.join(numbers, on="path", how="left", maintain_order="left")
        rejects = bad.join(numbers, on="path", how="left", maintain_order="left").select(
            source, "row_no", "rule", "reason", pl.lit("").alias("column_name")
        )
        return file, rows.with_columns(source).drop("unit", "is_single"), rejects


def _unopened(delivery: Delivery, reason: str) -> Refused | None:
    """Refusal of a delivery that is one archive, none of which could be used; else none.

    A single file that is no image is a reject: it is one record, an archive is all of them.
    """
    if not is_archive(delivery.path.name):
        return None
    return Refused("archive_is_readable", f"{reason}; ask the sender to pack and deliver it again")


class _Landed:
    """Accepted records as landing rows: identities hashed, issuer by issuer."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __call__(self, good: pl.DataFrame) -> pl.DataFrame:
        found = []
        indexed = good.with_columns(index=pl.int_range(pl.len()))
        for (issuer,), rows in indexed.group_by("issuer_ods", maintain_order=True):
            found.append(
                pseudonymise_headers(
                    rows.drop(TIMES),
                    rows.select(TIMES),
                    self.setup.keys,
                    set(self.setup.known_descriptions),
                    issuer,
                )
            )
        return pl.concat(found)


class _KnownHeaders:
    """Digests of the headers that a receipt speaks of, 16 bytes each.

    What a killed harvest left without a receipt is read again. `unread` are those of dose reports
    that could not be read: they are not known, since a header's digest says nothing of the rest.
    """

    def __init__(self, setup: Setup, *, with_rejects: bool) -> None:
        files = _landed_files(setup)
        digests = [pl.read_parquet(file, columns=["content_sha"])["content_sha"] for file in files]
        self.unread = unread_reports(setup, [file.name.partition(".")[0] for file in files])
        if with_rejects:
            receipts = setup.landing.receipts().select("source_sha")
            rejects = setup.landing.read("rejects").join(receipts, on="source_sha", how="semi")
            digests.append(rejects["record_sha"].drop_nulls().str.decode("hex"))
            self.unread -= set(digests[-1])
        self.sorted = np.unique(np.concatenate([_array(), *map(_array, digests)]))

    def unknown(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of headers that are not known."""
        digests = _array(frame["content_sha"])
        if not len(self.sorted) or not len(digests):
            return frame
        place = np.searchsorted(self.sorted, digests).clip(max=len(self.sorted) - 1)
        is_unread = pl.col("content_sha").is_in(list(self.unread))
        return frame.filter(pl.Series(self.sorted[place] != digests) | is_unread)

    def add(self, digests: pl.Series) -> None:
        """Know these too."""
        self.sorted = np.union1d(self.sorted, _array(digests))
        self.unread -= set(digests)

    def doubt(self, digests: set[bytes]) -> None:
        """Know these no more: they are of dose reports that could not be read."""
        self.unread |= digests


def _array(digests: pl.Series | None = None) -> np.ndarray:
    """Digests side by side; all have 16 bytes, so that one that ends in zeros is no other."""
    data = b"" if digests is None else b"".join(digests.to_list())
    return np.frombuffer(data, dtype="S16")


def _landed_files(setup: Setup) -> list[Path]:
    """Landing files of headers whose receipt tells of landed rows; a refusal's does not."""
    landed = setup.landing.receipts().filter(pl.col("rows_written") > 0)
    receipts = set(landed["source_sha"])
    files = sorted((setup.landing.root / TABLE).glob("*.parquet"))
    return [file for file in files if file.name.partition(".")[0] in receipts]


def _of_units(found: list[tuple[int | None, pl.DataFrame]], place: dict[str, int]) -> pl.DataFrame:
    """Frames as one with the number of the unit of each row, in order of unit and path."""
    frames = []
    for number, frame in found:
        unit = (
            pl.Series([place[path] for path in frame["path"]], dtype=pl.Int64)
            if number is None
            else pl.Series([number], dtype=pl.Int64).new_from_index(0, len(frame))
        )
        single = pl.lit(number is None).alias("is_single")
        frames.append(frame.with_columns(unit.alias("unit"), single))
    return pl.concat(frames).sort("unit", "path", maintain_order=True)


def _known_by_name(rejected: pl.DataFrame, waiting: list[Unit]) -> pl.DataFrame:
    """Rejects known by their content and their name: one empty file is not all empty files."""
    digests = []
    for path, digest, number in rejected.select("path", "content_sha", "unit").iter_rows():
        base = str(waiting[number].delivery.path.parent.parent)
        name = path.removeprefix(base)
        digests.append(hashlib.sha256(digest + name.encode()).digest()[:16])
    return rejected.with_columns(content_sha=pl.Series(digests, dtype=pl.Binary))


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"not readable: {error.strerror}"
    return str(error)


def unseen_folders(deliveries: Sequence[Delivery], setup: Setup) -> list[Delivery]:
    """Deliveries of which a part is new; reads no file."""
    harvest = DicomHarvest(setup, lambda *_: None, replay_of=None, compares_all=False)
    return [d for d in deliveries if next(harvest.fresh(d), None) is not None]


def quarantined_paths(setup: Setup) -> set[str]:
    """Paths of DICOM files that an open quarantine entry would replay."""
    entries = setup.quarantine.entries(state="open")
    payloads = [setup.quarantine.payload(e) for e in entries if e.feed_kind == "dicom"]
    return {path for payload in payloads for path in json.loads(payload)}


def reader_counts(landing: LandingStore) -> dict[str, int]:
    """Headers per reader in what the latest harvest of files landed."""
    receipts = landing.receipts().filter(
        (pl.col("landing_table") == TABLE) & (pl.col("rows_written") > 0)
    )
    latest = receipts.filter(pl.col("landed_at") == pl.col("landed_at").max())
    counts: Counter[str] = Counter()
    for sha in latest["source_sha"]:
        for file in (landing.root / TABLE).glob(f"{sha}.p*.parquet"):
            readers = pl.read_parquet(file, columns=["reader"])["reader"]
            counts.update(dict(readers.value_counts().iter_rows()))
    return dict(counts)


def _dicom_feed(delivery: Delivery, network: Network) -> tuple[str | None, str | None]:
    """Feed of a folder by its name; of a single file by the nearest folder that names a party."""
    folders = [] if delivery.path.is_dir() else list(delivery.path.parents)
    for path in (delivery.path, *folders):
        feed_id, issuer = feed_of(Delivery("dicom", path, delivery.delivered_on), network)
        if feed_id is not None:
            return feed_id, issuer
    return None, None


def public_name(delivery: Delivery, setup: Setup) -> str:
    """Name for receipts: the party's folder, else a keyed hash, since paths can name a patient."""
    is_unit = delivery.path.is_dir() or delivery.path.parent.name == str(delivery.delivered_on)
    if is_unit and feed_of(delivery, setup.network)[0] is not None:
        return delivery.name
    return pseudonymise_path(text_of_path(delivery.path), setup.keys)


def dicom_delivery(folder: Path, day: date) -> Delivery:
    """A folder given by hand (`imaging harvest dicom DIR`) as a delivery of that day."""
    return Delivery("dicom", folder.resolve(), day)
