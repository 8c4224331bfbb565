import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, ledger, whole
from tests.support.sandbox import Sandbox
from tests.support.system import System

log = logging.getLogger(__name__)

JOBS = 60
IN_FLIGHT = 4
OPEN = "SELECT count(*) = 1 FROM breaker WHERE kind = 'results' AND opened_at IS NOT NULL"
CLOSED = "SELECT count(*) = 0 FROM breaker WHERE opened_at IS NOT NULL"
PAID = "SELECT count(*) FROM attempts WHERE outcome = 'charged'"
BEGUN_AFTER = """
    SELECT count(*) FROM attempts a, breaker b WHERE b.kind = 'results' AND a.begun_at > b.opened_at
"""
OUT_AT_THE_FIFTH_FAILURE = """
    SELECT count(*) FROM attempts a, breaker b
    WHERE b.kind = 'results' AND a.begun_at <= b.opened_at AND coalesce(a.ended_at, now()) > b.opened_at
"""
PROBE = "UPDATE breaker SET probe_at = now() WHERE kind = 'results' AND opened_at IS NOT NULL"
PROBED = "SELECT probe_at > now() FROM breaker WHERE kind = 'results'"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker, which may fetch results from a host that the endpoint has left."""
    assert shop, bucket
    environment |= {
        "CUTOUT_RESULT_HOSTS": "*.left.example",
        "CUTOUT_CALLS_IN_FLIGHT": str(IN_FLIGHT),
        "CUTOUT_WORKER_THREADS": "8",
    }
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.mark.long("waits for copies that fail; tests/cutout/queue/test_unsaved_results.py counts them")
def test_stop_the_calls_until_one_can_be_fetched(
    system: System, sandbox: Sandbox, bucket: Bucket, shop: str
) -> None:
    """No call begins after the fifth failure; probes try what is paid; all goes on by itself."""
    sandbox.set(latency=0.2)
    system.enqueue_different(shop, JOBS)
    system.until(OPEN)
    system.until("SELECT count(*) = 0 FROM attempts WHERE ended_at IS NULL")
    bought = sandbox.charges()
    out, after = system.scalar(OUT_AT_THE_FIFTH_FAILURE), system.scalar(BEGUN_AFTER)
    log.warning("%d calls out at the fifth failure, %d begun after it, %d charged", out, after, bought)
    assert (after, out <= IN_FLIGHT) == (0, True)
    assert 5 <= bought <= 5 + 2 * IN_FLIGHT
    assert system.scalar("SELECT host FROM breaker WHERE kind = 'results'") == "127.0.0.1"
    assert system.scalar("SELECT code FROM breaker WHERE kind = 'results'") == "RESULT_HOST_REFUSED"
    for _ in range(2):
        system.execute(PROBE)
        system.until(PROBED)
    assert sandbox.charges() == bought
    system.end("worker")
    system.environment["CUTOUT_RESULT_HOSTS"] = sandbox.host
    system.start_worker("worker-2")
    system.execute(PROBE)
    system.until(CLOSED)
    system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=60)
    assert ledger(system) == Ledger(charged=JOBS, not_charged=0, unknown=0, doubted=0, lost=0)
    assert sandbox.charges() == whole(system, bucket) == JOBS


@pytest.mark.long("waits for several probes; tests/cutout/queue/test_unsaved_results.py grants them")
def test_are_probed_by_one_new_call_where_none_is_left_to_try(
    system: System, sandbox: Sandbox, shop: str
) -> None:
    """Once all that was paid is held, each rest buys one result, and no more."""
    system.enqueue_different(shop, JOBS)
    system.until(OPEN)
    system.until("SELECT count(*) = 0 FROM attempts WHERE ended_at IS NULL")
    for probe in range(2):
        system.until("SELECT count(*) = 0 FROM jobs WHERE state = 'running'")
        system.execute(
            "UPDATE jobs SET state = 'held', queue_state = NULL, code = 'RESULT_UNEXPECTED'"
            " WHERE step = 'copy' AND state = 'queued'"
        )
        bought = sandbox.charges()
        system.execute(PROBE)
        system.until(f"SELECT count(*) = {bought + 1} FROM attempts WHERE outcome = 'charged'")  # noqa: S608
        system.until("SELECT count(*) = 1 FROM jobs WHERE step = 'copy' AND state = 'queued'")
        system.execute(PROBE)
        system.until(PROBED)
        assert sandbox.charges() == bought + 1, probe


def test_of_which_too_many_wait_stop_the_calls_too(
    system: System, sandbox: Sandbox, bucket: Bucket, shop: str
) -> None:
    """Nothing fails, and the copies do not keep up: calls wait until they have."""
    system.enqueue_different(shop, JOBS)
    system.until(OPEN)
    assert bucket
    # What a worker has in hand is not changed below, and would be missing among what waits.
    system.until(
        "SELECT count(*) = 0 FROM jobs WHERE step = 'call'"
        " AND (state = 'running' OR queue_state = 'dispatched')"
    )
    system.execute(
        "UPDATE jobs SET step = 'copy', queue_state = 'delayed', scheduled_at = now() + interval '1 hour',"
        " result_url = 'https://left.example/x', result_expires_at = now() + interval '1 day'"
        " WHERE state = 'queued' AND step = 'call'"
    )
    system.until("SELECT count(*) = 1 FROM breaker WHERE kind = 'backlog' AND opened_at IS NOT NULL")
    system.execute(
        "UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now(), result_url = NULL,"
        " result_expires_at = NULL, step = 'call' WHERE queue_state = 'delayed'"
    )
    system.until("SELECT count(*) = 0 FROM breaker WHERE kind = 'backlog' AND opened_at IS NOT NULL")
