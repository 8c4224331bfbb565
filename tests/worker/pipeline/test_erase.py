"""Erasure of a picture: nothing of it remains, for any producer and after any crash."""

import hashlib
import uuid

import pytest
from sqlalchemy import func, insert, text
from sqlalchemy.orm import Session

from cutout.administration.erase import Erased, erase, find
from cutout.models import OUTPUTS, Job
from cutout.producers.producers import create_producer
from cutout.results import ended_batches
from cutout.schedules.report_publish import keep_results_and_reports
from cutout.storage import Bucket
from tests.support.bench import Bench
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox

HOOK = "https://shop.example/hook"


class DiedError(Exception):
    """The process has died."""


class Dying(Bucket):
    """The bucket of a process that dies after its n-th deletion, before it gets the answer."""

    left: int

    def delete(self, key: str) -> bool:
        gone = super().delete(key)
        self.left -= 1
        if self.left == 0:
            raise DiedError
        return gone


class Scene:
    """Two producers' and the operator's jobs for one picture, and a job for another picture."""

    def __init__(self, bench: Bench, photo: bytes) -> None:
        self.bench, self.photo = bench, photo
        self.sha256 = hashlib.sha256(photo).digest()
        with Session(bench.engine) as session, session.begin():
            self.owners = [create_producer(session, name)[0].id for name in ("a", "b")]
        self.other = bench.done(encoded(plain(70), "PNG"))
        self.jobs = [self._done(owner) for owner in (self.owners[0], *self.owners, None)]
        with bench.engine.begin() as connection:
            connection.execute(text("UPDATE batches SET webhook_url = :url"), {"url": HOOK})
        self.write_results()

    def _done(self, owner: uuid.UUID | None) -> Job:
        job_id = self.bench.enqueue(self.photo, producer_id=owner)
        self.bench.change(job_id, f"webhook_url = '{HOOK}'")
        self.bench.work()
        return self.bench.job(job_id)

    def make(self, job: Job, name: str, key: str) -> None:
        """Store an output as a renderer would."""
        self.bench.bucket.put_cutout(b"made", key=key, media_type="image/png", metadata={})
        made = {"state": "made", "key": key, "sha256": b"made", "finished_at": func.now()}
        values = {"job_id": job.id, "name": name, "priority": 1, "recipe": "r", "bought_sha256": job.sha256}
        with self.bench.engine.begin() as connection:
            connection.execute(insert(OUTPUTS).values(values | made | {"source_sha256": job.source_sha256}))

    def write_results(self) -> None:
        with self.bench.engine.connect() as connection:
            batches = ended_batches(connection)
        for batch_id in batches:
            keep_results_and_reports(self.bench.engine, self.bench.bucket, batch_id)

    def erase(self, bucket: Bucket | None = None) -> Erased:
        return erase(self.bench.engine, bucket or self.bench.bucket, self.sha256)

    def traces(self) -> list[str]:
        """The traces of the picture in the database and the bucket, without the ledger."""
        digits, bench = self.sha256.hex(), self.bench
        left = [key for key in bench.bucket.keys("") if digits in key]
        left += [key for job in self.jobs if (key := job.key) in bench.bucket.keys("cutouts/")]
        for job in self.jobs:
            left += [key for key in bench.bucket.keys("results/") if self._tells(key, job)]
        with bench.engine.connect() as connection:
            for table in ("jobs", "outputs", "bought_results", "sources", "deliveries"):
                rows = connection.scalars(text(f"SELECT to_json(t)::text FROM {table} t")).all()  # noqa: S608
                # The ids of the ledger's jobs stay.
                left += [row for row in rows if digits in row]
                left += [
                    row for row in rows if table == "deliveries" and any(str(j.id) in row for j in self.jobs)
                ]
        return left

    def _tells(self, key: str, job: Job) -> bool:
        return str(job.id) in self.bench.bucket.read(key, max_bytes=10**6).decode()


@pytest.fixture
def scene(reusing: Bench, photo: bytes) -> Scene:
    return Scene(reusing, photo)


class TestErasure:
    def test_leaves_nothing_of_the_picture_and_all_of_another(self, scene: Scene, sandbox: Sandbox) -> None:
        """Jobs of both producers and of none lose it; the ledger keeps the cost."""
        spent = sandbox.charges()
        assert scene.traces() != []
        erased = scene.erase()
        scene.write_results()
        assert scene.traces() == []
        assert erased.unfinished == []
        assert (erased.removed["jobs"], erased.removed["cutouts"], erased.removed["sources"]) == (4, 3, 3)
        assert any("3 calls" in line for line in erased.kept)
        other = scene.bench.job(scene.other.id)
        assert other.key in scene.bench.bucket.keys("cutouts/")
        assert scene._tells(f"results/{other.batch_id}.csv", other)
        assert sandbox.charges() == spent

    def test_takes_the_outputs_with_it(self, scene: Scene) -> None:
        """Of two jobs for the picture that share one, and of none for another picture."""
        first, second = scene.jobs[:2]
        for job, name, key in (
            (first, "web", "cutouts/web"),
            (second, "web", "cutouts/web"),
            (first, "amazon", "cutouts/both"),
            (scene.other, "amazon", "cutouts/both"),
        ):
            scene.make(job, name, key)
        found = find(scene.bench.engine, scene.bench.bucket, scene.sha256)
        assert found.counted()["outputs"] == 2
        erased = scene.erase()
        assert erased.removed["outputs"] == 1
        assert "cutouts/both: a job for another picture has the same key" in erased.kept
        keys = set(scene.bench.bucket.keys("cutouts/"))
        assert ("cutouts/web" in keys, "cutouts/both" in keys) == (False, True)
        with scene.bench.engine.connect() as connection:
            left = connection.scalars(text("SELECT DISTINCT job_id FROM outputs")).all()
        assert left == [scene.other.id]

    def test_is_looked_for_without_changing_anything(self, scene: Scene) -> None:
        """A dry run counts what would be deleted, and deletes nothing."""
        before = scene.traces()
        found = find(scene.bench.engine, scene.bench.bucket, scene.sha256)
        assert (found.counted()["jobs"], found.counted()["cutouts"], found.counted()["sources"]) == (4, 3, 3)
        assert scene.traces() == before
        assert not find(scene.bench.engine, scene.bench.bucket, b"n" * 32)

    @pytest.mark.parametrize("after", [1, 5, 6, 8, 9])
    def test_that_died_is_finished_by_the_same_again(self, scene: Scene, after: int) -> None:
        """It may die after any object; a second run completes it, and a third does no harm."""
        dying = scene.bench.bucket.sibling(scene.bench.bucket.name)
        dying.__class__ = Dying
        dying.left = after  # type: ignore[attr-defined]
        with pytest.raises(DiedError):
            scene.erase(dying)
        scene.erase()
        scene.write_results()
        assert scene.traces() == []
        assert scene.erase().removed.total() == 0

    def test_takes_what_a_deleted_job_left(self, scene: Scene) -> None:
        """A cutout is deleted that only a result still names."""
        for job in scene.jobs:
            scene.bench.change(
                job.id,
                "deleted_at = now(), key = NULL, sha256 = NULL, source_sha256 = NULL, external_id = NULL,"
                " producer_id = NULL, source = ''",
            )
        erased = scene.erase()
        assert erased.removed["cutouts"] == 3
        assert [key for job in scene.jobs if (key := job.key) in scene.bench.bucket.keys("cutouts/")] == []

    def test_spares_an_object_that_another_picture_has_under_the_same_key(self, scene: Scene) -> None:
        """Earlier key templates allowed it: the job that has the object keeps it, and the answer says so."""
        shared = scene.jobs[0].key
        scene.bench.change(scene.other.id, f"key = '{shared}'")
        erased = scene.erase()
        assert shared in scene.bench.bucket.keys("cutouts/")
        assert any(str(scene.other.id) in line for line in erased.kept)

    def test_cancels_what_waits_and_names_what_has_to_end(self, scene: Scene) -> None:
        """A queued job is cancelled and erased; a running one is named."""
        waiting, running = (scene.bench.enqueue(scene.photo, producer_id=owner) for owner in scene.owners)
        scene.bench.change(running, "state = 'running', queue_state = NULL, worker_id = uuidv7()")
        erased = scene.erase()
        assert erased.unfinished == [running]
        assert scene.bench.job(waiting).deleted_at is not None
        assert len(scene.bench.bucket.keys("sources/")) == 2
        scene.bench.change(running, "state = 'cancelled', finished_at = now(), worker_id = NULL")
        assert scene.erase().unfinished == []
        scene.write_results()
        assert scene.traces() == []


def test_a_picture_on_the_web_is_found_by_what_its_address_had(reusing: Bench, photo: bytes) -> None:
    """A job that failed before its call has no hash: it is found by the address, which is stored with one."""
    sha256, address = hashlib.sha256(photo).digest(), "https://shop.example/a.jpg"
    job_id = reusing.enqueue(address)
    reusing.change(job_id, "state = 'failed', queue_state = NULL, finished_at = now(), code = 'X'")
    with reusing.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sources VALUES (sha256(convert_to(:address, 'UTF8')), 'e', NULL, :sha256, now())"
            ),
            {"address": address, "sha256": sha256},
        )
    erased = erase(reusing.engine, reusing.bucket, sha256)
    assert (erased.removed["jobs"], erased.removed["source addresses"]) == (1, 1)
    assert reusing.job(job_id).source == ""
