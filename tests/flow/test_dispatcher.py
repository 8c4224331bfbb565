import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.billing import accounts
from cutout.enums import Stop
from cutout.queue import workers
from cutout.queue.blocks import storage_breaker
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.settings import Settings
from cutout.storage import Bucket
from local import LocalServices
from tests.support.fates import DONE, make_batch
from tests.support.forked import Forked, start_module
from tests.support.machine import scaled
from tests.support.sandbox import Sandbox
from tests.support.steps import SOURCE, claim_new, new_worker

Start = Callable[[], Forked]
WITHIN_S = 20.0


@pytest.fixture
def start(environment: dict[str, str], engine: Engine, tmp_path: Path) -> Iterator[Start]:
    """Starts dispatchers; a worker is heard and takes nothing: what they hand out stays so."""
    execute(engine, "INSERT INTO workers (host, pid, heartbeat_at) VALUES ('', 1, now() + interval '1 h')")
    running: list[Forked] = []

    def start_one() -> Forked:
        log = tmp_path / f"dispatcher-{len(running)}.log"
        running.append(start_module("worker.dispatcher", environment=environment, log=log))
        return running[-1]

    yield start_one
    for process in running:
        process.kill()
        process.wait()


def enqueue(engine: Engine, count: int) -> None:
    with Session(engine) as session, session.begin():
        enqueue_all(session, [NewJob(SOURCE)] * count)


def scalar(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def dispatched(engine: Engine) -> int:
    return scalar(engine, "SELECT count(*) FROM jobs WHERE queue_state = 'dispatched'")


def messages(settings: Settings) -> int:
    """Count of the calls in Redis."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        return int(client.llen(f"{settings.redis_prefix}call"))


SESSIONS = """
    FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cutout-dispatcher'
"""


def dispatchers(engine: Engine) -> int:
    """Count of the dispatchers with a session at Postgres, leading or not."""
    return scalar(engine, f"SELECT count(*) {SESSIONS}")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process where it stands, for as long as the context lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + scaled(WITHIN_S)
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
        wait_until(lambda: dispatched(engine) > 0)
        time.sleep(1)
        assert dispatched(engine) == 3 + 1 + 2  # in flight, for the next 0.4 s, spare
        assert messages(settings) == 6

    @pytest.mark.long("a dispatcher's start, and the first probe of a breaker")
    def test_tries_results_with_a_job_over_its_producers_bound(self, start: Start, engine: Engine) -> None:
        """While calls stop for results that cannot be fetched, and no other job is there to try one."""
        enqueue(engine, 1)
        execute(engine, "UPDATE jobs SET queue_state = 'source_limit'")
        with engine.begin() as connection:
            storage_breaker.trip(connection, "results at r.example: RESULT_UNAVAILABLE", of=Stop.RESULTS)
        execute(engine, "UPDATE breaker SET probe_at = now() WHERE kind = 'results'")
        start()
        wait_until(lambda: dispatched(engine) == 1)

    def test_writes_the_results_of_batches_that_ended(
        self, start: Start, engine: Engine, bucket: Bucket
    ) -> None:
        """They lie in the bucket within seconds, and the batch says where."""
        batch_id = make_batch(engine, {"a": DONE})
        start()
        wait_until(lambda: scalar(engine, "SELECT count(*) FROM batches WHERE results_key IS NOT NULL") == 1)
        assert bucket.read(f"results/{batch_id}.csv", max_bytes=10_000).count(b"\r\n") == 2

    @pytest.mark.long("waits for the leader's silence")
    def test_takes_over_when_the_leader_is_killed(self, start: Start, engine: Engine) -> None:
        """Two run and one leads; after kill -9 the other hands out within ten seconds."""
        leader = start()
        enqueue(engine, 1)
        wait_until(lambda: dispatched(engine) == 1)
        start()
        wait_until(lambda: dispatchers(engine) == 2)
        leader.kill()
        enqueue(engine, 1)
        killed_at = time.monotonic()
        wait_until(lambda: dispatched(engine) == 2)
        assert time.monotonic() - killed_at < scaled(10)

    @pytest.mark.long("waits until Postgres ends a silent session, 10 s; the test before it kills the leader")
    def test_takes_over_when_the_leader_is_frozen(
        self,
        start: Start,
        engine: Engine,
        settings: Settings,
        environment: dict[str, str],
        tmp_path: Path,
    ) -> None:
        """Postgres ends the silent session and another leads within 15 s; who wakes stands by."""
        # Nothing is handed out a second time meanwhile.
        environment["CUTOUT_MESSAGE_LEASE_SECONDS"] = "300"
        leader = start()
        enqueue(engine, 1)
        wait_until(lambda: dispatched(engine) == 1)
        start()
        wait_until(lambda: dispatchers(engine) == 2)
        with frozen(leader.pid):
            frozen_at = time.monotonic()
            enqueue(engine, 1)
            wait_until(lambda: dispatched(engine) == 2)
            assert time.monotonic() - frozen_at < scaled(15)
        wait_until(lambda: "Postgres is unreachable" in (tmp_path / "dispatcher-0.log").read_text())
        wait_until(lambda: dispatchers(engine) == 2)
        enqueue(engine, 1)
        wait_until(lambda: messages(settings) == 3)
        assert (tmp_path / "dispatcher-0.log").read_text().count("this dispatcher leads") == 1
        assert leader.poll() is None

    @pytest.mark.long(
        "an outage of several seconds; test_does_the_rest_while_redis_is_frozen has a shorter one"
    )
    def test_outlives_a_redis_that_is_away(
        self, start: Start, engine: Engine, environment: dict[str, str], tmp_path: Path
    ) -> None:
        """Jobs that could not be published wait with their lease; no more are dispatched meanwhile."""
        environment["CUTOUT_MESSAGE_LEASE_SECONDS"] = "60"
        environment["CUTOUT_REDIS_URL"] = "redis://127.0.0.1:9/0"
        enqueue(engine, 1)
        dispatcher = start()
        wait_until(lambda: dispatched(engine) == 1)
        enqueue(engine, 1)
        wait_until(lambda: (tmp_path / "dispatcher-0.log").read_text().count("Redis is unreachable") > 0)
        assert dispatched(engine) == 1
        assert dispatcher.poll() is None

    def test_does_the_rest_while_redis_is_frozen(
        self, start: Start, engine: Engine, services: LocalServices, settings: Settings
    ) -> None:
        """A dead worker's job is rescued and what is due rejoins the line; once thawed, all goes out once."""
        start()
        enqueue(engine, 1)
        wait_until(lambda: messages(settings) == 1)
        assert services.valkey is not None
        assert services.valkey.pid is not None
        with frozen(services.valkey.pid):
            enqueue(engine, 1)
            wait_until(lambda: dispatched(engine) == 2)
            with Session(engine) as session, session.begin():
                worker_id = new_worker(session)
                claim_new(session, worker_id)
                workers.leave(session, worker_id)
            began = time.monotonic()
            wait_until(lambda: scalar(engine, "SELECT count(*) FROM jobs WHERE queue_state = 'ready'") == 1)
            assert time.monotonic() - began < scaled(4)
        wait_until(lambda: messages(settings) >= 3)
        assert scalar(engine, "SELECT max(fence) FROM jobs") == 2

    def test_rescues_the_jobs_of_a_worker_that_has_left_at_once(self, start: Start, engine: Engine) -> None:
        """Its silence is not waited for; the living one beside it keeps its job."""
        with Session(engine) as session, session.begin():
            leaver, stayer = new_worker(session), new_worker(session)
            claim_new(session, leaver)
            claim_new(session, stayer)
            workers.leave(session, leaver)
        start()
        wait_until(lambda: dispatchers(engine) == 1)
        began = time.monotonic()
        wait_until(lambda: scalar(engine, "SELECT count(*) FROM jobs WHERE state = 'running'") == 1)
        assert time.monotonic() - began < scaled(3)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT worker_id FROM jobs WHERE state = 'running'")) == stayer

    def test_rescues_more_than_one_look_can_take(self, start: Start, engine: Engine) -> None:
        """The next tick goes on, and does not wait for the next look."""
        with Session(engine) as session, session.begin():
            worker_id = new_worker(session)
            enqueue_all(session, [NewJob(SOURCE)] * (3 * workers.MOST_RESCUED))
            session.execute(
                text("UPDATE jobs SET state = 'running', queue_state = NULL, worker_id = :worker"),
                {"worker": worker_id},
            )
            workers.leave(session, worker_id)
        start()
        left = "SELECT count(*) FROM jobs WHERE state = 'running'"
        wait_until(lambda: scalar(engine, left) < 3 * workers.MOST_RESCUED)
        wait_until(lambda: scalar(engine, left) == 0)

    def test_ends_with_zero_when_asked_to(self, start: Start, engine: Engine) -> None:
        """SIGTERM ends it after the present tick."""
        dispatcher = start()
        enqueue(engine, 1)
        wait_until(lambda: dispatched(engine) == 1)
        dispatcher.terminate()
        assert dispatcher.wait(scaled(5)) == 0

    @pytest.mark.long(
        "waits out the patience of a dispatcher that ends, 10 s; the test before it ends one at once"
    )
    def test_ends_though_its_postgres_is_frozen(self, start: Start, engine: Engine) -> None:
        """Work that does not end in time is left to the next leader."""
        dispatcher = start()
        wait_until(lambda: dispatchers(engine) == 1)
        with frozen(scalar(engine, f"SELECT max(pid) {SESSIONS}")):
            time.sleep(1)  # some ticks: one of them now waits for its answer
            began = time.monotonic()
            dispatcher.terminate()
            assert dispatcher.wait(scaled(15)) == 0
            assert time.monotonic() - began > 1


class TestAnOpenBreaker:
    def test_lets_no_call_out_and_closes_by_itself(
        self, start: Start, engine: Engine, settings: Settings, tmp_path: Path
    ) -> None:
        """Only a copy that dies soon goes out; once the bucket is there a probe finds it and all goes on."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)] * 2)
            for hours in (1, 10):
                add_copy(session, hours)
            assert storage_breaker.trip(session, "no bucket")
        start()
        wait_until(lambda: dispatched(engine) == 1)
        execute(engine, PROBE_BUCKET)
        wait_until(lambda: "the bucket does not take cutouts" in (tmp_path / "dispatcher-0.log").read_text())
        assert dispatched(engine) == 1
        dying = "queue_state = 'dispatched' AND result_expires_at < now() + interval '2 hours'"
        assert scalar(engine, f"SELECT count(*) FROM jobs WHERE {dying}") == 1  # noqa: S608 - our own words
        bucket = Bucket(settings)
        bucket.create()
        bucket.close()
        execute(engine, PROBE_BUCKET)
        wait_until(lambda: dispatched(engine) == 4)
        assert scalar(engine, "SELECT count(*) FROM breaker WHERE opened_at IS NULL") == 1

    def test_is_asked_about_without_waiting(
        self, start: Start, engine: Engine, environment: dict[str, str]
    ) -> None:
        """While a bucket does not answer, other work goes on, and SIGTERM ends it within seconds."""
        with socket.create_server(("127.0.0.1", 0)) as listener, Session(engine) as session:
            environment["CUTOUT_S3_ENDPOINT_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
            storage_breaker.trip(session, "frozen")
            session.commit()
            execute(engine, PROBE_BUCKET)
            dispatcher = start()
            listener.settimeout(WITHIN_S)
            probe, _ = listener.accept()
            with probe:
                add_copy(session, hours=1)
                session.commit()
                wait_until(lambda: dispatched(engine) == 1)
                dispatcher.terminate()
                assert dispatcher.wait(scaled(5)) == 0


PROBE_BUCKET = "UPDATE breaker SET probe_at = now() WHERE opened_at IS NOT NULL"


def add_copy(session: Session, hours: float) -> None:
    """A job in line for its copy, whose result dies in so many hours."""
    enqueue_all(session, [NewJob(SOURCE)])
    session.execute(
        text(
            "UPDATE jobs SET step = 'copy', result_url = 'https://r/1', result_expires_at = now() + :left"
            " WHERE id = (SELECT id FROM jobs WHERE step = 'call' AND queue_state = 'ready' LIMIT 1)"
        ),
        {"left": timedelta(hours=hours)},
    )


class TestAPausedAccount:
    def test_gets_no_call_until_a_free_question_finds_it_working(
        self, start: Start, engine: Engine, sandbox: Sandbox
    ) -> None:
        """Without credits nothing is dispatched; after a top-up it continues by itself."""
        name = accounts.account_name(sandbox.key)
        with Session(engine) as session, session.begin():
            accounts.ensure(session, name)
            accounts.pause(session, name, code="ERROR_NOT_ENOUGH_CREDITS", message="no credits")
        sandbox.set(credits={sandbox.key: 0})
        enqueue(engine, 1)
        start()
        found_empty = "SELECT count(*) FROM accounts WHERE credits = 0 AND paused_at IS NOT NULL"
        for _ in range(2):
            execute(engine, "UPDATE accounts SET credits = NULL")
            probe_now(engine)
            wait_until(lambda: scalar(engine, found_empty) == 1)
        assert dispatched(engine) == 0
        sandbox.set(credits={sandbox.key: 1000})
        probe_now(engine)
        wait_until(lambda: dispatched(engine) == 1)


def probe_now(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET probe_at = now()"))
