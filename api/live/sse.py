"""A batch's progress as server-sent events, and how each of its jobs ended."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from sse_starlette import ServerSentEvent

from api.limits.producer_slots import ProducerSlots
from api.live.batch_cache import BatchCache, CountedBatch
from api.live.cursors import Sent, event_id
from api.live.read_pool import ReadPool
from api.problems import ProblemError
from cutout.models.database import PostgresAwayError
from cutout.status.finished import ROWS_A_PAGE, FinishedJob, Position, complete_until, finished_jobs

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# Each looks once a second.
MOST_STREAMS = 200


class Events:
    """The streams of this process. Between two looks a stream holds no thread and no connection."""

    def __init__(self, looks: ReadPool, counting: BatchCache) -> None:
        self._looks, self._counting = looks, counting
        self.places = ProducerSlots("streams", "event streams", MOST_STREAMS)

    async def of(
        self,
        batch_id: uuid.UUID,
        producer_id: uuid.UUID,
        after: tuple[Position, Sent] | None,
        may_look: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[bytes]:
        """Events in pieces, up to the end of the batch's outputs, or until there is no look at it in time.

        `may_look` says before each look whether the key of who asks is still taken; the stream ends with it.
        """
        stream = _Stream(self._looks, self._counting, batch_id, producer_id, after)
        try:
            async for piece in stream.pieces(may_look):
                yield piece
        except (PostgresAwayError, ProblemError) as error:
            log.warning("the events of the batch %s end: %s", batch_id, error)


class _Stream:
    """One client's way along a batch."""

    def __init__(
        self,
        looks: ReadPool,
        counting: BatchCache,
        batch_id: uuid.UUID,
        producer_id: uuid.UUID,
        after: tuple[Position, Sent] | None,
    ) -> None:
        self._looks, self._counting = looks, counting
        self._batch_id, self._producer_id = batch_id, producer_id
        self._at = after[0] if after else None
        # The end that was sent; a job that runs again gives the batch another one.
        self._finished_at = after[0].finished_at if after and after[1] else None
        self._told: str | None = None

    async def pieces(self, may_look: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        while await may_look():
            began_at = time.monotonic()
            counted = await self._counting.of(self._batch_id, self._producer_id)
            if counted is None:
                return
            progress = self._progress(counted)
            if progress is not None:
                yield progress
            until = await self._looks.quick(complete_until, of=self._producer_id)
            while page := await self._looks.quick(
                lambda connection: finished_jobs(connection, self._batch_id, self._at, until),  # noqa: B023
                of=self._producer_id,
            ):
                self._at = page[-1].position
                yield b"".join(map(_job, page))
                if len(page) < ROWS_A_PAGE:
                    break
            finished_at = counted.status.finished_at
            if finished_at is not None and finished_at < until:
                if finished_at != self._finished_at:
                    self._finished_at = finished_at
                    yield self._end("finished", counted, finished_at, Sent.FINISHED)
                if counted.status.is_rendered:
                    yield self._end("rendered", counted, finished_at, Sent.RENDERED)
                    return
            await asyncio.sleep(max(LOOK_EVERY_S - (time.monotonic() - began_at), 0))

    def _end(self, name: str, counted: CountedBatch, finished_at: datetime, sent: Sent) -> bytes:
        last = self._at.id if self._at else self._batch_id
        return _event(name, counted.view().model_dump_json(), Position(finished_at, last), sent)

    def _progress(self, counted: CountedBatch) -> bytes | None:
        status = counted.status
        paused = (status.paused_at, status.paused_by_operator_at, status.opens_at)
        told = f"{status.counts}{status.outputs}{status.scores}{counted.credits}{paused}"
        if told == self._told:
            return None
        self._told = told
        return _event("progress", counted.view().model_dump_json(), None)


def _job(job: FinishedJob) -> bytes:
    told = {
        "id": str(job.id),
        "external_id": job.external_id,
        "return_form": job.return_form,
        "state": job.state,
        "code": job.code,
    }
    return _event("job", json.dumps(told), job.position)


def _event(name: str, data: str, at: Position | None, sent: Sent = Sent.JOBS) -> bytes:
    return ServerSentEvent(data, event=name, id=event_id(at, sent) if at else None).encode()
