"""A row that somebody keeps locked delays its own batch and nobody else."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.storage import Bucket
from tests.faults.evidence import in_flight, ledger
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

LOCKED_S = 8.0
BLOCKED, CALLED = 12, 4


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker with more threads than connections."""
    assert shop, bucket
    environment["CUTOUT_WORKER_THREADS"] = str(BLOCKED + CALLED)
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.mark.long(
    "a lock of 8 s, longer than the shortest silence; tests/worker/pipeline/test_heartbeat.py has the heart"
)
def test_a_lock_longer_than_the_silence(system: System, sandbox: Sandbox, shop: str) -> None:
    """Calls of other jobs that are out meanwhile are not doubted, and the batch goes on when it is free."""
    sandbox.set(latency=LOCKED_S, latency_spread=0.0)
    system.enqueue_different(shop, CALLED)
    wait_until(lambda: in_flight(sandbox) == CALLED, "calls of other jobs")
    with system.engine.connect() as connection:
        with Session(system.engine) as session, session.begin():
            batch = create_batch(session, "b", budget=100)
            batch_id = batch.id
            enqueue_all(
                session, [NewJob(f"{shop}?{CALLED + 1 + n}") for n in range(BLOCKED)], batch_id=batch_id
            )
        connection.execute(text("SELECT FROM batches WHERE id = :id FOR UPDATE"), {"id": batch_id})
        time.sleep(LOCKED_S)
        connection.rollback()
    sandbox.set(latency=0.0)
    system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=60, without_rests=True)
    total = BLOCKED + CALLED
    assert sandbox.charges() == total
    found = ledger(system)
    assert (found.charged, found.unknown, found.doubted, found.lost) == (total, 0, 0, 0)
    assert "rescued" not in system.log("dispatcher")
