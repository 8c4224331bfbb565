import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.sandbox import Sandbox
from tests.support.system import System

FIELDS = {"time", "level", "logger", "message", "request_id", "job_id", "batch_id", "exc_info", "stack_info"}
LOUDLY = {"CUTOUT_LOG_FORMAT": "json", "CUTOUT_LOG_LEVEL": "DEBUG"}


def lines(system: System, name: str) -> list[dict[str, Any]]:
    """The log of a process, each line an object."""
    said = system.log(name).splitlines()
    assert [line for line in said if not line.startswith("{")] == []
    return [json.loads(line) for line in said]


@pytest.mark.usefixtures("bucket")
class TestJsonLogs:
    def test_carry_the_ids_of_a_job_from_its_post_to_its_failure(
        self, environment: dict[str, str], sandbox: Sandbox, photo: bytes, tmp_path: Path
    ) -> None:
        """The API's line names the request and its job, the worker's the job and its batch."""
        sandbox.fault("result_gone", next=1)
        with System(environment | LOUDLY, tmp_path) as system:
            batch = system.client.post("/v1/batches", json={"name": "b"}).json()["id"]
            answer = system.client.post(
                "/v1/jobs",
                files={"image": ("a.jpg", photo)},
                data={"batch_id": batch},
                headers={"X-Request-ID": "shop-4471"},
            )
            job = answer.json()["id"]
            system.until("SELECT count(*) = 1 FROM jobs WHERE code = 'RESULT_EXPIRED'", without_rests=True)
            said = {name: lines(system, name) for name in system.processes}
        assert answer.headers["X-Request-ID"] == "shop-4471"
        (posted,) = [line for line in said["api"] if line.get("job_id") == job]
        assert posted["message"].startswith("POST /v1/jobs: 201 in ")
        assert (posted["request_id"], posted["level"], posted["logger"]) == (
            "shop-4471",
            "INFO",
            "api.middleware.request_log",
        )
        (lost,) = [line for line in said["worker"] if "a paid result is lost" in line["message"]]
        assert (lost["job_id"], lost["batch_id"], lost["level"]) == (job, batch, "ERROR")
        assert any("this dispatcher leads" in line["message"] for line in said["dispatcher"])
        assert all(set(line) <= FIELDS for some in said.values() for line in some)

    @pytest.mark.long("runs everything at the highest log level")
    def test_of_a_whole_flow_hold_no_secret(
        self, environment: dict[str, str], sandbox: Sandbox, photo: bytes, tmp_path: Path
    ) -> None:
        """With failures on the way, at DEBUG: no key, no password, no signed address and no result's."""
        sandbox.fault("result_unavailable", next=1)
        sandbox.fault("drop_after", next=1)
        sandbox.fault("code", code="PROCESSING_FAILURE", next=1)
        with System(environment | LOUDLY, tmp_path) as system:
            batch = system.client.post("/v1/batches", json={"name": "b"}).json()["id"]
            for n in range(6):
                system.client.post(
                    "/v1/jobs",
                    files={"image": ("a.jpg", photo)},
                    data={"batch_id": batch, "external_id": str(n)},
                ).raise_for_status()
            system.until("SELECT bool_and(state = 'succeeded') FROM jobs", without_rests=True)
            job = system.scalar("SELECT id FROM jobs LIMIT 1")
            link = system.client.get(f"/v1/jobs/{job}/result").headers["location"]
            assert httpx.get(link).is_success
            system.client.get(f"/v1/batches/{batch}/results?links=true&format=ndjson").raise_for_status()
            said = "".join(system.log(name) for name in system.processes)
            key = system.client.headers["authorization"].split()[1]
        assert '"level": "DEBUG"' in said
        database, redis = (urlsplit(environment[f"CUTOUT_{name}_URL"]) for name in ("DATABASE", "REDIS"))
        secrets = [sandbox.key, key, database.password, redis.password, environment["CUTOUT_S3_SECRET_KEY"]]
        for secret in [*filter(None, secrets), "/results/", "Signature=", "Credential=", "Bearer "]:
            assert secret not in said


@pytest.mark.usefixtures("bucket")
class TestRequestIds:
    @pytest.mark.parametrize("given", ["a b", "x" * 65, "", "ü", "{}"])
    def test_that_are_no_ids_are_replaced(self, client: httpx.Client, given: str) -> None:
        """Text that could break a line or fill a disk is not taken over."""
        answer = client.get("/healthz", headers=[(b"X-Request-ID", given.encode())])
        assert len(answer.headers["X-Request-ID"]) == 32

    def test_are_made_where_none_is_given(self, client: httpx.Client) -> None:
        """Each request has its own, also one that is refused."""
        made = {client.get("/v1/jobs/x").headers["X-Request-ID"] for _ in range(3)}
        assert len(made) == 3
