import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import make_url

from cutout.settings import Settings
from cutout.storage import Bucket
from local import LocalServices
from local.valkey import ValkeyServer
from tests.faults.evidence import Ledger, ledger, whole
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

JOBS = 60
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
# Longer than a lease, so that whatever was handed out before it comes back.
AWAY_S = 12.0


@pytest.fixture
def slow(environment: dict[str, str], sandbox: Sandbox) -> None:
    """A limit and a latency under which the jobs take a while."""
    environment |= {
        "CUTOUT_CALLS_IN_FLIGHT": "4",
        "CUTOUT_WORKER_THREADS": "4",
        # A slot that could not be given back while Redis was away comes back with the deadline of its call.
        "CUTOUT_CALL_DEADLINE_SECONDS": "20",
    }
    sandbox.set(latency=0.3)


@pytest.fixture
def line_to_redis(services: LocalServices, environment: dict[str, str]) -> Iterator[Proxy]:
    """The line between the system and Redis."""
    assert services.valkey is not None
    with Proxy(services.valkey.port("redis")) as proxy:
        port = make_url(proxy.url).port
        url = make_url(services.redis_url).set(port=port)
        environment["CUTOUT_REDIS_URL"] = url.render_as_string(hide_password=False)
        yield proxy


@pytest.fixture
def system(
    environment: dict[str, str], slow: None, shop: str, bucket: Bucket, tmp_path: Path
) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.fixture
def valkey(services: LocalServices, system: System) -> Iterator[ValkeyServer]:
    """The server, which runs again before the system is ended."""
    assert services.valkey is not None
    assert system.processes
    yield services.valkey
    if services.valkey.pid is None:
        services.valkey.start()


@pytest.fixture
def client(services: LocalServices) -> Iterator["redis.Redis"]:
    """Redis itself."""
    with redis.Redis.from_url(services.redis_url) as client:
        yield client


def work_goes_on(system: System, count: int) -> None:
    """Wait until so many jobs have succeeded."""
    system.until(f"SELECT count(*) >= {count} FROM jobs WHERE state = 'succeeded'")  # noqa: S608 - a number


def all_is_paid_once(system: System, sandbox: Sandbox, bucket: Bucket, jobs: int = JOBS) -> None:
    system.until(DONE, within_s=80)
    assert sandbox.charges() == jobs
    # Redis may go between a call's line in the ledger and its turn: then the call does not go out.
    others = system.scalar(
        "SELECT count(*) FROM attempts WHERE outcome = 'not_charged' AND code <> 'NOT_SENT'"
    )
    assert others == 0
    paid = replace(ledger(system), not_charged=0)
    assert paid == Ledger(charged=jobs, not_charged=0, unknown=0, doubted=0, lost=0)
    assert whole(system, bucket) == jobs


@pytest.mark.long(
    "load over an outage of several seconds; tests/worker/limiter/test_limiter.py loses Redis in small"
)
class TestRedisLostUnderLoad:
    def test_to_a_kill_comes_back_empty_and_costs_a_delay(
        self, system: System, valkey: ValkeyServer, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Messages and limit are gone for good; each job is called and stored once."""
        system.enqueue_different(shop, JOBS)
        work_goes_on(system, 8)
        valkey.kill()
        shutil.rmtree(valkey.directory / "data")
        valkey.start()
        all_is_paid_once(system, sandbox, bucket)

    def test_to_a_flush_costs_a_delay(
        self, system: System, client: "redis.Redis", sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """A dispatched job is dispatched again once its lease is over."""
        system.enqueue_different(shop, JOBS)
        for count in (8, 24):
            work_goes_on(system, count)
            client.flushall()
        all_is_paid_once(system, sandbox, bucket)

    @pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.STALL])
    def test_to_its_network_costs_a_delay(
        self, line_to_redis: Proxy, system: System, sandbox: Sandbox, bucket: Bucket, shop: str, *, mode: Mode
    ) -> None:
        """Refusing or silent for longer than a lease; calls go on when it is back, each job's once."""
        system.enqueue_different(shop, JOBS)
        work_goes_on(system, 8)
        line_to_redis.set(mode)
        time.sleep(AWAY_S)
        assert not system.scalar(DONE)
        line_to_redis.set(Mode.PASS)
        all_is_paid_once(system, sandbox, bucket)


class TestAMessage:
    """Taken from the queue itself, and put there again."""

    @pytest.fixture
    def slow(self, environment: dict[str, str]) -> None:
        """A lease that no start of a worker outlasts."""
        environment["CUTOUT_MESSAGE_LEASE_SECONDS"] = "60"

    @pytest.fixture
    def queue(self, settings: Settings) -> str:
        """The key of the calls."""
        return f"{settings.redis_prefix}call"

    @pytest.fixture
    def idle(self, system: System) -> System:
        """The system with a worker that is heard and takes nothing, so that messages stay where they are."""
        system.end("worker")
        system.execute("INSERT INTO workers (host, pid, heartbeat_at) VALUES ('', 1, now() + interval '1 h')")
        return system

    @pytest.mark.long("runs everything; tests/cutout/queue/test_transitions.py has the fence")
    def test_delivered_many_times_is_carried_out_once(
        self, idle: System, client: "redis.Redis", queue: str, sandbox: Sandbox, *, bucket: Bucket, shop: str
    ) -> None:
        """Four copies of each, to two workers at once, and again when all is done."""
        idle.enqueue_different(shop, 8)
        wait_until(lambda: client.llen(queue) == 8, "messages")
        messages = lasting(client, queue)
        client.lpush(queue, *(messages * 3))
        for name in ("worker-2", "worker-3"):
            idle.start_worker(name)
        all_is_paid_once(idle, sandbox, bucket, jobs=8)
        client.lpush(queue, *messages)
        one_more_is_done(idle, shop)
        all_is_paid_once(idle, sandbox, bucket, jobs=9)
        assert idle.scalar("SELECT max(fence) FROM jobs") == 1

    @pytest.mark.long("runs everything; tests/cutout/queue/test_transitions.py has the fence")
    def test_that_is_late_finds_its_fence_gone(
        self, idle: System, client: "redis.Redis", queue: str, sandbox: Sandbox, *, bucket: Bucket, shop: str
    ) -> None:
        """Its job was handed out again: whichever comes first, the job is called under the newer fence."""
        idle.enqueue_different(shop, 4)
        wait_until(lambda: client.llen(queue) == 4, "messages")
        stale = lasting(client, queue)
        idle.execute("UPDATE jobs SET scheduled_at = now()")
        wait_until(lambda: client.llen(queue) == 8, "newer messages")
        client.lpush(queue, *stale)
        client.rpush(queue, *stale)
        idle.start("worker-2", "worker", "--threads", "1")
        all_is_paid_once(idle, sandbox, bucket, jobs=4)
        assert idle.row("SELECT min(fence), max(fence) FROM attempts") == {"min": 2, "max": 2}
        one_more_is_done(idle, shop)
        all_is_paid_once(idle, sandbox, bucket, jobs=5)

    @pytest.mark.long("runs everything; tests/cutout/queue/test_transitions.py has the fence")
    def test_of_a_job_that_rests_calls_nothing(
        self, idle: System, client: "redis.Redis", queue: str, sandbox: Sandbox, shop: str
    ) -> None:
        """A job put off by the endpoint is not called before its time by a message of before."""
        sandbox.fault("code", code="PROCESSING_FAILURE", next=1, retry_after=100)
        idle.enqueue_different(shop)
        wait_until(lambda: client.llen(queue) == 1, "a message")
        messages = lasting(client, queue)
        idle.start_worker("worker-2")
        idle.until("SELECT queue_state = 'delayed' FROM jobs")
        client.lpush(queue, *messages)
        one_more_is_done(idle, shop)
        assert sandbox.charges() == 1
        assert idle.scalar("SELECT count(*) FROM attempts") == 2
        assert idle.scalar("SELECT count(*) FROM jobs WHERE queue_state = 'delayed'") == 1


def one_more_is_done(system: System, shop: str) -> None:
    """Enqueue one more job and wait until it has succeeded: whatever lay in the queue before it is read."""
    done = system.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded'")
    system.enqueue_different(shop)
    work_goes_on(system, done + 1)


def lasting(client: "redis.Redis", queue: str) -> list[Any]:
    """The messages in the queue; Celery drops none of them by itself."""
    messages: list[Any] = client.lrange(queue, 0, -1)
    assert not any(json.loads(message)["headers"]["expires"] for message in messages)
    return messages
