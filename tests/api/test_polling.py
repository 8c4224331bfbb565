import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import Engine, event, text, update
from sqlalchemy.orm import Session
from starlette.requests import Request

from api.etag import require_match, revised_etag
from api.problems import ProblemError
from api.services import Services
from cutout import queue
from cutout.billing import accounts, learned_limits
from cutout.enums import AttemptOutcome
from cutout.models import JOBS
from cutout.producers.api_keys import revoke_keys
from cutout.queue.attempts.attempts import Answer
from cutout.queue.blocks import pauses
from cutout.settings import Settings
from tests.api.conftest import Served, key_for, producer_of
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled
from tests.support.outputs import put_output, put_renderer, without_outputs
from tests.support.steps import begin, claim_one, new_worker
from tests.support.system import wait_until

DELIVERED_WITHIN_S = 0.25
LONG = 20


def new_job(shop: httpx.Client) -> str:
    job_id: str = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
    return job_id


def claim(engine: Engine) -> None:
    """A worker takes the first ready job."""
    with Session(engine) as session, session.begin():
        claim_one(session, new_worker(session))


def change(engine: Engine, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(**values))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class TestATag:
    def test_spares_what_the_client_has(self, shop: httpx.Client, engine: Engine) -> None:
        """304 without a body while nothing changes, and the new body with a new tag once something does."""
        path = f"/v1/jobs/{new_job(shop)}"
        first = shop.get(path)
        same = shop.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        claim(engine)
        other = shop.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (other.status_code, other.json()["state"]) == (200, "running")
        assert other.headers["etag"] != first.headers["etag"]

    @pytest.mark.parametrize(
        ("given", "status"), [("*", 304), ('"x", {}', 304), ('"x"', 200), ("", 200), ("W/", 200)]
    )
    def test_is_read_as_the_standard_says(self, shop: httpx.Client, given: str, status: int) -> None:
        """A list, weak or strong, or anything that there is."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path).headers["etag"]
        assert shop.get(path, headers={"If-None-Match": given.format(tag)}).status_code == status
        assert shop.get(path, headers={"If-None-Match": tag.removeprefix("W/")}).status_code == 304

    def test_of_a_batch_does_not_change_with_time_alone(self, shop: httpx.Client, engine: Engine) -> None:
        """A partial file is left out."""
        path = f"/v1/batches/{make_batch(engine, {'a': DONE, 'b': None}, producer_id=producer_of(engine))}"
        tag = shop.get(path).headers["etag"]
        time.sleep(1.1)
        assert shop.get(path, headers={"If-None-Match": tag}).status_code == 304
        claim(engine)
        time.sleep(1.1)
        changed = shop.get(path, headers={"If-None-Match": tag})
        assert (changed.status_code, changed.json()["counts"]["running"]) == (200, 1)

    def test_may_come_in_several_lines(self, shop: httpx.Client) -> None:
        """As one list of all of them."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path).headers["etag"]
        lines = [("If-None-Match", '"x"'), ("If-None-Match", tag)]
        assert shop.get(path, headers=lines).status_code == 304


class TestIfMatch:
    @pytest.mark.parametrize("given", ["{}", "*", '"x", {}', "strong {}"])
    def test_lets_a_change_of_what_was_seen_pass(self, shop: httpx.Client, given: str) -> None:
        """The tag, weak or strong, in a list, or anything that there is."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path).headers["etag"]
        tag = tag.removeprefix("W/") if given.startswith("strong ") else tag
        match = {"If-Match": given.removeprefix("strong ").format(tag)}
        assert shop.post(f"{path}/cancel", headers=match).json()["state"] == "cancelled"

    @pytest.mark.parametrize("action", ["cancel", "retry", "release", "retry-outputs", "delete"])
    def test_refuses_a_change_of_what_has_moved(
        self, shop: httpx.Client, engine: Engine, action: str
    ) -> None:
        """412 and nothing done, for each action on a job."""
        path = f"/v1/jobs/{new_job(shop)}"
        stale = {"If-Match": shop.get(path).headers["etag"]}
        change(engine, state="failed", queue_state=None, code="LOOK", finished_at=text("now()"))
        if action == "delete":
            answer = shop.delete(path, headers=stale)
        else:
            answer = shop.post(f"{path}/{action}", headers=stale)
        assert problem_of(answer, 412)["type"].endswith("changed-meanwhile")
        assert shop.get(path).json()["state"] == "failed"

    def test_is_not_asked_of_a_request_that_is_sent_again(self, shop: httpx.Client) -> None:
        """The first one made the tag stale; it is answered as the first time."""
        path = f"/v1/jobs/{new_job(shop)}"
        headers = {"If-Match": shop.get(path).headers["etag"], "Idempotency-Key": "k"}
        first, again = (shop.post(f"{path}/cancel", headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)

    @pytest.mark.parametrize(
        ("given", "passes"),
        [
            ('W/"3.x"', True),
            ('"3.y"', True),
            ('"2.x", "3.x"', True),
            ("*", True),
            ('"4.x"', False),
            ("3", False),
        ],
    )
    def test_compares_revisions_alone_where_there_are_any(self, given: str, passes: bool) -> None:  # noqa: FBT001 - a case
        """Counts that moved meanwhile do not matter."""
        request = Request({"type": "http", "headers": [(b"if-match", given.encode())]})
        with nullcontext() if passes else pytest.raises(ProblemError):
            require_match(request, revision=3)

    def test_finds_the_revision_of_a_tag_that_was_given_out(self) -> None:
        """A tag with a revision is weak, and read again."""
        tag = revised_etag(12, "body")
        assert tag.startswith('W/"12.')
        require_match(Request({"type": "http", "headers": [(b"if-match", tag.encode())]}), revision=12)


class TestPollAfterSeconds:
    def test_says_how_long_it_takes(self, shop: httpx.Client, engine: Engine, settings: Settings) -> None:
        """Seconds by the virtual start and the rate that was learned, and from 1 to 60."""
        account = accounts.account_name(settings.endpoint_api_keys[0].get_secret_value())
        with engine.begin() as connection:
            accounts.ensure(connection, account)
            learned_limits.save(
                connection, account, learned_limits.LimitState(4, None, 0, 0, 2, 2, None, None, None)
            )
        job_id = new_job(shop)

        def seconds(**values: object) -> int:
            change(engine, **values)
            answer = shop.get(f"/v1/jobs/{job_id}")
            assert "retry-after" not in answer.headers
            return int(answer.json()["poll_after_seconds"])

        assert seconds(virtual_start=20.0) == 10
        assert seconds(virtual_start=2000.0) == 60
        assert seconds(virtual_start=0.0) == 1
        tomorrow = JOBS.c.created_at + timedelta(days=1)
        assert seconds(queue_state="delayed", scheduled_at=tomorrow) == 60
        assert seconds(state="held", queue_state=None, code="LOOK") == 60

    def test_is_not_said_of_what_is_final(self, shop: httpx.Client, engine: Engine) -> None:
        """Nothing will come of another look, at the job or at its batch."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        without_outputs(engine)
        (job,) = shop.get("/v1/jobs").json()["data"]
        assert job["poll_after_seconds"] is None
        assert shop.get(f"/v1/jobs/{job['id']}").json()["poll_after_seconds"] is None
        assert shop.get(f"/v1/batches/{batch_id}").json()["poll_after_seconds"] is None

    def test_of_waiting_outputs_follows_the_speed_of_the_renderers(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """Two seconds for an output on one process: 2 s for the job's, 4 s with the score for the batch."""
        put_renderer(engine, made=10, busy_seconds=20.0)
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        put_output(engine, "a", "rgba")
        (job,) = shop.get("/v1/jobs").json()["data"]
        batch = shop.get(f"/v1/batches/{batch_id}").json()
        assert shop.get(f"/v1/jobs/{job['id']}").json()["poll_after_seconds"] == 2
        assert (batch["poll_after_seconds"], batch["outputs_eta_seconds"]) == (4, 4)

    def test_is_long_while_no_renderer_runs(self, shop: httpx.Client, engine: Engine) -> None:
        """A renderer that was not heard for a minute counts as none, and there is no estimate."""
        put_renderer(engine, seen_s_ago=60)
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        batch = shop.get(f"/v1/batches/{batch_id}").json()
        assert (batch["poll_after_seconds"], batch["outputs_eta_seconds"]) == (60, None)


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


class TestCounts:
    def test_are_looked_up_once_a_second_for_everybody(
        self, shop: httpx.Client, engine: Engine, pool: ThreadPoolExecutor
    ) -> None:
        """Many pollers for some seconds: no more counts in the database than seconds have begun."""
        path = f"/v1/batches/{make_batch(engine, dict.fromkeys('abc'), producer_id=producer_of(engine))}"
        counted = []

        @event.listens_for(Engine, "before_cursor_execute")
        def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "GROUP BY jobs.state" in statement:
                counted.append(statement)

        began_at = time.monotonic()

        def poll() -> int:
            answers = 0
            while time.monotonic() - began_at < 1.5:
                assert shop.get(path).json()["total"] == 3
                answers += 1
            return answers

        try:
            polled = [asked.result() for asked in [pool.submit(poll) for _ in range(8)]]
        finally:
            event.remove(Engine, "before_cursor_execute", seen)
        assert sum(polled) > 3 * len(counted)
        assert 1 <= len(counted) <= 2 + (time.monotonic() - began_at)

    def test_are_a_second_old_at_most(self, shop: httpx.Client, engine: Engine) -> None:
        """A change is seen a second later, and a credit with it once the batch is finished."""
        path = f"/v1/batches/{make_batch(engine, {'a': None}, producer_id=producer_of(engine))}"
        assert shop.get(path).json()["credits"] == 0
        with Session(engine) as session, session.begin():
            claimed = claim_one(session, new_worker(session))
            queue.end_attempt(session, begin(session, claimed), Answer(AttemptOutcome.CHARGED))
        change(engine, state="cancelled", worker_id=None, finished_at=JOBS.c.created_at)
        time.sleep(1.1)
        batch = shop.get(path).json()
        assert (batch["counts"]["cancelled"], batch["credits"]) == (1, 1)
        assert (batch["finished_at"] is None, batch["eta_seconds"]) == (False, None)

    def test_of_a_batch_that_is_still_read_are_not_final(self, shop: httpx.Client, engine: Engine) -> None:
        """More of it may come."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        ingest = "INSERT INTO ingests (batch_id, fingerprint, kind) VALUES (:batch, 'x', 'CSV')"
        with engine.begin() as connection:
            connection.execute(text(ingest), {"batch": batch_id})
        assert shop.get(f"/v1/batches/{batch_id}").json()["finished_at"] is None

    def test_tell_how_long_it_takes(self, shop: httpx.Client, engine: Engine) -> None:
        """By how fast its jobs end; nothing while it is paused."""
        batch_id = make_batch(engine, dict.fromkeys("abcd"), producer_id=producer_of(engine))
        path, began_at = f"/v1/batches/{batch_id}", time.monotonic()
        assert shop.get(path).json()["eta_seconds"] is None
        time.sleep(1.1)
        shop.post(f"/v1/jobs/{shop.get('/v1/jobs').json()['data'][0]['id']}/cancel").raise_for_status()
        eta_s = shop.get(path).json()["eta_seconds"]
        # One ended, three are left.
        assert 3 <= eta_s <= 3 * (time.monotonic() - began_at) + 1
        with Session(engine) as session, session.begin():
            pauses.pause(session, batch_id)
        time.sleep(1.1)
        assert shop.get(path).json()["eta_seconds"] is None


@pytest.mark.parametrize("window", ["opens_at = '2999-01-01 22:00+00'", "closes_at = '2001-01-02 06:00+00'"])
def test_a_batch_outside_its_window_says_so(shop: httpx.Client, engine: Engine, window: str) -> None:
    """Nobody guesses how long it takes, and nobody need look again soon."""
    batch_id = make_batch(engine, dict.fromkeys("ab"), producer_id=producer_of(engine))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE batches SET {window}"))  # noqa: S608 - the test's own words
    answer = shop.get(f"/v1/batches/{batch_id}")
    name, _, moment = window.partition(" = ")
    assert answer.json()[name].startswith(moment[1:11])
    assert (answer.json()["eta_seconds"], answer.json()["poll_after_seconds"]) == (None, 60)
    (listed,) = shop.get("/v1/batches").json()["data"]
    assert listed[name] == answer.json()[name]


def test_a_revoked_key_is_refused_within_two_seconds(shop: httpx.Client, engine: Engine) -> None:
    """A process remembers whose a key is for a second."""
    path = f"/v1/jobs/{new_job(shop)}"
    assert shop.get(path).is_success
    with Session(engine) as session, session.begin():
        revoke_keys(session, producer_of(engine))
    time.sleep(1.1)
    problem_of(shop.get(path), 401)


def test_another_producer_shares_no_counts(shop: httpx.Client, engine: Engine) -> None:
    """A batch that was counted for its producer is not there for another."""
    batch_id = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
    assert shop.get(f"/v1/batches/{batch_id}").is_success
    problem_of(shop.get(f"/v1/batches/{batch_id}", headers=key_for(engine, "other")), 404)


def test_another_producers_batch_is_looked_for_as_one_that_is_not_there(
    shop: httpx.Client, engine: Engine
) -> None:
    """By the same statements, and not in memory: how long the answer takes tells nothing either."""
    batch_id = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
    other = key_for(engine, "other")

    def statements_of(looked_for: uuid.UUID) -> list[str]:
        found: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "batches" in statement or "FROM jobs" in statement:
                found.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            problem_of(shop.get(f"/v1/batches/{looked_for}", headers=other), 404)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return found

    assert shop.get(f"/v1/batches/{batch_id}").is_success
    assert statements_of(batch_id) == statements_of(uuid.uuid4()) != []


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
