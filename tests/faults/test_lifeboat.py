"""A day scaled down: one hour is two seconds, so a result lives 48 s and is saved 4 s before it dies."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, ledger, whole
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

HOUR_S = 2.0
LIFETIME_S = 24 * HOUR_S
LIFEBOAT_S = 2 * HOUR_S
JOBS = 30
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
LOST = "SELECT bool_and(state = 'held' AND code = 'RESULT_EXPIRED') FROM jobs"
# Far too little for a cutout.
FULL_DISK_BYTES = 65_536


@pytest.fixture
def lifetime_s() -> float:
    """Lifetime of a result; a class may set another one."""
    return LIFETIME_S


@pytest.fixture
def mortal(tmp_path: Path, lifetime_s: float) -> Iterator[Sandbox]:
    """A sandbox of the test's own, whose results die so soon."""
    with Sandbox(tmp_path / "sandbox.log", "--url-lifetime", str(lifetime_s)) as started:
        yield started


@pytest.fixture
def lifeboat(tmp_path: Path) -> Path:
    """The directory of the lifeboat; the first worker that needs it makes it."""
    return tmp_path / "lifeboat"


@pytest.fixture
def system(
    environment: dict[str, str], mortal: Sandbox, lifeboat: Path, lifetime_s: float, tmp_path: Path
) -> Iterator[System]:
    """Dispatcher and one worker; the bucket may be away, the result hosts are the sandbox's."""
    environment |= {
        "CUTOUT_ENDPOINT_URL": mortal.url,
        "CUTOUT_ENDPOINT_API_KEYS": mortal.key,
        "CUTOUT_RESULT_HOSTS": mortal.host,
        "CUTOUT_RESULT_LIFETIME_SECONDS": str(lifetime_s),
        "CUTOUT_LIFEBOAT_SECONDS": str(LIFEBOAT_S),
        "CUTOUT_LIFEBOAT_DIR": str(lifeboat),
        "CUTOUT_WORKER_THREADS": str(JOBS),
    }
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.fixture
def outage(proxy: Proxy, shop: str, system: System, mortal: Sandbox, lifeboat: Path) -> "Outage":
    """The system's line to the bucket, in the test's hands."""
    assert system.environment["CUTOUT_S3_ENDPOINT_URL"] == proxy.url
    return Outage(system, proxy, mortal, lifeboat, shop)


class Outage:
    """Storage away from `begin` to `end`; keeps when each paid result dies and when it was saved."""

    def __init__(self, system: System, proxy: Proxy, mortal: Sandbox, lifeboat: Path, shop: str) -> None:
        self.system = system
        self._proxy = proxy
        self._mortal = mortal
        self._lifeboat = lifeboat
        self._shop = shop
        self.expires_at: dict[uuid.UUID, datetime] = {}
        self.saved_at: dict[uuid.UUID, float] = {}

    def begin(self, jobs: int) -> None:
        """Let the jobs be paid while no upload gets through; then storage is down."""
        self._proxy.set(Mode.STALL)
        self.system.enqueue_different(self._shop, jobs)
        self.system.until("SELECT bool_and(step = 'copy') FROM jobs")
        assert self.charges() == jobs
        with self.system.engine.connect() as connection:
            rows = connection.execute(text("SELECT id, result_expires_at FROM jobs")).all()
        self.expires_at = {row.id: row.result_expires_at for row in rows}
        self._proxy.set(Mode.REFUSE)
        self._began_at = time.monotonic()

    def last(self, seconds: float) -> None:
        """Wait until storage has been away for so long."""

        def over() -> bool:
            self.look()
            return time.monotonic() > self._began_at + seconds

        wait_until(over, "the outage is over", within_s=seconds + 10)

    def end(self) -> None:
        """Storage is back."""
        self._proxy.set(Mode.PASS)

    def all_succeed(self) -> None:
        """Wait until all jobs have; what goes through the lifeboat is noted."""

        def done() -> bool:
            self.look()
            return bool(self.system.scalar(DONE))

        wait_until(done, DONE)

    def look(self) -> None:
        """Note what has come into the lifeboat, by the time of its file."""
        for path in self._lifeboat.glob("[!.]*"):
            try:
                self.saved_at.setdefault(uuid.UUID(path.name), path.stat().st_mtime)
            except FileNotFoundError:
                continue

    def charges(self) -> int:
        """Count of the calls that the sandbox charged."""
        return self._mortal.charges()

    def late(self) -> set[uuid.UUID]:
        """The results that reached neither the lifeboat nor the bucket before they died."""
        with self.system.engine.connect() as connection:
            rows = connection.execute(text("SELECT id, finished_at FROM jobs")).all()
        safe_at = {row.id: row.finished_at.timestamp() for row in rows if row.finished_at} | self.saved_at
        return {
            job
            for job, expires_at in self.expires_at.items()
            if safe_at.get(job, float("inf")) >= expires_at.timestamp()
        }


def all_is_paid_once(outage: Outage, bucket: Bucket, jobs: int) -> None:
    outage.all_succeed()
    assert outage.late() == set()
    assert outage.charges() == jobs
    assert ledger(outage.system) == Ledger(charged=jobs, not_charged=0, unknown=0, doubted=0, lost=0)
    assert whole(outage.system, bucket) == jobs


@pytest.mark.long(
    "an outage that outlasts results, told in seconds; tests/worker/test_lifeboat.py has each step"
)
class TestTwentyHoursWithoutStorage:
    @pytest.mark.timeout(180)
    def test_cost_no_paid_result(self, outage: Outage, bucket: Bucket, lifeboat: Path) -> None:
        """Every result is in the bucket or the lifeboat before it dies, and in the bucket in the end."""
        outage.begin(JOBS)
        outage.last(20 * HOUR_S)
        outage.end()
        all_is_paid_once(outage, bucket, JOBS)
        wait_until(lambda: not list(lifeboat.glob("*")), "the lifeboat is empty")


@pytest.mark.long(
    "an outage that outlasts results, told in seconds; tests/worker/test_lifeboat.py has each step"
)
class TestStorageAwayForLongerThanAResultLives:
    JOBS = 12
    OUTAGE_S = 20.0

    @pytest.fixture
    def lifetime_s(self) -> float:
        """Shorter than the outage."""
        return 14.0

    def test_is_what_the_lifeboat_is_for(self, outage: Outage, bucket: Bucket, lifeboat: Path) -> None:
        """All results go into the lifeboat before they die, and from there into the bucket."""
        outage.begin(self.JOBS)
        outage.last(self.OUTAGE_S)
        assert set(outage.saved_at) == set(outage.expires_at)
        outage.end()
        all_is_paid_once(outage, bucket, self.JOBS)
        wait_until(lambda: not list(lifeboat.glob("*")), "the lifeboat is empty")

    def test_is_survived_by_workers_that_start_meanwhile(self, outage: Outage, bucket: Bucket) -> None:
        """The only worker dies in the outage; the one started after it fills the lifeboat."""
        outage.begin(self.JOBS)
        outage.system.kill("worker")
        outage.system.start("worker-2", "worker")
        outage.last(self.OUTAGE_S)
        assert set(outage.saved_at) == set(outage.expires_at)
        outage.end()
        all_is_paid_once(outage, bucket, self.JOBS)


@pytest.mark.long(
    "an outage that outlasts results, told in seconds; tests/worker/test_lifeboat.py has each step"
)
class TestALifeboatThatTakesNothing:
    JOBS = 3
    OUTAGE_S = 12.0
    ALL_LOST = Ledger(charged=JOBS, not_charged=0, unknown=0, doubted=0, lost=JOBS)

    @pytest.fixture
    def lifetime_s(self) -> float:
        """Shorter than the outage."""
        return 8.0

    @pytest.fixture
    def full_disk(self, lifeboat: Path) -> Iterator[Path]:
        """The lifeboat is a file system of 64 KB."""
        mount, umount = shutil.which("mount"), shutil.which("umount")
        lifeboat.mkdir()
        if not mount or not umount or not self.mounted(mount, lifeboat):
            pytest.skip("needs the right to mount a small tmpfs")
        yield lifeboat
        subprocess.run([umount, "--lazy", lifeboat], check=True)

    def mounted(self, mount: str, where: Path) -> bool:
        command = [mount, "-t", "tmpfs", "-o", f"size={FULL_DISK_BYTES}", "tmpfs", str(where)]
        return subprocess.run(command, check=False).returncode == 0

    def test_costs_what_dies_and_nothing_else(
        self, outage: Outage, full_disk: Path, bucket: Bucket, shop: str
    ) -> None:
        """The job says what is wrong while there is time; then each loss is recorded, and its job is held."""
        outage.begin(self.JOBS)
        system = outage.system
        system.until("SELECT bool_and(code = 'LIFEBOAT_FULL') FROM jobs")
        system.until(LOST, without_rests=True)
        assert ledger(system) == self.ALL_LOST
        assert not list(full_disk.iterdir())
        outage.end()
        system.enqueue_different(shop)
        system.until("SELECT count(*) = 1 FROM jobs WHERE state = 'succeeded'")
        assert outage.charges() == self.JOBS + 1
        assert ledger(system) == replace(self.ALL_LOST, charged=self.JOBS + 1)
        assert whole(system, bucket) == 1

    def test_is_asked_before_anything_is_given_up(self, outage: Outage, lifeboat: Path) -> None:
        """While it cannot be read, a dead result may still be in it; once it can, the loss is recorded."""
        lifeboat.write_text("a file where the directory should be")
        outage.begin(self.JOBS)
        outage.last(self.OUTAGE_S)
        system = outage.system
        assert system.scalar("SELECT bool_and(code = 'LIFEBOAT_AWAY') FROM jobs")
        assert ledger(system) == replace(self.ALL_LOST, lost=0)
        lifeboat.unlink()
        outage.end()
        system.until(LOST, without_rests=True)
        assert ledger(system) == self.ALL_LOST
        assert outage.charges() == self.JOBS
