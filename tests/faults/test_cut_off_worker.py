import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from local import LocalServices
from tests.faults.evidence import Ledger, ledger, whole
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System

log = logging.getLogger(__name__)

JOBS = 100
RATE = 6
COUNTED = 18
LEAST_SHARE = 0.6
SUCCEEDED = "SELECT count(*) FROM jobs WHERE state = 'succeeded'"
CUT_OFF = "SELECT count(*) = 1 FROM workers WHERE cut_off_at IS NOT NULL"
NONE_CUT_OFF = "SELECT count(*) = 0 FROM workers WHERE cut_off_at IS NOT NULL"
# It knows before it has said so; a call that waited for its turn may be written down in between.
BEGUN_CUT_OFF = """
    SELECT count(*) FROM attempts a JOIN workers w ON w.id = a.worker_id
    WHERE a.begun_at > w.cut_off_at + interval '1 second'
"""


@pytest.fixture
def system(
    environment: dict[str, str],
    services: LocalServices,
    proxy: Proxy,
    *,
    shop: str,
    bucket: Bucket,
    tmp_path: Path,
) -> Iterator[System]:
    """Dispatcher and three workers, the last of which alone reaches the bucket through the proxy."""
    assert shop, bucket
    environment |= {
        "CUTOUT_S3_ENDPOINT_URL": services.s3.endpoint_url,
        "CUTOUT_CALLS_PER_SECOND": str(RATE),
        "CUTOUT_WORKER_THREADS": "8",
    }
    with System(environment, tmp_path, api=False) as running:
        running.start_worker("worker-2")
        running.environment["CUTOUT_S3_ENDPOINT_URL"] = proxy.url
        running.start_worker("worker-3")
        yield running


def rate(system: System) -> float:
    """Jobs a second, over the next COUNTED that succeed."""
    before, began = system.scalar(SUCCEEDED), time.monotonic()
    system.until(f"SELECT count(*) >= {before + COUNTED} FROM jobs WHERE state = 'succeeded'", within_s=60)  # noqa: S608
    return COUNTED / (time.monotonic() - began)


@pytest.mark.long(
    "three workers under load, twice over seconds; tests/worker/pipeline/test_copy.py suspects the bucket"
)
def test_leaves_the_others_at_their_rate(
    system: System, proxy: Proxy, sandbox: Sandbox, bucket: Bucket, shop: str
) -> None:
    """It alone stops taking work, says so, and comes back by itself; the breaker stays closed for all."""
    sandbox.set(latency=0.2)
    system.enqueue_different(shop, JOBS)
    system.until("SELECT count(*) > 3 FROM jobs WHERE state = 'succeeded'")
    healthy = rate(system)
    proxy.set(Mode.REFUSE)
    system.until(CUT_OFF)
    alone = rate(system)
    assert system.scalar(BEGUN_CUT_OFF) == 0
    assert "Canceling queue call" in system.log("worker-3")
    log.warning("%.1f jobs/s with three workers, %.1f with one of them cut off", healthy, alone)
    assert alone >= LEAST_SHARE * healthy
    assert system.scalar("SELECT trips = 0 FROM breaker WHERE kind = 'bucket'")
    pid = system.scalar("SELECT pid FROM workers WHERE cut_off_at IS NOT NULL")
    assert pid == system.processes["worker-3"].pid
    assert "does not reach the bucket, and makes no calls" in system.log("worker-3")
    proxy.set(Mode.PASS)
    calls = f"FROM attempts a JOIN workers w ON w.id = a.worker_id WHERE w.pid = {pid}"
    before = system.scalar(f"SELECT count(*) {calls}")
    system.until(NONE_CUT_OFF)
    system.until(f"SELECT count(*) > {before} {calls}")
    system.until(f"SELECT count(*) = {JOBS} FROM jobs WHERE state = 'succeeded'", within_s=60)  # noqa: S608
    assert ledger(system) == Ledger(charged=JOBS, not_charged=0, unknown=0, doubted=0, lost=0)
    assert whole(system, bucket) == JOBS


@pytest.mark.long("an outage of several seconds; tests/worker/test_lifeboat.py has each step")
def test_that_is_the_only_one_saves_results_that_die(
    environment: dict[str, str], system: System, proxy: Proxy, sandbox: Sandbox, shop: str
) -> None:
    """With nobody better off it goes on copying, and buys nothing."""
    assert environment
    for name in ("worker", "worker-2"):
        system.end(name)
    proxy.set(Mode.REFUSE)
    system.enqueue_different(shop, 10)
    system.until(CUT_OFF)
    system.execute("UPDATE jobs SET scheduled_at = now() WHERE standing = 'resting' AND step = 'copy'")
    tried = "SELECT bool_or(tries >= 2) FROM jobs WHERE step = 'copy'"
    system.until(tried, without_rests=True)
    assert system.scalar(BEGUN_CUT_OFF) == 0
    assert sandbox.charges() < 10
    assert system.scalar("SELECT trips = 0 FROM breaker WHERE kind = 'bucket'")
