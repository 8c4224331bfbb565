"""The end of a worker, asked for or not, while calls are out; with Postgres and without it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from local import LocalServices, PostgresServer
from tests.support.machine import scaled
from tests.support.sandbox import Sandbox
from tests.support.servers import restart
from tests.support.system import System, wait_until

LATENCY_S = 2.0
# A copy, the goodbye and Celery's own end, on a machine with other things to do.
SOME_SECONDS = 10.0


@pytest.fixture
def system(environment: dict[str, str], shop: str, tmp_path: Path) -> Iterator[System]:
    """A dispatcher and one worker of four threads."""
    environment["CUTOUT_WORKER_THREADS"] = "4"
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.fixture
def postgres(services: LocalServices, admin: Engine) -> Iterator[PostgresServer]:
    """Postgres, to be killed; it is back for the next test."""
    assert services.postgres is not None
    try:
        yield services.postgres
    finally:
        if services.postgres.pid is None:
            restart(services.postgres)
        admin.dispose()


def all_charged(system: System) -> bool:
    """Whether the ledger knows of each call that it was charged."""
    return bool(system.scalar("SELECT bool_and(outcome = 'charged' AND unknown_at IS NULL) FROM attempts"))


def spooled(system: System) -> list[Path]:
    """Files in the spool."""
    return sorted(Path(system.environment["CUTOUT_SPOOL_DIR"]).glob("*"))


def calls_of(system: System, name: str) -> int:
    """Count of the calls that the worker has in flight."""
    pid = system.processes[name].pid
    out = "SELECT count(*) FROM attempts a JOIN workers w ON w.id = a.worker_id WHERE a.ended_at IS NULL"
    return int(system.scalar(f"{out} AND w.pid = {pid}"))


def call(system: System, sandbox: Sandbox, shop: str, count: int) -> None:
    """Let so many calls be out."""
    sandbox.set(latency=LATENCY_S)
    system.enqueue_different(shop, count)
    out = "SELECT count(*) FROM attempts WHERE ended_at IS NULL"
    wait_until(lambda: system.scalar(out) == count, f"{count} calls out")


@pytest.mark.usefixtures("bucket")
class TestSigterm:
    @pytest.mark.long(
        "waits for calls of several seconds; tests/worker/pipeline/test_stop.py ends workers in process"
    )
    def test_lets_a_worker_finish_its_calls_and_hand_back_the_rest(
        self, system: System, sandbox: Sandbox, shop: str
    ) -> None:
        """Of 20 jobs, those being paid for are finished, the others queued at once for another worker."""
        sandbox.set(latency=LATENCY_S)
        system.enqueue_different(shop, 20)
        system.until("SELECT count(*) = 4 FROM attempts")
        told_at = time.monotonic()
        system.processes["worker"].send_signal(signal.SIGTERM)
        assert system.processes["worker"].wait(scaled(30)) == 0
        assert time.monotonic() - told_at < scaled(LATENCY_S + SOME_SECONDS)

        assert all_charged(system)
        states = system.row(
            "SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded,"
            " count(*) FILTER (WHERE state = 'queued') AS queued, count(*) AS jobs FROM jobs"
        )
        assert (states["succeeded"], states["queued"]) == (4, 16)
        assert sandbox.charges() == 4
        assert system.scalar("SELECT left_at IS NOT NULL FROM workers")
        assert "Traceback" not in system.log("worker")

        sandbox.set(latency=0.0)
        system.start_worker("worker-2")
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
        assert sandbox.charges() == 20
        assert all_charged(system)

    @pytest.mark.long(
        "load on several workers, ended one by one; tests/worker/pipeline/test_stop.py ends one"
    )
    @pytest.mark.timeout(240)  # six workers are started
    def test_of_one_worker_after_another_under_load_costs_nothing(
        self, system: System, sandbox: Sandbox, shop: str
    ) -> None:
        """A rolling deploy of three workers amid 60 jobs: each is called once and no charge is in doubt."""
        for name in ("worker-2", "worker-3"):
            system.start_worker(name)
        sandbox.set(latency=1.5)
        for name in ("worker", "worker-2", "worker-3"):
            system.start_worker(f"new-{name}")
            # More than the other three have threads for.
            system.enqueue_different(shop, 20)
            wait_until(lambda: calls_of(system, name) > 0, f"calls of {name} are out")  # noqa: B023
            system.end(name)
            assert system.processes[name].returncode == 0
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=60)
        assert sandbox.charges() == 60
        assert all_charged(system)
        assert system.scalar("SELECT count(*) FROM attempts") == 60


@pytest.mark.usefixtures("bucket")
class TestPostgresAway:
    @pytest.mark.long(
        "an outage of several seconds; tests/worker/pipeline/test_spool.py keeps and replays answers"
    )
    def test_while_calls_are_out_costs_nothing(
        self, system: System, postgres: PostgresServer, sandbox: Sandbox, shop: str
    ) -> None:
        """The worker holds its answers, on disk too, and writes them down when Postgres is back."""
        call(system, sandbox, shop, 3)
        postgres.kill()
        wait_until(lambda: len(spooled(system)) == 3, "three files in the spool")
        restart(postgres)
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=60)
        assert sandbox.charges() == 3
        assert all_charged(system)
        assert spooled(system) == []

    @pytest.mark.long(
        "waits as long as a worker that ends; tests/worker/pipeline/test_spool.py keeps and replays answers"
    )
    @pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
    def test_while_the_worker_ends_loses_no_paid_result(
        self, system: System, postgres: PostgresServer, sandbox: Sandbox, shop: str, by: signal.Signals
    ) -> None:
        """The endpoint's answer is on disk, and the next worker continues with it."""
        call(system, sandbox, shop, 3)
        postgres.kill()
        worker = system.processes["worker"]
        if by is signal.SIGTERM:
            worker.send_signal(by)
            assert worker.wait(scaled(LATENCY_S + 10 + SOME_SECONDS)) == 0
            assert "is left to the rescue" in system.log("worker")
        else:
            wait_until(lambda: len(spooled(system)) == 3, "three files in the spool")
            system.kill("worker")
        assert len(spooled(system)) == 3
        assert "/results/" not in system.log("worker")
        assert "Traceback" not in system.log("worker")

        # It waits for Postgres, so that its start does not compete with the silence of the one before.
        system.start("worker-2", "worker")
        restart(postgres)
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs", within_s=60)
        assert sandbox.charges() == 3
        assert system.scalar("SELECT bool_and(outcome = 'charged') FROM attempts")
        assert spooled(system) == []
