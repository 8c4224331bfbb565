import time
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api.key_usage import KeyUsageRecorder
from api.limits.rate_limit import RequestLimit
from cutout.enums import Scope
from cutout.producers.api_keys import find_key, hash_of
from cutout.producers.producers import create_producer, list_producers, set_quota
from cutout.settings import Settings
from tests.api.conftest import key_for, serve
from tests.api.test_jobs import SOURCE, problem_of


class TestScopes:
    def test_divide_looking_from_enqueueing(self, client: httpx.Client, engine: Engine) -> None:
        """A key does what its scopes say; else 403 names the scope that is missing. `admin` does both."""
        job_id = uuid.UUID(int=1)
        for scope, may_look, may_post in (
            (Scope.READ, True, False),
            (Scope.ENQUEUE, False, True),
            (Scope.ADMIN, True, True),
        ):
            headers = key_for(engine, "shop", scopes=[scope])
            looked = client.get(f"/v1/jobs/{job_id}", headers=headers)
            posted = client.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers)
            assert (looked.status_code, posted.status_code) == (
                404 if may_look else 403,
                201 if may_post else 403,
            )
            if not may_post:
                problem = problem_of(posted, 403)
                assert problem["type"].endswith("scope-missing")
                assert "the scope `enqueue`" in problem["detail"]

    def test_are_asked_for_before_the_body_is_read(self, client: httpx.Client, engine: Engine) -> None:
        """A key that may not enqueue learns so even if its body is no JSON."""
        headers = key_for(engine, "shop", scopes=[Scope.READ]) | {"Content-Type": "application/json"}
        problem_of(client.post("/v1/batches", content=b"{", headers=headers), 403)


class TestTheRequestLimit:
    def test_answers_429_with_the_time_to_wait(self, settings: Settings, engine: Engine) -> None:
        """Past its burst a key is told when to come back, others are not; after that it may go on."""
        slow = settings.model_copy(update={"api_requests_per_second": 0.5})
        with serve(slow) as client:
            headers, path = key_for(engine, "shop"), f"/v1/jobs/{uuid.UUID(int=1)}"
            for _ in range(5):
                assert client.get(path, headers=headers).status_code == 404
            answer = client.get(path, headers=headers)
            assert problem_of(answer, 429)["type"].endswith("rate-limited")
            assert 1 <= int(answer.headers["retry-after"]) <= 2
            assert answer.headers["ratelimit-policy"] == '"key";q=5;w=10'
            assert answer.headers["ratelimit"].startswith('"key";r=0;t=')
            assert client.get(path, headers=key_for(engine, "other")).status_code == 404
            time.sleep(int(answer.headers["retry-after"]))
            assert client.get(path, headers=headers).status_code == 404

    def test_is_for_each_key_and_forgets_those_long_unused(self) -> None:
        """However many keys are tried, the buckets stay bounded."""
        limit = RequestLimit(0.1, most_buckets=100)
        assert limit.wait_for(b"a") == 0
        assert 9 < limit.wait_for(b"a") <= 10
        for n in range(1000):
            limit.wait_for(str(n).encode())
        assert len(limit._buckets) == 100

    def test_refills_evenly(self) -> None:
        """After a while there is what the rate gives, and never more than the burst."""
        limit = RequestLimit(100)
        while limit.wait_for(b"a") == 0:
            pass
        began = time.monotonic()
        time.sleep(0.1)
        granted = 0
        while limit.wait_for(b"a") == 0:
            granted += 1
        assert 9 <= granted <= 100 * (time.monotonic() - began) + 1


class TestAQuota:
    def test_refuses_what_would_pass_it(self, shop: httpx.Client, engine: Engine) -> None:
        """One by one or in a batch: 429 and nothing stored; there is room again when jobs have ended."""
        with Session(engine) as session, session.begin():
            set_quota(session, list_producers(session)[0].id, 2)
        assert shop.post("/v1/jobs", json={"source_url": SOURCE}).status_code == 201
        two = {"name": "b", "jobs": [{"external_id": n, "source_url": SOURCE} for n in "ab"]}
        answer = shop.post("/v1/batches", json=two)
        assert "2 unfinished jobs" in problem_of(answer, 429)["detail"]
        assert answer.headers["retry-after"] == "10"
        assert shop.post("/v1/jobs", json={"source_url": SOURCE}).status_code == 201
        problem_of(shop.post("/v1/jobs", json={"source_url": SOURCE}), 429)
        with engine.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM batches")).scalar_one() == 0
            connection.execute(
                text("UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()")
            )
        time.sleep(1.1)
        assert shop.post("/v1/batches", json=two).status_code == 201


def test_the_last_use_is_written_down(engine: Engine) -> None:
    """At the end at the latest, and once for many requests."""
    with Session(engine) as session, session.begin():
        _, key = create_producer(session, "shop")
        found = find_key(session, hash_of(key))
    assert found is not None
    uses = KeyUsageRecorder(engine)
    for _ in range(100):
        uses.note(found.id)
    uses.stop()
    with engine.connect() as connection:
        assert connection.execute(
            text("SELECT last_used_at > now() - interval '5 s' FROM api_keys")
        ).scalar_one()


@pytest.mark.parametrize("header", ["Bearer \xff\xfe", "Bearer " + "x" * 20_000, "Bearer a b"])
def test_an_odd_key_is_a_401(client: httpx.Client, header: str) -> None:
    """Bytes that are no text, a long one, blanks: as unknown as any."""
    answer = client.get("/v1/jobs/x", headers={"Authorization": header.encode("latin-1")})  # type: ignore[arg-type]
    problem_of(answer, 401)


class TestExpiry:
    @pytest.mark.parametrize(("days", "is_told"), [(13, True), (15, False), (None, False)])
    def test_is_told_in_the_last_two_weeks(
        self, client: httpx.Client, engine: Engine, days: int | None, *, is_told: bool
    ) -> None:
        """Each answer to a key that ends within 14 days says when, errors too; others say nothing."""
        headers = key_for(engine, "shop")
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days or 0)
        with Session(engine) as session, session.begin():
            session.execute(text("UPDATE api_keys SET expires_at = :ends"), {"ends": ends if days else None})
        answers = [
            client.get("/v1/jobs", headers=headers),
            client.get("/v1/jobs/none", headers=headers),
            client.post("/v1/jobs", headers=headers, json={"source_url": SOURCE}),
        ]
        wanted = ends.strftime("%Y-%m-%dT%H:%M:%SZ") if is_told else None
        assert [answer.headers.get("cutout-key-expires") for answer in answers] == [wanted] * 3
        assert "cutout-key-expires" not in client.get("/healthz").headers

    def test_is_told_to_the_key_alone(self, client: httpx.Client, engine: Engine) -> None:
        """An answer that is repeated for an Idempotency-Key says when the key of that request ends."""
        headers = key_for(engine, "shop") | {"Idempotency-Key": "one"}
        first = client.post("/v1/jobs", headers=headers, json={"source_url": SOURCE})
        with Session(engine) as session, session.begin():
            session.execute(text("UPDATE api_keys SET expires_at = now() + interval '1 day'"))
        time.sleep(1.1)
        again = client.post("/v1/jobs", headers=headers, json={"source_url": SOURCE})
        assert (first.json(), "cutout-key-expires" in first.headers) == (again.json(), False)
        assert "cutout-key-expires" in again.headers
