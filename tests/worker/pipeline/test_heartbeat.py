"""Heartbeats of a worker continue while its threads wait."""

import io
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.models.database import PostgresAwayError
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.queue.reuse.serve_reused import Dispatched
from cutout.storage.uploads import upload_source
from tests.support.bench import Bench
from tests.support.machine import scaled
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.support.system import wait_until
from worker.pipeline.context import DATABASE_CONNECTIONS
from worker.pipeline.process import process

JOBS = DATABASE_CONNECTIONS + 2
SILENCE_S = 1.2
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def dispatch_a_batch(bench: Bench, photo: bytes) -> tuple[uuid.UUID, Dispatched]:
    """Dispatch a batch with a budget: each call locks its row."""
    source = upload_source(bench.bucket, io.BytesIO(photo))
    with Session(bench.engine) as session, session.begin():
        batch = create_batch(session, "b", budget=100)
        enqueue_all(session, [NewJob(source)] * JOBS, batch_id=batch.id)
        return batch.id, dispatch_calls(session, JOBS, lease=LEASE)


@contextmanager
def locked(engine: Engine, batch_id: uuid.UUID) -> Iterator[None]:
    """The batch's row is locked, as by a psql that was left open."""
    with engine.begin() as connection:
        connection.execute(text("SELECT FROM batches WHERE id = :id FOR UPDATE"), {"id": batch_id})
        yield


def number(engine: Engine, query: str) -> int:
    """The result of the query."""
    with engine.connect() as connection:
        found: int = connection.scalar(text(query))
        return found


class TestALockedBatch:
    def test_does_not_stop_the_heartbeats(
        self, make_bench: Callable[..., Bench], sandbox: Sandbox, photo: bytes
    ) -> None:
        """Heartbeats continue while all connections wait for the lock; then each call goes out once."""
        bench = make_bench(worker_silence_seconds=SILENCE_S)
        # The limit's state is made by the first who asks; the others would wait for it one by one.
        with bench.context.slots.slot(longest_wait_s=scaled(10)):
            pass
        batch_id, dispatched = dispatch_a_batch(bench, photo)
        beats = partial(number, bench.engine, "SELECT beats FROM workers")
        with ThreadPoolExecutor(JOBS) as threads:
            with locked(bench.engine, batch_id):
                done = [threads.submit(process, bench.context, *one) for one in dispatched]
                wait_until(lambda: number(bench.engine, WAITING) >= DATABASE_CONNECTIONS, "all wait")
                before = beats()
                wait_until(lambda: beats() >= before + 2, "two beats", within_s=SILENCE_S)
                assert sandbox.charges() == 0
            for one in done:
                one.result(timeout=scaled(20))
        bench.work()
        assert number(bench.engine, "SELECT count(*) FROM attempts WHERE outcome = 'unknown'") == 0
        assert number(bench.engine, "SELECT count(*) FROM jobs WHERE state = 'succeeded'") == JOBS
        assert sandbox.charges() == JOBS

    def test_is_tried_again_as_an_absent_server_is(self, bench: Bench, photo: bytes) -> None:
        """No statement of a worker keeps its connection for as long as the lock lasts."""
        batch_id, _ = dispatch_a_batch(bench, photo)
        change = text("UPDATE batches SET spent = spent WHERE id = :id")
        with locked(bench.engine, batch_id), pytest.raises(PostgresAwayError, match="LockNotAvailable 55P03"):
            bench.context.store.within(0.0).run(
                lambda connection: connection.execute(change, {"id": batch_id})
            )
