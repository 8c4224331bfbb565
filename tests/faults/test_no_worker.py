"""Without a worker, messages do not pile up in Redis."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.forked import start_cutout
from tests.support.machine import scaled
from tests.support.system import wait_until

LEASES = 3
ALIVE = "INSERT INTO workers (host, pid, heartbeat_at) VALUES ('here', 1, now() + interval '1 hour')"
RETURNED = "SELECT count(*) = 0 FROM jobs WHERE queue_state = 'dispatched'"
LEASE_IS_OVER = "UPDATE jobs SET scheduled_at = now() - interval '1 s' WHERE queue_state = 'dispatched'"


class Queue:
    """Jobs in Postgres and their messages in Redis."""

    def __init__(self, engine: Engine, client: redis.Redis, key: str, log: Path) -> None:
        self.engine, self._client, self._key, self._log = engine, client, key, log

    def logged(self, words: str) -> bool:
        return words in self._log.read_text()

    def messages(self) -> int:
        return int(self._client.llen(self._key))

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def holds(self, condition: str) -> bool:
        with self.engine.connect() as connection:
            return bool(connection.scalar(text(condition)))


@pytest.fixture
def queue(
    environment: dict[str, str], engine: Engine, settings: Settings, bucket: Bucket, tmp_path: Path
) -> Iterator[Queue]:
    """A dispatcher with ready jobs, and a worker that has just been heard and takes nothing."""
    assert bucket
    with Session(engine) as session, session.begin():
        enqueue_all(session, [NewJob("s3://bucket/picture.jpg")] * 300)
        session.execute(text(ALIVE))
    log = tmp_path / "dispatcher.log"
    dispatcher = start_cutout(("dispatcher",), environment={**os.environ, **environment}, log=log)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield Queue(engine, client, f"{settings.redis_prefix}call", log)
    dispatcher.terminate()
    dispatcher.wait(scaled(30))


def test_messages_do_not_pile_up_over_several_leases(queue: Queue) -> None:
    """The window goes out once; when the worker has left, nothing follows until one is heard again."""
    wait_until(lambda: queue.messages() > 0, "the window of a worker that lives", within_s=20)
    queue.execute("UPDATE workers SET left_at = now()")
    queue.execute("UPDATE workers SET heartbeat_at = now() - interval '1 hour'")
    # The dispatcher looks once a second.
    wait_until(lambda: queue.logged("no worker lives"), "the dispatcher knows")
    before = None
    for _ in range(LEASES):
        queue.execute(LEASE_IS_OVER)
        wait_until(lambda: queue.holds(RETURNED), "the jobs back in the queue")
        before = before or queue.messages()
    assert queue.messages() == before
    queue.execute("UPDATE workers SET left_at = NULL, heartbeat_at = now() + interval '1 hour'")
    wait_until(lambda: queue.messages() > before, "messages for the worker that is heard again")
