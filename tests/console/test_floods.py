"""Many requests of strangers or of one producer: others look on as before."""

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text

from console import PageError
from console.pool import MOST_WAITING, Pool
from console.shared_counts import SharedCounts
from cutout.queue.batch_actions.locks import lock_actions
from cutout.settings import Settings
from tests.console.conftest import Site
from tests.support import event_loop
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.system import wait_until

OURS = {"Sec-Fetch-Site": "same-origin"}
# More than an address may try at once.
TRIES = 80
A, B = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client that signed in, without a browser's ways."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        assert client.post("/console/sign-in", data={"key": site.key}, headers=OURS).status_code == 303
        yield client


def sent_by_strangers(
    site: Site, method: str, path: str, *, cookie: str = "", field: bool = False
) -> set[int]:
    """The statuses of many requests, each with another token that nobody made."""

    def send(number: int) -> int:
        token = f"{number:043}"
        headers = {**OURS, "Cookie": f"{cookie}={token}"} if cookie else OURS
        data = {"token": token} if field else None
        answer = httpx.request(
            method, f"{site.url}{path}", headers=headers, data=data, timeout=scaled(20), verify=NO_TLS
        )
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(send, range(TRIES)))


class TestStrangers:
    def test_have_few_tries_of_sessions(self, site: Site, client: httpx.Client) -> None:
        """Those who signed in at the same address look on; a token that cannot be one is not looked up."""
        (cookie,) = client.cookies
        assert client.get("/console").status_code == 200
        assert sent_by_strangers(site, "GET", "/console", cookie=cookie) == {303, 429}
        assert client.get("/console/batches").status_code == 200
        malformed = {"Cookie": f"{cookie}=x"}
        answer = httpx.get(f"{site.url}/console", headers=malformed, verify=NO_TLS, timeout=scaled(20))
        assert answer.status_code == 303

    def test_have_few_tries_of_links_and_of_signing_out(self, site: Site, client: httpx.Client) -> None:
        """They count together: each would take a turn of the database."""
        (cookie,) = client.cookies
        assert sent_by_strangers(site, "POST", "/console/link", field=True) == {403, 429}
        assert 429 in sent_by_strangers(site, "POST", "/console/sign-out", cookie=cookie)
        assert client.post("/console/sign-out", headers=OURS).status_code == 303
        assert site.scalar("SELECT count(*) FROM sessions") == 0

    def test_end_no_views(self, site: Site) -> None:
        """Requests of strangers change nothing, and views that are shared stay good."""
        views = site.app.state.console.views
        for path in ("/console/sign-out", "/console/sign-in", "/console/link"):
            httpx.post(f"{site.url}{path}", headers=OURS, verify=NO_TLS, timeout=scaled(20))
        assert not views.changed_lately(None)


def test_a_key_signs_in_as_often_as_it_may_ask(site: Site, client: httpx.Client) -> None:
    """Each signing in takes a turn of the database, as a request does."""
    limit = site.app.state.services.limit
    limit.per_second, limit.burst = 0.01, 3.0
    key = site.make_key("other")[1]
    answers = [client.post("/console/sign-in", data={"key": key}, headers=OURS) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 1


class TestPool:
    def test_one_producer_keeps_nobody_out(self, settings: Settings) -> None:
        """It fills its own turn; another one's question is answered at once."""

        async def fill() -> tuple[int, int]:
            pool = Pool(settings.database_url.get_secret_value())
            slow = [
                asyncio.create_task(pool.read(lambda c: c.execute(text("SELECT pg_sleep(1)")), of=A))
                for _ in range(MOST_WAITING + 5)
            ]
            await asyncio.sleep(0.1)
            answer: int = await pool.read(lambda c: c.execute(text("SELECT 7")).scalar_one(), of=B)
            refused = sum(1 for task in slow if task.done() and isinstance(task.exception(), PageError))
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            pool.close()
            return answer, refused

        assert event_loop.run(fill()) == (7, 5)

    @pytest.mark.parametrize("way", ["read", "change"])
    def test_a_slow_question_is_told_from_an_absence(self, settings: Settings, site: Site, way: str) -> None:
        """The page says to ask for less, and that nothing was done where somebody else is at it."""

        async def ask(work: Any) -> None:
            pool = Pool(settings.database_url.get_secret_value())
            try:
                await getattr(pool, way)(work, of=None)
            finally:
                pool.close()

        with pytest.raises(PageError, match="took the database longer than 2 s"):
            event_loop.run(ask(lambda c: c.execute(text("SELECT pg_sleep(3)"))))
        locking = text("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        reading = text("SELECT count(*) FROM batches")
        with site.engine.begin() as connection:
            connection.execute(locking)
            with pytest.raises(PageError, match="nothing was done"):
                event_loop.run(ask(lambda c: c.execute(reading)))


def test_an_installation_that_cannot_be_read_is_no_error_of_ours(site: Site, client: httpx.Client) -> None:
    """An operator's first page says that the database is slow, and tries again."""
    token = site.make_operator().partition("=")[2]
    assert client.post("/console/link", data={"token": token}, headers=OURS).status_code == 303
    with site.engine.begin() as connection:
        connection.execute(text("LOCK TABLE workers IN ACCESS EXCLUSIVE MODE"))
        answer = client.get("/console")
    assert answer.status_code == 503
    assert "data-retry" in answer.text


def test_batches_of_one_producer_are_counted_in_its_turn() -> None:
    """Another's is counted meanwhile; who waits for the same batch does not count it again."""
    begun: list[uuid.UUID | None] = []
    go_on = asyncio.Event()

    async def count(_batch: uuid.UUID, producer_id: uuid.UUID | None) -> Any:
        begun.append(producer_id)
        if producer_id == A:
            await go_on.wait()
        return "counted"

    async def ask() -> None:
        counts = SharedCounts(count)
        same = uuid.uuid4()
        slow = [asyncio.create_task(counts.of(batch, A)) for batch in (same, same, uuid.uuid4())]
        await asyncio.sleep(0)
        async with asyncio.timeout(scaled(5)):
            assert await counts.of(uuid.uuid4(), B) is not None
        assert begun == [A, B]
        go_on.set()
        await asyncio.gather(*slow)
        assert begun == [A, B, A]

    event_loop.run(ask())


def test_a_discarding_takes_the_locks_in_the_order_of_all(site: Site, client: httpx.Client) -> None:
    """Whoever has the lock of the batch's requests gets its row: neither waits for the other."""
    batch_id = site.make_batch("spring", ["a"])
    site.execute(
        "INSERT INTO ingests"
        " (batch_id, fingerprint, kind, options, plan, records, pictures, jobs, finished_at)"
        " VALUES (:id, '', 'x', '{\"plan\": true}', '{\"calls\": 1}', 1, 1, 1, now())",
        id=batch_id,
    )
    revision = site.scalar("SELECT revision FROM batches")
    answers: list[int] = []

    def discard() -> None:
        shown = {"revision": str(revision)}
        answer = client.post(f"/console/batches/{batch_id}/discard", data=shown, headers=OURS)
        answers.append(answer.status_code)

    waits = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    thread = threading.Thread(target=discard)
    with site.engine.begin() as connection:
        lock_actions(connection, batch_id)
        thread.start()
        wait_until(lambda: bool(site.scalar(waits) or answers), what="the discarding waits")
        _take_row(connection, batch_id)
    thread.join()
    assert answers in ([303], [503])


def _take_row(connection: Connection, batch_id: uuid.UUID) -> None:
    began = time.monotonic()
    connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
    connection.execute(text("SELECT id FROM batches WHERE id = :id FOR NO KEY UPDATE"), {"id": batch_id})
    assert time.monotonic() - began < scaled(5)
