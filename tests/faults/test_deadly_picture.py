"""A picture that ends whichever worker has it in hand, among good ones."""

from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until
from tests.worker.wire import serving, silent

GOOD = 40
IN_HAND = "SELECT count(*) = 1 FROM jobs WHERE state = 'running' AND source LIKE '%deadly%'"
DEADLY = "SELECT id FROM jobs WHERE source LIKE '%deadly%'"
HELD = "SELECT state = 'held' AND code = 'PICTURE_KILLS_WORKER' FROM jobs WHERE source LIKE '%deadly%'"
DEATHS = "SELECT deaths FROM jobs WHERE source LIKE '%deadly%'"
GOOD_DONE = "SELECT bool_and(state = 'succeeded') FROM jobs WHERE source NOT LIKE '%deadly%'"


@pytest.mark.long(
    "waits three times for the silence of a dead worker; tests/cutout/queue/test_workers.py does not"
)
def test_a_picture_that_ends_three_workers_is_held(
    environment: dict[str, str], sandbox: Sandbox, shop: str, bucket: Bucket, tmp_path: Path
) -> None:
    """The third death is that of a worker with nothing else in hand: no call is in doubt by it."""
    assert bucket
    sandbox.set(latency=0.3)
    # A good one's call may be out at both deaths.
    environment["CUTOUT_RETRY_UNKNOWN"] = "2"
    with serving(silent) as address:
        host = address.removeprefix("http://")
        environment["CUTOUT_SOURCE_PRIVATE_HOSTS"] += f",{host}"
        with System(environment, tmp_path, api=False) as system:
            system.enqueue(f"{address}/deadly.jpg")
            system.enqueue_different(shop, GOOD)
            for death in (1, 2):
                system.until(IN_HAND, without_rests=True)
                name = f"worker-{death}"
                system.kill("worker" if death == 1 else f"worker-{death - 1}")
                system.start_worker(name)
                wait_until(lambda death=death: system.scalar(DEATHS) == death, "a death")  # type: ignore[misc]
            # On a slow machine a good one may have met both deaths while it was fetched: it goes alone, too.
            alone = f"job {system.scalar(DEADLY)} is carried out alone"
            wait_until(lambda: alone in system.log("worker-2"), alone)
            doubted = system.scalar("SELECT count(*) FROM attempts WHERE unknown_at IS NOT NULL")
            assert system.scalar("SELECT count(*) FROM attempts WHERE ended_at IS NULL") == 0
            system.kill("worker-2")
            system.start_worker("worker-3")
            system.until(HELD)
            system.until(GOOD_DONE, without_rests=True)
            after = system.scalar("SELECT count(*) FROM attempts WHERE unknown_at IS NOT NULL")
            assert after == doubted
