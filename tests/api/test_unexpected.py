"""Unexpected bytes of a job, as its producer sees them."""

import hashlib
import uuid
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, Scope
from cutout.producers.api_keys import make_key
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, StoredObject, Succeeded
from cutout.storage import Bucket
from cutout.storage.unexpected_bytes import CODE, Unexpected, unexpected_key
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.fates import make_batch
from tests.support.steps import begin, claim_one, new_worker

DATA = b"\x89PNG without alpha"


@pytest.fixture
def surprised(engine: Engine, bucket: Bucket) -> Callable[[Outcome], uuid.UUID]:
    """Makes a job of the shop's for which two unexpected things came, and which ended like this."""

    def make(outcome: Outcome) -> uuid.UUID:
        make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        with Session(engine) as session, session.begin():
            claim = claim_one(session, new_worker(session))
            raw = Answer(AttemptOutcome.CHARGED, raw_answer="https://secret.example/results/1")
            queue.end_attempt(session, begin(session, claim), raw)
            for data in (b"<html>", DATA):
                sha256 = hashlib.sha256(data).hexdigest()
                key = unexpected_key(claim.job_id, sha256, "png")
                bucket.put_cutout(data, key=key, media_type="image/png", metadata={})
                found = Unexpected(key, "it has no alpha", sha256, "image/png", "png", len(data), 60, 40)
                queue.save_unexpected(session, claim, found)
            queue.settle(session, claim, outcome)
            return claim.job_id

    return make


HELD = Hold(CODE, "it has no alpha")
CANCELLED = "state = 'cancelled', finished_at = now(), code = NULL, message = NULL"
ACCEPTED = '{"accepted": true}'


class TestAnUnexpectedResult:
    def test_is_shown_with_a_link_to_its_bytes(
        self, shop: httpx.Client, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """The job says what came, and its link redirects to the bytes; the endpoint's answer is not shown."""
        job_id = surprised(HELD)
        answer = shop.get(f"/v1/jobs/{job_id}")
        view = answer.json()
        assert (view["state"], view["error"]["code"], view["result"]) == ("held", CODE, None)
        assert view["unexpected"] == {
            "reason": "it has no alpha",
            "url": f"/v1/jobs/{job_id}/unexpected",
            "media_type": "image/png",
            "size_bytes": len(DATA),
            "width": 60,
            "height": 40,
            "accepted": False,
        }
        redirect = shop.get(view["unexpected"]["url"])
        assert (redirect.status_code, redirect.headers["cache-control"]) == (307, "no-store")
        assert httpx.get(redirect.headers["location"]).content == DATA
        explained = shop.get(f"/v1/jobs/{job_id}/explanation").text
        assert "secret.example" not in answer.text + explained

    def test_is_its_producers_alone(
        self, shop: httpx.Client, engine: Engine, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """Another's is a 404, and a job without one a 409."""
        path = f"/v1/jobs/{surprised(HELD)}/unexpected"
        problem_of(shop.get(path, headers=key_for(engine, "other")), 404)
        job = shop.post("/v1/jobs", json={"source_url": "https://shop.example/a.jpg"}).json()
        assert job["unexpected"] is None
        problem_of(shop.get(f"/v1/jobs/{job['id']}/unexpected"), 409)

    def test_is_deleted_with_the_jobs_objects(
        self,
        shop: httpx.Client,
        engine: Engine,
        bucket: Bucket,
        surprised: Callable[[Outcome], uuid.UUID],
    ) -> None:
        """All that ever came for it, and the answer that was kept; another job's stays."""
        surprised(HELD)
        job_id = surprised(Fail("X", "y"))
        assert len(bucket.keys("unexpected/")) == 4
        shop.delete(f"/v1/jobs/{job_id}", params={"objects": "true"}).raise_for_status()
        assert len(bucket.keys("unexpected/")) == 2
        with engine.connect() as connection:
            kept = text(
                "SELECT unexpected, raw_answer FROM jobs, attempts WHERE job_id = jobs.id AND job_id = :id"
            )
            assert connection.execute(kept, {"id": job_id}).one() == (None, None)

    def test_stays_when_the_job_alone_is_deleted(
        self, shop: httpx.Client, bucket: Bucket, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """Objects go only when that is asked for."""
        shop.delete(f"/v1/jobs/{surprised(Fail('X', 'y'))}").raise_for_status()
        assert len(bucket.keys("unexpected/")) == 2


class TestAnUnexpectedPicture:
    def test_is_made_the_cutout_without_a_call(
        self, shop: httpx.Client, engine: Engine, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """The copy is next; asked for again, with or without a key of its own, it stays so: one row."""
        path = f"/v1/jobs/{surprised(HELD)}/accept"
        view = shop.post(path).raise_for_status().json()
        assert (view["state"], view["error"], view["unexpected"]["accepted"]) == ("queued", None, True)
        again = shop.post(path).raise_for_status()
        assert (again.json(), "replayed" in str(again.headers).lower()) == (view, False)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT kind, actor_role, credits FROM actions")).all()
            step = connection.execute(text("SELECT step FROM jobs")).scalar_one()
        assert [tuple(row) for row in rows] == [("accept_job", "producer", None)]
        assert step == "copy"

    def test_is_accepted_as_it_was_looked_at(
        self, shop: httpx.Client, engine: Engine, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """Under `If-Match` another one that came since is not."""
        path = f"/v1/jobs/{surprised(HELD)}"
        etag = shop.get(path).headers["etag"]
        with engine.begin() as connection:
            other = '{"sha256": "ef", "size_bytes": 3}'
            connection.execute(text("UPDATE jobs SET unexpected = unexpected || :other"), {"other": other})
        told = problem_of(shop.post(f"{path}/accept", headers={"If-Match": etag}), 412)
        assert told["type"].endswith(":changed-meanwhile")
        now = shop.get(path).headers["etag"]
        assert shop.post(f"{path}/accept", headers={"If-Match": now}).status_code == 200

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ("unexpected = NULL", "nothing-unexpected"),
            ("unexpected = unexpected - 'width'", "unexpected-no-picture"),
            ("state = 'failed', finished_at = now()", "wrong-state"),
            (f"{CANCELLED}, unexpected = unexpected || '{ACCEPTED}'", "wrong-state"),
            ("state = 'queued', queue_state = 'ready', code = NULL, message = NULL", "wrong-state"),
        ],
    )
    def test_is_refused_where_there_is_nothing_to_accept(
        self,
        shop: httpx.Client,
        engine: Engine,
        surprised: Callable[[Outcome], uuid.UUID],
        change: str,
        kind: str,
    ) -> None:
        """Nothing came, what came is no picture, or the job is not held for it; no row."""
        job_id = surprised(HELD)
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE jobs SET {change}"))  # noqa: S608 - a text of this test
        told = problem_of(shop.post(f"/v1/jobs/{job_id}/accept"), 409)
        assert told["type"] == f"urn:cutout:problem:{kind}"
        assert str(job_id) in told["detail"]
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM actions")).scalar_one() == 0

    def test_is_accepted_by_a_key_that_may_enqueue(
        self, shop: httpx.Client, engine: Engine, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """As on the console; one that reads may not, and of another producer there is none."""
        path = f"/v1/jobs/{surprised(HELD)}/accept"
        problem_of(shop.post(path, headers=key_for(engine, "other")), 404)
        with Session(engine) as session, session.begin():
            keys = [
                make_key(session, producer_of(engine), scope, scopes=[scope])[1]
                for scope in (Scope.READ, Scope.ENQUEUE)
            ]
        asked = [shop.post(path, headers={"Authorization": f"Bearer {key}"}) for key in keys]
        assert [answer.status_code for answer in asked] == [403, 200]

    def test_is_offered_in_the_explanation(
        self, shop: httpx.Client, surprised: Callable[[Outcome], uuid.UUID]
    ) -> None:
        """As the first remedy."""
        job_id = surprised(HELD)
        remedy = shop.get(f"/v1/jobs/{job_id}/explanation").json()["remedy"]
        assert remedy.startswith(f"`POST /v1/jobs/{job_id}/accept` makes what came its cutout")


class TestAWarning:
    def test_stands_with_the_result_and_in_the_results(self, shop: httpx.Client, engine: Engine) -> None:
        """Whoever fetches the cutout is told in what it differs from what was ordered."""
        batch_id = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        stored = StoredObject(
            "cutouts/a.png", b"\xab" * 32, "image/png", 7, 30, 20, "30x20 for the 60x40 sent"
        )
        with Session(engine) as session, session.begin():
            claim = claim_one(session, new_worker(session))
            queue.settle(session, claim, Succeeded(stored))
        view = shop.get(f"/v1/jobs/{claim.job_id}").json()
        assert view["result"]["warning"] == "30x20 for the 60x40 sent"
        assert ",30x20 for the 60x40 sent," in shop.get(f"/v1/batches/{batch_id}/results").text


class TestDeletingAJobWhosePaidResultLives:
    def test_writes_the_loss(self, shop: httpx.Client, engine: Engine) -> None:
        """Its URL goes with the row, so what was paid for it is lost."""
        make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        with Session(engine) as session, session.begin():
            claim = claim_one(session, new_worker(session))
            queue.end_attempt(session, begin(session, claim), Answer(AttemptOutcome.CHARGED))
            queue.settle(session, claim, Fail("X", "y"))
            session.execute(
                text("UPDATE jobs SET step = 'copy', result_url = 'https://x', result_expires_at = now()")
            )
        shop.delete(f"/v1/jobs/{claim.job_id}").raise_for_status()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT lost_at FROM attempts")).scalar_one() is not None
