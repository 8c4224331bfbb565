from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

JOBS = 60
DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
PHOTO = Path(__file__).parents[2] / "photos" / "eniko-kis-663725-unsplash.jpg"


@pytest.fixture
def system(environment: dict[str, str], proxy: Proxy, sandbox: Sandbox, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker that reuses what was bought; the proxy stands before its bucket."""
    sandbox.reset()
    settings = environment | {"CUTOUT_REUSE": "producer", "CUTOUT_S3_ENDPOINT_URL": proxy.url}
    with System(settings, tmp_path, api=False) as running:
        yield running


@pytest.mark.long(
    "waits for the lease of a message; tests/cutout/queue/test_serve_reused.py serves and puts back"
)
def test_a_worker_killed_while_it_serves_loses_nothing_and_buys_nothing(
    system: System, proxy: Proxy, sandbox: Sandbox, bucket: Bucket
) -> None:
    """It has claimed nothing: its parcels come back with their lease, and another worker serves them."""
    with PHOTO.open("rb") as file:
        source = upload_source(bucket, file)
    system.enqueue(source)
    system.until(DONE)
    proxy.set(Mode.STALL)
    system.enqueue(source, JOBS)
    system.until(f"SELECT count(*) = {JOBS} FROM jobs WHERE standing = 'serving'")  # noqa: S608 - a number
    wait_until(lambda: proxy.stalled > 0, "a question for the bucket")
    system.kill("worker")
    proxy.set(Mode.PASS)
    assert system.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == 1
    system.start_worker("worker-2")
    system.until(DONE, within_s=60)
    assert system.scalar("SELECT count(*) FROM jobs WHERE reused") == JOBS
    assert system.scalar("SELECT count(*) FROM attempts") == 1
    assert sandbox.charges() == 1
