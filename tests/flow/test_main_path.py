import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import text

from cutout.enums import ReturnForm
from cutout.storage import Bucket
from tests.support.machine import scaled
from tests.support.pictures import numbered
from tests.support.sandbox import Sandbox
from tests.support.system import System


def post_all(system: System, photo: bytes, count: int) -> str:
    """A batch of `count` jobs, each for a picture of its own, uploaded one by one."""
    batch: str = system.client.post("/v1/batches", json={"name": "flow"}).raise_for_status().json()["id"]
    for number in range(count):
        system.client.post(
            "/v1/jobs",
            files={"image": ("a.jpg", numbered(photo, number))},
            data={
                "external_id": f"SKU-{number // 4}",
                "return_form": list(ReturnForm)[number % 4],
                "batch_id": batch,
            },
        ).raise_for_status()
    return batch


@pytest.fixture
def system(shared_system: System, sandbox: Sandbox) -> System:
    """One for all tests of a class, and no charges."""
    sandbox.reset()
    return shared_system


class TestTheMainPath:
    def test_leads_from_the_api_to_the_bucket(
        self, system: System, sandbox: Sandbox, any_bucket: Bucket, photo: bytes
    ) -> None:
        """Eight jobs in four forms: eight charges, eight objects, links that give them."""
        batch = post_all(system, photo, 8)
        assert system.finished(batch)["succeeded"] == 8
        assert sandbox.charges() == 8
        bucket = any_bucket.sibling(system.environment["CUTOUT_S3_BUCKET"])
        assert len(bucket.keys(f"cutouts/{batch}/")) == 8

        job = system.client.post("/v1/jobs", files={"image": ("a.jpg", photo)}).json()
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
        link = system.client.get(f"/v1/jobs/{job['id']}/result").headers["location"]
        assert httpx.get(link).content.startswith(b"\x89PNG")

    def test_leaves_no_secret_in_any_log(self, system: System, sandbox: Sandbox, photo: bytes) -> None:
        """Neither the endpoint's key nor a result's URL nor a producer's key is in what the processes say."""
        batch = post_all(system, photo, 3)
        system.finished(batch)
        said = "".join(system.log(name) for name in system.processes)
        assert "celery.apps.worker" in said
        password = system.environment["CUTOUT_DATABASE_URL"].split(":")[2].split("@")[0]
        for secret in (sandbox.key, "/results/", password, system.client.headers["authorization"].split()[1]):
            assert secret not in said

    def test_opens_nothing_to_the_key_of_a_stranger(self, system: System) -> None:
        """Without a key of ours the API answers 401."""
        answer = httpx.post(f"{system.client.base_url}/v1/batches", json={"name": "x"})
        assert answer.status_code == 401


class TestLostMessages:
    @pytest.fixture
    def system(self, environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[System]:
        """One of its own."""
        assert bucket
        with System(environment, tmp_path) as running:
            yield running

    @pytest.mark.long("waits for leases; tests/cutout/queue/test_dispatch.py has the rule")
    def test_are_handed_out_again(self, system: System, sandbox: Sandbox, photo: bytes) -> None:
        """A job whose message vanished is handed out again once its lease ends, and is paid once."""
        system.processes["worker"].send_signal(signal.SIGTERM)
        assert system.processes["worker"].wait(scaled(20)) == 0
        # Heard just now, it died before it took anything: nothing is dispatched where no worker lives.
        system.execute(
            "INSERT INTO workers (host, pid, heartbeat_at) VALUES ('gone', 1, now() + interval '1 h')"
        )
        batch = post_all(system, photo, 2)
        system.until("SELECT count(*) = 2 FROM jobs WHERE queue_state = 'dispatched'")
        redis.Redis.from_url(system.environment["CUTOUT_REDIS_URL"]).flushall()
        with system.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET scheduled_at = now() WHERE queue_state = 'dispatched'"))
        system.start("worker", "worker")
        assert system.finished(batch)["succeeded"] == 2
        assert sandbox.charges() == 2


class TestAWorkerKilled:
    @pytest.mark.long(
        "waits for a dead worker's silence, 5 s; tests/cutout/queue/test_workers.py rescues without"
    )
    @pytest.mark.usefixtures("bucket")
    def test_in_the_middle_of_its_calls_loses_no_job(
        self, environment: dict[str, str], sandbox: Sandbox, photo: bytes, tmp_path: Path
    ) -> None:
        """Its jobs are rescued and finished; every charge beyond one a job is recorded as unknown."""
        sandbox.set(latency=1.0)
        with System(environment | {"CUTOUT_WORKER_SILENCE_SECONDS": "5"}, tmp_path) as system:
            batch = post_all(system, photo, 6)
            system.until("SELECT count(*) > 0 FROM attempts")
            system.processes["worker"].kill()
            system.processes["worker"].wait()
            sandbox.set(latency=0.0)
            system.start("worker-2", "worker")
            counts = system.finished(batch)
            with system.engine.connect() as connection:
                unknown = connection.scalar(text("SELECT count(*) FROM attempts WHERE outcome = 'unknown'"))
        assert counts["succeeded"] == 6
        assert 0 <= sandbox.charges() - 6 <= unknown
        assert unknown > 0
