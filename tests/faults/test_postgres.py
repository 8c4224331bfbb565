import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cutout.storage import Bucket
from local import LocalServices
from local.postgres import PostgresServer
from tests.faults.evidence import Ledger, in_flight, ledger, whole
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

JOBS = 24
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
LEADS = "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
SILENCE_S = 5.0


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
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


@pytest.fixture
def under_load(system: System, sandbox: Sandbox, shop: str) -> Callable[[], None]:
    """Begins calls of about a second each, and returns when all threads of the worker are at one."""

    def begin() -> None:
        sandbox.set(latency=1.0)
        system.enqueue_different(shop, JOBS)
        wait_until(lambda: in_flight(sandbox) >= 4 and sandbox.charges() > 0, "calls are out")

    return begin


def all_is_paid_once(system: System, sandbox: Sandbox, bucket: Bucket) -> None:
    system.until(DONE, within_s=60)
    assert sandbox.charges() == JOBS
    assert ledger(system) == Ledger(charged=JOBS, not_charged=0, unknown=0, doubted=0, lost=0)
    assert whole(system, bucket) == JOBS


@pytest.mark.long(
    "an outage longer than a worker's silence; tests/cutout/models/test_database.py waits for Postgres"
)
class TestPostgresKilledWithCallsOut:
    def test_loses_nothing_when_it_comes_back(
        self,
        postgres: PostgresServer,
        system: System,
        under_load: Callable[[], None],
        sandbox: Sandbox,
        bucket: Bucket,
    ) -> None:
        """Workers keep their answers until they can be written down: one charge a job, none in doubt."""
        under_load()
        postgres.kill()
        postgres.start()
        all_is_paid_once(system, sandbox, bucket)

    def test_makes_no_worker_look_dead(
        self,
        postgres: PostgresServer,
        system: System,
        under_load: Callable[[], None],
        sandbox: Sandbox,
        bucket: Bucket,
    ) -> None:
        """Away for longer than the silence, when no heart can beat: nobody is rescued, no call doubted."""
        under_load()
        # The dispatcher has seen the last beat of the heart.
        system.freeze("worker")
        time.sleep(SILENCE_S / 3)
        postgres.kill()
        system.thaw("worker")
        time.sleep(SILENCE_S + 2)
        # The dispatcher is back before any heart has beaten again, and looks at the workers.
        system.freeze("worker")
        postgres.start()
        system.until(LEADS)
        time.sleep(SILENCE_S / 2)
        system.thaw("worker")
        all_is_paid_once(system, sandbox, bucket)
