"""An ingest from its begin, or from where it stopped, to its end."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from cutout.ingest import checkpoint
from cutout.ingest.bulk_insert import Standings, add_jobs, find_conflicts, prepare
from cutout.ingest.change_detection import Memory
from cutout.ingest.chunks import Chunk, ChunkReader, Counts, FindConflicts
from cutout.ingest.id_conflicts import rejects_of
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.numbered_ids import named_records
from cutout.ingest.options import Order
from cutout.ingest.progress import Progress, Watch
from cutout.ingest.quota_room import QuotaRoom
from cutout.ingest.rejects import RejectsFile
from cutout.ingest.sources.contents import Upload
from cutout.ingest.sources.readable_names import readable
from cutout.ingest.sources.source import Source
from cutout.ingest.stop import Check, CheckedKeep, checked, never_stops
from cutout.manifests import Record, Reject
from cutout.storage import Bucket

UPLOADS_AT_ONCE = 8


class StrictError(IngestError):
    """There was a reject, and none was to be."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What an ingest came to; without a batch if nothing could become a job."""

    batch_id: uuid.UUID | None
    counts: Counts


class Ingest:
    """Reads one chunk while the one before it is being stored, so that two of them are in memory.

    `batch_id` and `counts` say what is stored, also after an error. A requested ingest has its batch before
    it begins.
    """

    def __init__(
        self,
        engine: Engine,
        bucket: Bucket,
        source: Source,
        order: Order,
        rejects: RejectsFile,
        *,
        requested: uuid.UUID | None = None,
    ) -> None:
        self._engine = engine
        self._bucket = bucket
        self._source = source
        self._order = order
        self._rejects = rejects
        self._fingerprint = order.fingerprint(source, requested)
        self._requested = requested
        self._memory: Memory | None = None
        if requested and order.schedule_id:
            self._memory = Memory(engine, order.schedule_id, requested)
        self._room = QuotaRoom(order.producer_id)
        self._standings = Standings.awaiting_approval() if order.plan else Standings()
        # Until there is a job there is no batch: a manifest of rejects alone leaves nothing behind.
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
        """Store all. Safe to interrupt anywhere: the same once more goes on, after telling `on_resume`.

        `at_end` is done in the transaction that says that all was read. `check` is called before each record
        and each picture that is kept.

        Raises IngestError, ManifestError, StorageError, StrictError at a reject if none may be, what `check`
        raises, and IngestRestsError where the same once more goes on later.
        """
        with self._engine.connect() as connection, checkpoint.only_one(connection, self._fingerprint):
            manifest_key = self._find(connection, on_resume)
            self._bucket.require()
            prepare(connection)
            connection.commit()
            self._room.look(connection, 0)
            with named_records(self._engine, self._source) as records:
                self._read(connection, checked(records, check), watch, check)
            if self.batch_id is None:
                return Ingested(None, self._unstored)
            manifest_key = manifest_key or self._keep_manifest(self.batch_id)
            rejects_key = self._keep_rejects(self.batch_id)
            if at_end:
                at_end(connection, self.batch_id)
            changes = self._memory.finish(connection) if self._memory else None
            checkpoint.finish(connection, self.batch_id, manifest_key, rejects_key, changes)
            checkpoint.tell(connection, self.batch_id, self._source.skipped, self._source.remarks())
            connection.commit()
        return Ingested(self.batch_id, self.counts)

    def _find(self, connection: Connection, on_resume: Callable[[uuid.UUID, Counts], None]) -> str | None:
        if self._requested is None:
            found = checkpoint.find_unfinished(connection, self._fingerprint)
        else:
            found = checkpoint.take_up(connection, self._requested, self._fingerprint, self._source.kind)
        if found is None:
            return None
        self.batch_id, self.counts = found.batch_id, found.counts
        checkpoint.tell(connection, found.batch_id, self._source.skipped, self._source.remarks())
        connection.commit()
        if found.counts.records:
            on_resume(found.batch_id, found.counts)
        return found.manifest_key

    def _read(self, connection: Connection, records: Iterator[Record], watch: Watch, check: Check) -> None:
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool, ThreadPoolExecutor(1) as writer:
            reader = ChunkReader(
                self._source,
                self._order.asking,
                CheckedKeep(Upload(self._bucket, self._order.producer_id), check),
                pool,
                self._reject,
                memory=self._memory,
                records=records,
            )
            if reader.skip(self.counts.records, self._conflicts(connection)) < self.counts.records:
                raise IngestError(f"the source is shorter than what was read of it for batch {self.batch_id}")
            stored: Future[list[Reject]] | None = None
            while chunk := reader.read(self._room.left):
                self._rejects.flush()
                if stored:
                    self._tell(stored.result())
                self._find_room(connection, len(chunk.lines))
                stored = writer.submit(self._store, connection, chunk)
                self._watch(watch)
            if stored:
                self._tell(stored.result())
            self._rejects.flush()
            self._watch(watch)

    def _find_room(self, connection: Connection, jobs: int) -> None:
        """For a chunk, while none is being stored. What was read of it is read again after a rest."""
        if self._room.left is not None and jobs > self._room.left:
            self._room.look(connection, jobs)
        if self._room.left is not None:
            self._room.left -= jobs

    def _watch(self, watch: Watch) -> None:
        source = self._source
        watch(Progress(self.counts, source.position(), source.extent, source.skipped.total))

    def _conflicts(self, connection: Connection) -> FindConflicts:
        """Of what was stored before; told again, since rejects are written anew."""

        def find(chunk: Chunk) -> list[Reject]:
            assert self.batch_id is not None  # noqa: S101 - something of it was stored
            return rejects_of(find_conflicts(connection, self.batch_id, chunk))

        return find

    def _tell(self, rejects: list[Reject]) -> None:
        for rejected in rejects:
            self._rejects.add(rejected)

    def _reject(self, rejected: Reject) -> None:
        self._rejects.add(rejected)
        if self._order.strict:
            where = f"line {rejected.line}, {rejected.column or 'the whole row'}"
            raise StrictError(f"{where}: {readable(rejected.value)!r} {rejected.reason}")

    def _store(self, connection: Connection, chunk: Chunk) -> list[Reject]:
        """Gives the rejects that only the database could know of."""
        if self.batch_id is None and not chunk.lines:
            self._unstored += chunk.counts(0)
            return []
        with connection.begin():
            # First: whoever adds a single job to the batch takes these in this order too.
            self._room.take(connection, len(chunk.lines))
            batch_id = self.batch_id or self._begin(connection)
            added = add_jobs(connection, batch_id, chunk, self._standings)
            self._room.give_back(connection, len(chunk.lines) - added.jobs)
            rejects = rejects_of(added.conflicts)
            if rejects and self._order.strict:
                # Before anything of the chunk is stored.
                self._reject(rejects[0])
            more = self._unstored + chunk.counts(added.jobs, len(added.conflicts))
            if self._memory:
                self._memory.remember(connection, chunk.sighting)
            checkpoint.move_on(connection, batch_id, self.counts.records, more)
        self.batch_id, self.counts, self._unstored = batch_id, self.counts + more, Counts()
        return rejects

    def _begin(self, connection: Connection) -> uuid.UUID:
        batch_id = checkpoint.begin(connection, self._order, self._fingerprint, self._source.kind)
        checkpoint.tell(connection, batch_id, self._source.skipped, self._source.remarks())
        return batch_id

    def _keep_manifest(self, batch_id: uuid.UUID) -> str | None:
        key = f"manifests/{batch_id}"
        return key if self._source.keep(self._bucket, key) else None

    def _keep_rejects(self, batch_id: uuid.UUID) -> str | None:
        """For those who have no look at this machine."""
        if not self.counts.rejects:
            return None
        key = f"rejects/{batch_id}.csv"
        self._rejects.keep(self._bucket, key)
        return key
