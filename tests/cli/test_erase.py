import hashlib
import io
import signal
import uuid

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.models import Job
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.cli.command import Cutout

DATA = b"a picture"
OBJECTS = 60
DIGITS = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def job_id(engine: Engine, bucket: Bucket) -> uuid.UUID:
    """A job whose picture was uploaded and that failed."""
    source = upload_source(bucket, io.BytesIO(DATA))
    with Session(engine) as session, session.begin():
        batch = create_batch(session, "b")
        made = enqueue(session, NewJob(source, "SKU"), batch_id=batch.id)
        session.execute(
            text("UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'X'")
        )
        return made


class TestErase:
    def test_says_what_would_go_and_then_takes_it(
        self, cutout: Cutout, engine: Engine, bucket: Bucket, job_id: uuid.UUID
    ) -> None:
        """Nothing changes without --yes; with it all is gone, and a second time there is nothing."""
        ran = cutout("erase", "--source-sha256", DIGITS)
        assert (ran.code, ran.stdout.splitlines()[:2]) == (
            0,
            ["would erase  1 jobs", "would erase  1 sources"],
        )
        assert len(bucket.keys("sources/")) == 1
        ran = cutout("erase", "--source-sha256", DIGITS.upper(), "--yes")
        assert (ran.code, ran.stdout.splitlines()) == (0, ["erased  1 jobs", "erased  1 sources"])
        assert bucket.keys("sources/") == []
        with Session(engine) as session:
            assert session.get_one(Job, job_id).deleted_at is not None
        assert cutout("erase", "--source-sha256", DIGITS, "--yes").code == 1

    @pytest.mark.usefixtures("job_id")
    def test_that_has_to_wait_for_a_job_ends_with_3(self, cutout: Cutout, engine: Engine) -> None:
        """It names the job, whose worker has it."""
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE jobs SET state = 'running', worker_id = uuidv7(), finished_at = NULL, code = NULL"
                )
            )
        ran = cutout("erase", "--source-sha256", DIGITS, "--yes")
        assert ran.code == 3
        assert "waits   job " in ran.stdout

    @pytest.mark.parametrize("wrong", ["abc", DIGITS[:-1] + "g", DIGITS + "0"])
    def test_refuses_what_is_no_hash(self, cutout: Cutout, wrong: str) -> None:
        """One line with the remedy."""
        ran = cutout("erase", "--source-sha256", wrong)
        assert ran.code == 2
        assert "sha256sum" in ran.stderr


def test_a_killed_erasure_is_finished_by_the_same_command(
    cutout: Cutout, engine: Engine, bucket: Bucket, job_id: uuid.UUID
) -> None:
    """SIGKILL amid its deletions: what is left is still named by rows, and goes the next time."""
    with Session(engine) as session, session.begin():
        first = session.get_one(Job, job_id)
        for n in range(OBJECTS):
            key = f"cutouts/{first.batch_id}/{n}.png"
            stored = bucket.put_cutout(DATA, key=key, media_type="image/png", metadata={})
            made = enqueue(session, NewJob(first.source, str(n)), batch_id=first.batch_id)
            session.execute(
                text(
                    "UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(),"
                    " key = :key,"
                    " sha256 = :sha256, size_bytes = 1 WHERE id = :id"
                ),
                {"id": made, "key": key, "sha256": stored},
            )
    process = cutout.begin("erase", "--source-sha256", DIGITS, "--yes")
    while len(bucket.keys("cutouts/")) > OBJECTS - 3 and process.poll() is None:
        pass
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(bucket.keys("cutouts/")) > 0
    ran = cutout("erase", "--source-sha256", DIGITS, "--yes")
    assert (ran.code, bucket.keys("cutouts/"), bucket.keys("sources/")) == (0, [], [])
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs WHERE deleted_at IS NULL")) == 0
