from pathlib import Path

import pytest

from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.sandbox import Sandbox
from tests.support.system import System

DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
TWINS = 30
PHOTO = Path(__file__).parents[2] / "photos" / "eniko-kis-663725-unsplash.jpg"


def upload(bucket: Bucket) -> str:
    with PHOTO.open("rb") as file:
        return upload_source(bucket, file)


class TestTwins:
    @pytest.mark.long("runs everything; tests/cutout/queue/test_waiting_jobs.py has the rules")
    def test_that_come_together_make_one_call(
        self, environment: dict[str, str], sandbox: Sandbox, bucket: Bucket, tmp_path: Path
    ) -> None:
        """Thirty jobs for one picture, through two workers at once: one charge, one cutout, all succeed."""
        sandbox.set(latency=0.5)
        settings = environment | {"CUTOUT_REUSE": "producer"}
        with System(settings, tmp_path, api=False) as system:
            system.start_worker("worker-2")
            system.enqueue(upload(bucket), TWINS)
            system.until(DONE, without_rests=True)
            assert system.scalar("SELECT count(*) FROM jobs WHERE reused") == TWINS - 1
            assert system.scalar("SELECT count(DISTINCT key) FROM jobs") == 1
            assert system.scalar("SELECT count(*) FROM attempts") == 1
        assert sandbox.charges() == 1

    @pytest.mark.long(
        "waits for a dead worker's silence, 5 s; tests/cutout/queue/test_workers.py rescues without"
    )
    def test_outlive_the_worker_that_bought_for_them(
        self, environment: dict[str, str], sandbox: Sandbox, bucket: Bucket, tmp_path: Path
    ) -> None:
        """Killed in the call, its charge is unknown; the job calls once more, and the twins share that."""
        sandbox.set(latency=1.5)
        settings = environment | {"CUTOUT_REUSE": "producer", "CUTOUT_WORKER_SILENCE_SECONDS": "5"}
        with System(settings, tmp_path, api=False) as system:
            system.enqueue(upload(bucket), 5)
            system.until("SELECT count(*) = 1 FROM attempts")
            system.kill("worker")
            sandbox.set(latency=0.0)
            system.start_worker("worker-2")
            system.until(DONE, without_rests=True)
            assert system.scalar("SELECT count(*) FROM jobs WHERE reused") == 4
            unknown = system.scalar("SELECT count(*) FROM attempts WHERE unknown_at IS NOT NULL")
        assert (unknown, sandbox.charges()) in ((1, 1), (1, 2))

    @pytest.mark.long("runs everything; tests/cutout/queue/test_waiting_jobs.py has the rules")
    def test_are_served_however_slow_the_endpoint_is(
        self, environment: dict[str, str], sandbox: Sandbox, bucket: Bucket, tmp_path: Path
    ) -> None:
        """Four hundred jobs served from one cutout do not wait for a limit of one call in 2 s."""
        settings = environment | {"CUTOUT_REUSE": "producer", "CUTOUT_CALLS_PER_SECOND": "0.5"}
        with System(settings, tmp_path, api=False) as system:
            source = upload(bucket)
            system.enqueue(source)
            system.until(DONE)
            system.enqueue(source, 400)
            system.until(DONE, within_s=60)
        assert sandbox.charges() == 1
