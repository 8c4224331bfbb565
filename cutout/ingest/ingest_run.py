"""Run of an ingest, from its start or its checkpoint to its end."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from cutout.ingest import checkpoint
from cutout.ingest.added_work import count_added
from cutout.ingest.bulk_insert import InitialState, find_conflicts, insert_jobs, prepare
from cutout.ingest.change_detection import ChangeDetection
from cutout.ingest.chunks import Chunk, ChunkReader, FindConflicts
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.numbered_ids import records_with_final_ids
from cutout.ingest.options import IngestOptions
from cutout.ingest.progress import Counts, Progress, Watch
from cutout.ingest.quota_room import QuotaRoom
from cutout.ingest.rejects import RejectsFile, conflict_rejects
from cutout.ingest.sources.contents import Upload
from cutout.ingest.sources.source import Source
from cutout.ingest.stop import Check, CheckedKeep, checked, never_stops
from cutout.manifests import Record, Reject
from cutout.manifests.field_rules import readable
from cutout.storage import Bucket

UPLOADS_AT_ONCE = 8


class StrictError(IngestError):
    """A picture was rejected and the ingest is strict."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """Final counts of an ingest; `batch_id` is None if nothing could become a job."""

    batch_id: uuid.UUID | None
    counts: Counts


class Ingest:
    """Ingests a source. One chunk is read while the one before it is stored, so two chunks are in memory.

    `batch_id` and `counts` tell what is stored, also after an error. A requested ingest has its batch before
    it starts.
    """

    def __init__(
        self,
        engine: Engine,
        bucket: Bucket,
        source: Source,
        options: IngestOptions,
        rejects: RejectsFile,
        *,
        requested: uuid.UUID | None = None,
        at_begin: Callable[[Connection, uuid.UUID], object] | None = None,
    ) -> None:
        """`at_begin` runs in the transaction that makes the batch of an ingest that was not requested."""
        self._engine = engine
        self._bucket = bucket
        self._source = source
        self._options = options
        self._rejects = rejects
        self._fingerprint = options.fingerprint(source, requested)
        self._requested = requested
        self._at_begin = at_begin
        self._detection: ChangeDetection | None = None
        self._identity: bytes | None = None
        if requested and options.schedule_id:
            self._detection = ChangeDetection(engine, options.schedule_id, requested)
            self._identity = options.identity(source)
        self._quota = QuotaRoom(options.producer_id)
        self._initial_state = InitialState.awaiting_approval() if options.plan else InitialState()
        # The batch is created with the first job: a manifest of rejects alone leaves nothing behind.
        self._unstored = Counts()
        self.batch_id: uuid.UUID | None = None
        self.counts = Counts()

    def run(
        self,
        *,
        on_resume: Callable[[uuid.UUID, Counts], None],
        watch: Watch,
        at_end: Callable[[Connection, uuid.UUID], None] | None = None,
        check: Check = never_stops,
    ) -> Ingested:
        """Store the whole source. Safe to interrupt anywhere: a second run resumes, after calling
        `on_resume`.

        `at_end` runs in the transaction that marks the ingest as finished. `check` is called before each
        record and each picture that is kept.

        Raises IngestError, ManifestError, StorageError, StrictError at a reject of a strict ingest, what
        `check` raises, and IngestDelayedError if the ingest must be resumed later.
        """
        self._options.check_columns(self._source)
        with self._engine.connect() as connection, checkpoint.exclusive(connection, self._fingerprint):
            manifest_key = self._find_checkpoint(connection, on_resume)
            self._bucket.require()
            changes = self._pass_over(connection)
            if changes is None:
                self._read(connection, watch, check)
            if self.batch_id is None:
                return Ingested(None, self._unstored)
            manifest_key = manifest_key or self._keep_manifest(self.batch_id)
            rejects_key = self._keep_rejects(self.batch_id)
            if at_end:
                at_end(connection, self.batch_id)
            if changes is None and self._detection:
                changes = self._detection.finish(connection)
            checkpoint.finish(
                connection, self.batch_id, manifest_key, rejects_key, changes=changes, identity=self._identity
            )
            count_added(connection, self.batch_id, self.counts.jobs, self._source.kind)
            checkpoint.record_remarks(connection, self.batch_id, self._source.skipped, self._source.remarks())
            connection.commit()
        return Ingested(self.batch_id, self.counts)

    def _find_checkpoint(
        self, connection: Connection, on_resume: Callable[[uuid.UUID, Counts], None]
    ) -> str | None:
        if self._requested is None:
            found = checkpoint.find_unfinished(connection, self._fingerprint)
        else:
            found = checkpoint.resume(connection, self._requested, self._fingerprint, self._source.kind)
        if found is None:
            return None
        self.batch_id, self.counts = found.batch_id, found.counts
        checkpoint.record_remarks(connection, found.batch_id, self._source.skipped, self._source.remarks())
        connection.commit()
        if found.counts.records:
            on_resume(found.batch_id, found.counts)
        return found.manifest_key

    def _pass_over(self, connection: Connection) -> dict[str, int] | None:
        """Count the pictures of an unchanged source, none of which is read; None if it must be read.

        The caller commits, with the end of the ingest.
        """
        if self._detection is None or self._identity is None:
            return None
        if self.batch_id is None or self.counts.records:
            return None
        same = self._detection.find_same(connection, self._identity)
        if same is None:
            connection.rollback()
            return None
        checkpoint.advance(connection, self.batch_id, 0, same.counts)
        self.counts = same.counts
        return same.changes

    def _read(self, connection: Connection, watch: Watch, check: Check) -> None:
        prepare(connection)
        connection.commit()
        self._quota.refresh(connection, 0)
        with records_with_final_ids(self._engine, self._source) as records:
            self._store_all(connection, checked(records, check), watch, check)

    def _store_all(
        self, connection: Connection, records: Iterator[Record], watch: Watch, check: Check
    ) -> None:
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool, ThreadPoolExecutor(1) as writer:
            reader = ChunkReader(
                self._source,
                self._options.defaults,
                CheckedKeep(Upload(self._bucket, self._options.producer_id), check),
                pool,
                self._reject,
                detection=self._detection,
                records=records,
            )
            if reader.skip(self.counts.records, self._conflicts(connection)) < self.counts.records:
                raise IngestError(f"the source is shorter than what was read of it for batch {self.batch_id}")
            stored: Future[list[Reject]] | None = None
            while chunk := reader.read(self._quota.left):
                self._rejects.flush()
                if stored:
                    self._add_rejects(stored.result())
                self._require_quota(connection, len(chunk.lines))
                stored = writer.submit(self._store, connection, chunk)
                self._report(watch)
            if stored:
                self._add_rejects(stored.result())
            self._rejects.flush()
            self._report(watch)

    def _require_quota(self, connection: Connection, jobs: int) -> None:
        """Require quota for a chunk, while none is being stored. After a delay the chunk is read again."""
        if self._quota.left is not None and jobs > self._quota.left:
            self._quota.refresh(connection, jobs)
        if self._quota.left is not None:
            self._quota.left -= jobs

    def _report(self, watch: Watch) -> None:
        source = self._source
        watch(Progress(self.counts, source.position(), source.extent, source.skipped.total))

    def _conflicts(self, connection: Connection) -> FindConflicts:
        """Return a callback for what was stored before; its conflicts are reported again because rejects are
        rewritten.
        """

        def find(chunk: Chunk) -> list[Reject]:
            assert self.batch_id is not None  # noqa: S101 - something of it was stored
            return conflict_rejects(find_conflicts(connection, self.batch_id, chunk))

        return find

    def _add_rejects(self, rejects: list[Reject]) -> None:
        for rejected in rejects:
            self._rejects.add(rejected)

    def _reject(self, rejected: Reject) -> None:
        self._rejects.add(rejected)
        if self._options.strict:
            where = f"line {rejected.line}, {rejected.column or 'the whole row'}"
            raise StrictError(f"{where}: {readable(rejected.value)!r} {rejected.reason}")

    def _store(self, connection: Connection, chunk: Chunk) -> list[Reject]:
        """Store a chunk; return the rejects that only the database can detect."""
        if self.batch_id is None and not chunk.lines:
            self._unstored += chunk.counts(0)
            return []
        with connection.begin():
            # First: adding a single job to the batch locks these in the same order too
            self._quota.take(connection, len(chunk.lines))
            batch_id = self.batch_id or self._begin(connection)
            added = insert_jobs(connection, batch_id, chunk, self._initial_state, self._options.outputs)
            self._quota.give_back(connection, len(chunk.lines) - added.jobs)
            rejects = conflict_rejects(added.conflicts)
            if rejects and self._options.strict:
                # Raised before anything of the chunk is stored.
                self._reject(rejects[0])
            more = self._unstored + chunk.counts(added.jobs, len(added.conflicts))
            if self._detection:
                self._detection.save(connection, chunk.versions)
            checkpoint.advance(connection, batch_id, self.counts.records, more)
        self.batch_id, self.counts, self._unstored = batch_id, self.counts + more, Counts()
        return rejects

    def _begin(self, connection: Connection) -> uuid.UUID:
        batch_id = checkpoint.begin(connection, self._options, self._fingerprint, self._source.kind)
        checkpoint.record_remarks(connection, batch_id, self._source.skipped, self._source.remarks())
        if self._at_begin:
            self._at_begin(connection, batch_id)
        return batch_id

    def _keep_manifest(self, batch_id: uuid.UUID) -> str | None:
        key = f"manifests/{batch_id}"
        return key if self._source.keep(self._bucket, key) else None

    def _keep_rejects(self, batch_id: uuid.UUID) -> str | None:
        """Store the rejects file in the bucket, for readers without access to this machine."""
        if not self.counts.rejects:
            return None
        key = f"rejects/{batch_id}.csv"
        self._rejects.keep(self._bucket, key)
        return key
