"""Actions carried out by the leader: beside its ticks, and on from where a killed one was."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.administration.delete_batch import request_deletion
from cutout.administration.suspend import resume, suspend
from cutout.enums import ActionKind
from cutout.producers.producers import create_producer
from cutout.queue import snapshot
from cutout.queue.attempts.outcomes import Fail
from cutout.queue.batch_actions import portions
from cutout.queue.batch_actions.carry_out import Portion
from cutout.queue.batch_actions.request import request_action, request_cancel
from cutout.queue.enqueue import create_batch
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.fates import make_batch
from tests.support.forked import Forked, start_module
from tests.support.machine import scaled
from tests.support.system import wait_until
from worker.dispatcher import action_runner as module
from worker.dispatcher.action_runner import ActionRunner, change_runner, deletion_runner

Start = Callable[[], Forked]
MANY = 30_000
ADD_JOBS = text(
    "INSERT INTO jobs (batch_id, producer_id, source, state, queue_state, virtual_start, external_id)"
    " SELECT :batch, :producer, 'https://a.example/a.jpg', 'queued', 'ready', n, n::text"
    " FROM generate_series(1, :count) n"
)
PROGRESS = text("SELECT changed, finished_at IS NOT NULL AS finished FROM actions")


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts dispatchers; no worker is heard, so they dispatch nothing."""
    running: list[Forked] = []

    def start_one() -> Forked:
        log = tmp_path / f"dispatcher-{len(running)}.log"
        running.append(start_module("worker.dispatcher", environment=environment, log=log))
        return running[-1]

    yield start_one
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def shop(engine: Engine) -> uuid.UUID:
    return create(engine, "shop")


def create(engine: Engine, name: str) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return create_producer(session, name)[0].id


def large(engine: Engine, producer_id: uuid.UUID, count: int = MANY) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        batch_id = create_batch(session, "b", producer_id=producer_id).id
        session.execute(ADD_JOBS, {"batch": batch_id, "producer": producer_id, "count": count})
        return batch_id


def tick(runner: ActionRunner, engine: Engine) -> None:
    with engine.connect() as connection:
        runner.tick(connection, snapshot.read_snapshot(connection, []))


def to_the_end(runner: ActionRunner, engine: Engine) -> None:
    """Tick until the run that it begins is over."""
    tick(runner, engine)
    deadline = time.monotonic() + scaled(20)
    while runner._running.running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def killed_on_the_way(engine: Engine, start: Start) -> None:
    """A dispatcher that is killed after its first portion; another carries the action out."""

    def moved() -> bool:
        with engine.connect() as connection:
            row = connection.execute(PROGRESS).one()
        assert not row.finished, "it was too quick to be killed on the way"
        return bool(row.changed)

    first = start()
    wait_until(moved, "its first portion")
    first.kill()
    first.wait()
    start()

    def finished() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(PROGRESS).one().finished)

    wait_until(finished, "the next leader carries it out", within_s=60)


class TestALeaderThatIsKilled:
    @pytest.mark.usefixtures("bucket")
    def test_leaves_a_cancel_to_the_next(self, engine: Engine, start: Start, shop: uuid.UUID) -> None:
        """Each job is counted once, and none is left."""
        batch_id = large(engine, shop)
        with Session(engine) as session, session.begin():
            request_cancel(session, batch_id)
        killed_on_the_way(engine, start)
        with engine.connect() as connection:
            states = connection.execute(text("SELECT state, count(*) FROM jobs GROUP BY state")).all()
            assert states == [("cancelled", MANY)]
            # Others may have been cancelled by the dispatch that met them first.
            assert 0 < connection.execute(PROGRESS).one().changed <= MANY

    def test_leaves_a_deletion_with_its_objects_to_the_next(
        self, engine: Engine, bucket: Bucket, start: Start, shop: uuid.UUID
    ) -> None:
        """No object and no row is left, and each job is counted once."""
        count = 150
        batch_id = make_batch(engine, {str(n): Fail("X", "m") for n in range(count)}, producer_id=shop)
        with engine.connect() as connection:
            ids = connection.scalars(text("SELECT id FROM jobs")).all()
        for job_id in ids:
            bucket.put_cutout(b"x", key=f"unexpected/{job_id}/a", media_type="image/png", metadata={})
        with Session(engine) as session, session.begin():
            session.execute(
                text(
                    "UPDATE jobs SET state = 'succeeded', code = NULL, message = NULL, sha256 = 'x',"
                    " key = 'unexpected/' || id || '/a'"
                )
            )
            request_deletion(session, batch_id, objects=True)
        killed_on_the_way(engine, start)
        with engine.connect() as connection:
            assert connection.execute(PROGRESS).one().changed == count
            assert connection.scalar(text("SELECT count(*) FROM jobs WHERE deleted_at IS NULL")) == 0
            assert connection.scalar(text("SELECT deleted_at IS NOT NULL FROM batches"))
        assert bucket.keys("unexpected/") == []


class TestTheRunner:
    def test_carries_out_what_is_due(self, settings: Settings, engine: Engine, shop: uuid.UUID) -> None:
        batch_id = large(engine, shop, 10)
        with Session(engine) as session, session.begin():
            request_cancel(session, batch_id)
        to_the_end(change_runner(settings), engine)
        with engine.connect() as connection:
            assert connection.execute(PROGRESS).one() == (10, True)

    def test_begins_nothing_for_a_suspended_producer(
        self, settings: Settings, engine: Engine, shop: uuid.UUID
    ) -> None:
        """Nor for an action behind another that waits: no thread, no connection every half second for it."""
        waiting, suspended = large(engine, shop, 1), create(engine, "suspended")
        with Session(engine) as session, session.begin():
            request_action(session, waiting, ActionKind.ADD_OUTPUTS)
            request_cancel(session, waiting)
            session.execute(
                text("UPDATE actions SET due_at = now() + interval '1 hour' WHERE kind <> 'cancel'")
            )
            request_cancel(session, large(engine, suspended, 1))
            suspend(session, suspended)
        runner = change_runner(settings)
        tick(runner, engine)
        assert runner._running._thread is None
        with Session(engine) as session, session.begin():
            resume(session, suspended)
        runner._find_at = 0.0
        to_the_end(runner, engine)
        with engine.connect() as connection:
            done = text("SELECT producer_id FROM actions WHERE finished_at IS NOT NULL")
            assert connection.scalars(done).all() == [suspended]

    def test_stops_when_it_no_longer_leads(
        self, settings: Settings, engine: Engine, shop: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process does not tick any more: the rest is the next leader's."""
        monkeypatch.setattr(module, "LEADS_WITHIN_S", 0.0)
        batch_id = large(engine, shop, 10)
        with Session(engine) as session, session.begin():
            request_cancel(session, batch_id)
        to_the_end(change_runner(settings), engine)
        with engine.connect() as connection:
            assert connection.execute(PROGRESS).one() == (0, False)

    def test_tries_again_after_an_unexpected_error(
        self,
        settings: Settings,
        engine: Engine,
        shop: uuid.UUID,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is logged; the action of another producer goes on meanwhile."""
        other = create(engine, "other")
        for producer_id, kind in ((shop, ActionKind.RETRY), (other, ActionKind.ADD_OUTPUTS)):
            batch_id = large(engine, producer_id, 2)
            with Session(engine) as session, session.begin():
                request_action(session, batch_id, kind)

        def broken(*_given: object) -> Portion:
            raise RuntimeError("broken")

        monkeypatch.setitem(portions.PORTIONS, ActionKind.RETRY, broken)
        to_the_end(change_runner(settings), engine)
        with engine.connect() as connection:
            found = connection.execute(
                text("SELECT kind, tries, finished_at IS NOT NULL, due_at > now() FROM actions ORDER BY id")
            ).all()
        assert [tuple(row)[:3] for row in found] == [("retry", 1, False), ("add_outputs", 0, True)]
        assert found[0][3]
        assert "unexpected error in the retry of the batch" in caplog.text

    def test_waits_for_the_bucket_and_says_so(
        self, settings: Settings, engine: Engine, shop: uuid.UUID
    ) -> None:
        """The bucket does not exist: nothing is deleted, no try is counted, and it goes on once it does."""
        batch_id = make_batch(engine, {"a": Fail("X", "m")}, producer_id=shop)
        with Session(engine) as session, session.begin():
            request_deletion(session, batch_id, objects=True)
        runner = deletion_runner(settings)
        to_the_end(runner, engine)
        with engine.connect() as connection:
            row = connection.execute(text("SELECT code, message, tries, finished_at FROM actions")).one()
        assert (row.code, row.tries, row.finished_at) == ("STORAGE_AWAY", 0, None)
        assert "does not exist" in row.message
        Bucket(settings, connections=1).create()
        with engine.begin() as connection:
            connection.execute(text("UPDATE actions SET due_at = now()"))
        runner._find_at = 0.0
        to_the_end(runner, engine)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT finished_at IS NOT NULL AND code IS NULL FROM actions"))
