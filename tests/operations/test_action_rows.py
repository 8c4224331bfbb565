"""Rows of `actions` that requests to the API leave: one for each change, none for reads and refused ones."""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from api.app import create_app
from cutout.enums import ActionKind, Scope, Subject
from cutout.producers.api_keys import make_key
from cutout.producers.producers import create_producer
from cutout.queue.attempts.outcomes import Fail, Hold
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.storage.unexpected_bytes import Unexpected
from tests.api.conftest import serve
from tests.support.fates import DONE, Fates, make_batch
from tests.support.steps import SOURCE

BROKEN = Fail("SOURCE_UNAVAILABLE", "that server did not answer")
HELD = Hold("NO_ANSWER", "the connection broke")
SECRET = "m" * 40
PLAN = {"already_bought": 1, "same_picture": 0, "calls": 2, "missing": 0}
UNKNOWN = str(uuid.UUID(int=7))
SCHEDULE = {"name": "nightly", "manifest_url": "https://shop.example/a.csv", "cron": "0 1 * * *"}
ENDPOINT = {"url": "https://shop.example/hook?token=hidden", "events": ["batch.finished"]}
CAME = Unexpected("unexpected/x.png", "it has no alpha", "ab", "image/png", "png", 9, 60, 40)
MERGE = {"Content-Type": "application/merge-patch+json"}
# It adds a job, whose own row tells by whom and when: a second one would double what the hot path writes.
ENQUEUES = {("POST", "/v1/jobs")}


def rows(engine: Engine) -> list[Row[*tuple[Any, ...]]]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM actions ORDER BY id")))


def scalar(engine: Engine, query: str, **values: Any) -> Any:
    with engine.begin() as connection:
        return connection.execute(text(query), values).scalar()


@dataclass(frozen=True)
class Shop:
    """A producer with work in all states, and a client with its key."""

    engine: Engine
    client: httpx.Client
    producer_id: uuid.UUID
    batch_id: uuid.UUID

    def job(self, state: str) -> uuid.UUID:
        found: uuid.UUID = scalar(
            self.engine, "SELECT id FROM jobs WHERE state = :state LIMIT 1", state=state
        )
        return found

    def schedule(self, *, paused: bool = False) -> str:
        made = self.client.post("/v1/schedules", json=SCHEDULE).raise_for_status().json()["id"]
        if paused:
            self.client.post(f"/v1/schedules/{made}/pause").raise_for_status()
        return str(made)

    def skipping(self) -> str:
        made = self.schedule()
        self.client.post(f"/v1/schedules/{made}/skip").raise_for_status()
        return made

    def endpoint(self) -> str:
        made = self.client.post("/v1/webhooks/endpoints", json=ENDPOINT).raise_for_status()
        return str(made.json()["id"])

    def delivery(self) -> str:
        made = self.client.post(f"/v1/webhooks/endpoints/{self.endpoint()}/test").raise_for_status()
        return str(made.json()["id"])

    def planned(self) -> uuid.UUID:
        plan_batch(self.engine, self.batch_id)
        return self.batch_id

    def ended(self) -> uuid.UUID:
        scalar(
            self.engine,
            "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'X'"
            " WHERE state <> 'succeeded' RETURNING 1",
        )
        return self.batch_id

    def paused(self) -> uuid.UUID:
        self.client.post(f"/v1/batches/{self.batch_id}/pause").raise_for_status()
        return self.batch_id


def plan_batch(engine: Engine, batch_id: uuid.UUID) -> None:
    """Let the batch wait for approval."""
    scalar(
        engine,
        "INSERT INTO ingests (batch_id, fingerprint, kind, options, plan, records, pictures, jobs)"
        " VALUES (:batch, '', 'manifest', '{\"plan\": true}', CAST(:plan AS jsonb), 3, 3, 3) RETURNING 1",
        plan=json.dumps(PLAN),
        batch=batch_id,
    )


def fail_outputs(engine: Engine) -> None:
    scalar(
        engine,
        "UPDATE outputs SET state = 'failed', finished_at = now(), code = 'X', message = 'x' RETURNING 1",
    )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"webhook_secret": SecretStr(SECRET), "api_requests_per_second": 10_000}
    )


@pytest.fixture
def shop(settings: Settings, engine: Engine, bucket: Bucket) -> Any:
    with Session(engine) as session, session.begin():
        producer, key = create_producer(session, "shop", scopes=[Scope.ADMIN])
        producer_id = producer.id
    fates: Fates = {"done": DONE, "broken": BROKEN, "held": HELD, "new": None}
    batch_id = make_batch(engine, fates, producer_id=producer_id)
    with serve(settings) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield Shop(engine, client, producer_id, batch_id)


@dataclass(frozen=True)
class Request:
    """A request that changes something: its path, its body, the kind and the subject of its action."""

    path: str
    kind: ActionKind
    subject: Subject
    json: Any = None
    subject_is_new: bool = False


Prepare = Callable[[Shop], Request]
K, S = ActionKind, Subject


def of_batch(kind: ActionKind, action: str, *, json: Any = None) -> Prepare:
    return lambda shop: Request(f"/v1/batches/{shop.batch_id}{action}", kind, S.BATCH, json)


def of_job(kind: ActionKind, action: str, state: str) -> Prepare:
    return lambda shop: Request(f"/v1/jobs/{shop.job(state)}{action}", kind, S.JOB)


def of_schedule(kind: ActionKind, action: str, *, json: Any = None, paused: bool = False) -> Prepare:
    return lambda shop: Request(
        f"/v1/schedules/{shop.schedule(paused=paused)}{action}", kind, S.SCHEDULE, json
    )


def of_endpoint(kind: ActionKind, action: str, *, json: Any = None) -> Prepare:
    return lambda shop: Request(f"/v1/webhooks/endpoints/{shop.endpoint()}{action}", kind, S.ENDPOINT, json)


def failed_output(shop: Shop) -> Request:
    job_id = shop.job("succeeded")
    fail_outputs(shop.engine)
    return Request(f"/v1/jobs/{job_id}/retry-outputs", K.RETRY_JOB_OUTPUTS, S.JOB)


def unexpected(shop: Shop) -> Request:
    job_id = shop.job("held")
    scalar(
        shop.engine,
        "UPDATE jobs SET unexpected = CAST(:found AS jsonb) WHERE id = :id RETURNING 1",
        found=json.dumps(asdict(CAME)),
        id=job_id,
    )
    return Request(f"/v1/jobs/{job_id}/accept", K.ACCEPT_JOB, S.JOB)


BATCH, JOB, SCHED = "/v1/batches/{batch_id}", "/v1/jobs/{job_id}", "/v1/schedules/{schedule_id}"
HOOK = "/v1/webhooks/endpoints/{endpoint_id}"
REQUESTS: dict[tuple[str, str], Prepare] = {
    ("POST", "/v1/batches"): lambda _: Request(
        "/v1/batches",
        K.ADD_BATCH,
        S.BATCH,
        {"name": "spring", "jobs": [{"external_id": "A", "source_url": SOURCE}]},
        subject_is_new=True,
    ),
    ("POST", f"{BATCH}/cancel"): of_batch(K.CANCEL, "/cancel"),
    ("POST", f"{BATCH}/retry"): of_batch(K.RETRY, "/retry"),
    ("POST", f"{BATCH}/pause"): of_batch(K.PAUSE, "/pause"),
    ("POST", f"{BATCH}/resume"): lambda shop: Request(
        f"/v1/batches/{shop.paused()}/resume", K.RESUME, S.BATCH
    ),
    ("POST", f"{BATCH}/outputs"): of_batch(K.ADD_OUTPUTS, "/outputs", json={"outputs": ["amazon"]}),
    ("POST", f"{BATCH}/retry-outputs"): of_batch(K.RETRY_OUTPUTS, "/retry-outputs"),
    ("POST", f"{BATCH}/approve"): lambda shop: Request(
        f"/v1/batches/{shop.planned()}/approve", K.APPROVE, S.BATCH
    ),
    ("PATCH", BATCH): of_batch(K.BUDGET, "", json={"budget": 5, "name": "spring"}),
    ("DELETE", BATCH): lambda shop: Request(f"/v1/batches/{shop.ended()}", K.DELETE, S.BATCH),
    ("POST", f"{JOB}/cancel"): of_job(K.CANCEL_JOB, "/cancel", "queued"),
    ("POST", f"{JOB}/retry"): of_job(K.RETRY_JOB, "/retry", "failed"),
    ("POST", f"{JOB}/release"): of_job(K.RELEASE_JOB, "/release", "held"),
    ("POST", f"{JOB}/accept"): unexpected,
    ("POST", f"{JOB}/retry-outputs"): failed_output,
    ("DELETE", JOB): of_job(K.DELETE_JOB, "", "failed"),
    ("POST", "/v1/schedules"): lambda _: Request(
        "/v1/schedules", K.ADD_SCHEDULE, S.SCHEDULE, SCHEDULE, subject_is_new=True
    ),
    ("PATCH", SCHED): of_schedule(K.CHANGE_SCHEDULE, "", json={"budget": 9}),
    ("DELETE", SCHED): of_schedule(K.REMOVE_SCHEDULE, ""),
    ("POST", f"{SCHED}/pause"): of_schedule(K.PAUSE_SCHEDULE, "/pause"),
    ("POST", f"{SCHED}/resume"): of_schedule(K.RESUME_SCHEDULE, "/resume", paused=True),
    ("POST", f"{SCHED}/skip"): of_schedule(K.SKIP_RUN, "/skip"),
    ("POST", f"{SCHED}/restore"): lambda shop: Request(
        f"/v1/schedules/{shop.skipping()}/restore", K.RESTORE_RUN, S.SCHEDULE
    ),
    ("POST", f"{SCHED}/run"): of_schedule(K.RUN_SCHEDULE, "/run"),
    ("POST", "/v1/webhooks/endpoints"): lambda _: Request(
        "/v1/webhooks/endpoints", K.ADD_ENDPOINT, S.ENDPOINT, ENDPOINT, subject_is_new=True
    ),
    ("PATCH", HOOK): of_endpoint(K.CHANGE_ENDPOINT, "", json={"description": "hidden"}),
    ("DELETE", HOOK): of_endpoint(K.REMOVE_ENDPOINT, ""),
    ("POST", f"{HOOK}/test"): of_endpoint(K.TEST_ENDPOINT, "/test"),
    ("POST", f"{HOOK}/rotate-secret"): of_endpoint(K.ROTATE_SECRET, "/rotate-secret"),
    ("POST", "/v1/webhooks/deliveries/{delivery_id}/replay"): lambda shop: Request(
        f"/v1/webhooks/deliveries/{shop.delivery()}/replay", K.REPLAY_DELIVERY, S.DELIVERY
    ),
}


class TestTheApi:
    def test_has_no_changing_route_that_is_not_walked_here(self, settings: Settings) -> None:
        """A new route stands in REQUESTS, or adds work of which its own row tells."""
        routes = {
            (method.upper(), path)
            for path, operations in create_app(settings).openapi()["paths"].items()
            for method in operations.keys() & {"post", "put", "patch", "delete"}
        }
        assert routes == REQUESTS.keys() | ENQUEUES

    @pytest.mark.parametrize("route", REQUESTS, ids=" ".join)
    def test_records_each_change_once(self, shop: Shop, route: tuple[str, str]) -> None:
        """With the key that made it, and nothing of its body; the request sent again leaves none."""
        asked = REQUESTS[route](shop)
        before = len(rows(shop.engine))
        headers = {"Idempotency-Key": "k"} if route[0] == "POST" else {}
        headers |= MERGE if route[0] == "PATCH" else {}
        for _ in range(1 + bool(route[0] == "POST")):
            answer = shop.client.request(route[0], asked.path, json=asked.json, headers=headers)
            assert answer.is_success, answer.text
        (row,) = rows(shop.engine)[before:]
        assert (row.kind, row.subject, row.producer_id) == (asked.kind, asked.subject, shop.producer_id)
        key_id = scalar(shop.engine, "SELECT id FROM api_keys")
        assert (row.actor_role, row.actor, row.actor_key_id) == ("producer", "shop", key_id)
        subject_id = answer.json()["id"] if asked.subject_is_new else asked.path.split("/")[-2:]
        assert str(row.subject_id) in subject_id
        assert "hidden" not in str(row)

    @pytest.mark.parametrize("route", [route for route in REQUESTS if "{" in route[1]], ids=" ".join)
    def test_records_no_refused_request(self, shop: Shop, route: tuple[str, str]) -> None:
        """Of what there is not, or with a key that may not."""
        asked = REQUESTS[route](shop)
        before = len(rows(shop.engine))
        with Session(shop.engine) as session, session.begin():
            _, key = make_key(session, shop.producer_id, "reader", scopes=[Scope.READ])
        path = route[1].replace(route[1].split("{")[1].split("}")[0].join("{}"), UNKNOWN)
        headers = MERGE if route[0] == "PATCH" else {}
        for address, bearer in ((path, {}), (asked.path, {"Authorization": f"Bearer {key}"})):
            refused = shop.client.request(route[0], address, json=asked.json, headers=headers | bearer)
            assert refused.status_code in (403, 404), refused.text
        assert len(rows(shop.engine)) == before

    def test_records_no_read(self, shop: Shop) -> None:
        for path in ("", f"/{shop.batch_id}", f"/{shop.batch_id}/actions"):
            shop.client.get(f"/v1/batches{path}").raise_for_status()
        shop.client.get("/v1/actions").raise_for_status()
        assert rows(shop.engine) == []

    def test_records_no_request_that_changes_nothing(self, shop: Shop) -> None:
        """As a second pause."""
        for _ in range(2):
            shop.client.post(f"/v1/batches/{shop.batch_id}/pause").raise_for_status()
        assert [row.kind for row in rows(shop.engine)] == ["pause"]
