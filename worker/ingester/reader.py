"""Reader of one requested ingest: downloads its manifest, or reads its source into its batch."""

import logging
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine

from cutout.enums import Reuse
from cutout.ingest import Ingest, IngestError, IngestOptions, Progress, RejectsFile, StrictError, open_source
from cutout.ingest.change_detection import ChangeDetection, refuse_shrunk
from cutout.ingest.estimate import plan_batch
from cutout.ingest.ingest_errors import NoRoomError
from cutout.ingest.pending import (
    PendingIngest,
    count_unfinished,
    delay_without_failure,
    fail_request,
    is_on_the_web,
    keep_manifest,
    release,
    retry_later,
)
from cutout.ingest.progress import Counts
from cutout.ingest.quota_room import IngestDelayedError, QuotaRoom
from cutout.ingest.sources.open_source import open_object
from cutout.ingest.sources.source import Source
from cutout.ingest.sources.temporary_space import COPY_PREFIX, archives_within
from cutout.ingest.stop import Stop, StoppedError
from cutout.manifests import ManifestError
from cutout.models.database import is_away
from cutout.network import (
    BadStatus,
    EgressUnavailable,
    FetchError,
    Patience,
    TooLarge,
    Unfinished,
    fetch_pieces,
)
from cutout.queue.reuse.identity import Recipe, scope_of
from cutout.queue.reuse.recipe import recipe_of
from cutout.settings import Settings
from cutout.status.producer_texts import text_for_producer
from cutout.storage import Bucket, StorageError
from worker.ingester import metrics
from worker.ingester.archive_space import ArchiveSpace
from worker.pipeline.sources import EGRESS_AWAY, MOST_REDIRECTS, Web, is_lasting, remedy_for

log = logging.getLogger(__name__)

MANIFEST_DEADLINE_S = 3600.0
LEAST_BYTES_PER_SECOND = 16 * 1024
# 30 s, 1 min, 2 min ... together about 5 h.
FIRST_DELAY_S, LONGEST_DELAY_S, MOST_TRIES = 30.0, 3600.0, 12
# Delays for lack of quota or space: a producer's delayed ingests together use at most 1/20 of a process.
FIRST_SPACE_DELAY_S, DELAY_FACTOR = 5.0, 20.0
MOST_COUNTED = 100_000
MOST_REJECTS_LISTED = 10_000
# The ingest of a source most of whose pictures are rejected ends.
TOO_MANY_REJECTS_FROM, LEAST_ACCEPTED_SHARE = 100_000, 0.1
EGRESS_DELAY_S = 30.0
TOO_MANY_REJECTS = "TOO_MANY_REJECTS"

Work = Callable[[Connection, PendingIngest, Stop], None]


class Reader:
    """Carries out requests held by the caller's session. May be used by several threads."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        bucket: Bucket,
        *,
        least_rate: float = LEAST_BYTES_PER_SECOND,
    ) -> None:
        """A download of a manifest is aborted if it is slower than `least_rate` bytes per second."""
        self._settings = settings
        self._engine = engine
        self._bucket = bucket
        self._space = ArchiveSpace(settings)
        self._least_rate = least_rate

    def fetch(self, connection: Connection, request: PendingIngest, stop: Stop) -> None:
        """Download the manifest into the bucket, from where it is read. Raises if Postgres is unreachable."""
        self._run(self._download, metrics.FETCHED, connection, request, stop)

    def read(self, connection: Connection, request: PendingIngest, stop: Stop) -> None:
        """Read the source into its batch, from its start or its checkpoint. Raises if Postgres is
        unreachable.
        """
        try:
            self._run(self._ingest, metrics.READ, connection, request, stop)
        finally:
            self._space.free(request.batch_id)

    def _run(
        self, work: Work, result: str, connection: Connection, request: PendingIngest, stop: Stop
    ) -> None:
        batch_id = request.batch_id
        began = time.monotonic()
        try:
            # Checked before the source is opened, which may be large.
            QuotaRoom(request.options.producer_id).refresh(connection)
            work(connection, request, stop)
            metrics.REQUESTS.labels(result).inc()
        except IngestDelayedError as error:
            _delay_without_failure(connection, request, error, time.monotonic() - began)
        except EgressUnavailable as error:
            if error.maybe_server:
                self._record_error(connection, request, error)
                return
            log.warning("the source of batch %s cannot be fetched: %s", batch_id, error)
            public = "the manifest waits: there is no connection to its server at present"
            waits = IngestDelayedError(EGRESS_AWAY, public)
            _delay_without_failure(connection, request, waits, EGRESS_DELAY_S / DELAY_FACTOR)
        except Exception as error:
            if stop.is_set() or isinstance(error, StoppedError):
                log.info("the ingest of batch %s is stopped", batch_id)
                release(connection, batch_id, request.deaths)
                metrics.REQUESTS.labels(metrics.STOPPED).inc()
                return
            if is_away(error):
                raise
            self._record_error(connection, request, error)

    def _record_error(self, connection: Connection, request: PendingIngest, error: Exception) -> None:
        match error:
            case StrictError():
                _fail(connection, request, f"stopped, because the ingest is strict, at {error}")
            case NoRoomError():
                _delay(
                    connection,
                    request,
                    str(error),
                    public="there is no disk space for its archive at present",
                )
            case IngestError():
                _fail(connection, request, str(error), error.code)
            case ManifestError():
                _fail(connection, request, str(error))
            case StorageError() | FetchError():
                self._unreadable(connection, request, error)
            case _:
                # Ended or delayed, so that it does not block other requests for ever.
                log.error(
                    "unexpected error in the ingest of batch %s",
                    request.batch_id,
                    exc_info=error,
                )
                _delay(connection, request, f"unexpected error ({type(error).__name__})")

    def _unreadable(
        self, connection: Connection, request: PendingIngest, error: StorageError | FetchError
    ) -> None:
        why = public = f"the source cannot be read: {error}"
        if isinstance(error, BadStatus) and is_lasting(error.status):
            _, remedy = remedy_for(error.status, request.source, "the manifest")
            public = f"{why}; {remedy}"
        if isinstance(error, StorageError) and request.options.reading.foreign:
            public = "the uploaded file cannot be read from the bucket; send it again"
        if _is_temporary(error):
            _delay(connection, request, why, public=public)
        else:
            log.warning("the ingest of batch %s: %s", request.batch_id, why)
            _fail(connection, request, public)

    def _ingest(self, connection: Connection, request: PendingIngest, stop: Stop) -> None:
        key = self._find_manifest(connection, request, stop)
        reason_text = text_for_producer if request.options.reading.foreign else str
        with (
            closing(self._open(request, key, stop)) as source,
            tempfile.TemporaryDirectory(prefix=COPY_PREFIX) as directory,
        ):
            self._refuse_shrunk(request, source)
            path = Path(directory) / "rejects.csv"
            with RejectsFile(path, most=MOST_REJECTS_LISTED, reason_text=reason_text) as rejects:
                ingest = Ingest(
                    self._engine,
                    self._bucket,
                    source,
                    request.options,
                    rejects,
                    requested=request.batch_id,
                )
                options = request.options
                plan = partial(
                    plan_batch,
                    recipe=self._reusable(options),
                    bucket=self._bucket,
                    outputs=options.outputs.most_of(options.forms),
                )
                rows = _RowCount()
                done = ingest.run(
                    on_resume=rows.resume,
                    watch=partial(_check_progress, stop, rejects, rows),
                    at_end=plan if request.options.plan else None,
                    check=stop.check,
                )
            log.info("batch %s has %d jobs, %s", request.batch_id, done.counts.jobs, source.kind)

    def _refuse_shrunk(self, request: PendingIngest, source: Source) -> None:
        options = request.options
        if options.schedule_id:
            detection = ChangeDetection(self._engine, options.schedule_id, request.batch_id)
            refuse_shrunk(source, detection, options.min_source_share)

    def _reusable(self, options: IngestOptions) -> Recipe | None:
        """Return the identity of results that the batch may reuse; None if it may reuse none."""
        reuse = self._settings.reuse
        if reuse is Reuse.OFF or not options.reuse:
            return None
        return replace(recipe_of(self._settings), scope=scope_of(reuse, options.producer_id))

    def _find_manifest(self, connection: Connection, request: PendingIngest, stop: Stop) -> str | None:
        """Return the key of the manifest in the bucket; None if the source is something else."""
        if request.manifest_key or not is_on_the_web(request.source):
            return request.manifest_key
        # Requested by an older release, which did not set `to_fetch`.
        self._download(connection, request, stop)
        return _key_of(request.batch_id)

    def _open(self, request: PendingIngest, key: str | None, stop: Stop) -> Source:
        reading = request.options.reading
        if key is None:
            return open_source(request.source, reading, self._settings, self._bucket)
        return open_object(
            self._bucket,
            self._bucket.describe(key),
            reading,
            self._settings,
            name="the manifest" if is_on_the_web(request.source) else "the upload",
            check=stop.check,
            reserve=partial(self._space.reserve, request.batch_id, request.asked_by),
        )

    def _download(self, connection: Connection, request: PendingIngest, stop: Stop) -> None:
        """Download into the bucket first: a manifest is read twice and must not change in between."""
        web, most = Web(self._settings), self._settings.max_archive_bytes
        pieces = fetch_pieces(
            web.transport,
            request.source,
            max_bytes=self._settings.max_manifest_bytes,
            deadline_s=MANIFEST_DEADLINE_S,
            max_redirects=MOST_REDIRECTS,
            check_url=web.check,
            patience=Patience(self._least_rate, stop.is_set),
        )
        too_large = TooLarge(f"it is a zip archive, and at most {most:,} bytes are accepted; pack several")
        key = _key_of(request.batch_id)
        with closing(web.transport), closing(pieces):
            bounded = archives_within(pieces, most, too_large)
            self._bucket.put_pieces(bounded, key=key, media_type="application/octet-stream")
        keep_manifest(connection, request.batch_id, key)


def _key_of(batch_id: uuid.UUID) -> str:
    return f"manifests/{batch_id}"


def _delay(connection: Connection, request: PendingIngest, why: str, *, public: str | None = None) -> None:
    """Delay the request; after the last try fail it, with `public` for its producer, `why` by default."""
    if request.tries + 1 >= MOST_TRIES:
        _fail(connection, request, public or why)
        return
    metrics.REQUESTS.labels(metrics.DELAYED).inc()
    delay_s = min(FIRST_DELAY_S * 2**request.tries, LONGEST_DELAY_S)
    log.warning("the ingest of batch %s is delayed by %.0f s: %s", request.batch_id, delay_s, why)
    retry_later(connection, request.batch_id, delay_s, request.deaths)


def _delay_without_failure(
    connection: Connection, request: PendingIngest, why: IngestDelayedError, took_s: float
) -> None:
    """Delay the request without counting a try.

    The stored part is read again first: the delay grows with the time that takes, and with the number of
    unfinished requests of the producer.
    """
    metrics.REQUESTS.labels(metrics.DELAYED).inc()
    unfinished = count_unfinished(connection, request.asked_by, MOST_COUNTED)
    delay_s = min(max(FIRST_SPACE_DELAY_S, took_s * DELAY_FACTOR * unfinished), LONGEST_DELAY_S)
    log.info("the ingest of batch %s is delayed by %.0f s: %s", request.batch_id, delay_s, why)
    delay_without_failure(
        connection, request.batch_id, delay_s, request.deaths, code=why.why, message=str(why)
    )


def _fail(connection: Connection, request: PendingIngest, why: str, code: str | None = None) -> None:
    metrics.REQUESTS.labels(metrics.FAILED).inc()
    log.warning("the ingest of batch %s failed: %s", request.batch_id, why)
    fail_request(connection, request.batch_id, why, code)


class _RowCount:
    """Counts the rows of one reading, without those that an earlier one stored."""

    def __init__(self) -> None:
        self._counted = 0

    def resume(self, batch_id: object, counts: Counts) -> None:
        """Begin after what was read before."""
        self._counted = counts.records
        log.info("the ingest of batch %s resumes where it stopped", batch_id)

    def count(self, rows: int) -> None:
        """Count up to this number of rows."""
        metrics.ROWS.inc(max(rows - self._counted, 0))
        self._counted = rows


def _check_progress(stop: Stop, rejects: RejectsFile, rows: _RowCount, progress: Progress) -> None:
    stop.check()
    rows.count(progress.counts.records)
    counts, first = progress.counts, rejects.first
    if counts.rejects < TOO_MANY_REJECTS_FROM or first is None:
        return
    if counts.pictures - counts.rejects < LEAST_ACCEPTED_SHARE * counts.pictures:
        raise IngestError(
            f"{counts.rejects:,} of the first {counts.pictures:,} pictures were rejected, and reading"
            f" stopped; the first was in line {first.line}, {first.column or 'the whole row'}:"
            f" {first.reason}. Fix the file, or map its columns",
            code=TOO_MANY_REJECTS,
        )


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, BadStatus):
        return not is_lasting(error.status)
    return isinstance(error, StorageError | Unfinished)
