"""From records to lines for COPY, so many at a time."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from cutout.enums import Priority, ReturnForm
from cutout.ingest.change_detection import Memory, Seen, Sighting
from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.contents import Content, Keep, Stored, open_content
from cutout.ingest.sources.source import Source
from cutout.manifests import Picture, Record, Reject
from cutout.manifests.records import reject
from cutout.producers.ceilings import UNBOUNDED, AboveCeilingError, Ceilings

MOST_PICTURES = 10_000
# Pictures that are uploaded take longer: what a crash may repeat is kept small.
MOST_CONTENTS = 200
MOST_RECORDS = 10_000
# A record may have a reject for each of thousands of values.
MOST_REJECTS = 10_000
# Of metadata: a catalog's descriptions may be long.
MOST_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What was read and what came of it: pictures = jobs + rejects + duplicates + unchanged, where a picture
    counts once for each of its forms.
    """

    records: int = 0
    pictures: int = 0
    jobs: int = 0
    rejects: int = 0
    duplicates: int = 0
    unchanged: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.records + other.records,
            self.pictures + other.pictures,
            self.jobs + other.jobs,
            self.rejects + other.rejects,
            self.duplicates + other.duplicates,
            self.unchanged + other.unchanged,
        )


@dataclass(slots=True)
class Chunk:
    """Lines for COPY into the staging table, and what the records that they came from count."""

    lines: list[str] = field(default_factory=list)
    records: int = 0
    rejects: int = 0
    unchanged: int = 0
    sighting: Sighting = field(default_factory=Sighting)

    def counts(self, jobs: int, conflicts: int = 0) -> Counts:
        """With `jobs` stored and `conflicts` rejected, the rest of the lines are duplicates."""
        rows = len(self.lines)
        pictures = rows + self.rejects + self.unchanged
        rejects, duplicates = self.rejects + conflicts, rows - jobs - conflicts
        return Counts(self.records, pictures, jobs, rejects, duplicates, self.unchanged)


FindConflicts = Callable[[Chunk], list[Reject]]
"""The rejects for pictures of a chunk whose external id and form is another stored picture's."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a picture gets whose row does not ask for anything, and the best priority that it may ask for."""

    forms: Sequence[ReturnForm]
    priority: Priority
    ceilings: Ceilings = UNBOUNDED


class ChunkReader:
    """Turns a source's records into chunks. `keep` is given what must be uploaded, on `pool`."""

    def __init__(
        self,
        source: Source,
        asking: Asking,
        keep: Keep,
        pool: Executor,
        on_reject: Callable[[Reject], None],
        *,
        memory: Memory | None = None,
        records: Iterator[Record] | None = None,
    ) -> None:
        """`records` are the source's own if they are not given."""
        self._source = source
        self._asking = asking
        self._tails = {(form, rank): f"\t{form}\t{int(rank)}\t" for form in ReturnForm for rank in Priority}
        self._keep = keep
        self._pool = pool
        self._on_reject = on_reject
        self._memory = memory
        self._records = source.records() if records is None else records
        self._upcoming: Record | None = None

    def skip(self, records: int, find_conflicts: FindConflicts) -> int:
        """Read past what is stored, telling its rejects again; returns how many records there were.

        Pictures are opened once more, since one that could not be read was rejected.
        """
        skipped = 0
        while skipped < records:
            reading, took = self._read_some(min(MOST_RECORDS, records - skipped))
            if not took:
                break
            skipped += took
            self._keep_contents(reading, _look_at)
            if self._source.is_manifest:
                passed = Chunk()
                self._write_all(passed, reading)
                reading.rejects += find_conflicts(passed)
            self._tell(reading)
        return skipped

    def read(self, most_jobs: int | None = None) -> Chunk | None:
        """The next chunk, or None at the end. Its rejects were told before it is given.

        It makes no more jobs than `most_jobs`, or is one record.
        """
        reading, records = self._read_some(MOST_RECORDS, most_jobs)
        return self._finish(reading, records) if records else None

    def _read_some(self, most: int, most_jobs: int | None = None) -> tuple["_Reading", int]:
        reading, records, jobs = _Reading(), 0, 0
        while records < most and not reading.is_full and (record := self._next_record()):
            if most_jobs is not None:
                jobs += sum(len(self._forms(picture)) for picture in record.pictures)
                if records and jobs > most_jobs:
                    # It begins the next chunk.
                    self._upcoming = record
                    break
            records += 1
            self._take(record, reading)
        return reading, records

    def _next_record(self) -> Record | None:
        record, self._upcoming = self._upcoming, None
        return record or next(self._records, None)

    def _take(self, record: Record, reading: "_Reading") -> None:
        rejects = list(record.rejects)
        for picture in record.pictures:
            try:
                place = self._source.locate(picture.source)
            except UnusableError as error:
                rejects.append(_rejected(record.line, picture, error))
                continue
            if fault := self._above_ceiling(record.line, picture):
                rejects.append(fault)
                continue
            reading.add(record.line, picture, place)
        if rejects:
            # Faults in several cells of a row that names one picture are one picture.
            reading.rejected += len(rejects) if record.pictures or record.named else 1
            reading.rejects += rejects

    def _above_ceiling(self, line: int, picture: Picture) -> Reject | None:
        if picture.priority is None:
            return None
        try:
            self._asking.ceilings.require_priority(picture.priority)
        except AboveCeilingError as error:
            return reject(line, "priority", picture.priority.name.lower(), str(error))
        return None

    def _finish(self, reading: "_Reading", records: int) -> Chunk:
        chunk = Chunk(records=records)
        if self._memory:
            self._set_aside(reading, chunk, self._memory)
        self._keep_contents(reading, self._keep)
        chunk.rejects = reading.rejected
        self._write_all(chunk, reading)
        self._tell(reading)
        return chunk

    def _tell(self, reading: "_Reading") -> None:
        for rejected in sorted(reading.rejects, key=_line):
            self._on_reject(rejected)

    def _set_aside(self, reading: "_Reading", chunk: Chunk, memory: Memory) -> None:
        """Pictures that are as they were when last seen; their bytes are not even read."""
        seen = [self._seen(picture) for _, picture, _ in reading.entries]
        unchanged = memory.unchanged(seen)
        kept, chunk.sighting = [], Sighting()
        for entry, one in zip(reading.entries, seen, strict=True):
            if one.external_id in unchanged:
                chunk.unchanged += len(self._forms(entry[1]))
                chunk.sighting.unchanged.append(one.external_id)
            else:
                kept.append(entry)
                chunk.sighting.enqueued.append(one)
        reading.entries = kept

    def _seen(self, picture: Picture) -> Seen:
        # Asked for in other forms it is another picture.
        version = f"{picture.version} {','.join(self._forms(picture))}" if picture.version else None
        return Seen(picture.external_id, version)

    def _forms(self, picture: Picture) -> Sequence[ReturnForm]:
        return (picture.return_form,) if picture.return_form else self._asking.forms

    def _keep_contents(self, reading: "_Reading", keep: Keep) -> None:
        if not reading.contents:
            return
        kept = []
        for entry in self._pool.map(lambda entry: _kept(entry, keep), reading.entries):
            if isinstance(entry, Reject):
                reading.rejects.append(entry)
                reading.rejected += 1
            else:
                kept.append(entry)
        reading.entries = kept

    def _write_all(self, chunk: Chunk, reading: "_Reading") -> None:
        for line, picture, place in reading.entries:
            self._write(chunk.lines, line, picture, place)

    def _write(self, lines: list[str], line: int, picture: Picture, place: "_Place") -> None:
        if isinstance(place, str):
            address, sha256 = place, "\\N"
        else:
            assert isinstance(place, Stored)  # noqa: S101 - contents were kept before
            address, sha256 = place.address, f"\\\\x{place.sha256.hex()}"
        details = _escape(json.dumps(picture.metadata)) if picture.metadata else "\\N"
        priority = self._asking.priority if picture.priority is None else picture.priority
        head = f"{_escape(picture.external_id)}\t{_escape(address)}\t{sha256}"
        named = "\\N"
        if self._source.is_manifest and picture.source != address:
            named = _escape(picture.source)
        for form in self._forms(picture):
            tail = f"{self._tails[form, priority]}{details}\t{line}\t{named}\n"
            lines.append(f"{len(lines)}\t{head}{tail}")


_Place = str | Stored | Content
_Entry = tuple[int, Picture, _Place]


class _Reading:
    """What is read of a chunk so far."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.rejects: list[Reject] = []
        self.rejected = 0
        self.contents = 0
        self._characters = 0

    @property
    def is_full(self) -> bool:
        return (
            len(self.entries) >= MOST_PICTURES
            or len(self.rejects) >= MOST_REJECTS
            or self.contents >= MOST_CONTENTS
            or self._characters >= MOST_CHARACTERS
        )

    def add(self, line: int, picture: Picture, place: _Place) -> None:
        self.entries.append((line, picture, place))
        if picture.metadata:
            self._characters += sum(map(len, picture.metadata.values()))
        if not isinstance(place, str):
            self.contents += 1


def _kept(entry: _Entry, keep: Keep) -> _Entry | Reject:
    line, picture, place = entry
    if isinstance(place, str | Stored):
        return entry
    try:
        return line, picture, keep(place)
    except UnusableError as error:
        return _rejected(line, picture, error)


def _look_at(content: Content) -> Stored:
    with open_content(content):
        return Stored("", b"")


def _rejected(line: int, picture: Picture, error: UnusableError) -> Reject:
    return reject(line, "source", picture.source, str(error))


def _line(rejected: Reject) -> int:
    return rejected.line


def _escape(text: str) -> str:
    """For COPY's text format: control characters were refused before, so that leaves one character."""
    return text.replace("\\", "\\\\") if "\\" in text else text
