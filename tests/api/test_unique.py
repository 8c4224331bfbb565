"""The natural key of jobs: an external id that is given once among all jobs of a producer."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.queue.settle import settle
from tests.api.conftest import key_for
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.fates import DONE
from tests.support.steps import claim_one, new_worker

JOB: dict[str, Any] = {"source_url": SOURCE, "external_id": "SKU-1", "unique": "producer"}


class TestAJobThatIsUniqueForItsProducer:
    def test_is_made_once_however_many_ask_at_once(self, shop: httpx.Client) -> None:
        """Of twelve one is taken; the others name it and where it is."""
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: shop.post("/v1/jobs", json=JOB), range(12)))
        made = [answer for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code == 409]
        assert (len(made), len(refused)) == (1, 11)
        job_id = made[0].json()["id"]
        for answer in refused:
            problem = problem_of(answer, 409)
            assert (problem["type"], problem["job_id"]) == ("urn:cutout:problem:job-exists", job_id)
            assert answer.headers["location"] == f"/v1/jobs/{job_id}"
        assert len(shop.get("/v1/jobs").json()["data"]) == 1

    def test_is_so_across_batches_and_uploads(self, shop: httpx.Client, photo: bytes) -> None:
        """Only among jobs that ask for it, of one form, of one producer."""
        job_id = shop.post("/v1/jobs", json=JOB).raise_for_status().json()["id"]
        batch_id = shop.post("/v1/batches", json={"name": "b"}).json()["id"]
        again = shop.post("/v1/jobs", json=JOB | {"batch_id": batch_id})
        assert problem_of(again, 409)["job_id"] == job_id
        form = {"external_id": "SKU-1", "unique": "producer"}
        upload = shop.post("/v1/jobs", data=form, files={"image": ("a.jpg", photo)})
        assert problem_of(upload, 409)["job_id"] == job_id
        shop.post("/v1/jobs", json=JOB | {"unique": "batch"}).raise_for_status()
        shop.post("/v1/jobs", json=JOB | {"return_form": "mask"}).raise_for_status()

    def test_of_another_producer_is_no_hindrance(self, shop: httpx.Client, engine: Engine) -> None:
        """Nor is it seen."""
        shop.post("/v1/jobs", json=JOB).raise_for_status()
        shop.headers.update(key_for(engine, "other"))
        shop.post("/v1/jobs", json=JOB).raise_for_status()

    def test_does_not_show_what_another_producer_has_outside_of_batches(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """Jobs without a batch are of all producers."""
        own = shop.post("/v1/jobs", json=JOB).raise_for_status().json()["id"]
        plain = {"source_url": SOURCE, "external_id": "SKU-1"}
        other = key_for(engine, "other")
        theirs = shop.post("/v1/jobs", json=plain, headers=other).raise_for_status().json()["id"]
        refused = shop.post("/v1/jobs", json=JOB)
        assert problem_of(refused, 409)["job_id"] == own
        assert theirs not in refused.text
        assert "batch" not in problem_of(refused, 409)["detail"]

    def test_needs_an_id(self, shop: httpx.Client) -> None:
        """It is by that that it is unique."""
        answer = shop.post("/v1/jobs", json={"source_url": SOURCE, "unique": "producer"})
        assert problem_of(answer, 422)["field"] == "unique"

    def test_that_is_deleted_frees_its_id(self, shop: httpx.Client, engine: Engine) -> None:
        """The next one is another job."""
        first = shop.post("/v1/jobs", json=JOB).raise_for_status().json()
        with Session(engine) as session, session.begin():
            settle(session, claim_one(session, new_worker(session)), DONE)
        assert shop.post("/v1/jobs", json=JOB).status_code == 409
        shop.delete(f"/v1/jobs/{first['id']}").raise_for_status()
        assert shop.post("/v1/jobs", json=JOB).raise_for_status().json()["id"] != first["id"]

    def test_sent_again_under_its_key_is_answered_as_the_first_time(self, shop: httpx.Client) -> None:
        """A repetition is no second job."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        first = shop.post("/v1/jobs", json=JOB, headers=key)
        again = shop.post("/v1/jobs", json=JOB, headers=key)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotent-replayed"] == "true"


class TestAListOfJobs:
    def test_that_repeats_an_id_is_refused_as_it_stands(self, shop: httpx.Client) -> None:
        """There is no job yet that could be named."""
        jobs = [{"external_id": "a", "source_url": SOURCE}] * 2
        problem = problem_of(shop.post("/v1/batches", json={"name": "b", "jobs": jobs}), 422)
        assert (problem["type"], "job_id" in problem) == ("urn:cutout:problem:invalid-job", False)
