"""Deletion of a batch that breaks off, is given up, or meets webhooks, schedules and other requests."""

import threading
import uuid

import httpx
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.administration import delete_batch
from cutout.enums import ActionKind
from cutout.ingest.change_detection import ChangeDetection, ChunkVersions, PictureVersion
from cutout.models import Job
from cutout.queue.batch_actions.carry_out import MOST_TRIES, NIL, take_turn
from cutout.queue.batch_actions.unfinished import BatchIsEndingError
from cutout.results import keep_results
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain_state
from cutout.status.producer_texts import for_producer
from cutout.storage import Bucket, StorageError
from tests.api.conftest import producer_of
from tests.api.test_actions import bought, fresh
from tests.api.test_delete import HOOK, with_output
from tests.api.test_delete_batch import (
    BROKEN,
    COUNTS,
    WAITING,
    ask,
    deleted,
    of_job,
    scalar,
    two_jobs,
)
from tests.api.test_jobs import problem_of
from tests.support.actions import carry_out, turns
from tests.support.fates import make_batch
from tests.support.system import wait_until


class TestItGoesOn:
    @pytest.mark.parametrize("objects", [True, False])
    def test_at_every_point_at_which_it_may_end(
        self,
        shop: httpx.Client,
        engine: Engine,
        bucket: Bucket,
        monkeypatch: pytest.MonkeyPatch,
        *,
        objects: bool,
    ) -> None:
        """Every request to the bucket fails once, after it was done: a process that dies just then."""
        monkeypatch.setattr(delete_batch, "ROWS_A_PORTION", 1)
        monkeypatch.setattr(delete_batch, "JOBS_A_PAGE", 2)
        job_id = bought(engine, bucket)
        batch_id = of_job(engine, job_id)
        with_output(engine, bucket, job_id, "web", "cutouts/a.web.webp")
        keep_results(engine, bucket, batch_id)
        failed_at: set[str] = set()

        class Dying(Bucket):
            def delete(self, key: str) -> bool:
                old = super().delete(key)
                if key not in failed_at:
                    failed_at.add(key)
                    raise StorageError("away")
                return old

        dying = Dying.__new__(Dying)
        dying.__dict__.update(bucket.__dict__)
        ask(shop, batch_id, objects=objects)
        for _ in range(20):
            try:
                carry_out(engine, dying)
            except StorageError:
                continue
            break
        assert len(failed_at) == (3 if objects else 1)
        assert scalar(engine, "SELECT deleted_at IS NOT NULL FROM batches")
        assert scalar(engine, "SELECT changed FROM actions") == 1
        assert bucket.keys("results/") == []
        assert (bucket.keys("") == []) is objects

    def test_with_what_is_left_if_a_job_is_deleted_by_itself_meanwhile(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delete_batch, "TURN_S", 0.0)
        batch_id = two_jobs(engine)
        jobs = [job["id"] for job in shop.get("/v1/jobs?order=oldest").json()["data"]]
        ask(shop, batch_id)
        next(turns(engine, bucket))
        shop.delete(f"/v1/jobs/{jobs[1]}").raise_for_status()
        carry_out(engine, bucket)
        assert scalar(engine, "SELECT deleted_at IS NOT NULL FROM batches")

    def test_without_a_job_that_runs_again(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """A retry at the very moment wins: the deletion ends and says so, and the batch is as it was."""
        batch_id = two_jobs(engine)
        ask(shop, batch_id)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE jobs SET state = 'queued', queue_state = 'ready', finished_at = NULL,"
                    " code = NULL, message = NULL WHERE state = 'failed'"
                )
            )
        carry_out(engine, bucket)
        batch = fresh(shop, batch_id)
        assert (batch["state"], batch["actions"][0]["error"]["code"]) == ("active", "JOBS_UNFINISHED")


class TestADeletionThatIsGivenUp:
    """After its last try: some of its jobs may be deleted, so nothing is bought for it any more."""

    @pytest.fixture
    def batch_id(self, shop: httpx.Client, engine: Engine) -> uuid.UUID:
        batch_id = two_jobs(engine)
        ask(shop, batch_id, objects=False)
        for _ in range(MOST_TRIES):
            assert take_turn(engine, [ActionKind.DELETE], NIL) is not None
        assert take_turn(engine, [ActionKind.DELETE], NIL) is None
        return batch_id

    def test_lets_nothing_be_queued_again(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID
    ) -> None:
        """Results of what it would buy would never be written."""
        bad = scalar(engine, "SELECT id FROM jobs WHERE state = 'failed'")
        refused = [
            shop.post(f"/v1/batches/{batch_id}/{each}") for each in ("retry", "cancel", "retry-outputs")
        ]
        refused += [
            shop.post(f"/v1/jobs/{bad}/retry"),
            shop.post("/v1/jobs", json={"source_url": "https://a.example/z.jpg", "batch_id": str(batch_id)}),
        ]
        for answer in refused:
            assert "delete this one again" in problem_of(answer, 409)["detail"]
        with pytest.raises(BatchIsEndingError), engine.begin() as connection:
            queue.retry_all(connection, [bad])
        assert scalar(engine, "SELECT count(*) FROM jobs WHERE state = 'queued'") == 0

    def test_is_shown(self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID) -> None:
        """In the batch, and in the explanation of a job."""
        batch = fresh(shop, batch_id)
        assert (batch["state"], batch["actions"][0]["error"]["code"]) == ("deleting", "INTERNAL_ERROR")
        with Session(engine) as session:
            job = session.scalars(select(Job).where(Job.state == "failed")).one()
            found = explain_state(session, job, CallSettings(()))
            assert found.why == "batch-deleting"
            assert "was given up: an unexpected error" in found.text
            assert for_producer(job, found).remedy == f"`DELETE /v1/batches/{batch_id}` again"

    def test_may_be_asked_for_again(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, batch_id: uuid.UUID
    ) -> None:
        """As a new action, which goes on with what is left."""
        deleted(shop, engine, bucket, batch_id, objects=False)
        assert scalar(engine, "SELECT deleted_at IS NOT NULL FROM batches")
        assert scalar(engine, "SELECT count(*) FROM actions") == 2


class TestItsMessages:
    def test_go_with_it(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """Those about its jobs and about itself, delivered or not; those of another batch stay."""
        batch_id, other = two_jobs(engine), two_jobs(engine)
        with engine.begin() as connection:
            for each in (batch_id, other):
                for kind, data in (
                    ("job.failed", f'{{"id": "x", "batch_id": "{each}"}}'),
                    ("jobs.digest", f'{{"batch_id": "{each}", "jobs": []}}'),
                    ("batch.finished", f'{{"id": "{each}"}}'),
                ):
                    connection.execute(
                        text(
                            "INSERT INTO deliveries (producer_id, url, type, payload) VALUES (:p, :u, :t, :d)"
                        ),
                        {"p": producer_of(engine), "u": HOOK, "t": kind, "d": f'{{"data": {data}}}'},
                    )
                connection.execute(
                    text("INSERT INTO digests (batch_id, producer_id, url, job) VALUES (:b, :p, :u, '{}')"),
                    {"b": each, "p": producer_of(engine), "u": HOOK},
                )
        deleted(shop, engine, bucket, batch_id, objects=False)
        for table in ("digests", "deliveries"):
            left = scalar(engine, f"SELECT count(*) FROM {table}")  # noqa: S608 - constants
            assert left == {"digests": 1, "deliveries": 3}[table]
        assert scalar(engine, f"SELECT count(*) FROM deliveries WHERE payload LIKE '%{batch_id}%'") == 0  # noqa: S608


class TestARunsBatch:
    def test_leaves_what_its_schedule_has_seen(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """A picture that was bought is not bought again by the next run; one that failed is enqueued, and so
        is "c", which was rejected and has no job.
        """
        batch_id = two_jobs(engine)
        schedule_id = self._run(engine, batch_id, "c")
        seen = [PictureVersion(name, "v1") for name in "abc"]
        detection = ChangeDetection(engine, schedule_id, uuid.uuid4())
        assert detection.unchanged(seen) == {"a"}
        deleted(shop, engine, bucket, batch_id, objects=False)
        assert detection.unchanged(seen) == {"a"}
        assert detection.count() == 3
        assert scalar(engine, "SELECT counts FROM runs") == COUNTS
        (results,) = (key for key in bucket.keys("reports/") if key.endswith("results.csv"))
        assert len(bucket.read(results, max_bytes=10_000).splitlines()) == 1

    def test_leaves_it_when_its_jobs_were_deleted_before(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Runs enqueue the same pictures whether jobs are deleted alone, with the batch, or both."""
        batch_id = two_jobs(engine)
        schedule_id = self._run(engine, batch_id)
        seen = [PictureVersion(name, "v1") for name in "ab"]
        detection = ChangeDetection(engine, schedule_id, uuid.uuid4())
        for job in shop.get("/v1/jobs").json()["data"]:
            shop.delete(f"/v1/jobs/{job['id']}").raise_for_status()
        assert detection.unchanged(seen) == {"a"}
        deleted(shop, engine, bucket, batch_id, objects=False)
        assert detection.unchanged(seen) == {"a"}

    def test_does_not_speak_for_the_next_version(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """That of a picture whose deleted job had succeeded: its own job decides."""
        batch_id = two_jobs(engine)
        schedule_id = self._run(engine, batch_id)
        deleted(shop, engine, bucket, batch_id, objects=False)
        changed = PictureVersion("a", "v2")
        failing = make_batch(engine, {"a": BROKEN}, producer_id=producer_of(engine))
        with engine.begin() as connection:
            ChangeDetection(engine, schedule_id, failing).save(connection, ChunkVersions([changed]))
        assert ChangeDetection(engine, schedule_id, uuid.uuid4()).unchanged([changed]) == set()

    def test_waits_for_a_chunk_of_the_next_run(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Both change rows of the same pictures: in any other order Postgres would abort one of them."""
        batch_id = two_jobs(engine)
        schedule_id = self._run(engine, batch_id)
        ask(shop, batch_id, objects=False)
        deleting = threading.Thread(target=carry_out, args=(engine, bucket))
        with engine.begin() as connection:
            detection = ChangeDetection(engine, schedule_id, uuid.uuid4())
            detection.save(connection, ChunkVersions(unchanged=["b"]))
            deleting.start()
            wait_until(lambda: scalar(engine, WAITING) == 1, "the deletion waits")
            detection.save(connection, ChunkVersions(unchanged=["a"]))
        deleting.join(20.0)
        assert scalar(engine, "SELECT deleted_at IS NOT NULL FROM batches")

    def test_is_deleted_once_the_run_has_its_report(self, shop: httpx.Client, engine: Engine) -> None:
        """The report is written again without its jobs, and keeps the run's counts."""
        batch_id = two_jobs(engine)
        self._run(engine, batch_id, report_key=None)
        assert "report" in problem_of(shop.delete(f"/v1/batches/{batch_id}"), 409)["detail"]

    def _run(
        self, engine: Engine, batch_id: uuid.UUID, *rejected: str, report_key: str | None = "reports/x"
    ) -> uuid.UUID:
        schedule_id, producer_id = uuid.uuid4(), producer_of(engine)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO schedules"
                    " (id, producer_id, name, source, cron, zone, next_fire_at, next_due_at)"
                    " VALUES (:id, :p, 'n', 's', '0 0 * * *', 'UTC', now(), now())"
                ),
                {"id": schedule_id, "p": producer_id},
            )
            connection.execute(
                text(
                    "INSERT INTO runs (schedule_id, fire_at, due_at, state, batch_id, started_at,"
                    " finished_at, report_key, counts) VALUES (:s, now(), now(), 'partial', :b, now(), now(),"
                    """ :r, '{"succeeded": 1, "failed": 1}')"""
                ),
                {"s": schedule_id, "b": batch_id, "r": report_key},
            )
            connection.execute(
                text(
                    "INSERT INTO pictures (schedule_id, external_id, version, batch_id, seen_in, change)"
                    " SELECT :s, external_id, 'v1', :b, :b, 'new' FROM jobs WHERE batch_id = :b"
                    " UNION ALL SELECT :s, unnest(CAST(:rejected AS text[])), 'v1', :b, :b, 'new'"
                ),
                {"s": schedule_id, "b": batch_id, "rejected": list(rejected)},
            )
        return schedule_id


def test_a_job_is_not_queued_again_by_a_command(shop: httpx.Client, engine: Engine) -> None:
    """As little as by a request."""
    batch_id = two_jobs(engine)
    ask(shop, batch_id)
    bad = scalar(engine, "SELECT id FROM jobs WHERE state = 'failed'")
    with pytest.raises(BatchIsEndingError), engine.begin() as connection:
        queue.retry_all(connection, [bad])
