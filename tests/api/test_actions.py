import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import totals
from cutout.models import JOBS, RESULTS, Job
from cutout.queue.actions import retry_all
from cutout.queue.attempts.outcomes import Fail, Hold, Snooze, StoredObject, Succeeded
from cutout.queue.blocks import pauses
from cutout.queue.blocks.approval import MESSAGE, NEEDS_APPROVAL
from cutout.queue.reuse.acquire import BoughtBefore
from cutout.storage import Bucket
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.actions import carry_out
from tests.support.fates import DONE, Fates, make_batch
from tests.support.steps import MAKING, claim_one, new_worker, paid
from tests.support.system import wait_until

EVERY: Fates = {"done": DONE, "bad": Fail("BROKEN", "m"), "held": Hold("LOOK", "m"), "new": None}
PICTURE = b"p" * 32


@pytest.fixture
def batch_id(shop: httpx.Client, engine: Engine) -> uuid.UUID:
    """A batch with a job of each kind."""
    return make_batch(engine, EVERY, producer_id=producer_of(engine))


@pytest.fixture
def ids(shop: httpx.Client, batch_id: uuid.UUID) -> dict[str, str]:
    """Its jobs' ids by their names."""
    return {job["external_id"]: job["id"] for job in shop.get("/v1/jobs").json()["data"]}


def fresh(shop: httpx.Client, batch_id: uuid.UUID) -> dict[str, Any]:
    """The batch once it is shown without an action under way: it is counted once a second at most."""
    seen: list[dict[str, Any]] = []

    def is_through() -> bool:
        seen.append(shop.get(f"/v1/batches/{batch_id}").raise_for_status().json())
        return all(action["finished_at"] for action in seen[-1]["actions"])

    wait_until(is_through, "its actions are through")
    return seen[-1]


class TestOneJob:
    @pytest.mark.parametrize(
        ("action", "name", "state"),
        [
            ("cancel", "new", "cancelled"),
            ("cancel", "held", "cancelled"),
            ("retry", "bad", "queued"),
            ("retry", "held", "queued"),
            ("release", "held", "queued"),
        ],
    )
    def test_is_moved(
        self, shop: httpx.Client, ids: dict[str, str], action: str, name: str, state: str
    ) -> None:
        """The answer is the job as it is then."""
        moved = shop.post(f"/v1/jobs/{ids[name]}/{action}").raise_for_status().json()
        assert (moved["state"], moved["error"]) == (state, None)
        assert shop.get(f"/v1/jobs/{ids[name]}").json() == moved

    @pytest.mark.parametrize(
        ("action", "name"),
        [
            ("cancel", "done"),
            ("cancel", "bad"),
            ("retry", "done"),
            ("retry", "new"),
            ("release", "bad"),
            ("release", "new"),
            ("release", "done"),
        ],
    )
    def test_in_another_state_is_left_alone(
        self, shop: httpx.Client, ids: dict[str, str], action: str, name: str
    ) -> None:
        """A problem 409 says which state it is in and which it is for; nothing changes."""
        before = shop.get(f"/v1/jobs/{ids[name]}").json()
        told = problem_of(shop.post(f"/v1/jobs/{ids[name]}/{action}"), 409)
        assert before["state"] in told["detail"]
        assert shop.get(f"/v1/jobs/{ids[name]}").json() == before

    def test_that_runs_is_cancelled_by_its_worker(
        self, shop: httpx.Client, engine: Engine, ids: dict[str, str]
    ) -> None:
        """It is marked, and ends once its worker is done with it; asking again changes nothing."""
        with Session(engine) as session, session.begin():
            claim = claim_one(session, new_worker(session))
        asked = [shop.post(f"/v1/jobs/{ids['new']}/cancel").raise_for_status().json() for _ in range(2)]
        assert (asked[0]["state"], asked[1]) == ("running", asked[0])
        assert asked[0]["cancelled_at"] is not None
        with Session(engine) as session, session.begin():
            queue.settle(session, claim, Snooze("LIMIT_REACHED", "x", 1.0))
        assert shop.get(f"/v1/jobs/{ids['new']}").json()["state"] == "cancelled"

    def test_is_cancelled_as_often_as_asked(self, shop: httpx.Client, ids: dict[str, str]) -> None:
        """Whoever had no answer may ask again."""
        answers = [shop.post(f"/v1/jobs/{ids['new']}/cancel") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()

    def test_that_waits_for_approval_is_not_released(
        self, shop: httpx.Client, engine: Engine, ids: dict[str, str]
    ) -> None:
        """Only the approval of its batch lets it go."""
        with engine.begin() as connection:
            held = JOBS.update().where(JOBS.c.external_id == "held")
            connection.execute(held.values(code=NEEDS_APPROVAL, message=MESSAGE))
        for action in ("retry", "release"):
            told = problem_of(shop.post(f"/v1/jobs/{ids['held']}/{action}"), 409)
            assert told["type"] == "urn:cutout:problem:needs-approval"

    @pytest.mark.parametrize("action", ["cancel", "retry", "release", "accept", ""])
    def test_of_another_producer_is_not_there(
        self, shop: httpx.Client, engine: Engine, ids: dict[str, str], action: str
    ) -> None:
        """404 for its id, an unknown one, and 422 for none; its job stays as it is."""
        method = "POST" if action else "DELETE"
        other = key_for(engine, "other")
        for job_id, status in ((ids["held"], 404), (uuid.uuid4(), 404), ("nonsense", 422)):
            path = f"/v1/jobs/{job_id}/{action}".rstrip("/")
            problem_of(shop.request(method, path, headers=other), status)
        assert shop.get(f"/v1/jobs/{ids['held']}").json()["state"] == "held"


class TestABatch:
    def test_is_cancelled_but_for_what_has_ended(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID
    ) -> None:
        """The answer comes before any job is cancelled; the batch has its counts after it."""
        asked = shop.post(f"/v1/batches/{batch_id}/cancel")
        assert asked.status_code == 202
        assert (asked.json()["state"], asked.json()["counts"]["cancelled"]) == ("cancelling", 0)
        carry_out(engine)
        batch = fresh(shop, batch_id)
        assert {state: count for state, count in batch["counts"].items() if count} == {
            "succeeded": 1,
            "failed": 1,
            "cancelled": 2,
        }
        assert batch["finished_at"] is not None
        assert batch["state"] == "cancelled"
        listed = shop.get("/v1/batches").json()["data"]
        assert [each["cancelled_at"] for each in listed] == [batch["cancelled_at"]]

    def test_is_cancelling_until_what_is_paid_for_is_copied(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID
    ) -> None:
        """Its state says so, and asking again changes nothing."""
        with Session(engine) as session, session.begin():
            paid(session, claim_one(session, new_worker(session)))
        told = [shop.post(f"/v1/batches/{batch_id}/cancel").raise_for_status().json() for _ in range(2)]
        carry_out(engine)
        told.append(fresh(shop, batch_id))
        assert [(each["state"], each["finished_at"]) for each in told] == [("cancelling", None)] * 3
        assert len({each["cancelled_at"] for each in told}) == 1
        assert [len(each["actions"]) for each in told] == [1, 1, 1]

    def test_that_was_cancelled_takes_no_more_jobs(self, shop: httpx.Client, batch_id: uuid.UUID) -> None:
        """It says so; another batch takes them."""
        shop.post(f"/v1/batches/{batch_id}/cancel").raise_for_status()
        job = {"source_url": "https://shop.example/z.jpg", "batch_id": str(batch_id)}
        assert "was cancelled" in problem_of(shop.post("/v1/jobs", json=job), 422)["detail"]

    def test_that_is_still_read_is_read_no_further(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID
    ) -> None:
        """Cancelling it ends its ingest, as by `cutout cancel`."""
        ingest = "INSERT INTO ingests (batch_id, fingerprint, kind) VALUES (:batch, 'x', 'CSV')"
        with engine.begin() as connection:
            connection.execute(text(ingest), {"batch": batch_id})
        shop.post(f"/v1/batches/{batch_id}/cancel").raise_for_status()
        carry_out(engine)
        assert fresh(shop, batch_id)["finished_at"] is not None

    def test_is_retried_where_it_failed_or_is_held(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID
    ) -> None:
        """Jobs that succeeded stay."""
        asked = shop.post(f"/v1/batches/{batch_id}/retry")
        assert (asked.status_code, asked.json()["state"]) == (202, "active")
        carry_out(engine)
        counts = fresh(shop, batch_id)["counts"]
        assert (counts["queued"], counts["succeeded"], counts["failed"], counts["held"]) == (3, 1, 0, 0)

    def test_is_paused_and_resumed_as_often_as_asked(self, shop: httpx.Client, batch_id: uuid.UUID) -> None:
        """Each answer says how it stands, at once."""
        said = [
            shop.post(f"/v1/batches/{batch_id}/{action}").raise_for_status().json()["paused_at"]
            for action in ("pause", "pause", "resume", "resume")
        ]
        assert said[0] is not None
        assert said[1:] == [said[0], None, None]

    def test_is_not_resumed_from_an_operators_pause(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID
    ) -> None:
        """409, and neither pause is lifted; the batch shows both, and goes on once the operator says so."""
        url = f"/v1/batches/{batch_id}"
        assert shop.get(url).json()["paused_by_operator_at"] is None
        with Session(engine) as session, session.begin():
            pauses.pause(session, batch_id, pauses.By.OPERATOR)
        shop.post(f"{url}/pause").raise_for_status()
        for _ in range(2):
            refused = shop.post(f"{url}/resume")
            assert (refused.status_code, refused.json()["type"]) == (
                409,
                "urn:cutout:problem:paused-by-operator",
            )
        shown = shop.post(f"{url}/pause").json()
        assert shown["paused_at"]
        assert shown["paused_by_operator_at"]
        listed = shop.get("/v1/batches").json()["data"][0]
        assert listed["paused_by_operator_at"] == shown["paused_by_operator_at"]
        with Session(engine) as session, session.begin():
            assert pauses.resume(session, batch_id, pauses.By.OPERATOR)
        going = shop.post(f"{url}/resume").json()
        assert (going["paused_at"], going["paused_by_operator_at"]) == (None, None)

    @pytest.mark.parametrize("action", ["cancel", "retry", "pause", "resume"])
    def test_of_another_producer_is_not_there(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID, action: str
    ) -> None:
        """404, and nothing changes."""
        before = shop.get(f"/v1/batches/{batch_id}").json()
        problem_of(shop.post(f"/v1/batches/{batch_id}/{action}", headers=key_for(engine, "other")), 404)
        problem_of(shop.post(f"/v1/batches/{uuid.uuid4()}/{action}"), 404)
        assert shop.get(f"/v1/batches/{batch_id}").json() == before


def bought(engine: Engine, bucket: Bucket, key: str = "cutouts/a.png") -> uuid.UUID:
    """A job of the shop's that bought its cutout and stored it."""
    batch_id = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
    sha256 = bucket.put_cutout(b"picture", key=key, media_type="image/png", metadata={})
    with Session(engine) as session, session.begin():
        claim = claim_one(session, new_worker(session))
        queue.acquire_result(session, claim, PICTURE, MAKING)
        claim = paid(session, claim, source_sha256=PICTURE)
        stored = StoredObject(key, sha256, "image/png", 7, 1, 1)
        queue.settle(session, claim, Succeeded(stored, bucket=MAKING.bucket))
        assert session.get_one(Job, claim.job_id).batch_id == batch_id
        return claim.job_id


class TestDeleting:
    @pytest.mark.parametrize("name", ["done", "bad"])
    def test_takes_the_job_away(
        self, shop: httpx.Client, batch_id: uuid.UUID, ids: dict[str, str], name: str
    ) -> None:
        """It is not there any more: not by its id, in no list and no results; its name is free again."""
        assert shop.delete(f"/v1/jobs/{ids[name]}").status_code == 200
        problem_of(shop.get(f"/v1/jobs/{ids[name]}"), 404)
        problem_of(shop.delete(f"/v1/jobs/{ids[name]}"), 404)
        assert name not in {job["external_id"] for job in shop.get("/v1/jobs").json()["data"]}
        assert ids[name] not in shop.get(f"/v1/batches/{batch_id}/results").text
        again = {"source_url": "https://a.example/a.jpg", "external_id": name, "batch_id": str(batch_id)}
        assert shop.post("/v1/jobs", json=again).status_code == 201

    def test_leaves_the_counts_and_the_ledger(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Its cost stays spent, and every number still adds up."""
        job_id = bought(engine, bucket)
        with Session(engine) as session:
            path = f"/v1/batches/{session.get_one(Job, job_id).batch_id}"
            before = totals.totals(session)
        batch = shop.get(path).json()
        shop.delete(f"/v1/jobs/{job_id}?objects=true").raise_for_status()
        with Session(engine) as session:
            assert totals.totals(session) == before
            row = session.get_one(Job, job_id)
            assert (row.source, row.external_id, row.key, row.producer_id) == ("", None, None, None)
        assert shop.get(path).json() == batch
        assert batch["credits"] == 1

    @pytest.mark.parametrize("name", ["held", "new"])
    def test_is_for_what_has_ended(self, shop: httpx.Client, ids: dict[str, str], name: str) -> None:
        """A problem 409 says so, and it is still there."""
        problem_of(shop.delete(f"/v1/jobs/{ids[name]}"), 409)
        assert shop.get(f"/v1/jobs/{ids[name]}").is_success

    def test_is_not_undone_by_a_retry(
        self, shop: httpx.Client, engine: Engine, batch_id: uuid.UUID, ids: dict[str, str]
    ) -> None:
        """A deleted job that had failed is not queued again with the others of its batch."""
        shop.delete(f"/v1/jobs/{ids['bad']}").raise_for_status()
        shop.post(f"/v1/batches/{batch_id}/retry").raise_for_status()
        carry_out(engine)
        assert fresh(shop, batch_id)["counts"]["failed"] == 1
        with engine.begin() as connection:
            assert retry_all(connection, [uuid.UUID(ids["bad"])]) == 0


class TestDeletingTheCutout:
    def test_takes_it_out_of_the_bucket(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """The object is gone, and nobody is served from it any more."""
        job_id = bought(engine, bucket)
        answer = shop.delete(f"/v1/jobs/{job_id}", params={"objects": "true"}).raise_for_status()
        assert "Cutout-Old-Version" not in answer.headers
        assert bucket.keys("cutouts/") == []
        with engine.connect() as connection:
            assert connection.execute(RESULTS.select()).all() == []

    def test_says_that_a_versioned_bucket_keeps_it(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """It is no object any more, and the picture is still there as an old version."""
        bucket._client.put_bucket_versioning(
            Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
        )
        path = f"/v1/jobs/{bought(engine, bucket)}"
        answer = shop.delete(path, params={"objects": "true"}).raise_for_status()
        assert answer.headers["Cutout-Old-Version"] == "kept"
        assert bucket.keys("cutouts/") == []

    def test_does_not_happen_unless_asked(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """The cutout stays in the bucket, and others may be served from it."""
        shop.delete(f"/v1/jobs/{bought(engine, bucket)}").raise_for_status()
        assert bucket.keys("cutouts/") == ["cutouts/a.png"]
        with engine.connect() as connection:
            assert len(connection.execute(RESULTS.select()).all()) == 1

    @pytest.mark.parametrize("ended", [True, False])
    def test_leaves_what_another_job_was_served(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, *, ended: bool
    ) -> None:
        """A job that has the same cutout keeps it, and one that found it and is about to have it."""
        job_id = bought(engine, bucket)
        make_batch(engine, {"twin": None}, producer_id=producer_of(engine))
        with Session(engine) as session, session.begin():
            twin = claim_one(session, new_worker(session))
            found = queue.acquire_result(session, twin, PICTURE, MAKING)
            assert isinstance(found, BoughtBefore)
            if ended:
                queue.settle(session, twin, Succeeded(found.stored, reused=True))
        shop.delete(f"/v1/jobs/{job_id}", params={"objects": "true"}).raise_for_status()
        assert bucket.keys("cutouts/") == ["cutouts/a.png"]
        with Session(engine) as session, session.begin():
            if not ended:
                queue.settle(session, twin, Succeeded(found.stored, reused=True))
        view = shop.get(f"/v1/jobs/{twin.job_id}").json()
        assert httpx.get(shop.get(view["bought"]["url"]).headers["location"]).content == b"picture"

    def test_that_fails_leaves_the_job(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """The bucket does not do as asked: a problem 503, and the job can be deleted again."""
        job_id = bought(engine, bucket)
        bucket.delete("cutouts/a.png")
        bucket._client.delete_bucket(Bucket=bucket.name)
        problem_of(shop.delete(f"/v1/jobs/{job_id}", params={"objects": "true"}), 503)
        assert shop.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded"
        bucket.create()
        assert shop.delete(f"/v1/jobs/{job_id}", params={"objects": "true"}).status_code == 200
