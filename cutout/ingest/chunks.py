"""Chunks of records, turned into rows for COPY."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from cutout.enums import Priority, ReturnForm
from cutout.ingest.change_detection import ChangeDetection, ChunkVersions, PictureVersion
from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.progress import Counts
from cutout.ingest.sources.contents import Content, Keep, Stored, open_content
from cutout.ingest.sources.source import Source
from cutout.manifests import Picture, Record, Reject
from cutout.manifests.records import reject
from cutout.producers.ceilings import UNBOUNDED, AboveCeilingError, Ceilings

MOST_PICTURES = 10_000
# Uploads take longer, and a crash repeats a whole chunk: keep it small.
MOST_CONTENTS = 200
MOST_RECORDS = 10_000
# One record may have a reject for each of thousands of values.
MOST_REJECTS = 10_000
# Bound on metadata: a catalog's descriptions may be long.
MOST_CHARACTERS = 4_000_000


@dataclass(slots=True)
class Chunk:
    """Rows for COPY into the staging table, and the counts of the records they came from."""

    lines: list[str] = field(default_factory=list)
    records: int = 0
    rejects: int = 0
    unchanged: int = 0
    versions: ChunkVersions = field(default_factory=ChunkVersions)

    def counts(self, jobs: int, conflicts: int = 0) -> Counts:
        """Return the chunk's counts; rows beyond `jobs` and `conflicts` are duplicates."""
        rows = len(self.lines)
        pictures = rows + self.rejects + self.unchanged
        rejects, duplicates = self.rejects + conflicts, rows - jobs - conflicts
        return Counts(self.records, pictures, jobs, rejects, duplicates, self.unchanged)


FindConflicts = Callable[[Chunk], list[Reject]]
"""Callback that returns the rejects for pictures whose external id and form belong to another stored picture.
"""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values for a picture whose row sets none, and the ceilings for what a row may set."""

    forms: Sequence[ReturnForm]
    priority: Priority
    ceilings: Ceilings = UNBOUNDED


class ChunkReader:
    """Reads a source's records in chunks. `keep` stores a picture's bytes and runs on `pool`."""

    def __init__(
        self,
        source: Source,
        defaults: Defaults,
        keep: Keep,
        pool: Executor,
        on_reject: Callable[[Reject], None],
        *,
        detection: ChangeDetection | None = None,
        records: Iterator[Record] | None = None,
    ) -> None:
        """`records` defaults to the source's own records."""
        self._source = source
        self._defaults = defaults
        self._tails = {(form, rank): f"\t{form}\t{int(rank)}\t" for form in ReturnForm for rank in Priority}
        self._keep = keep
        self._pool = pool
        self._on_reject = on_reject
        self._detection = detection
        self._records = source.records() if records is None else records
        self._upcoming: Record | None = None

    def skip(self, records: int, find_conflicts: FindConflicts) -> int:
        """Skip the first `records` records, which are stored, and report their rejects again; return the
        number skipped.

        Pictures are opened again, because a picture that could not be read was rejected.
        """
        skipped = 0
        while skipped < records:
            draft, took = self._read_some(min(MOST_RECORDS, records - skipped))
            if not took:
                break
            skipped += took
            self._keep_contents(draft, _check_readable)
            if self._source.is_manifest:
                passed = Chunk()
                self._write_all(passed, draft)
                draft.rejects += find_conflicts(passed)
            self._report(draft)
        return skipped

    def read(self, most_jobs: int | None = None) -> Chunk | None:
        """Return the next chunk, or None at the end. Its rejects are reported before it is returned.

        The chunk makes at most `most_jobs` jobs, or has one record.
        """
        draft, records = self._read_some(MOST_RECORDS, most_jobs)
        return self._finish(draft, records) if records else None

    def _read_some(self, most: int, most_jobs: int | None = None) -> tuple["_Draft", int]:
        draft, records, jobs = _Draft(), 0, 0
        while records < most and not draft.is_full and (record := self._next_record()):
            if most_jobs is not None:
                jobs += sum(len(self._forms(picture)) for picture in record.pictures)
                if records and jobs > most_jobs:
                    # This record starts the next chunk.
                    self._upcoming = record
                    break
            records += 1
            self._take(record, draft)
        return draft, records

    def _next_record(self) -> Record | None:
        record, self._upcoming = self._upcoming, None
        return record or next(self._records, None)

    def _take(self, record: Record, draft: "_Draft") -> None:
        rejects = list(record.rejects)
        for picture in record.pictures:
            try:
                located = self._source.locate(picture.source)
            except UnusableError as error:
                rejects.append(_rejected(record.line, picture, error))
                continue
            if fault := self._above_ceiling(record.line, picture):
                rejects.append(fault)
                continue
            draft.add(record.line, picture, located)
        if rejects:
            # Faults in several cells of a row that names one picture count as one picture.
            draft.rejected += len(rejects) if record.pictures or record.named else 1
            draft.rejects += rejects

    def _above_ceiling(self, line: int, picture: Picture) -> Reject | None:
        if picture.priority is None:
            return None
        try:
            self._defaults.ceilings.require_priority(picture.priority)
        except AboveCeilingError as error:
            return reject(line, "priority", picture.priority.name.lower(), str(error))
        return None

    def _finish(self, draft: "_Draft", records: int) -> Chunk:
        chunk = Chunk(records=records)
        if self._detection:
            self._remove_unchanged(draft, chunk, self._detection)
        self._keep_contents(draft, self._keep)
        chunk.rejects = draft.rejected
        self._write_all(chunk, draft)
        self._report(draft)
        return chunk

    def _report(self, draft: "_Draft") -> None:
        for rejected in sorted(draft.rejects, key=_line_of):
            self._on_reject(rejected)

    def _remove_unchanged(self, draft: "_Draft", chunk: Chunk, detection: ChangeDetection) -> None:
        """Remove pictures that are unchanged; their bytes are not read."""
        found = [self._version_of(picture) for _, picture, _ in draft.entries]
        unchanged = detection.unchanged(found)
        kept, chunk.versions = [], ChunkVersions()
        for entry, picture in zip(draft.entries, found, strict=True):
            if picture.external_id in unchanged:
                chunk.unchanged += len(self._forms(entry[1]))
                chunk.versions.unchanged.append(picture.external_id)
            else:
                kept.append(entry)
                chunk.versions.enqueued.append(picture)
        draft.entries = kept

    def _version_of(self, picture: Picture) -> PictureVersion:
        # A picture in other forms has another version.
        version = f"{picture.version} {','.join(self._forms(picture))}" if picture.version else None
        return PictureVersion(picture.external_id, version)

    def _forms(self, picture: Picture) -> Sequence[ReturnForm]:
        return (picture.return_form,) if picture.return_form else self._defaults.forms

    def _keep_contents(self, draft: "_Draft", keep: Keep) -> None:
        if not draft.contents:
            return
        kept = []
        for entry in self._pool.map(lambda entry: _keep_entry(entry, keep), draft.entries):
            if isinstance(entry, Reject):
                draft.rejects.append(entry)
                draft.rejected += 1
            else:
                kept.append(entry)
        draft.entries = kept

    def _write_all(self, chunk: Chunk, draft: "_Draft") -> None:
        for line, picture, located in draft.entries:
            self._write(chunk.lines, line, picture, located)

    def _write(self, lines: list[str], line: int, picture: Picture, located: "_Located") -> None:
        if isinstance(located, str):
            address, sha256 = located, "\\N"
        else:
            assert isinstance(located, Stored)  # noqa: S101 - contents were kept before
            address, sha256 = located.address, f"\\\\x{located.sha256.hex()}"
        details = _escape(json.dumps(picture.metadata)) if picture.metadata else "\\N"
        priority = self._defaults.priority if picture.priority is None else picture.priority
        head = f"{_escape(picture.external_id)}\t{_escape(address)}\t{sha256}"
        named_source = "\\N"
        if self._source.is_manifest and picture.source != address:
            named_source = _escape(picture.source)
        for form in self._forms(picture):
            tail = f"{self._tails[form, priority]}{details}\t{line}\t{named_source}\n"
            lines.append(f"{len(lines)}\t{head}{tail}")


_Located = str | Stored | Content
_Entry = tuple[int, Picture, _Located]


class _Draft:
    """Entries and rejects of a chunk that is being read."""

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

    def add(self, line: int, picture: Picture, located: _Located) -> None:
        self.entries.append((line, picture, located))
        if picture.metadata:
            self._characters += sum(map(len, picture.metadata.values()))
        if not isinstance(located, str):
            self.contents += 1


def _keep_entry(entry: _Entry, keep: Keep) -> _Entry | Reject:
    line, picture, located = entry
    if isinstance(located, str | Stored):
        return entry
    try:
        return line, picture, keep(located)
    except UnusableError as error:
        return _rejected(line, picture, error)


def _check_readable(content: Content) -> Stored:
    with open_content(content):
        return Stored("", b"")


def _rejected(line: int, picture: Picture, error: UnusableError) -> Reject:
    return reject(line, "source", picture.source, str(error))


def _line_of(rejected: Reject) -> int:
    return rejected.line


def _escape(text: str) -> str:
    """Escape for COPY's text format. Control characters were rejected earlier, so the backslash is the only
    one.
    """
    return text.replace("\\", "\\\\") if "\\" in text else text
