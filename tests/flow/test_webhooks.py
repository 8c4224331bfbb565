"""Webhooks from the POST to the receiver, through real processes."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cutout.storage import Bucket
from cutout.webhooks import secret_of
from tests.support.receiver import Message, Receiver
from tests.support.system import System

MASTER = "m" * 40
ALL_DELIVERED = "SELECT count(*) = {} AND bool_and(state = 'delivered') FROM deliveries"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def system(
    environment: dict[str, str], bucket: Bucket, receiver: Receiver, tmp_path: Path
) -> Iterator[System]:
    """API, dispatcher and one worker, which may tell the receiver."""
    assert bucket
    environment |= {"CUTOUT_WEBHOOK_SECRET": MASTER, "CUTOUT_WEBHOOK_PRIVATE_HOSTS": receiver.host}
    with System(environment, tmp_path) as running:
        yield running


def upload(system: System, photo: bytes, **fields: str) -> dict[str, Any]:
    answer = system.client.post("/v1/jobs", data=fields, files={"image": ("a.jpg", photo)})
    job: dict[str, Any] = answer.raise_for_status().json()
    return job


def secret(system: System) -> str:
    producer_id = system.scalar("SELECT id FROM producers")
    return secret_of(SecretStr(MASTER), producer_id, 1)


def told(messages: list[Message], secret: str) -> list[dict[str, Any]]:
    """The messages' contents, each verified by another library."""
    for message in messages:
        message.verify(secret)
    return [json.loads(message.body) for message in messages]


class TestAProducerThatAsksToBeTold:
    @pytest.mark.long("waits for a second try; tests/worker/webhooks/test_notifier.py tries again")
    def test_hears_of_the_job_and_then_of_its_batch(
        self, system: System, receiver: Receiver, photo: bytes, bucket: Bucket
    ) -> None:
        """Signed, within seconds, with what a GET says too; the results are in the bucket by then."""
        body = {"name": "b", "webhook_url": receiver.url("/batch")}
        batch = system.client.post("/v1/batches", json=body).raise_for_status().json()
        job = upload(
            system, photo, external_id="SKU-1", batch_id=batch["id"], webhook_url=receiver.url("/job?token=x")
        )
        messages = receiver.wait_for(2)
        assert [message.path for message in messages] == ["/job?token=x", "/batch"]
        of_job, of_batch = told(messages, secret(system))
        assert of_job["type"] == "job.succeeded"
        view = system.client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        data = of_job["data"]
        assert (data["id"], data["external_id"], data["credits"]) == (job["id"], "SKU-1", 1)
        assert {name: data[name] for name in ("key", "sha256", "width", "height")} == {
            name: view["result"][name] for name in ("key", "sha256", "width", "height")
        }
        assert of_batch["type"] == "batch.finished"
        assert (of_batch["data"]["counts"], of_batch["data"]["credits"]) == ({"succeeded": 1}, 1)
        assert bucket.read(of_batch["data"]["results_key"], max_bytes=10_000).startswith(b"external_id")
        system.until(ALL_DELIVERED.format(2))
        assert "token" not in system.log("dispatcher") + system.log("worker") + system.log("api")

    @pytest.mark.long("waits for leases of killed dispatchers; tests/cutout/webhooks/ has them in Postgres")
    def test_hears_of_every_job_though_dispatchers_are_killed(
        self, system: System, receiver: Receiver, photo: bytes
    ) -> None:
        """Twice, with messages out: each job is told of, some of them twice, under the same id."""

        def slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.5)
            handler.send_response(204)
            handler.end_headers()

        receiver.always = slowly
        count = 10
        jobs = {upload(system, photo, webhook_url=receiver.url())["id"] for _ in range(count)}
        for kills in (1, 2):
            receiver.wait_for(2 * kills)
            system.kill("dispatcher")
            system.start("dispatcher", "dispatcher")
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
        # What was out when its sender died is due again after its lease.
        system.execute("UPDATE deliveries SET due_at = now() WHERE state = 'waiting' AND tries > 0")
        system.until(ALL_DELIVERED.format(count))
        assert {payload["data"]["id"] for payload in told(receiver.messages, secret(system))} == jobs
        ids = [message.id for message in receiver.messages]
        assert len({*ids}) == count
        assert len(ids) > count

    @pytest.mark.long("waits for the lease of a killed dispatcher; tests/worker/webhooks/ has it in Postgres")
    def test_hears_of_everything_at_an_endpoint_though_the_dispatcher_is_killed(
        self, system: System, receiver: Receiver, photo: bytes
    ) -> None:
        """The batch's end, and its jobs in digests, signed with the endpoint's secret."""

        def slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.5)
            handler.send_response(204)
            handler.end_headers()

        receiver.always = slowly
        body = {"url": receiver.url("/all?token=quirk"), "events": ["*", "job.succeeded"]}
        made = system.client.post("/v1/webhooks/endpoints", json=body).raise_for_status().json()
        batch = system.client.post("/v1/batches", json={"name": "b"}).raise_for_status().json()
        jobs = {upload(system, photo, batch_id=batch["id"])["id"] for _ in range(3)}
        receiver.wait_for(1)
        system.kill("dispatcher")
        system.start("dispatcher", "dispatcher")
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
        finished = "SELECT count(*) = 1 FROM deliveries WHERE type = 'batch.finished'"
        system.until(finished)
        system.until("SELECT count(*) = 0 FROM digests")
        system.execute("UPDATE deliveries SET due_at = now() WHERE state = 'waiting' AND tries > 0")
        system.until("SELECT bool_and(state = 'delivered') FROM deliveries")
        payloads = told(receiver.messages, made["secret"])
        digested = [job for each in payloads if each["type"] == "jobs.digest" for job in each["data"]["jobs"]]
        assert {job["id"] for job in digested} == jobs
        assert {job["type"] for job in digested} == {"job.succeeded"}
        assert "batch.finished" in {each["type"] for each in payloads}
        assert "quirk" not in system.log("dispatcher") + system.log("worker") + system.log("api")
