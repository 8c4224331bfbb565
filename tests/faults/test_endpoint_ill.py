import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cutout.queue.blocks.pauses import set_budget
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.storage import Bucket
from tests.faults.evidence import ledger, whole
from tests.support.sandbox import Sandbox
from tests.support.system import System

log = logging.getLogger(__name__)

CIRCUIT_IS_OPEN = "SELECT count(*) = 1 FROM limits WHERE circuit_until IS NOT NULL"
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
    environment["CUTOUT_CALLS_IN_FLIGHT"] = "4"
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.mark.long(
    "waits for the circuit's probes; tests/cutout/endpoint/test_answer.py judges a gateway's answers"
)
class TestAGatewayThatGivesUpOnChargedCalls:
    def test_leaves_no_charge_out_of_the_ledger_and_no_job_held(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """Each 504 is an unknown charge; a bad hour holds no job, and afterwards all succeed."""
        sandbox.fault("gateway_after", share=1.0)
        system.enqueue_different(shop, 12)
        # With their rests: before it is open, a second unknown charge would hold a job.
        system.until(CIRCUIT_IS_OPEN)
        system.until("SELECT count(*) >= 8 FROM attempts WHERE ended_at IS NOT NULL", without_rests=True)
        assert system.scalar("SELECT count(*) FROM jobs WHERE state = 'held'") == 0
        sandbox.clear_faults()
        system.until(DONE, within_s=60, without_rests=True)
        found = ledger(system)
        log.warning("%d charges of the endpoint; %s", sandbox.charges(), found)
        assert found.not_charged == 0
        assert found.unknown >= 8
        assert sandbox.charges() <= found.charged + found.unknown
        assert found.charged == whole(system, bucket) == 12

    def test_is_in_the_budget(self, system: System, sandbox: Sandbox, shop: str) -> None:
        """A call that may have been charged is spent: three credits allow three such calls, no fourth."""
        sandbox.fault("gateway_after", share=1.0)
        with Session(system.engine) as session, session.begin():
            batch = create_batch(session, "b")
            enqueue_all(session, [NewJob(f"{shop}?{n}", str(n)) for n in range(3)], batch_id=batch.id)
            set_budget(session, batch.id, 3)
        system.until("SELECT spent >= 3 FROM batches", without_rests=True)
        system.until("SELECT count(*) >= 1 FROM jobs WHERE code = 'OVER_BUDGET'", without_rests=True)
        assert sandbox.charges() <= 3


@pytest.mark.long(
    "waits for the circuit's probes; tests/worker/dispatcher/test_limit_poller.py lets one go out"
)
class TestJobsThatNoWorkerCarries:
    def test_do_not_keep_the_probe_from_going_out(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """They fill the window of an endpoint that fails; a call asks all the same, and the rest goes on."""
        sandbox.fault("code", code="AI_SERVICE_ERROR", share=1.0)
        system.enqueue_different(shop, 12)
        system.until(CIRCUIT_IS_OPEN, without_rests=True)
        system.execute("UPDATE queue_clock SET paused_at = now()")
        system.until("SELECT count(*) = 0 FROM jobs WHERE state = 'running' OR queue_state = 'dispatched'")
        system.execute(
            "UPDATE jobs SET state = 'running', queue_state = NULL,"
            " worker_id = (SELECT id FROM workers LIMIT 1)"
            " WHERE id IN (SELECT id FROM jobs WHERE state = 'queued' LIMIT 4)"
        )
        sandbox.clear_faults()
        assert system.scalar(CIRCUIT_IS_OPEN)
        system.execute("UPDATE queue_clock SET paused_at = NULL")
        system.until("SELECT count(*) >= 8 FROM jobs WHERE state = 'succeeded'", without_rests=True)
        system.until("SELECT count(*) = 0 FROM limits WHERE circuit_until IS NOT NULL")
        # Those that no worker carries are found out by then, or later.
        system.until("SELECT count(*) = 12 FROM jobs WHERE state = 'succeeded'", without_rests=True)
        assert whole(system, bucket) == 12
