"""A request holds one of the connections that all requests share at most: it never waits for a second one."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event, text

from api import services
from api.app import create_app
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.api.conftest import key_for, serve_app
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.system import wait_until

MANY_PICTURES = (
    "sku,image\n" + "".join(f"p{n},https://x/{n}-{place}.jpg\n" for n in range(3_000) for place in range(3))
).encode()


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """A process whose requests share one connection."""
    monkeypatch.setattr(services, "CONNECTIONS", 1)
    return create_app(settings.model_copy(update={"api_requests_per_second": 10_000}))


@pytest.fixture
def shop(app: FastAPI, engine: Engine, bucket: Bucket) -> Iterator[httpx.Client]:
    """A producer's client of it; what waits for a second connection gets no answer in time."""
    with serve_app(app) as plain:
        headers = key_for(engine, "shop")
        with httpx.Client(
            base_url=plain.base_url, headers=headers, timeout=scaled(5), verify=NO_TLS
        ) as client:
            yield client


def paths_of(shop: httpx.Client) -> dict[str, str]:
    """A batch with a job, and a job that is cancelled."""
    made = shop.post("/v1/batches", json={"name": "b", "jobs": [{"external_id": "a", "source_url": SOURCE}]})
    assert made.status_code == 201, made.text
    job = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
    return {"batch": f"/v1/batches/{made.json()['id']}", "job": f"/v1/jobs/{job}"}


@pytest.mark.parametrize("key", [None, "k"])
def test_is_enough_for_each_kind_of_request(shop: httpx.Client, key: str | None) -> None:
    """With an Idempotency-Key, which a transaction holds, and without one."""
    at = paths_of(shop)

    def post(path: str, status: int = 200) -> None:
        headers = {"Idempotency-Key": f"{key}-{path}"} if key else {}
        answer = shop.post(path, headers=headers)
        assert answer.status_code == status, (path, answer.text)

    for action, status in (("pause", 200), ("resume", 200), ("retry", 202), ("cancel", 202)):
        post(f"{at['batch']}/{action}", status)
    post(f"{at['job']}/cancel")
    for path in (at["batch"], at["job"], f"{at['job']}/explanation", "/v1/jobs", f"{at['batch']}/results"):
        assert shop.get(path).status_code == 200, path
    deleted = shop.delete(at["job"], params={"objects": "true"})
    assert deleted.status_code == 200, deleted.text
    assert shop.get("/readyz").status_code == 200


def test_is_enough_for_pauses_of_several_producers(shop: httpx.Client, app: FastAPI, engine: Engine) -> None:
    """As many at the same moment as can each have the only connection in turn."""
    clients = [
        httpx.Client(
            base_url=shop.base_url, headers=key_for(engine, f"p{n}"), timeout=scaled(10), verify=NO_TLS
        )
        for n in range(4)
    ]
    batches = [client.post("/v1/batches", json={"name": "b"}).json()["id"] for client in clients]
    start = threading.Barrier(24)

    def act(number: int) -> int:
        start.wait()
        action = "pause" if number % 2 else "resume"
        return clients[number % 4].post(f"/v1/batches/{batches[number % 4]}/{action}").status_code

    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(act, range(24))) == {200}
    for client in clients:
        client.close()


def test_a_pause_is_seen_at_once(shop: httpx.Client) -> None:
    """In its own answer and in the next look, however lately the batch was counted."""
    path = paths_of(shop)["batch"]
    for action, is_paused in (("pause", True), ("resume", False), ("pause", True)):
        assert (shop.get(path).json()["paused_at"] is not None) is not is_paused
        assert (shop.post(f"{path}/{action}").json()["paused_at"] is not None) is is_paused
        assert (shop.get(path).json()["paused_at"] is not None) is is_paused


def test_results_of_a_manifest_with_several_pictures_a_product_hold_none(
    shop: httpx.Client, app: FastAPI, engine: Engine, bucket: Bucket
) -> None:
    """Their ids are numbered by the database, in its temporary tables: not while nobody reads."""
    batch_id = uuid.UUID(paths_of(shop)["batch"].rpartition("/")[2])
    bucket.put_pieces([MANY_PICTURES], key="manifests/m", media_type="text/csv")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ingests"
                " (batch_id, fingerprint, kind, manifest_key, records, finished_at, options)"
                " VALUES (:batch, 'x', 'CSV manifest', 'manifests/m', 9000, now(), CAST(:options AS json))"
            ),
            {
                "batch": batch_id,
                "options": '{"many": true, "columns": {"external_id": "sku", "source": "image"}}',
            },
        )
    out = 0

    def count(change: int) -> None:
        nonlocal out
        out += change

    shared = app.state.services.engine
    event.listen(shared, "checkout", lambda *_: count(1))
    event.listen(shared, "checkin", lambda *_: count(-1))
    path = f"/v1/batches/{batch_id}/results"
    with shop.stream("GET", path, params={"as_input": "true"}) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_bytes()
        assert next(pieces).startswith(b"sku,image,")
        wait_until(lambda: out == 0, "its connection is given back")
        assert shop.get("/v1/jobs").status_code == 200
        body = b"".join(pieces)
    assert body.count(b"\n") >= 9000


def test_waits_for_no_thread_that_others_wait_in(shop: httpx.Client, app: FastAPI, engine: Engine) -> None:
    """Whoever has the connection gets a thread to go on: the others wait for a turn first, in no thread."""
    app.state.services.threads.limiter.total_tokens = 2
    producers = [key_for(engine, f"p{n}") for n in range(8)]
    asked = [
        (headers, shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers).json()["id"])
        for headers in producers
    ]
    start = threading.Barrier(len(asked))

    def act(one: tuple[dict[str, str], str]) -> set[int]:
        headers, job = one
        start.wait()
        return {
            shop.post(f"/v1/jobs/{job}/cancel", headers=headers | {"Idempotency-Key": str(n)}).status_code
            for n in range(5)
        }

    with ThreadPoolExecutor(len(asked)) as pool:
        assert set.union(*pool.map(act, asked)) == {200}


def test_is_given_back_before_a_quota_is_counted_anew(shop: httpx.Client, engine: Engine) -> None:
    """Reading on is a turn of its own: the refusal does not wait for it."""
    job = paths_of(shop)["job"]
    shop.post(f"{job}/cancel").raise_for_status()
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE jobs SET state = 'failed', code = 'BROKEN', message = 'b' WHERE state = 'cancelled'")
        )
        connection.execute(text("UPDATE producers SET job_quota = 0"))
    began = time.monotonic()
    for asked in (
        shop.post(f"{job}/retry"),
        shop.post(f"{job}/retry", headers={"Idempotency-Key": "k"}),
        shop.post("/v1/jobs", json={"source_url": SOURCE}),
    ):
        assert problem_of(asked, 429)["type"].endswith("quota-reached")
    assert time.monotonic() - began < scaled(2)
