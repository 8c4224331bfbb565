import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from jobs import accounts
from jobs.enqueue import NewJob, enqueue_all
from jobs.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.steps import SOURCE

Start = Callable[[], "subprocess.Popen[bytes]"]
WITHIN_S = 20.0


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts dispatchers; no worker runs, so that what they hand out stays handed out."""
    running: list[subprocess.Popen[bytes]] = []

    def start_one() -> "subprocess.Popen[bytes]":
        with (tmp_path / f"dispatcher-{len(running)}.log").open("wb") as log:
            command = [sys.executable, "-m", "worker.dispatcher"]
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        return running[-1]

    yield start_one
    for process in running:
        process.kill()
        process.wait()


def enqueue(engine: Engine, count: int) -> None:
    with Session(engine) as session, session.begin():
        enqueue_all(session, [NewJob(SOURCE)] * count)


def handed_out(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(
            connection.execute(text("SELECT count(*) FROM jobs WHERE standing = 'handed_out'")).scalar_one()
        )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestADispatcher:
    def test_hands_out_no_more_than_its_window(
        self, start: Start, engine: Engine, settings: Settings, environment: dict[str, str]
    ) -> None:
        """Of many jobs only the window's worth becomes messages, each of one id and one fence."""
        environment["CUTOUT_CALLS_IN_FLIGHT"] = "3"
        enqueue(engine, 100)
        start()
        wait_until(lambda: handed_out(engine) > 0)
        time.sleep(1)
        assert handed_out(engine) == 3 * 2 + 8
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
            assert client.llen(f"{settings.redis_prefix}call") == 14

    def test_takes_over_when_the_leader_is_killed(self, start: Start, engine: Engine) -> None:
        """Two run and one leads; after kill -9 the other hands out within ten seconds."""
        leader = start()
        enqueue(engine, 1)
        wait_until(lambda: handed_out(engine) == 1)
        start()
        time.sleep(2)
        leader.kill()
        enqueue(engine, 1)
        killed_at = time.monotonic()
        wait_until(lambda: handed_out(engine) == 2)
        assert time.monotonic() - killed_at < 10

    def test_outlives_a_redis_that_is_away(
        self, start: Start, engine: Engine, environment: dict[str, str]
    ) -> None:
        """What could not be published is handed out in the database and comes back with its lease."""
        environment["CUTOUT_REDIS_URL"] = "redis://127.0.0.1:9/0"
        enqueue(engine, 1)
        dispatcher = start()
        wait_until(lambda: handed_out(engine) == 1)
        time.sleep(1)
        assert dispatcher.poll() is None

    def test_ends_with_zero_when_asked_to(self, start: Start, engine: Engine) -> None:
        """SIGTERM ends it after the present tick."""
        dispatcher = start()
        enqueue(engine, 1)
        wait_until(lambda: handed_out(engine) == 1)
        dispatcher.terminate()
        assert dispatcher.wait(10) == 0


class TestAPausedAccount:
    def test_gets_no_call_until_a_free_question_finds_it_working(
        self, start: Start, engine: Engine, sandbox: Sandbox
    ) -> None:
        """Without credits nothing is handed out; after a top-up it goes on by itself."""
        name = accounts.account_name(sandbox.key)
        with Session(engine) as session, session.begin():
            accounts.ensure(session, name)
            accounts.pause(session, name, code="ERROR_NOT_ENOUGH_CREDITS", message="no credits")
        sandbox.set(credits={sandbox.key: 0})
        enqueue(engine, 1)
        start()
        time.sleep(3)
        probe_now(engine)
        time.sleep(1)
        assert handed_out(engine) == 0
        sandbox.set(credits={sandbox.key: 1000})
        probe_now(engine)
        wait_until(lambda: handed_out(engine) == 1)


def probe_now(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET probe_at = now()"))
