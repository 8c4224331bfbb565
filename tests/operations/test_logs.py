import json
import logging
import os
import pwd
import socket
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import typer.main
from sqlalchemy import Engine, text

from api.app import create_app
from cli import audit_log
from cli.main import COMMANDS, make_app
from cutout.settings import Settings
from cutout.telemetry.logs import AUDIT
from tests.api.conftest import key_for, serve_app
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

FIELDS = {
    *("time", "level", "logger", "message", "request_id", "producer_id", "key_id", "job_id", "batch_id"),
    *("client", "duration_seconds", "action", "action_id", "exc_info", "stack_info"),
}
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
        with System(environment | {"CUTOUT_LOG_FORMAT": "json"}, tmp_path) as system:
            batch = system.client.post("/v1/batches", json={"name": "b"}).json()["id"]
            system.client.get(f"/v1/batches/{batch}").raise_for_status()
            answer = system.client.post(
                "/v1/jobs",
                files={"image": ("a.jpg", photo)},
                data={"batch_id": batch},
                headers={"X-Request-ID": "shop-4471"},
            )
            job = answer.json()["id"]
            system.until("SELECT count(*) = 1 FROM jobs WHERE code = 'RESULT_EXPIRED'", without_rests=True)
            said = {name: lines(system, name) for name in system.processes}
            producer, key = map(str, system.row("SELECT producer_id, id FROM api_keys").values())
        assert answer.headers["X-Request-ID"] == "shop-4471"
        (posted,) = [line for line in said["api"] if line.get("job_id") == job]
        assert posted["message"].startswith("POST /v1/jobs: 201 in ")
        assert (posted["request_id"], posted["level"], posted["logger"]) == (
            "shop-4471",
            "INFO",
            "api.middleware.request_log",
        )
        assert (posted["producer_id"], posted["key_id"]) == (producer, key)
        assert posted["client"] == "127.0.0.1"
        assert 0 < posted["duration_seconds"] < 60
        assert not [line for line in said["api"] if line["message"].startswith("GET /v1/batches")]
        (lost,) = [line for line in said["worker"] if "a paid result is lost" in line["message"]]
        assert (lost["job_id"], lost["batch_id"], lost["level"]) == (job, batch, "ERROR")
        assert lost["producer_id"] == producer
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


def of_api(caplog: pytest.LogCaptureFixture, logger: str) -> list[logging.LogRecord]:
    """The lines of one logger of this process's API."""
    return [record for record in caplog.records if record.name == logger]


@pytest.mark.usefixtures("bucket")
class TestTheAudit:
    def test_of_the_api_says_who_changed_what(
        self, client: httpx.Client, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A change that was done has one line with its key, producer and client; no other request has."""
        caplog.set_level(logging.INFO)
        client.headers.update(key_for(engine, "shop"))
        batch = client.post("/v1/batches", json={"name": "b"}).json()["id"]
        wait_until(lambda: len(of_api(caplog, AUDIT)) == 1, "the new batch is written down")
        caplog.clear()
        client.get(f"/v1/batches/{batch}")
        client.post(f"/v1/batches/{batch}/approve")
        assert of_api(caplog, AUDIT) == []
        client.post(f"/v1/batches/{batch}/pause").raise_for_status()
        # It is written once the answer has gone out.
        wait_until(lambda: bool(of_api(caplog, AUDIT)), "the change is written down")
        (line,) = of_api(caplog, AUDIT)
        with engine.connect() as connection:
            (key,) = connection.execute(text("SELECT id, producer_id FROM api_keys"))
        action = "POST /v1/batches/{batch_id}/pause"
        told = f"{action} by key {key.id} of producer {key.producer_id} from 127.0.0.1"
        assert (line.getMessage(), line.levelname) == (told, "INFO")

    def test_names_no_client_that_is_no_address(
        self, client: httpx.Client, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A proxy may pass on what its client sent, and terminals obey it."""
        caplog.set_level(logging.INFO)
        client.headers.update(key_for(engine, "shop"))
        batch = client.post("/v1/batches", json={"name": "b"}).json()["id"]
        wait_until(lambda: len(of_api(caplog, AUDIT)) == 1, "the new batch is written down")
        caplog.clear()
        for given in ("\x1b[2K forged by key 1", "fe80::1%\x1b[2K", "192.0.2.1"):
            headers = {"X-Forwarded-For": given}
            client.post(f"/v1/batches/{batch}/pause", headers=headers).raise_for_status()
            client.post(f"/v1/batches/{batch}/resume").raise_for_status()
        said = [line.getMessage() for line in of_api(caplog, AUDIT)]
        named = [line.rpartition("from ")[2] for line in said if "/pause " in line]
        assert named == ["", "fe80::1", "192.0.2.1"]
        clients = [vars(line)["client"] for line in of_api(caplog, AUDIT)]
        assert clients[::2] == ["", "fe80::1", "192.0.2.1"]
        assert "\x1b" not in "".join(said)

    def test_of_a_command_says_which_user_of_the_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It goes to the system's log: the command, its ids, the exit code; no word that may be a secret."""
        system_log = tmp_path / "log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(system_log))
            listener.settimeout(5.0)
            monkeypatch.setattr(audit_log, "SYSTEM_LOG", system_log)
            monkeypatch.setenv("LOGNAME", "somebody-else")
            batch = str(uuid.uuid4())
            audit_log.record(["schedule", "add", "n", "https://shop.example/f.csv?token=hidden"], 0)
            audit_log.record(["status", batch], 0)
            audit_log.record(["cancel", "--help"], 0)
            audit_log.record(["cancel"], 2)
            audit_log.record(["cancel", batch], 1)
            said = [listener.recv(1000).decode() for _ in range(2)]
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.recv(1000)
        user = pwd.getpwuid(os.getuid()).pw_name
        by = f"by the user {user} of this machine: exit"
        assert "hidden" not in "".join(said)
        assert f"cutout: cutout schedule add {by} 0" in said[0]
        assert f"cutout: cutout cancel {batch} {by} 1" in said[1]

    def test_without_a_system_log_is_on_standard_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As in a container."""
        monkeypatch.setattr(audit_log, "SYSTEM_LOG", tmp_path / "none")
        audit_log.record(["keys", "make", "shop"], 0)
        assert " INFO cutout.audit cutout keys make by the user " in capsys.readouterr().err

    def test_knows_every_command(self) -> None:
        """Its list names commands that there are, and each command is in it or changes nothing."""
        known = typer.main.get_command(make_app(list(COMMANDS)))
        names = set()
        for name, command in known.commands.items():  # type: ignore[attr-defined]
            members = getattr(command, "commands", None)
            names |= {f"{name} {member}" for member in members} if members else {name}
        assert names == audit_log.CHANGES | NO_CHANGES
        assert not audit_log.CHANGES & NO_CHANGES


# They look, or run until they are ended.
NO_CHANGES = {
    *("up", "demo", "api", "dispatcher", "ingester", "renderer", "worker", "sandbox"),
    *("status", "results", "explain", "ledger", "limits", "doctor", "calibrate", "actions"),
    *("keys list", "producers list", "producers show", "webhooks list", "webhooks endpoints"),
    *("schedule list", "schedule show", "schedule next"),
}


@pytest.mark.usefixtures("bucket")
class TestReads:
    @pytest.mark.parametrize("wanted", [True, False])
    def test_are_logged_if_wanted(
        self, settings: Settings, engine: Engine, caplog: pytest.LogCaptureFixture, *, wanted: bool
    ) -> None:
        """With CUTOUT_LOG_READS the log says which key read which job, and from where."""
        caplog.set_level(logging.INFO)
        app = create_app(settings.model_copy(update={"log_reads": wanted}))
        with serve_app(app) as client:
            client.headers.update(key_for(engine, "shop"))
            client.get(f"/v1/jobs/{uuid.uuid4()}")
        said = of_api(caplog, "api.middleware.request_log")
        assert [record.getMessage()[:27] for record in said] == ["GET /v1/jobs/{job_id}: 404 "] * wanted


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
