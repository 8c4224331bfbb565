import io
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.forked import Forked, start_cutout
from tests.support.machine import scaled
from tests.support.sandbox import Sandbox
from tests.worker.publishing import Dispatched, publish

WITHIN_S = 40.0
LEASE = timedelta(seconds=600)


class Scene:
    """A queue, a broker and workers without a dispatcher: the test dispatches and publishes itself."""

    def __init__(self, environment: dict[str, str], engine: Engine, source: str, logs: Path) -> None:
        self.environment = {**os.environ, "CUTOUT_SPOOL_DIR": str(logs / "spool"), **environment}
        self._engine = engine
        self._source = source
        self._log = logs / "worker.log"
        self.workers: list[Forked] = []

    def dispatch(self, count: int, *, lease: timedelta = LEASE) -> Dispatched:
        """Enqueue and dispatch so many jobs, without a message."""
        with Session(self._engine) as session, session.begin():
            enqueue_all(session, [NewJob(self._source)] * count)
            return dispatch_calls(session, count, lease=lease)

    def publish(self, dispatched: Dispatched, **bounds: int) -> int:
        """Publish from another process; returns how many messages were sent."""
        return publish(dispatched, self.environment, self._log.parent, **bounds)

    def messages(self) -> list[dict[str, Any]]:
        """The messages for calls in Redis, the oldest first."""
        key = f"{self.environment['CUTOUT_REDIS_PREFIX']}call"
        with redis.Redis.from_url(self.environment["CUTOUT_REDIS_URL"]) as client:
            return [json.loads(raw) for raw in client.lrange(key, 0, -1)[::-1]]

    def start_worker(self) -> None:
        """Start a worker process."""
        self.workers.append(start_cutout(["worker"], environment=self.environment, log=self._log))

    def jobs(self, condition: str) -> set[uuid.UUID]:
        """The ids of the jobs that match."""
        with self._engine.connect() as connection:
            return set(connection.scalars(text(f"SELECT id FROM jobs WHERE {condition}")))  # noqa: S608 - ours

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true."""
        deadline = time.monotonic() + scaled(WITHIN_S)
        while not condition():
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.05)


@pytest.fixture
def scene(
    environment: dict[str, str], engine: Engine, bucket: Bucket, photo: bytes, tmp_path: Path
) -> Iterator[Scene]:
    """A scene without jobs and workers."""
    scene = Scene(environment, engine, upload_source(bucket, io.BytesIO(photo)), tmp_path)
    yield scene
    for worker in scene.workers:
        worker.terminate()
    for worker in scene.workers:
        worker.wait(scaled(30))


class TestMessages:
    def test_each_has_an_id_of_its_own_and_no_end(self, scene: Scene) -> None:
        """Each has one job and one fence, in order, and no time by the clock of the sending host."""
        dispatched = [(uuid.uuid4(), fence) for fence in range(1, 6)]
        assert scene.publish(dispatched) == 5
        headers = [message["headers"] for message in scene.messages()]
        assert [each["argsrepr"] for each in headers] == [f"('{job}', {fence})" for job, fence in dispatched]
        assert len({each["id"] for each in headers}) == 5
        assert [each["expires"] for each in headers] == [None] * 5
        assert [each["timelimit"] for each in headers] == [[None, None]] * 5

    def test_are_valid_as_long_as_their_fence(self, scene: Scene) -> None:
        """A worker processes a job whose lease is over, unless it was dispatched again."""
        late, again = scene.dispatch(2, lease=timedelta(0)), scene.dispatch(3)
        assert scene.publish(late) == 2
        assert scene.publish([(job_id, fence - 1) for job_id, fence in again]) == 3
        scene.start_worker()
        scene.until(lambda: len(scene.jobs("state = 'succeeded'")) == 2 and not scene.messages())
        assert scene.jobs("state = 'succeeded'") == {job for job, _ in late}
        assert scene.jobs("queue_state = 'dispatched'") == {job for job, _ in again}

    @pytest.mark.long("waits out a broker's time limit; the tests beside it send messages")
    def test_that_cannot_be_sent_raise_nothing(self, scene: Scene) -> None:
        """Without Redis none is sent."""
        scene.environment["CUTOUT_REDIS_URL"] = "redis://127.0.0.1:9/0"
        assert scene.publish([(uuid.uuid4(), 1)]) == 0


class TestAWorker:
    @pytest.mark.long("fills every thread of a worker with calls; the tests beside it take messages")
    def test_takes_no_more_messages_than_it_has_threads(self, scene: Scene, sandbox: Sandbox) -> None:
        """The others stay in Redis for another worker; each job that ends makes room for one."""
        scene.environment["CUTOUT_WORKER_THREADS"] = "2"
        sandbox.set(latency=1.0)
        scene.publish(scene.dispatch(6))
        scene.start_worker()
        sums = []

        def all_done() -> bool:
            # The messages first: a job that ends between the two reads makes the sum larger, not smaller.
            queued, done = len(scene.messages()), len(scene.jobs("state = 'succeeded'"))
            sums.append(queued + 2 + done)
            return done == 6

        scene.until(all_done)
        assert min(sums) == 6
        assert scene.messages() == []


class TestAQueueThatNoWorkerEmpties:
    def test_takes_no_more_messages(self, scene: Scene) -> None:
        """The queue is bounded, so Redis does not fill up if a living worker takes nothing."""
        dispatched = [(uuid.uuid4(), fence) for fence in range(1, 6)]
        assert [scene.publish(dispatched, MOST_QUEUED=8) for _ in range(3)] == [5, 0, 0]
        assert len(scene.messages()) == 5
