import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts
from cutout.enums import AttemptOutcome
from cutout.models import Job
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import StoredObject, Succeeded
from cutout.storage import Bucket
from tests.api.conftest import key_for
from tests.support.outputs import without_outputs
from tests.support.steps import begin, claim_one, new_worker

SOURCE = "https://shop.example/a.jpg"


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, after checking that it is one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:cutout:problem:")
    return document


class TestAskingWhyAJobWaits:
    def test_names_what_is_missing(self, shop: httpx.Client) -> None:
        """No dispatcher leads here: a word for programs, a text and a remedy for people."""
        job = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()
        told = shop.get(f"/v1/jobs/{job['id']}/explanation").raise_for_status().json()
        assert (told["state"], told["why"]) == ("queued", "no-dispatcher")
        assert "once the operator has fixed it" in told["remedy"]

    def test_of_another_producer_finds_no_job(
        self, shop: httpx.Client, client: httpx.Client, engine: Engine
    ) -> None:
        """404, as if it were not there."""
        job = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()
        answer = client.get(f"/v1/jobs/{job['id']}/explanation", headers=key_for(engine, "other"))
        problem_of(answer, 404)


class TestPostingAJob:
    def test_by_address_makes_a_durable_job(self, shop: httpx.Client, engine: Engine) -> None:
        """201 means that the job is in the database, at the address that Location names."""
        answer = shop.post(
            "/v1/jobs", json={"source_url": SOURCE, "external_id": "SKU", "return_form": "mask"}
        )
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
        with Session(engine) as session:
            job = session.get_one(Job, uuid.UUID(answer.json()["id"]))
            assert (job.source, job.external_id, job.return_form) == (SOURCE, "SKU", "mask")

    def test_by_upload_puts_the_picture_into_the_bucket(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """The picture lies in the bucket, byte for byte, before the job exists."""
        answer = shop.post("/v1/jobs", files={"image": ("a.jpg", photo)}, data={"return_form": "crop"})
        assert answer.status_code == 201
        with Session(engine) as session:
            job = session.get_one(Job, uuid.UUID(answer.json()["id"]))
        key = bucket.key_of(job.source)
        assert key is not None
        assert bucket.read(key, max_bytes=len(photo)) == photo
        assert job.return_form == "crop"

    def test_says_nothing_of_where_the_picture_lies(self, shop: httpx.Client, photo: bytes) -> None:
        """A job's view names an upload as such, and shows nothing of the bucket or of the endpoint."""
        answer = shop.post("/v1/jobs", files={"image": ("a.jpg", photo)})
        assert "s3:" not in answer.text
        view = answer.json()
        assert (view["source_kind"], view["source_url"]) == ("upload", None)
        assert set(view) == {
            "id", "batch_id", "external_id", "return_form", "state", "step", "tries", "credits",
            "scheduled_at",
            "created_at", "finished_at", "cancelled_at", "error", "result", "bought", "outputs", "score",
            "unexpected", "poll_after_seconds", "source_kind", "source_url", "forms", "full_size",
            "renditions", "file_name", "priority", "unique", "webhook_host", "metadata",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "source_url"),
            ({"source_url": "ftp://shop.example/a.jpg"}, "source_url"),
            ({"source_url": "s3://cutouts/sources/x"}, "source_url"),
            ({"source_url": SOURCE, "return_form": "svg"}, "return_form"),
            ({"source_url": SOURCE, "return_form": ""}, "return_form"),
            ({"source_url": SOURCE, "priority": "urgent"}, "priority"),
            ({"source_url": SOURCE, "external_id": ""}, "external_id"),
            ({"source_url": SOURCE, "external_id": "a\x00b"}, "external_id"),
            ({"source_url": SOURCE, "external_id": "x" * 256}, "external_id"),
            ({"source_url": SOURCE, "colour": "red"}, "colour"),
            ({"source_url": SOURCE, "batch_id": "7"}, "batch_id"),
            ({"source_url": SOURCE, "batch_id": str(uuid.UUID(int=1))}, None),
            ({"source_url": ["a"]}, "source_url"),
        ],
    )
    def test_with_a_wrong_field_names_it(
        self, shop: httpx.Client, body: dict[str, object], field: str | None
    ) -> None:
        """The problem names the field at fault and nothing is stored."""
        problem = problem_of(shop.post("/v1/jobs", json=body), 422 if field else 404)
        assert problem["field"] == (field or "batch_id")

    def test_with_text_that_is_no_json_is_a_problem(self, shop: httpx.Client) -> None:
        """A body that cannot be read is refused as such."""
        problem_of(shop.post("/v1/jobs", content=b"{", headers={"content-type": "application/json"}), 422)
        problem_of(
            shop.post("/v1/jobs", content=b"\xff\xfe", headers={"content-type": "application/json"}), 422
        )

    def test_without_the_picture_says_how_to_send_it(self, shop: httpx.Client) -> None:
        """A form without the file names the field."""
        answer = shop.post("/v1/jobs", files={"file": ("a.jpg", b"x")})
        assert problem_of(answer, 422)["field"] == "image"

    def test_with_an_empty_picture_is_refused(self, shop: httpx.Client) -> None:
        """Nothing can be cut out of 0 bytes."""
        answer = shop.post("/v1/jobs", files={"image": ("a.jpg", b"")})
        assert "0 bytes" in problem_of(answer, 422)["detail"]

    def test_with_a_picture_past_the_limit_is_refused(self, shop: httpx.Client) -> None:
        """The problem names the size and the limit."""
        answer = shop.post("/v1/jobs", files={"image": ("a.jpg", b"x" * 1_000_001)})
        assert "1000001 bytes, at most 1000000" in problem_of(answer, 413)["detail"]

    def test_with_a_body_past_all_limits_is_cut_off(self, shop: httpx.Client) -> None:
        """A body larger than any route takes is refused by its length."""
        answer = shop.post(
            "/v1/jobs", content=b"x" * 17_000_000, headers={"content-type": "application/json"}
        )
        assert problem_of(answer, 413)["type"].endswith("body-too-large")


class TestAKey:
    @pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic dXNlcjpwdw==", "bearer"])
    def test_is_needed(self, client: httpx.Client, header: str | None) -> None:
        """Without a producer's key there is a 401 that says how to send one."""
        headers = {"Authorization": header} if header else {}
        answer = client.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers)
        problem_of(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"

    def test_shows_only_its_own_jobs(self, shop: httpx.Client, engine: Engine) -> None:
        """Another producer's job and batch are not there, rather than forbidden."""
        job = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()
        batch = shop.post("/v1/batches", json={"name": "b"}).json()
        other = key_for(engine, "other")
        problem_of(shop.get(f"/v1/jobs/{job['id']}", headers=other), 404)
        problem_of(shop.get(f"/v1/jobs/{job['id']}/result", headers=other), 404)
        problem_of(shop.get(f"/v1/batches/{batch['id']}", headers=other), 404)
        body = {"source_url": SOURCE, "batch_id": batch["id"]}
        problem_of(shop.post("/v1/jobs", json=body, headers=other), 404)


class TestGettingAJob:
    def test_follows_it_to_its_cutout(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """First queued without a result, then succeeded with a link that gives the bytes."""
        job_id = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
        assert shop.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
        early = problem_of(shop.get(f"/v1/jobs/{job_id}/result"), 409)
        assert "look again later" in early["detail"]

        sha256 = bucket.put_cutout(photo, key="cutouts/a.png", media_type="image/png", metadata={})
        with Session(engine) as session, session.begin():
            claim = claim_one(session, new_worker(session))
            queue.end_attempt(session, begin(session, claim), Answer(AttemptOutcome.CHARGED))
            stored = StoredObject("cutouts/a.png", sha256, "image/png", len(photo), 1, 1)
            queue.settle(session, claim, Succeeded(stored))
        without_outputs(engine)

        view = shop.get(f"/v1/jobs/{job_id}").json()
        assert (view["state"], view["credits"], view["result"]["sha256"]) == ("succeeded", 1, sha256.hex())
        redirect = shop.get(view["result"]["url"])
        assert redirect.status_code == 307
        assert httpx.get(redirect.headers["location"]).content == photo

    @pytest.mark.parametrize("path", ["/v1/jobs/", "/v1/batches/"])
    def test_that_does_not_exist_is_a_404(self, shop: httpx.Client, path: str) -> None:
        """An unknown id is a 404, a malformed one a 422; both are problems."""
        problem_of(shop.get(f"{path}{uuid.UUID(int=3)}"), 404)
        problem_of(shop.get(f"{path}nonsense"), 422)


class TestABatch:
    def test_of_a_list_is_enqueued_whole(self, shop: httpx.Client) -> None:
        """A batch counts its jobs by state, and takes its own form where a job names none."""
        jobs = [{"external_id": n, "source_url": SOURCE} for n in "ab"]
        batch = shop.post("/v1/batches", json={"name": "spring", "return_form": "crop", "jobs": jobs}).json()
        view = shop.get(f"/v1/batches/{batch['id']}").json()
        assert (view["total"], view["counts"]["queued"], view["finished_at"]) == (2, 2, None)
        assert set(view["counts"]) == {"queued", "running", "held", "succeeded", "failed", "cancelled"}

    def test_with_a_repeated_id_leaves_nothing_behind(self, shop: httpx.Client, engine: Engine) -> None:
        """All or none: one wrong row stores no job and no batch."""
        jobs = [{"external_id": "a", "source_url": SOURCE}] * 2
        problem = problem_of(shop.post("/v1/batches", json={"name": "b", "jobs": jobs}), 422)
        assert (problem["field"], "'a' comes twice" in problem["detail"]) == ("external_id", True)
        with Session(engine) as session:
            assert session.query(Job).count() == 0

    def test_with_too_many_jobs_says_to_split(self, shop: httpx.Client) -> None:
        """A list past CUTOUT_MAX_BATCH_JOBS names it."""
        jobs = [{"external_id": str(n), "source_url": SOURCE} for n in range(4)]
        problem = problem_of(shop.post("/v1/batches", json={"name": "b", "jobs": jobs}), 422)
        assert (problem["field"], "more than 3 jobs" in problem["detail"]) == ("jobs", True)

    def test_is_filled_by_single_jobs(self, shop: httpx.Client) -> None:
        """An empty batch takes jobs one by one, and an id twice in the same form is refused."""
        batch_id = shop.post("/v1/batches", json={"name": "b"}).json()["id"]
        body = {"source_url": SOURCE, "external_id": "a", "batch_id": batch_id}
        made = shop.post("/v1/jobs", json=body)
        assert made.status_code == 201
        again = shop.post("/v1/jobs", json=body)
        problem = problem_of(again, 409)
        assert (problem["type"], problem["field"]) == ("urn:cutout:problem:job-exists", "external_id")
        assert problem["job_id"] == made.json()["id"]
        assert again.headers["location"] == made.headers["location"]
        assert shop.get(f"/v1/batches/{batch_id}").json()["total"] == 1


def test_an_account_is_named_without_its_key() -> None:
    """The fingerprint that logs and tables show does not hold the key."""
    assert "secret-key" not in accounts.account_name("secret-key")
