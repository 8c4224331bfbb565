"""Another producer's jobs, beside sixty whose pictures' servers keep them waiting."""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy.orm import Session

from cutout.enums import Priority
from cutout.producers.producers import create_producer
from cutout.queue.enqueue import NewJob, enqueue, enqueue_all
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.machine import scaled
from tests.support.sandbox import Sandbox
from tests.support.system import System
from tests.support.web import serve
from tests.worker.wire import Behaviour, dribbling, serving, silent, stopping_after

PHOTO = Path(__file__).parents[2] / "photos" / "eniko-kis-663725-unsplash.jpg"
WAITING_JOBS = 60
TAKES_S = 2.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
SLOW: dict[str, list[Behaviour]] = {
    "silent": [silent] * 5,
    "silent at one host": [silent],
    "dripping": [dribbling(b""), dribbling(HEAD), stopping_after(HEAD)] * 2,
}


@pytest.fixture
def installation(environment: dict[str, str], tmp_path: Path) -> tuple[dict[str, str], Path]:
    """A worker as in production, whose limit is yet to be learned: the window of calls is small."""
    settings = environment | {
        "CUTOUT_CALLS_PER_SECOND": "auto",
        "CUTOUT_CALLS_IN_FLIGHT": "auto",
        "CUTOUT_WORKER_THREADS": "32",
        "CUTOUT_SOURCE_PRIVATE_HOSTS": "127.0.0.1",
    }
    return settings, tmp_path


@pytest.fixture
def shop() -> Iterator[str]:
    """A quick server with a picture; gives its address."""
    with serve({"/a.jpg": PHOTO.read_bytes()}) as host:
        yield f"http://{host}/a.jpg"


def producer(system: System, name: str) -> uuid.UUID:
    with Session(system.engine) as session, session.begin():
        return create_producer(session, name)[0].id


def seconds_of(system: System, source: str, owner: uuid.UUID) -> float:
    """Seconds of one job."""
    with Session(system.engine) as session, session.begin():
        began = time.monotonic()
        job = enqueue(session, NewJob(source, priority=Priority.INTERACTIVE), producer_id=owner)
    query = f"SELECT state = 'succeeded' FROM jobs WHERE id = '{job}'"  # noqa: S608 - an id
    while not system.scalar(query):
        assert time.monotonic() - began < scaled(30)
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.long(
    "a dozen calls of 2 s one after the other; tests/cutout/queue/test_download_limit.py has the bounds"
)
@pytest.mark.parametrize("kind", SLOW)
def test_take_no_longer(
    installation: tuple[dict[str, str], Path], sandbox: Sandbox, bucket: Bucket, shop: str, kind: str
) -> None:
    """Uploaded or on the web, at once and after a while: at most one and a half times as long as alone."""
    settings, logs = installation
    sandbox.set(latency=TAKES_S, latency_spread=0.0)
    with ExitStack() as stack:
        stack.callback(sandbox.set, latency_spread=0.25)
        servers = cycle([stack.enter_context(serving(behaviour)) for behaviour in SLOW[kind]])
        system = stack.enter_context(System(settings, logs, api=False))
        a, b = producer(system, "a"), producer(system, "b")
        with PHOTO.open("rb") as file:
            uploaded = upload_source(bucket, file)
        for source in (uploaded, shop):
            seconds_of(system, source, b)
        alone = {
            source: median([seconds_of(system, source, b) for _ in range(3)]) for source in (uploaded, shop)
        }
        waiting = [NewJob(f"{next(servers)}/{n}", priority=Priority.INTERACTIVE) for n in range(WAITING_JOBS)]
        with Session(system.engine) as session, session.begin():
            enqueue_all(session, waiting, producer_id=a)
        at_once = seconds_of(system, uploaded, b)
        beside = {
            source: median([seconds_of(system, source, b) for _ in range(3)]) for source in (shop, uploaded)
        }
        under_way = system.scalar("SELECT count(*) FROM jobs WHERE state = 'running'")
        system.kill("worker")  # It would wait for the servers.
    assert under_way > 0
    assert at_once < 1.5 * alone[uploaded]
    for source, took in beside.items():
        assert took < 1.5 * alone[source], (source, beside, alone)
