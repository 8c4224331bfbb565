"""Carrying out one requested ingest: its download, or its reading into a batch."""

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
from cutout.ingest import Ingest, IngestError, Order, Progress, RejectsFile, StrictError, open_source
from cutout.ingest.change_detection import Memory, refuse_shrunk
from cutout.ingest.estimate import plan_batch
from cutout.ingest.ingest_errors import NoRoomError
from cutout.ingest.pending import (
    Request,
    count_unfinished,
    fail_request,
    is_on_the_web,
    keep_manifest,
    put_down,
    rest_for_room,
    rest_request,
)
from cutout.ingest.quota_room import IngestRestsError, QuotaRoom
from cutout.ingest.sources.open_source import open_object
from cutout.ingest.sources.source import Source
from cutout.ingest.sources.temporary_space import archives_within
from cutout.ingest.stop import Stop, StoppedError
from cutout.manifests import ManifestError
from cutout.models.database import is_away
from cutout.network import BadStatus, FetchError, Patience, TooLarge, Unfinished, fetch_pieces
from cutout.queue.reuse.identity import Making, scope_of
from cutout.queue.reuse.recipe import making_of
from cutout.settings import Settings
from cutout.status.producer_texts import producers_words
from cutout.storage import Bucket, StorageError
from worker.ingester.archive_space import Room
from worker.pipeline.sources import MOST_REDIRECTS, Web, is_lasting

log = logging.getLogger(__name__)

MANIFEST_DEADLINE_S = 3600.0
LEAST_BYTES_PER_SECOND = 16 * 1024
# 30 s, 1 min, 2 min ... together some 5 h.
FIRST_REST_S, LONGEST_REST_S, MOST_TRIES = 30.0, 3600.0, 12
# For want of room: all ingests of one producer that rest take a twentieth of a process at most.
FIRST_ROOM_REST_S, RESTS_TIMES = 5.0, 20.0
MOST_RESTING = 100_000
MOST_REJECTS_LISTED = 10_000
# Of a source most of whose pictures are rejected, no more are looked at.
ABSURD_REJECTS, LEAST_TAKEN = 100_000, 0.1
TOO_MANY_REJECTS = "TOO_MANY_REJECTS"

Work = Callable[[Connection, Request, Stop], None]


class Reader:
    """Carries out requests that the caller's session holds. May be used by several threads."""

    def __init__(
        self, known: Settings, engine: Engine, bucket: Bucket, *, least_rate: float = LEAST_BYTES_PER_SECOND
    ) -> None:
        """Manifests at an address are given up if they come with fewer bytes a second than `least_rate`."""
        self._settings = known
        self._engine = engine
        self._bucket = bucket
        self._room = Room(known)
        self._least_rate = least_rate

    def fetch(self, connection: Connection, request: Request, stop: Stop) -> None:
        """Download the manifest into the bucket, from where it is read. Raises if Postgres is away."""
        self._judged(self._download, connection, request, stop)

    def read(self, connection: Connection, request: Request, stop: Stop) -> None:
        """Read the source into its batch, from its begin or where it stopped. Raises if Postgres is away."""
        try:
            self._judged(self._ingest, connection, request, stop)
        finally:
            self._room.give_up(request.batch_id)

    def _judged(self, work: Work, connection: Connection, request: Request, stop: Stop) -> None:
        batch_id = request.batch_id
        began = time.monotonic()
        try:
            # Before its source is opened, which may be large.
            QuotaRoom(request.order.producer_id).look(connection)
            work(connection, request, stop)
        except IngestRestsError as error:
            _rest_for_room(connection, request, error, time.monotonic() - began)
        except Exception as error:
            if stop.is_set() or isinstance(error, StoppedError):
                log.info("the ingest of batch %s is stopped here", batch_id)
                put_down(connection, batch_id, request.deaths)
                return
            if is_away(error):
                raise
            self._write_down(connection, request, error)

    def _write_down(self, connection: Connection, request: Request, error: Exception) -> None:
        match error:
            case StrictError():
                _fail(connection, request, f"stopped, since nothing was to be rejected, at {error}")
            case NoRoomError():
                _rest(connection, request, str(error), told="there is no room for its archive at present")
            case IngestError():
                _fail(connection, request, str(error), error.code)
            case ManifestError():
                _fail(connection, request, str(error))
            case StorageError() | FetchError():
                self._unreadable(connection, request, error)
            case _:
                # It must not stand in the way of the others for ever.
                log.error(
                    "the ingest of batch %s met an error that nobody expected",
                    request.batch_id,
                    exc_info=error,
                )
                _rest(connection, request, f"an error that nobody expected ({type(error).__name__})")

    def _unreadable(self, connection: Connection, request: Request, error: StorageError | FetchError) -> None:
        why = told = f"the source cannot be read: {error}"
        if isinstance(error, StorageError) and request.order.reading.foreign:
            told = "what was sent cannot be read from where it is kept; send it again"
        if _may_pass(error):
            _rest(connection, request, why, told=told)
        else:
            log.warning("the ingest of batch %s: %s", request.batch_id, why)
            _fail(connection, request, told)

    def _ingest(self, connection: Connection, request: Request, stop: Stop) -> None:
        open_ = partial(self._open, request, self._find_manifest(connection, request, stop), stop)
        if request.order.schedule_id:
            memory = Memory(self._engine, request.order.schedule_id, request.batch_id)
            refuse_shrunk(open_, memory, request.order.shrinks_to)
        words = producers_words if request.order.reading.foreign else str
        with closing(open_()) as source, tempfile.TemporaryDirectory() as room:
            path = Path(room) / "rejects.csv"
            with RejectsFile(path, most=MOST_REJECTS_LISTED, words=words) as rejects:
                ingest = Ingest(
                    self._engine,
                    self._bucket,
                    source,
                    request.order,
                    rejects,
                    requested=request.batch_id,
                )
                plan = partial(plan_batch, making=self._making(request.order), bucket=self._bucket)
                done = ingest.run(
                    on_resume=_say_it_goes_on,
                    watch=partial(_watch, stop, rejects),
                    at_end=plan if request.order.plan else None,
                    check=stop.check,
                )
            log.info("batch %s has %d jobs, %s", request.batch_id, done.counts.jobs, source.kind)

    def _making(self, order: Order) -> Making | None:
        """The identity that the batch's pictures may have been bought under; None if none will do."""
        reuse = self._settings.reuse
        if reuse is Reuse.OFF or not order.reuse:
            return None
        return replace(making_of(self._settings), scope=scope_of(reuse, order.producer_id))

    def _find_manifest(self, connection: Connection, request: Request, stop: Stop) -> str | None:
        """The key of the manifest in the bucket; None where the source is something else."""
        if request.manifest_key or not is_on_the_web(request.source):
            return request.manifest_key
        # An older release asked for it, and did not say that it is to be fetched first.
        self._download(connection, request, stop)
        return _key_of(request.batch_id)

    def _open(self, request: Request, key: str | None, stop: Stop) -> Source:
        reading = request.order.reading
        if key is None:
            return open_source(request.source, reading, self._settings, self._bucket)
        return open_object(
            self._bucket,
            self._bucket.describe(key),
            reading,
            self._settings,
            name="the manifest" if is_on_the_web(request.source) else "the upload",
            check=stop.check,
            room=partial(self._room.make, request.batch_id, request.asked_by),
        )

    def _download(self, connection: Connection, request: Request, stop: Stop) -> None:
        """Into the bucket first: what is read twice must be the same twice."""
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
        too_large = TooLarge(f"it is a zip archive, of which at most {most:,} bytes are taken; pack several")
        key = _key_of(request.batch_id)
        with closing(web.transport), closing(pieces):
            bounded = archives_within(pieces, most, too_large)
            self._bucket.put_pieces(bounded, key=key, media_type="application/octet-stream")
        keep_manifest(connection, request.batch_id, key)


def _key_of(batch_id: uuid.UUID) -> str:
    return f"manifests/{batch_id}"


def _rest(connection: Connection, request: Request, why: str, *, told: str | None = None) -> None:
    """`told` is what its producer is told once no other try is left; `why` if not given."""
    if request.tries + 1 >= MOST_TRIES:
        _fail(connection, request, told or why)
        return
    rest_s = min(FIRST_REST_S * 2**request.tries, LONGEST_REST_S)
    log.warning("the ingest of batch %s rests for %.0f s: %s", request.batch_id, rest_s, why)
    rest_request(connection, request.batch_id, rest_s, request.deaths)


def _rest_for_room(connection: Connection, request: Request, why: IngestRestsError, took_s: float) -> None:
    """What was stored is read again first: the longer that takes, the longer it rests, and the more others of
    its producer do.
    """
    alike = count_unfinished(connection, request.asked_by, MOST_RESTING)
    rest_s = min(max(FIRST_ROOM_REST_S, took_s * RESTS_TIMES * alike), LONGEST_REST_S)
    log.info("the ingest of batch %s rests for %.0f s: %s", request.batch_id, rest_s, why)
    rest_for_room(connection, request.batch_id, rest_s, request.deaths, code=why.why, message=str(why))


def _fail(connection: Connection, request: Request, why: str, code: str | None = None) -> None:
    log.warning("the ingest of batch %s failed: %s", request.batch_id, why)
    fail_request(connection, request.batch_id, why, code)


def _watch(stop: Stop, rejects: RejectsFile, progress: Progress) -> None:
    stop.check()
    counts, first = progress.counts, rejects.first
    if counts.rejects < ABSURD_REJECTS or first is None:
        return
    if counts.pictures - counts.rejects < LEAST_TAKEN * counts.pictures:
        raise IngestError(
            f"{counts.rejects:,} of the first {counts.pictures:,} pictures were rejected, which no catalog is"
            f" worth reading on for; the first was in line {first.line}, {first.column or 'the whole row'}:"
            f" {first.reason}. Mend the file, or say which column is which",
            code=TOO_MANY_REJECTS,
        )


def _may_pass(error: Exception) -> bool:
    if isinstance(error, BadStatus):
        return not is_lasting(error.status)
    return isinstance(error, StorageError | Unfinished)


def _say_it_goes_on(batch_id: object, _counts: object) -> None:
    log.info("the ingest of batch %s goes on where it stopped", batch_id)
