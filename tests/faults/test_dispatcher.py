import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, ledger, whole
from tests.support.machine import scaled
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

JOBS = 60
LEADS = "this dispatcher leads"
AT_POSTGRES = """
    SELECT count(*) = 2 FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cutout-dispatcher'
"""
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Two dispatchers and one worker, under a limit that makes the line move in many small windows."""
    assert shop, bucket
    environment |= {"CUTOUT_CALLS_IN_FLIGHT": "4", "CUTOUT_WORKER_THREADS": "4"}
    with System(environment, tmp_path, api=False) as running:
        running.start("standby", "dispatcher")
        running.until(AT_POSTGRES)
        yield running


def leader(system: System) -> str:
    """The one of the two that leads."""
    wait_until(lambda: LEADS in system.log("dispatcher") + system.log("standby"), "a leader")
    return "dispatcher" if LEADS in system.log("dispatcher") else "standby"


def work_goes_on(system: System, count: int) -> None:
    """Wait until so many jobs have succeeded."""
    system.until(f"SELECT count(*) >= {count} FROM jobs WHERE state = 'succeeded'")  # noqa: S608 - a number


@pytest.mark.long("load over the death of leaders; tests/flow/test_dispatcher.py replaces one without load")
class TestALeaderThatDies:
    @pytest.mark.parametrize("silently", [False, True], ids=["killed", "frozen"])
    def test_is_replaced_under_load_and_nothing_is_lost(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str, *, silently: bool
    ) -> None:
        """Another leads within 10 s, or 15 s if Postgres must find out; each job is called once."""
        sandbox.set(latency=0.3)
        system.enqueue_different(shop, JOBS)
        work_goes_on(system, 8)
        first = leader(system)
        second = "standby" if first == "dispatcher" else "dispatcher"
        assert LEADS not in system.log(second)
        (system.freeze if silently else system.kill)(first)
        died_at = time.monotonic()
        wait_until(lambda: LEADS in system.log(second), "another leader")
        assert time.monotonic() - died_at < scaled(15 if silently else 10)
        if silently:
            system.thaw(first)
        system.until(DONE)
        assert sandbox.charges() == JOBS
        assert ledger(system) == Ledger(charged=JOBS, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == JOBS

    def test_again_and_again_keeps_every_promise(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Both dispatchers are killed five times and started again, as a supervisor would."""
        sandbox.set(latency=0.3)
        system.enqueue_different(shop, JOBS)
        for deaths in range(5):
            work_goes_on(system, 8 * deaths + 4)
            for name in ("dispatcher", "standby"):
                system.kill(name)
                system.start(name, "dispatcher")
        system.until(DONE, within_s=60)
        assert sandbox.charges() == JOBS
        assert ledger(system) == Ledger(charged=JOBS, not_charged=0, unknown=0, doubted=0, lost=0)
        assert whole(system, bucket) == JOBS
