"""A picture that a thousand jobs share, whose result is slow to come."""

from pathlib import Path

import pytest

from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

PHOTO = Path(__file__).parents[2] / "photos" / "eniko-kis-663725-unsplash.jpg"
TWINS = 1000
WAITING = "SELECT count(*) FROM jobs WHERE queue_state = 'waiting'"


@pytest.mark.long(
    "carries a thousand jobs; tests/cutout/queue/test_waiting_jobs.py has twenty, in the store alone"
)
def test_a_thousand_twins_are_handed_out_once(
    environment: dict[str, str], sandbox: Sandbox, bucket: Bucket, tmp_path: Path
) -> None:
    """While the result of the one call cannot be fetched they wait in Postgres; then all are served."""
    sandbox.fault("result_unavailable", next=1)
    # Nothing is handed out again because the machine is busy.
    settings = environment | {"CUTOUT_REUSE": "producer", "CUTOUT_MESSAGE_LEASE_SECONDS": "600"}
    with System(settings, tmp_path, api=False) as system:
        with PHOTO.open("rb") as file:
            source = upload_source(bucket, file)
        system.enqueue(source)
        system.until("SELECT queue_state = 'delayed' AND step = 'copy' FROM jobs")
        system.execute("UPDATE jobs SET scheduled_at = now() + interval '1 hour'")
        before = system.scalar("SELECT sum(fence) FROM jobs")
        system.enqueue(source, TWINS)
        wait_until(lambda: system.scalar(WAITING) == TWINS, "all wait")
        assert system.scalar("SELECT sum(fence) FROM jobs") == before + TWINS
        system.execute("UPDATE jobs SET scheduled_at = now() WHERE step = 'copy'")
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs", without_rests=True)
    assert sandbox.charges() == 1
