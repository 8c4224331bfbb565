import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts, learned_limits
from cutout.enums import AttemptOutcome
from cutout.models import JOBS
from cutout.producers.api_keys import revoke_keys
from cutout.queue.attempts.attempts import Answer
from cutout.queue.blocks import pauses
from cutout.settings import Settings
from tests.api.conftest import key_for, producer_of
from tests.api.polled_jobs import change, new_job
from tests.api.test_jobs import problem_of
from tests.support.fates import DONE, make_batch
from tests.support.outputs import put_output, put_renderer, without_outputs
from tests.support.steps import begin, claim_one, new_worker


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


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
