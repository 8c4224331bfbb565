import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import Engine

from api.services import Services
from cutout.models import JOBS
from tests.api.conftest import Served, key_for, producer_of
from tests.api.polled_jobs import change, claim, new_job
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled
from tests.support.system import wait_until

DELIVERED_WITHIN_S = 0.25
LONG = 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class TestWaiting:
    def test_for_a_job_ends_at_its_change(
        self, shop: httpx.Client, engine: Engine, pool: ThreadPoolExecutor
    ) -> None:
        """The answer comes within a quarter of a second of the change, with the new state."""
        job_id = new_job(shop)
        asked = pool.submit(shop.get, f"/v1/jobs/{job_id}?wait={LONG}")
        time.sleep(0.5)
        assert not asked.done()
        claim(engine)
        changed_at = time.monotonic()
        assert asked.result().json()["state"] == "running"
        assert time.monotonic() - changed_at < scaled(DELIVERED_WITHIN_S)

    def test_for_a_job_ends_with_time(self, shop: httpx.Client) -> None:
        """Nothing changed: the same answer, or 304 to a client that has it."""
        path = f"/v1/jobs/{new_job(shop)}?wait=0.5"
        began_at = time.monotonic()
        first = shop.get(path)
        assert (first.status_code, first.json()["state"]) == (200, "queued")
        assert 0.5 <= time.monotonic() - began_at < scaled(2)
        assert shop.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304

    def test_for_what_is_final_or_new_to_the_client_does_not_happen(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """There is an answer at once."""
        make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        (done,) = shop.get("/v1/jobs").json()["data"]
        began_at = time.monotonic()
        assert shop.get(f"/v1/jobs/{done['id']}?wait={LONG}").json()["state"] == "succeeded"
        old = {"If-None-Match": '"old"'}
        assert shop.get(f"/v1/jobs/{new_job(shop)}?wait={LONG}", headers=old).status_code == 200
        assert time.monotonic() - began_at < scaled(2)

    def test_for_a_batch_ends_when_nothing_of_it_moves(
        self, shop: httpx.Client, engine: Engine, pool: ThreadPoolExecutor
    ) -> None:
        """Not at each job's change; and the counts are those of the end."""
        path = f"/v1/batches/{make_batch(engine, {'a': None}, producer_id=producer_of(engine))}"
        assert shop.get(path).json()["counts"]["queued"] == 1
        asked = pool.submit(shop.get, f"{path}?wait={LONG}")
        claim(engine)
        time.sleep(0.5)
        assert not asked.done()
        change(engine, state="failed", worker_id=None, code="BROKEN", finished_at=JOBS.c.created_at)
        changed_at = time.monotonic()
        batch = asked.result().json()
        assert time.monotonic() - changed_at < scaled(DELIVERED_WITHIN_S)
        assert (batch["counts"]["failed"], batch["finished_at"] is None) == (1, False)

    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "long", ""])
    def test_out_of_bounds_is_refused(self, shop: httpx.Client, wait: str) -> None:
        """A problem names the parameter, for jobs and batches."""
        for path in ("jobs", "batches"):
            answer = shop.get(f"/v1/{path}/{uuid.uuid4()}", params={"wait": wait})
            assert problem_of(answer, 422)["field"] == "wait"

    def test_for_what_is_not_there_is_a_404_at_once(self, shop: httpx.Client) -> None:
        """Nobody waits for it to appear."""
        for path in ("jobs", "batches"):
            problem_of(shop.get(f"/v1/{path}/{uuid.uuid4()}?wait={LONG}"), 404)

    def test_takes_no_thread_and_no_connection(
        self, shop: httpx.Client, engine: Engine, services_of: Services
    ) -> None:
        """More wait than there are of either, and a look beside them is quick."""
        job_id = new_job(shop)
        sockets = [_ask(shop, f"/v1/jobs/{job_id}?wait={LONG}") for _ in range(60)]
        wait_until(lambda: len(services_of.watch) == 60, "60 wait")
        began_at = time.monotonic()
        assert shop.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
        assert time.monotonic() - began_at < scaled(1)
        claim(engine)
        assert [b'"state":"running"' in _read(asked) for asked in sockets] == [True] * 60

    def test_ends_with_the_connection(self, shop: httpx.Client, services_of: Services) -> None:
        """A client that leaves gives its virtual start up, long before its time is over."""
        asked = _ask(shop, f"/v1/jobs/{new_job(shop)}?wait=60")
        wait_until(lambda: len(services_of.watch) == 1, "it waits")
        asked.close()
        wait_until(lambda: len(services_of.watch) == 0, "it is gone", within_s=5)

    def test_past_the_bound_is_answered_at_once(
        self, shop: httpx.Client, services_of: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a look without waiting, and it says when to look again."""
        monkeypatch.setattr(services_of.watch._places, "most", 0)
        began_at = time.monotonic()
        answer = shop.get(f"/v1/jobs/{new_job(shop)}?wait={LONG}")
        assert (answer.json()["state"], answer.json()["poll_after_seconds"] > 0) == ("queued", True)
        assert time.monotonic() - began_at < scaled(2)


def test_a_process_that_ends_answers_who_waits(served: Served, engine: Engine) -> None:
    """At SIGTERM a request that waits is answered with what there is, and the process ends."""
    headers = key_for(engine, "shop")
    job_id = httpx.post(f"{served.url}/v1/jobs", json={"source_url": SOURCE}, headers=headers).json()["id"]
    answers: Future[httpx.Response] = Future()

    def ask() -> None:
        answers.set_result(httpx.get(f"{served.url}/v1/jobs/{job_id}?wait=60", headers=headers, timeout=60))

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(scaled(1))
    served.process.terminate()
    assert answers.result(scaled(10)).json()["state"] == "queued"
    assert served.process.wait(scaled(10)) == 0
    thread.join()


def _ask(client: httpx.Client, path: str) -> socket.socket:
    """A request by hand, whose answer nobody reads yet."""
    asked = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20)
    asked.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['Authorization']}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    return asked


def _read(asked: socket.socket) -> bytes:
    with asked:
        return b"".join(iter(lambda: asked.recv(65536), b""))
