from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until
from tests.support.web import serve

HANG_S = 60.0


@pytest.fixture
def shop(environment: dict[str, str], photo: bytes) -> Iterator[str]:
    """The address of a photo at a web server that workers may ask."""
    with serve({"/a.jpg": photo}) as host:
        environment["CUTOUT_SOURCE_PRIVATE_HOSTS"] = host
        yield f"http://{host}/a.jpg"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and a worker for calls, with two threads."""
    assert shop, bucket
    with System(environment, tmp_path, api=False) as running:
        running.end("worker")
        running.start("caller", "worker", "--step", "call", "--threads", "2")
        yield running


class TestACopier:
    @pytest.mark.long("fills every thread with a call of seconds; tests/worker/pipeline/test_copy.py copies")
    def test_copies_while_every_thread_is_in_a_call(
        self, system: System, sandbox: Sandbox, shop: str
    ) -> None:
        """A copy that failed at first is done by the copier, though the calls beside it hang."""
        sandbox.fault("result_unavailable", next=1)
        system.enqueue(shop)
        system.until("SELECT count(*) = 1 FROM jobs WHERE step = 'copy' AND code = 'RESULT_UNAVAILABLE'")
        sandbox.fault("hang", next=2, seconds=HANG_S)
        system.enqueue(shop, 2)
        wait_until(lambda: in_flight(sandbox) == 2, "both threads hang")
        system.until("SELECT queue_state = 'dispatched' FROM jobs WHERE step = 'copy'")
        system.start("copier", "worker", "--step", "copy", "--threads", "2")
        system.until("SELECT count(*) = 1 FROM jobs WHERE state = 'succeeded'")
        assert in_flight(sandbox) == 2
        assert sandbox.charges() == 1
        system.kill("caller")

    @pytest.mark.long("waits to see that nothing happens")
    def test_leaves_calls_alone(self, system: System, sandbox: Sandbox, shop: str) -> None:
        """With nobody else there, a call stays in its queue."""
        system.end("caller")
        system.start("copier", "worker", "--step", "copy")
        wait_until(lambda: " ready." in system.log("copier"), "the copier")
        system.enqueue(shop)
        system.until("SELECT count(*) = 1 FROM jobs WHERE queue_state = 'dispatched'")
        # Claimed, it would be so within milliseconds.
        with pytest.raises(AssertionError):
            system.until("SELECT count(*) = 1 FROM jobs WHERE queue_state IS NULL", within_s=1.0)
        assert sandbox.charges() == 0


def in_flight(sandbox: Sandbox) -> int:
    """Count of the calls that the sandbox has not answered yet."""
    return sandbox.stats()["in_flight"]
