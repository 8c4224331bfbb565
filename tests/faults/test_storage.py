from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cutout.storage import Bucket
from local import LocalServices
from tests.faults.evidence import Ledger, arrived, in_flight, ledger, whole
from tests.support.machine import scaled
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

JOBS = 20
THREADS = 4
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
OPEN = "SELECT opened_at IS NOT NULL FROM breaker"
CLOSED = "SELECT opened_at IS NULL FROM breaker"
# The second probe is due 2 s after the first.
PROBED_IN_VAIN = "SELECT probe_at > opened_at + interval '3 seconds' FROM breaker"

LAST_IN_LINE_DIES_FIRST = """
    UPDATE jobs SET scheduled_at = now(), virtual_start = n,
        result_expires_at = now() + (20 - n) * interval '1 hour'
    FROM (SELECT id AS numbered, row_number() OVER (ORDER BY id) AS n FROM jobs) WHERE id = numbered
"""


@pytest.fixture
def system(environment: dict[str, str], proxy: Proxy, shop: str, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker of few threads, which reach the bucket through the proxy."""
    assert proxy.url == environment["CUTOUT_S3_ENDPOINT_URL"]
    assert shop
    environment["CUTOUT_WORKER_THREADS"] = str(THREADS)
    with System(environment, tmp_path, api=False) as running:
        yield running


def all_is_paid_once(system: System, sandbox: Sandbox, bucket: Bucket, jobs: int = JOBS) -> None:
    system.until(DONE)
    assert sandbox.charges() == jobs
    assert ledger(system) == Ledger(charged=jobs, not_charged=0, unknown=0, doubted=0, lost=0)
    assert whole(system, bucket) == jobs


class TestStorageThatTakesNothing:
    @pytest.mark.long(
        "waits for the breaker's probes; tests/cutout/queue/test_storage_breaker.py opens and closes it"
    )
    @pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.FORBID])
    def test_stops_the_calls_until_it_takes_cutouts_again(
        self, mode: Mode, *, system: System, proxy: Proxy, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Down, or with changed keys: no more is bought than was in hand, and all goes on by itself."""
        before = arrived(sandbox)
        proxy.set(mode)
        system.enqueue_different(shop, JOBS)
        system.until(OPEN)
        wait_until(lambda: in_flight(sandbox) == 0, "the calls in flight end")
        bought = arrived(sandbox) - before
        assert 0 < bought <= THREADS
        system.until(PROBED_IN_VAIN)
        assert arrived(sandbox) - before == bought
        proxy.set(Mode.PASS)
        all_is_paid_once(system, sandbox, bucket)
        assert arrived(sandbox) - before == JOBS
        assert system.scalar(CLOSED)

    @pytest.mark.long("waits for copies to die; tests/worker/pipeline/test_copy.py has the order")
    def test_gives_way_to_what_dies_first(
        self,
        services: LocalServices,
        *,
        system: System,
        proxy: Proxy,
        sandbox: Sandbox,
        bucket: Bucket,
        shop: str,
    ) -> None:
        """When it is back, the copies go by the expiry of their results, not by their virtual start."""
        # All calls are in flight before the first copy fails: the breaker would keep the others back.
        sandbox.set(latency=scaled(2.0), latency_spread=0.0)
        system.enqueue_different(shop, THREADS)
        wait_until(lambda: in_flight(sandbox) == THREADS, "all calls are in flight")
        proxy.set(Mode.REFUSE)
        system.until("SELECT bool_and(step = 'copy' AND queue_state IS NOT NULL) FROM jobs")
        system.kill("worker")
        system.execute(LAST_IN_LINE_DIES_FIRST)
        system.until("SELECT bool_and(queue_state = 'ready') FROM jobs")
        # This one has a line of its own to the bucket; the dispatcher's is still cut.
        system.environment |= {
            "CUTOUT_WORKER_THREADS": "1",
            "CUTOUT_S3_ENDPOINT_URL": services.s3.endpoint_url,
        }
        # Before the worker starts: a copied result expires no more.
        by_expiry = ids(system, "result_expires_at")
        assert by_expiry == ids(system, "virtual_start DESC")
        system.start_worker("worker-2")
        proxy.set(Mode.PASS)
        all_is_paid_once(system, sandbox, bucket, THREADS)
        assert ids(system, "finished_at") == by_expiry


class TestStorageThatHangs:
    @pytest.mark.long("waits while the bucket hangs; tests/worker/pipeline/test_copy.py has the tries")
    def test_is_waited_for(
        self, system: System, proxy: Proxy, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Whoever waits for an upload begins no call; when it moves again, so does everything."""
        before = arrived(sandbox)
        proxy.set(Mode.STALL)
        system.enqueue_different(shop, JOBS)
        wait_until(lambda: proxy.stalled >= THREADS, "every thread waits for its upload")
        assert arrived(sandbox) - before == THREADS
        proxy.set(Mode.PASS)
        all_is_paid_once(system, sandbox, bucket)


class TestSlowStorage:
    @pytest.mark.long("waits for slow uploads; tests/worker/pipeline/test_copy.py stores cutouts")
    def test_slows_and_does_not_stop(
        self, system: System, proxy: Proxy, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Uploads of seconds each are no outage: the breaker stays closed, each job is paid once."""
        proxy.set(Mode.SLOW, bytes_per_second=250_000)
        system.enqueue_different(shop, 2 * THREADS)
        all_is_paid_once(system, sandbox, bucket, 2 * THREADS)
        assert system.scalar("SELECT trips = 0 FROM breaker")


def ids(system: System, order: str) -> list[object]:
    with system.engine.connect() as connection:
        return list(connection.scalars(text(f"SELECT id FROM jobs ORDER BY {order}")))  # noqa: S608 - our words
