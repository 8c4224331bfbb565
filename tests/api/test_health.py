import asyncio
import json
import logging
import socket
import threading
import time
import uuid
from urllib.parse import urlsplit

import httpx
import pytest
from anyio import to_thread
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text

from api.app import create_app
from api.lifecycle import request_probe
from api.lifecycle.readiness import Readiness
from api.lifecycle.request_probe import RequestsProbe
from api.services import Services
from cutout.enums import Stop
from cutout.monitoring.probes import PATIENCE_S
from cutout.queue.blocks import storage_breaker
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.telemetry.metrics_server import serve_metrics
from tests.api.conftest import key_for, serve_app
from tests.support.machine import scaled
from tests.support.ports import free_port
from tests.support.proxy import Mode, Proxy
from tests.support.system import wait_until
from tests.support.working import somebody_works

CHECKED = ("database", "migrations", "redis", "bucket", "requests")
# Each of two looks gives up after its time, and the test waits a second between them.
QUICKLY_S = 2 * PATIENCE_S + 2.0


def checks(client: httpx.Client, app: FastAPI, status: int) -> dict[str, str]:
    """Details for operators, once the last check is old; strangers learn no more than the status."""
    time.sleep(1.1)
    answer = client.get("/readyz")
    told = {200: "ready", 503: "not ready"}
    assert (answer.status_code, answer.json()) == (status, {"status": told[status]})
    readiness: Readiness = app.state.readiness
    ready, page = readiness.page()
    assert ready == (status == 200)
    found: dict[str, str] = json.loads(page)["checks"]
    return found


def keep_versions(bucket: Bucket) -> None:
    bucket._client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})


class TestReadiness:
    def test_is_all_ok_on_good_servers(self, client: httpx.Client, app: FastAPI, engine: Engine) -> None:
        """Ready means that database, schema and bucket all answer; here Redis does, and jobs move too."""
        assert client.get("/healthz").json() == {"status": "alive"}
        with somebody_works(engine):
            assert checks(client, app, 200) == dict.fromkeys(
                (*CHECKED, "dispatcher", "worker", "calls", "cutouts"), "ok"
            )

    def test_writes_nothing_into_the_bucket(self, client: httpx.Client, app: FastAPI, bucket: Bucket) -> None:
        """Whoever asks, and however often: a versioned bucket would keep what each look wrote."""
        keep_versions(bucket)
        checks(client, app, 200)
        found = bucket._client.list_object_versions(Bucket=bucket.name)
        assert (found.get("Versions", []), found.get("DeleteMarkers", [])) == ([], [])

    def test_is_answered_to_all_who_ask_at_once(
        self, services_of: Services, app: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where one begins a new look before another has read the old one."""
        monkeypatch.setattr(request_probe, "FRESH_S", 0.0)
        probe = RequestsProbe(services_of)

        async def ask() -> list[bool]:
            asked = [asyncio.create_task(probe.look(PATIENCE_S))]
            await asyncio.sleep(0)
            look = probe._look
            assert look is not None
            # It asks once the look has ended, before the one that follows here goes on.
            look.add_done_callback(lambda _: asked.append(asyncio.create_task(probe.look(PATIENCE_S))))
            asked.append(asyncio.create_task(probe.look(PATIENCE_S)))
            await asyncio.wait({look})
            found = [check.ok for one in asked for check in await one]
            assert probe._look is not look
            return found

        loop = app.state.readiness._loop
        assert asyncio.run_coroutine_threadsafe(ask(), loop).result(scaled(5)) == [True] * 3

    def test_names_a_missing_bucket(self, client: httpx.Client, app: FastAPI, bucket: Bucket) -> None:
        """Without its bucket the API is not ready, and says which bucket."""
        bucket._client.delete_bucket(Bucket=bucket.name)
        assert bucket.name in checks(client, app, 503)["bucket"]

    def test_names_a_database_that_takes_no_writes(
        self, client: httpx.Client, app: FastAPI, engine: Engine
    ) -> None:
        """It answers and can take no job; whoever sends one is told to come again."""
        headers = key_for(engine, "shop")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(
                text(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on")
            )
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert "accepts no writes" in checks(client, app, 503)["database"]
        answer = client.post("/v1/batches", json={"name": "b"}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:cutout:problem:database-unavailable")

    @pytest.mark.usefixtures("bucket")
    def test_without_redis_jobs_are_taken_all_the_same(self, settings: Settings) -> None:
        """Dispatcher and workers need it; the page for insiders names it."""
        away = {"redis_url": SecretStr("redis://127.0.0.1:1/0")}
        app = create_app(settings.model_copy(update=away))
        with serve_app(app) as client:
            assert checks(client, app, 200)["redis"] != "ok"

    @pytest.mark.usefixtures("bucket")
    def test_nor_while_redis_is_frozen(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes connections and never answers, for longer than is waited for it."""
        monkeypatch.setattr("api.lifecycle.readiness.PATIENCE_S", 0.3)
        with socket.socket() as frozen:
            frozen.bind(("127.0.0.1", 0))
            frozen.listen()
            away = {"redis_url": SecretStr(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")}
            app = create_app(settings.model_copy(update=away))
            with serve_app(app) as client:
                assert "no answer" in checks(client, app, 200)["redis"]

    def test_without_dispatcher_and_worker_jobs_are_taken_all_the_same(
        self, client: httpx.Client, app: FastAPI
    ) -> None:
        """Both are named, and the API stays ready."""
        found = checks(client, app, 200)
        assert "none leads" in found["dispatcher"]
        assert "none was heard" in found["worker"]

    @pytest.mark.long("waits out the age of a look for each reason; tests/cli/test_doctor.py has the reasons")
    def test_names_what_stops_the_calls(self, client: httpx.Client, app: FastAPI, engine: Engine) -> None:
        """Accounts that are all paused, a bucket that is away and a person's pause, the last first."""
        pause = "INSERT INTO accounts (name, paused_at, pause_code, probe_at) VALUES (:name, {0}, {1}, {0})"
        with engine.begin() as connection:
            connection.execute(text(pause.format("now()", "'NO_CREDITS'")), {"name": "a"})
        assert checks(client, app, 200)["calls"] == "every account is paused: NO_CREDITS"
        with engine.begin() as connection:
            connection.execute(text(pause.format("NULL", "NULL")), {"name": "b"})
        assert checks(client, app, 200)["calls"] == "ok"
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE breaker SET opened_at = now(), reason = 'away', probe_at = now()")
            )
        assert checks(client, app, 200)["calls"] == "the bucket does not accept cutouts"
        with engine.begin() as connection:
            storage_breaker.close(connection)
            storage_breaker.trip(connection, "results at r.example: RESULT_UNAVAILABLE", of=Stop.RESULTS)
        assert checks(client, app, 200)["calls"] == "paid results cannot be fetched"
        with engine.begin() as connection:
            storage_breaker.close(connection, of=Stop.RESULTS)
            storage_breaker.trip(connection, "99 paid results", of=Stop.BACKLOG)
        assert checks(client, app, 200)["calls"] == "too many paid results wait for their copy"
        with engine.begin() as connection:
            storage_breaker.close(connection, of=Stop.BACKLOG)
            connection.execute(text("INSERT INTO limits VALUES ('b', 1, 1, 0, 0, 0, 0, NULL, NULL, now())"))
        assert checks(client, app, 200)["calls"] == "the endpoint fails for all jobs"
        with engine.begin() as connection:
            connection.execute(text("UPDATE queue_clock SET paused_at = now()"))
        assert checks(client, app, 200)["calls"] == "all calls are paused by an operator"

    @pytest.mark.long("waits until each pool has hung for seconds")
    def test_borrows_what_requests_borrow(self, client: httpx.Client, app: FastAPI) -> None:
        """While every thread of the common pool hangs the process is not ready, and says why to insiders."""
        services: Services = app.state.services
        loop = app.state.readiness._loop
        limiter, free = services.threads.limiter, threading.Event()

        async def hang() -> None:
            await to_thread.run_sync(free.wait, limiter=limiter)

        hung = [asyncio.run_coroutine_threadsafe(hang(), loop) for _ in range(int(limiter.total_tokens))]
        wait_until(lambda: limiter.borrowed_tokens == limiter.total_tokens, "all hang")
        try:
            found = checks(client, app, 503)
            assert "40 of 40 threads are borrowed" in found["requests"]
            assert found["database"] == "ok"
            assert client.get("/healthz").status_code == 200
            # However often it is asked, it waits for one thread.
            assert client.get("/readyz").status_code == 503
            assert limiter.statistics().tasks_waiting == 1
        finally:
            free.set()
        assert [one.result() for one in hung] == [None] * len(hung)
        assert checks(client, app, 200)["requests"] == "ok"

    def test_writes_nothing_into_the_log(
        self, client: httpx.Client, app: FastAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Anybody may ask as often as he likes: only what changed is said."""
        caplog.set_level(logging.INFO)
        checks(client, app, 200)
        caplog.clear()
        checks(client, app, 200)
        assert [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))] == []

    def test_with_a_newer_schema_is_ready(self, client: httpx.Client, app: FastAPI, engine: Engine) -> None:
        """An upgrade migrates first, and what runs goes on; with an older one it is not ready."""
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert checks(client, app, 200)["migrations"] == "ok"
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
        assert "older" in checks(client, app, 503)["migrations"]
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM alembic_version"))
        assert "older" in checks(client, app, 503)["migrations"]

    @pytest.mark.usefixtures("bucket")
    def test_is_told_to_insiders_at_the_metrics_address(self, settings: Settings) -> None:
        """With all that was found, and with the metrics of threads and places."""
        port = free_port()
        known = settings.model_copy(update={"metrics_address": f"127.0.0.1:{port}"})
        serve_metrics(known.metrics_address)
        with serve_app(create_app(known)) as client:
            assert client.get("/readyz").json() == {"status": "ready"}
            page = httpx.get(f"http://127.0.0.1:{port}/readyz")
            assert (page.status_code, page.json()["checks"]["bucket"]) == (200, "ok")
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            for line in (
                'cutout_api_threads{pool="common"} 40.0',
                'cutout_api_threads_borrowed{pool="uploads"} 0.0',
                'cutout_api_places_taken{kind="streams"} 0.0',
                "cutout_event_loop_lag_seconds ",
            ):
                assert line in metrics
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503

    @pytest.mark.usefixtures("bucket")
    def test_tells_strangers_nothing(self, settings: Settings) -> None:
        """A Postgres and a Redis that are not there are named to insiders alone, no password to anybody."""
        away = {
            "database_url": SecretStr("postgresql+psycopg://somebody:pass-word@127.0.0.1:1/db"),
            "redis_url": SecretStr("redis://:pass-word@127.0.0.1:1/0"),
        }
        app = create_app(settings.model_copy(update=away))
        with serve_app(app) as client:
            found = checks(client, app, 503)
        assert (found["bucket"], found["database"] == "ok", found["redis"] == "ok") == ("ok", False, False)
        assert "pass-word" not in str(found)


@pytest.mark.long("waits out every time limit of a frozen Postgres; the tests beside it read readiness")
class TestWithPostgresFrozen:
    @pytest.mark.usefixtures("bucket")
    def test_readiness_says_so_in_time_while_requests_hang(self, settings: Settings, engine: Engine) -> None:
        """With every thread of the API waiting for Postgres, /readyz and /healthz answer within seconds."""
        url = make_url(settings.database_url.get_secret_value())
        assert url.port is not None
        with Proxy(url.port) as proxy:
            through = url.set(host="127.0.0.1", port=urlsplit(proxy.url).port)
            secret = SecretStr(through.render_as_string(hide_password=False))
            app = create_app(settings.model_copy(update={"database_url": secret}))
            with serve_app(app) as client:
                client.headers.update(key_for(engine, "shop"))
                assert client.get("/readyz").status_code == 200
                proxy.set(Mode.STALL)
                hang_all_threads(client)
                began = time.monotonic()
                found = checks(client, app, 503)
                assert found["database"] == "no answer within 3 s"
                assert (found["redis"], found["bucket"]) == ("ok", "ok")
                assert found["requests"].startswith("no thread and connection within 3 s")
                assert client.get("/healthz").json() == {"status": "alive"}
                assert time.monotonic() - began < scaled(QUICKLY_S)
                proxy.set(Mode.PASS)
                assert checks(client, app, 200)["database"] == "ok"


def hang_all_threads(client: httpx.Client) -> None:
    """Ask for a job, from more callers than the API has threads, and do not wait for an answer."""
    with httpx.Client(base_url=client.base_url, timeout=0.05, headers=client.headers) as impatient:
        for _ in range(45):
            with pytest.raises(httpx.ReadTimeout):
                impatient.get(f"/v1/jobs/{uuid.uuid4()}")
