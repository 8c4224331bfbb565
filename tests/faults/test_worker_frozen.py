from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, in_flight, ledger, whole
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
GIVEN_UP = "SELECT bool_and(unknown_at IS NOT NULL) FROM attempts"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.mark.long(
    "waits for the silence of a dead worker, 5 s at least; tests/cutout/queue/test_workers.py rescues without"
)
class TestAWorkerFrozenInTheCall:
    def freeze(self, system: System, sandbox: Sandbox, shop: str) -> str:
        """Freeze the worker that calls, until its call is charged and given up; its answer waits for it."""
        sandbox.set(latency=1.0)
        system.enqueue_different(shop)
        wait_until(lambda: in_flight(sandbox) == 1, "the call")
        frozen = system.holder()
        system.freeze(frozen)
        wait_until(lambda: sandbox.charges() == 1, "the charge")
        system.until(GIVEN_UP)
        return frozen

    def test_uses_the_answer_it_finds_when_nobody_called_meanwhile(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """One call, though it was given up as unknown: the ledger says charged, and remembers the doubt."""
        frozen = self.freeze(system, sandbox, shop)
        system.thaw(frozen)
        system.until(DONE)
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=1, lost=0)
        assert whole(system, bucket) == 1

    def test_brings_its_result_while_another_calls(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Two paid calls, both in the ledger as charged, and one whole object."""
        system.start_worker("worker-2")
        frozen = self.freeze(system, sandbox, shop)
        sandbox.set(latency=4.0)
        wait_until(lambda: in_flight(sandbox) == 1, "the second call")
        system.thaw(frozen)
        system.until("SELECT count(*) = 1 FROM attempts WHERE outcome = 'charged'")
        assert sandbox.charges() == 1
        system.until("SELECT count(*) = 2 FROM attempts WHERE outcome = 'charged'")
        system.until(DONE)
        assert sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=2, not_charged=0, unknown=0, doubted=1, lost=0)
        assert whole(system, bucket) == 1

    def test_changes_only_the_ledger_when_the_job_is_done(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Another worker called and finished: the job's row stands, and both charges are in the ledger."""
        system.start_worker("worker-2")
        frozen = self.freeze(system, sandbox, shop)
        system.until(DONE)
        done = system.row("SELECT * FROM jobs")
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=1, doubted=1, lost=0)
        system.thaw(frozen)
        system.until("SELECT count(*) = 2 FROM attempts WHERE outcome = 'charged'")
        system.end(frozen)
        assert sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=2, not_charged=0, unknown=0, doubted=1, lost=0)
        assert system.row("SELECT * FROM jobs") == done
        assert whole(system, bucket) == 1


@pytest.mark.long(
    "waits for the silence of a dead worker, 5 s at least; tests/cutout/queue/test_workers.py rescues without"
)
class TestAWorkerFrozenInTheCopy:
    def test_overwrites_nothing_that_another_completed(
        self, proxy: Proxy, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Its upload fails under its hands and is done again too late: row and object stay as they are."""
        system.start_worker("worker-2")
        proxy.set(Mode.STALL)
        system.enqueue_different(shop)
        wait_until(lambda: proxy.stalled > 0, "the upload")
        frozen = system.holder()
        system.freeze(frozen)
        proxy.cut()
        proxy.set(Mode.PASS)
        system.until(DONE)
        done = system.row("SELECT * FROM jobs")
        system.thaw(frozen)
        system.end(frozen)
        assert system.row("SELECT * FROM jobs") == done
        assert whole(system, bucket) == 1
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=0)
