"""One worker that loses its way to Postgres, or its row there, beside others that are well."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, in_flight, ledger, whole
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

LIMIT = 4
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """With as many calls in flight as one worker can hold."""
    environment |= {"CUTOUT_CALLS_IN_FLIGHT": str(LIMIT), "CUTOUT_WORKER_THREADS": str(LIMIT)}
    return environment


@pytest.fixture
def to_postgres(environment: dict[str, str]) -> Iterator[Proxy]:
    """The line between Postgres and those processes that are started with `through`."""
    port = make_url(environment["CUTOUT_DATABASE_URL"]).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy
        proxy.set(Mode.PASS)


def through(environment: dict[str, str], proxy: Proxy) -> str:
    """The database's address by way of that line."""
    url = make_url(environment["CUTOUT_DATABASE_URL"]).set(port=make_url(proxy.url).port)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def system(
    environment: dict[str, str], to_postgres: Proxy, shop: str, bucket: Bucket, tmp_path: Path
) -> Iterator[System]:
    """Dispatcher and one worker, which alone reaches Postgres over the line."""
    assert shop, bucket
    direct = environment["CUTOUT_DATABASE_URL"]
    with System(environment, tmp_path, api=False) as running:
        running.end("worker")
        running.environment["CUTOUT_DATABASE_URL"] = through(environment, to_postgres)
        running.start_worker("cut off")
        running.environment["CUTOUT_DATABASE_URL"] = direct
        yield running
        to_postgres.set(Mode.PASS)


@pytest.mark.long(
    "waits for the silence of a worker, 5 s at least; tests/worker/pipeline/test_call.py gives slots back"
)
class TestAWorkerCutOffFromPostgres:
    def test_keeps_no_slot_from_the_others(
        self, system: System, to_postgres: Proxy, sandbox: Sandbox, shop: str, bucket: Bucket
    ) -> None:
        """It had all calls that the limit allows; when they are answered, the others have them."""
        sandbox.set(latency=1.0)
        system.enqueue_different(shop, LIMIT)
        wait_until(lambda: in_flight(sandbox) == LIMIT, "all calls are out")
        to_postgres.set(Mode.REFUSE)
        # On another machine: it has neither the line nor the spool of the first.
        system.environment["CUTOUT_SPOOL_DIR"] += "-of-another"
        system.start_worker("well")
        system.enqueue_different(shop, LIMIT)
        # The first ones are rescued and called anew, each with its doubt on record.
        system.until(DONE, within_s=30)
        to_postgres.set(Mode.PASS)
        system.until("SELECT bool_and(outcome = 'charged') FROM attempts", within_s=20)
        assert sandbox.charges() == 3 * LIMIT
        assert ledger(system) == Ledger(3 * LIMIT, not_charged=0, unknown=0, doubted=LIMIT, lost=0)
        assert whole(system, bucket) == 2 * LIMIT


@pytest.mark.long(
    "waits for the silence of a worker, 5 s at least; tests/cutout/queue/test_workers.py beats without a row"
)
class TestAWorkerWithoutItsRow:
    def test_is_not_robbed_and_has_it_again(
        self, system: System, sandbox: Sandbox, shop: str, bucket: Bucket
    ) -> None:
        """A failover lost the row, with calls out and more to come: nothing is called twice."""
        sandbox.set(latency=1.0)
        system.enqueue_different(shop, 3 * LIMIT)
        wait_until(lambda: in_flight(sandbox) == LIMIT, "calls are out")
        system.execute("DELETE FROM workers")
        system.until(DONE, within_s=30)
        system.until("SELECT count(*) = 1 FROM workers WHERE heartbeat_at > now() - interval '5 s'")
        assert sandbox.charges() == 3 * LIMIT
        assert ledger(system) == Ledger(charged=3 * LIMIT, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == 3 * LIMIT


@pytest.mark.long("waits for two heartbeats and a look; tests/cutout/audit/test_audit.py has both at once")
class TestARunningJobThatNobodyCarries:
    def test_is_taken_from_its_living_worker(
        self, system: System, sandbox: Sandbox, shop: str, bucket: Bucket
    ) -> None:
        """Whatever left it so: it goes on, and its call without an end is unknown."""
        system.enqueue_different(shop)
        system.until(DONE)
        system.execute(
            "WITH opened AS (UPDATE attempts SET outcome = 'unknown', ended_at = NULL) "
            "UPDATE jobs SET state = 'running', step = 'call', finished_at = NULL, key = NULL, sha256 = NULL,"
            " worker_id = (SELECT id FROM workers WHERE left_at IS NULL)"
        )
        system.until("SELECT bool_and(unknown_at IS NOT NULL AND ended_at IS NOT NULL) FROM attempts")
        system.until(DONE, within_s=30)
        assert sandbox.charges() == 2
        assert whole(system, bucket) == 1
