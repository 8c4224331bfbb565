"""Batches that may not call, and batches that may no more, with a real dispatcher and a real worker."""

import io
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.actions.at_once import cancel_now
from cutout.enums import BatchState, State
from cutout.queue.blocks import approval
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.status.batch_status import batch_status
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.cutout.queue.test_blocked_jobs import planned
from tests.support.asked import COMMAND
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.system import System

NIGHTS = 20
CLOSED = "opens_at = now() - interval '1 hour', closes_at = now()"
OPEN = "opens_at = now(), closes_at = now() + interval '1 hour'"
AT_COPY = "SELECT count(*) = 3 FROM jobs WHERE step = 'copy'"
COUNTED = text("SELECT state, count(*) FROM jobs WHERE batch_id = :id GROUP BY 1")


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and worker; two calls at a time, and no picture is bought twice."""
    settings = environment | {"CUTOUT_REUSE": "producer", "CUTOUT_CALLS_IN_FLIGHT": "2"}
    with System(settings, tmp_path, api=False) as running:
        yield running


def pictures(bucket: Bucket, count: int) -> list[str]:
    """So many different ones, uploaded."""
    return [upload_source(bucket, io.BytesIO(encoded(plain(60 + n), "PNG"))) for n in range(count)]


def batch_of(system: System, sources: list[str]) -> uuid.UUID:
    with Session(system.engine) as session, session.begin():
        batch_id = create_batch(session, "b").id
        enqueue_all(session, [NewJob(each, str(n)) for n, each in enumerate(sources)], batch_id=batch_id)
    return batch_id


def counted(system: System, batch_id: uuid.UUID) -> dict[str, int]:
    with system.engine.connect() as connection:
        return {state: count for state, count in connection.execute(COUNTED, {"id": batch_id})}  # noqa: C416


def ended(batch_id: uuid.UUID) -> str:
    return f"SELECT count(*) = 0 FROM jobs WHERE batch_id = '{batch_id}' AND finished_at IS NULL"  # noqa: S608


@pytest.mark.long("runs everything; tests/cutout/queue/test_blocked_jobs.py has the rules")
def test_a_plan_whose_budget_is_its_price_ends_whole(
    system: System, sandbox: Sandbox, bucket: Bucket
) -> None:
    """Thirty pictures, 25 of them bought last week, a budget of the five others."""
    sources = pictures(bucket, 30)
    last_week = batch_of(system, sources[5:])
    system.until(ended(last_week))
    with Session(system.engine) as session, session.begin():
        batch_id = planned(session, sources, budget=5)
    with system.engine.begin() as connection:
        assert approval.approve(connection, batch_id)
    system.until(ended(batch_id))
    assert counted(system, batch_id) == {"succeeded": 30}
    assert sandbox.charges() == 30


def test_twenty_nights_that_close_together_go_on_in_the_next(
    system: System, sandbox: Sandbox, bucket: Bucket
) -> None:
    """Ten jobs are left of each; all of them are called in the next window."""
    source = pictures(bucket, 1)
    system.execute("UPDATE queue_clock SET paused_at = now()")
    for _ in range(NIGHTS):
        batch_of(system, source * 10)
    system.execute(f"UPDATE batches SET {CLOSED}")  # noqa: S608
    system.execute("UPDATE queue_clock SET paused_at = NULL")
    system.until("SELECT count(*) = 200 FROM jobs WHERE queue_state = 'blocked'")
    system.execute(f"UPDATE batches SET {OPEN}")  # noqa: S608
    system.until("SELECT bool_and(state = 'succeeded') FROM jobs", without_rests=True)
    assert sandbox.charges() == 1


class TestACancelledBatch:
    @pytest.mark.long("runs everything; tests/cutout/queue/test_cancel_batch.py has the rules")
    def test_keeps_what_it_paid_for(self, system: System, sandbox: Sandbox, bucket: Bucket) -> None:
        """Its results are not there yet when it is cancelled; they are copied, and nothing else is bought."""
        sandbox.fault("result_unavailable", next=3)
        batch_id = batch_of(system, pictures(bucket, 3))
        system.until(AT_COPY)
        assert cancel_now(system.engine, COMMAND, batch_id) == 0
        with Session(system.engine) as session:
            found = batch_status(session, batch_id)
            assert found is not None
            assert found.state is BatchState.CANCELLING
        system.until(ended(batch_id), without_rests=True)
        with Session(system.engine) as session:
            found = batch_status(session, batch_id)
            assert found is not None
            assert (found.state, found.counts[State.SUCCEEDED]) == (BatchState.CANCELLED, 3)
        assert sandbox.charges() == 3

    def test_buys_nothing_more(self, system: System, sandbox: Sandbox, bucket: Bucket) -> None:
        """Two of ten calls are out: they end with their cutouts, and whatever else is in hand ends."""
        sandbox.set(latency=1.0)
        batch_id = batch_of(system, pictures(bucket, 10))
        system.until("SELECT count(*) = 2 FROM attempts")
        cancel_now(system.engine, COMMAND, batch_id)
        begun = system.scalar("SELECT count(*) FROM attempts")
        system.until(ended(batch_id))
        assert counted(system, batch_id) == {"succeeded": begun, "cancelled": 10 - begun}
        assert sandbox.charges() == begun
