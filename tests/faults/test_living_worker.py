"""Slow is not dead: a living worker keeps its job however long the call takes."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cutout.storage import Bucket
from local import LocalServices
from local.postgres import PostgresServer
from tests.faults.evidence import Ledger, in_flight, ledger, whole
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

SILENCE_S = 5.0
# Read before the tests forget the variables from outside.
LONG_CALL_S = float(os.environ.get("CUTOUT_TEST_LONG_CALL_SECONDS", "15"))
SPARE_S = 100.0
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"


@pytest.fixture
def calls_of(system: System, sandbox: Sandbox) -> Iterator[float]:
    """The seconds that every call takes, all alike."""
    assert system.processes
    sandbox.set(latency=LONG_CALL_S, latency_spread=0.0)
    yield LONG_CALL_S
    sandbox.set(latency_spread=0.25)


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker, whose calls have time enough."""
    assert shop, bucket
    environment |= {
        "CUTOUT_CALL_DEADLINE_SECONDS": str(2 * LONG_CALL_S),
        "CUTOUT_WORKER_SILENCE_SECONDS": str(SILENCE_S),
    }
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.fixture
def postgres(services: LocalServices, admin: Engine, system: System) -> Iterator[PostgresServer]:
    """The server, which runs again before the system is ended."""
    assert services.postgres is not None
    assert system.processes
    yield services.postgres
    if services.postgres.pid is None:
        services.postgres.start()
    # The session's connections to it are dead.
    admin.dispose()


def is_paid_once(system: System, sandbox: Sandbox, bucket: Bucket) -> None:
    assert sandbox.charges() == 1
    assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=0)
    assert system.scalar("SELECT fence FROM jobs") == 1
    assert whole(system, bucket) == 1


@pytest.mark.long(
    "a call longer than the shortest silence; tests/worker/dispatcher/test_heartbeat_monitor.py has the rules"
)
class TestALongCall:
    @pytest.mark.timeout(LONG_CALL_S + SPARE_S)
    def test_is_never_robbed_of_its_job(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str, calls_of: float
    ) -> None:
        """A call of thrice the silence: one attempt, one charge, no doubt.

        For ten minutes: CUTOUT_TEST_LONG_CALL_SECONDS=600 pytest tests/faults/test_living_worker.py
        """
        assert calls_of > SILENCE_S
        began = time.monotonic()
        system.enqueue_different(shop)
        system.until(DONE, within_s=LONG_CALL_S + SPARE_S / 2)
        assert time.monotonic() - began >= calls_of
        is_paid_once(system, sandbox, bucket)

    @pytest.mark.timeout(LONG_CALL_S + SPARE_S)
    @pytest.mark.usefixtures("calls_of")
    def test_outlives_a_postgres_away_for_longer_than_the_silence(
        self, system: System, postgres: PostgresServer, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """No heart can beat meanwhile: when Postgres is back the watch begins anew, and nobody is rescued."""
        system.enqueue_different(shop)
        wait_until(lambda: in_flight(sandbox) == 1, "the call")
        postgres.kill()
        time.sleep(SILENCE_S + 2)
        postgres.start()
        system.until(DONE, within_s=LONG_CALL_S + SPARE_S / 2)
        is_paid_once(system, sandbox, bucket)
        assert "rescued" not in system.log("dispatcher")
