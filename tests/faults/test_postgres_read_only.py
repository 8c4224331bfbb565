"""Postgres that answers and takes no writes for a while: a failover whose clients reach a replica."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, in_flight, ledger, whole
from tests.support.read_only import read_only
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

CALLS = 6
# 13 for the figure in docs/explain/benchmarks.md.
READ_ONLY_S = float(os.environ.get("CUTOUT_TEST_READ_ONLY_SECONDS", "2"))


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
    with System(environment, tmp_path, api=False) as running:
        yield running


def is_read_only(system: System) -> bool:
    return bool(system.scalar("SELECT current_setting('transaction_read_only') = 'on'"))


@pytest.mark.long("an outage of seconds; tests/worker/pipeline/test_call.py and test_spool.py have each step")
class TestPostgresReadOnlyWithCallsOut:
    def test_costs_no_answer_and_leaves_no_job(
        self, system: System, sandbox: Sandbox, shop: str, bucket: Bucket, admin: Engine
    ) -> None:
        """Each paid result that arrives meanwhile is used afterwards: one charge a job, none in doubt."""
        sandbox.set(latency=1.0)
        system.enqueue_different(shop, CALLS)
        wait_until(lambda: in_flight(sandbox) == CALLS, "calls are out")
        with read_only(admin):
            wait_until(lambda: is_read_only(system), "no writes")
            wait_until(lambda: in_flight(sandbox) == 0, "answers")
            time.sleep(READ_ONLY_S)
            assert system.scalar("SELECT count(*) FROM jobs WHERE state = 'running'") == CALLS
            assert len(list((Path(system.environment["CUTOUT_SPOOL_DIR"])).glob("*.json"))) == CALLS
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=30)
        assert sandbox.charges() == CALLS
        assert ledger(system) == Ledger(charged=CALLS, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == CALLS
        assert list(Path(system.environment["CUTOUT_SPOOL_DIR"]).iterdir()) == []
        assert "Traceback" not in system.log("dispatcher") + system.log("worker")

    def test_leaves_what_a_dead_worker_had_in_its_spool(
        self, system: System, sandbox: Sandbox, shop: str, bucket: Bucket, admin: Engine
    ) -> None:
        """Killed meanwhile: the next worker waits for Postgres with the answers, and uses them."""
        sandbox.set(latency=1.0)
        system.enqueue_different(shop, CALLS)
        wait_until(lambda: in_flight(sandbox) == CALLS, "calls are out")
        spool = Path(system.environment["CUTOUT_SPOOL_DIR"])
        with read_only(admin):
            wait_until(lambda: len(list(spool.glob("*.json"))) == CALLS, "answers in the spool")
            system.kill("worker")
            system.start("worker-2", "worker")
            wait_until(lambda: "25006" in system.log("worker-2"), "a replay that Postgres does not take")
            assert len(list(spool.glob("*.json"))) == CALLS
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=30)
        assert sandbox.charges() == CALLS
        assert ledger(system) == Ledger(charged=CALLS, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == CALLS
