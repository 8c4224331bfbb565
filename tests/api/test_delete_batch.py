"""Deletion of a batch: which may be deleted, what goes with it, and what stays."""

import threading
import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import DateTime, Engine, Text, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from cutout.administration import delete_batch
from cutout.administration.delete_batch import ObjectInUseError, delete_portion
from cutout.billing import totals
from cutout.enums import ActionKind
from cutout.models import BATCHES
from cutout.queue.attempts.outcomes import Fail
from cutout.queue.batch_actions.carry_out import NIL, take_turn
from cutout.results import ended_batches, keep_results
from cutout.status.batch_status import find_by_prefix
from cutout.storage import Bucket
from tests.api.conftest import key_for, producer_of
from tests.api.test_actions import bought, fresh
from tests.api.test_delete import HOOK, fail, upload, with_output
from tests.api.test_jobs import problem_of
from tests.support.actions import carry_out
from tests.support.fates import DONE, make_batch
from tests.support.system import wait_until

BROKEN = Fail("BROKEN", "m")
SAME_CUTOUT = (
    "UPDATE jobs SET state = 'succeeded', code = NULL, message = NULL, key = 'cutouts/a.png', sha256 = 'x'"
)
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
# Times and numbers of a deleted batch; each other column that may be null is emptied.
KEPT = {
    *("paused_at", "paused_by_operator_at", "cancelled_at", "delete_requested_at", "deleted_at"),
    *("opens_at", "closes_at", "budget", "credits", "virtual_shift"),
}
VALUES = {Text: HOOK, JSONB: {"a": {}}, DateTime: func.now()}
COUNTS = {"succeeded": 1, "failed": 1}


def of_job(engine: Engine, job_id: object) -> uuid.UUID:
    with engine.connect() as connection:
        found: uuid.UUID = connection.scalar(text("SELECT batch_id FROM jobs WHERE id = :id"), {"id": job_id})
        return found


def ask(shop: httpx.Client, batch_id: object, *, objects: bool = True) -> dict[str, Any]:
    asked = shop.delete(f"/v1/batches/{batch_id}", params={"objects": str(objects).lower()})
    assert asked.status_code == 202, asked.text
    found: dict[str, Any] = asked.json()
    return found


def deleted(shop: httpx.Client, engine: Engine, bucket: Bucket, batch_id: object, **how: bool) -> None:
    """Delete it to its end."""
    assert ask(shop, batch_id, **how)["state"] == "deleting"
    carry_out(engine, bucket)


def scalar(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.scalar(text(query))


def two_jobs(engine: Engine) -> uuid.UUID:
    return make_batch(engine, {"a": DONE, "b": BROKEN}, producer_id=producer_of(engine))


class TestARequest:
    def test_is_for_a_batch_whose_jobs_have_ended(self, shop: httpx.Client, engine: Engine) -> None:
        """409 names what to do first; nothing changes."""
        batch_id = make_batch(engine, {"a": DONE, "b": None}, producer_id=producer_of(engine))
        refused = problem_of(shop.delete(f"/v1/batches/{batch_id}"), 409)
        assert refused["type"] == "urn:cutout:problem:wrong-state"
        assert "cancel it first" in refused["detail"]
        assert fresh(shop, batch_id)["state"] == "active"

    def test_is_not_taken_while_another_action_waits(self, shop: httpx.Client, engine: Engine) -> None:
        batch_id = two_jobs(engine)
        shop.post(f"/v1/batches/{batch_id}/retry-outputs").raise_for_status()
        assert "retry_outputs" in problem_of(shop.delete(f"/v1/batches/{batch_id}"), 409)["detail"]
        carry_out(engine)
        ask(shop, batch_id)

    def test_is_carried_out_once(self, shop: httpx.Client, engine: Engine) -> None:
        """Asked again while it goes on, it is the same one."""
        batch_id = two_jobs(engine)
        assert ask(shop, batch_id)["actions"] == ask(shop, batch_id)["actions"]
        assert scalar(engine, "SELECT count(*) FROM actions") == 1

    def test_of_another_producer_is_not_there(self, shop: httpx.Client, engine: Engine) -> None:
        batch_id = two_jobs(engine)
        problem_of(shop.delete(f"/v1/batches/{batch_id}", headers=key_for(engine, "other")), 404)
        problem_of(shop.get(f"/v1/batches/{batch_id}/actions", headers=key_for(engine, "third")), 404)
        assert scalar(engine, "SELECT count(*) FROM actions") == 0

    def test_lets_nothing_else_happen_to_the_batch(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """No job comes, none is queued again, no other action is taken; results are not written."""
        batch_id = two_jobs(engine)
        job = {"source_url": "https://shop.example/z.jpg", "batch_id": str(batch_id)}
        ask(shop, batch_id)
        refused = [shop.post("/v1/jobs", json=job)]
        refused += [shop.post(f"/v1/batches/{batch_id}/{action}") for action in ("retry", "cancel")]
        bad = scalar(engine, "SELECT id FROM jobs WHERE state = 'failed'")
        with_output(engine, bucket, bad, "web", None)
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE outputs SET state = 'failed', finished_at = now(), code = 'c', message = 'm'")
            )
        refused += [shop.post(f"/v1/jobs/{bad}/{action}") for action in ("retry", "retry-outputs")]
        for answer in refused:
            told = problem_of(answer, 409)
            assert told["type"] == "urn:cutout:problem:wrong-state"
            assert f"the batch {batch_id} is being deleted" in told["detail"]
        with engine.connect() as connection:
            assert ended_batches(connection) == []

    def test_may_be_waited_for(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """A look that waits is not answered while it goes on, and finds nothing afterwards."""
        batch_id = two_jobs(engine)
        ask(shop, batch_id)
        done = threading.Timer(0.5, carry_out, (engine, bucket))
        done.start()
        assert shop.get(f"/v1/batches/{batch_id}?wait=10").status_code == 404
        done.join()


class TestADeletedBatch:
    def test_is_not_found(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """By its id, in no list, by no command; nor are its jobs and results."""
        batch_id = two_jobs(engine)
        jobs = [job["id"] for job in shop.get("/v1/jobs").json()["data"]]
        deleted(shop, engine, bucket, batch_id)
        # It is counted once a second at most.
        wait_until(lambda: shop.get(f"/v1/batches/{batch_id}").status_code == 404, "it is gone")
        for path in ("", "/results", "/actions", "/events"):
            problem_of(shop.get(f"/v1/batches/{batch_id}{path}"), 404)
        problem_of(shop.delete(f"/v1/batches/{batch_id}"), 404)
        assert shop.get("/v1/batches").json()["data"] == shop.get("/v1/jobs").json()["data"] == []
        for job_id in jobs:
            problem_of(shop.get(f"/v1/jobs/{job_id}"), 404)
        with Session(engine) as session:
            assert find_by_prefix(session, str(batch_id)) == []
            assert ended_batches(session) == []

    def test_leaves_nothing_that_its_producer_gave(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Each column that may be null is, but for times and numbers; and what its actions were asked for."""
        batch_id = two_jobs(engine)
        given = [column for column in BATCHES.c if column.nullable and column.name not in KEPT]
        values = {column: VALUES[type(column.type)] for column in given if column.name != "producer_id"}
        asked = shop.post(f"/v1/batches/{batch_id}/outputs", json={"outputs": ["amazon"]})
        assert asked.status_code == 202, asked.text
        carry_out(engine)
        ask(shop, batch_id, objects=False)
        with engine.begin() as connection:
            connection.execute(update(BATCHES).values(values))
            assert None not in tuple(connection.execute(select(*given)).one())
            assert connection.scalar(text("SELECT count(*) FROM actions WHERE options <> '{}'")) == 2
        carry_out(engine, bucket)
        with engine.connect() as connection:
            row = connection.execute(select(*given, BATCHES.c.name, BATCHES.c.deleted_at)).one()
            jobs = connection.execute(
                text("SELECT DISTINCT producer_id, external_id, source FROM jobs")
            ).all()
            assert connection.scalar(text("SELECT count(*) FROM actions WHERE options <> '{}'")) == 0
        assert set(row[:-2]) == {None}
        assert row.name == ""
        assert row.deleted_at is not None
        assert jobs == [(None, None, "")]
        assert scalar(engine, "SELECT changed FROM actions WHERE kind = 'delete'") == 2

    def test_was_never_announced_as_rendered(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Its outputs were waiting when it was deleted, and nothing is pending any more."""
        job_id = bought(engine, bucket)
        batch_id = of_job(engine, job_id)
        with_output(engine, bucket, job_id, "web", None)
        with engine.begin() as connection:
            connection.execute(text("UPDATE outputs SET batch_id = :id"), {"id": batch_id})
            connection.execute(update(BATCHES).values(webhook_url=HOOK))
        assert keep_results(engine, bucket, batch_id)
        assert scalar(engine, "SELECT outputs_pending FROM batches")
        ask(shop, batch_id)
        assert scalar(engine, "SELECT string_agg(type, ' ') FROM deliveries") == "batch.finished"
        carry_out(engine, bucket)
        assert scalar(engine, "SELECT count(*) FROM deliveries") == 0
        assert not scalar(engine, "SELECT outputs_pending FROM batches")

    def test_leaves_the_ledger(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """Its cost stays spent."""
        job_id = bought(engine, bucket)
        with Session(engine) as session:
            before = totals.totals(session)
        deleted(shop, engine, bucket, of_job(engine, job_id))
        with Session(engine) as session:
            assert totals.totals(session) == before
        assert scalar(engine, "SELECT count(*) FROM attempts WHERE outcome = 'charged'") == 1


class TestItsObjects:
    def test_go_if_asked(
        self,
        shop: httpx.Client,
        engine: Engine,
        bucket: Bucket,
        photo: bytes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Cutouts, outputs, uploads, manifest, rejects and results; in turns of one job each."""
        monkeypatch.setattr(delete_batch, "TURN_S", 0.0)
        job_id = bought(engine, bucket)
        batch_id = of_job(engine, job_id)
        with_output(engine, bucket, job_id, "web", "cutouts/a.web.webp")
        uploaded = upload(shop, photo, batch_id=str(batch_id), external_id="up")
        fail(engine, uploaded)
        for key in ("manifests/m.csv", "rejects/r.csv"):
            bucket.put_pieces([b"x"], key=key, media_type="text/csv")
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO ingests"
                    " (batch_id, fingerprint, kind, finished_at, manifest_key, rejects_key)"
                    " VALUES (:id, 'x', 'CSV', now(), 'manifests/m.csv', 'rejects/r.csv')"
                ),
                {"id": batch_id},
            )
        assert keep_results(engine, bucket, batch_id)
        assert len(bucket.keys("")) == 6
        deleted(shop, engine, bucket, batch_id)
        assert bucket.keys("") == []
        assert scalar(engine, "SELECT count(*) FROM ingests") == scalar(
            engine, "SELECT count(*) FROM outputs"
        )
        assert scalar(engine, "SELECT changed FROM actions") == 2

    def test_stay_unless_asked(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """But for the results, which name its jobs."""
        batch_id = of_job(engine, bought(engine, bucket))
        keep_results(engine, bucket, batch_id)
        deleted(shop, engine, bucket, batch_id, objects=False)
        assert bucket.keys("") == ["cutouts/a.png"]

    def test_that_two_of_its_jobs_have_go_with_the_second(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        batch_id = of_job(engine, bought(engine, bucket))
        for name in ("b", "c"):
            fail(engine, upload(shop, photo, batch_id=str(batch_id), external_id=name))
        with engine.begin() as connection:
            connection.execute(text(f"{SAME_CUTOUT} WHERE external_id = 'b'"))
        deleted(shop, engine, bucket, batch_id)
        assert bucket.keys("") == []

    def test_that_another_batchs_job_has_stay(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        batch_id = of_job(engine, bought(engine, bucket))
        other = upload(shop, photo)
        fail(engine, other, upload(shop, photo, batch_id=str(batch_id), external_id="b"))
        with engine.begin() as connection:
            connection.execute(text(f"{SAME_CUTOUT} WHERE id = :id"), {"id": other})
        deleted(shop, engine, bucket, batch_id)
        assert [key.partition("/")[0] for key in bucket.keys("")] == ["cutouts", "sources"]

    def test_wait_for_a_manifest_that_may_need_them(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """The job is not deleted before its source can be: nothing would name it any more."""
        batch_id = make_batch(engine, {}, producer_id=producer_of(engine))
        fail(engine, upload(shop, photo, batch_id=str(batch_id), external_id="b"))
        reading = make_batch(engine, {}, producer_id=producer_of(engine))
        with engine.begin() as connection:
            ingest = "INSERT INTO ingests (batch_id, fingerprint, kind) VALUES (:id, 'x', 'CSV')"
            connection.execute(text(ingest), {"id": reading})
        ask(shop, batch_id)
        turn = take_turn(engine, [ActionKind.DELETE], NIL)
        assert turn is not None
        with pytest.raises(ObjectInUseError, match="a manifest of yours"):
            delete_portion(engine, bucket, turn.action_id)
        assert scalar(engine, "SELECT count(*) FROM jobs WHERE deleted_at IS NULL") == 1
        with engine.begin() as connection:
            connection.execute(text("UPDATE ingests SET finished_at = now()"))
        carry_out(engine, bucket)
        assert bucket.keys("") == []
