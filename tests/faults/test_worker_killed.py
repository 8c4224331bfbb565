from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, arrived, in_flight, ledger, whole
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

WAITS_FOR_A_LOCK = """
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cutout-worker' AND wait_event_type = 'Lock'
"""
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
    with System(environment, tmp_path, api=False) as running:
        yield running


@contextmanager
def worker_kept_at(system: System, lock: str) -> Iterator[None]:
    """Hold a lock until the context ends; the body begins once the worker waits for it."""
    with system.engine.connect() as connection:
        connection.execute(text(lock))
        system.until(f"SELECT count(*) = 1 {WAITS_FOR_A_LOCK}")
        yield


def forget_statement(system: System) -> None:
    """End the statement that waits: it never reached Postgres."""
    system.execute(f"SELECT pg_terminate_backend(pid, 5000) {WAITS_FOR_A_LOCK}")


@pytest.mark.long(
    "waits for the silence of a dead worker, 5 s at least; tests/cutout/queue/test_workers.py rescues without"
)
class TestAWorkerKilledBeforeTheCall:
    INTENT = "LOCK TABLE attempts IN SHARE MODE"

    def test_leaves_no_doubt_when_it_had_not_written_its_intent(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """The job is called once, by the next worker."""
        before = arrived(sandbox)
        system.enqueue_different(shop)
        with worker_kept_at(system, self.INTENT):
            system.kill("worker")
            forget_statement(system)
        assert ledger(system) == Ledger(0, 0, 0, 0, 0)
        assert arrived(sandbox) == before
        system.start_worker("worker-2")
        system.until(DONE)
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == 1

    def test_leaves_a_doubt_when_its_intent_was_written(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Nobody can know that the call did not go out: it is recorded as unknown, and called once more."""
        before = arrived(sandbox)
        system.enqueue_different(shop)
        with worker_kept_at(system, self.INTENT):
            system.kill("worker")
        system.until("SELECT count(*) = 1 FROM attempts")
        assert arrived(sandbox) == before
        system.start_worker("worker-2")
        system.until(DONE)
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=1, doubted=1, lost=0)
        assert whole(system, bucket) == 1


@pytest.mark.long(
    "waits for the silence of a dead worker, 5 s at least; tests/cutout/queue/test_workers.py rescues without"
)
class TestAWorkerKilledDuringTheCall:
    @pytest.mark.parametrize(("fault", "charges"), [("hang", 1), ("hang_after", 2)])
    def test_leaves_one_unknown_and_the_job_is_called_once_more(
        self, fault: str, charges: int, *, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Whether or not the endpoint charged, the ledger owns up to one call of unknown outcome."""
        sandbox.fault(fault, next=1)
        system.enqueue_different(shop)
        wait_until(lambda: in_flight(sandbox) == 1 and sandbox.charges() == charges - 1, "the call")
        system.kill("worker")
        system.start_worker("worker-2")
        system.until(DONE)
        assert sandbox.charges() == charges
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=1, doubted=1, lost=0)
        assert whole(system, bucket) == 1


@pytest.mark.long(
    "waits for the silence of a dead worker, 5 s at least; tests/cutout/queue/test_workers.py rescues without"
)
class TestAWorkerKilledBetweenAnswerAndRecord:
    JOB = "SELECT FROM jobs FOR UPDATE"

    @contextmanager
    def killed(self, system: System, sandbox: Sandbox, shop: str) -> Iterator[None]:
        """The worker was charged, waits to record it, and is killed."""
        sandbox.set(latency=1.0)
        system.enqueue_different(shop)
        system.until("SELECT count(*) = 1 FROM attempts")
        with worker_kept_at(system, self.JOB):
            assert sandbox.charges() == 1
            sandbox.set(latency=0.0)
            system.kill("worker")
            yield

    def test_leaves_one_unknown_and_the_job_is_called_once_more(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """The answer died with the worker: two charges, of which the ledger knows one and doubts one."""
        with self.killed(system, sandbox, shop):
            forget_statement(system)
        system.start_worker("worker-2")
        system.until(DONE)
        assert sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=1, doubted=1, lost=0)
        assert whole(system, bucket) == 1

    def test_costs_nothing_when_its_record_had_reached_postgres(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """The last thing it said is carried out without it, and the next worker copies what was paid."""
        with self.killed(system, sandbox, shop):
            pass
        system.start_worker("worker-2")
        system.until(DONE)
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == 1


@pytest.mark.long(
    "waits for the silence of a dead worker, 5 s at least; tests/cutout/queue/test_workers.py rescues without"
)
class TestAWorkerKilledDuringTheCopy:
    def test_costs_nothing(
        self,
        proxy: Proxy,
        system: System,
        sandbox: Sandbox,
        bucket: Bucket,
        shop: str,
    ) -> None:
        """The next worker goes on with the copy; nothing is called again."""
        proxy.set(Mode.STALL)
        system.enqueue_different(shop)
        system.until("SELECT count(*) = 1 FROM jobs WHERE state = 'running' AND step = 'copy'")
        wait_until(lambda: proxy.stalled > 0, "the upload")
        system.kill("worker")
        proxy.set(Mode.PASS)
        system.start_worker("worker-2")
        system.until(DONE)
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == 1
