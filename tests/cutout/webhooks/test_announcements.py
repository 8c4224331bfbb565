"""Messages of jobs and batches are written in the transaction that ends them."""

import json
import uuid
from datetime import datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, DeliveryState, Step
from cutout.models import Delivery, Ingest, Job
from cutout.producers.producers import create_producer
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, Retry
from cutout.queue.enqueue import InvalidJobError, NewJob, create_batch, enqueue
from cutout.results import keep_results
from cutout.storage import Bucket
from cutout.webhooks import announce
from tests.support.fates import DONE
from tests.support.steps import SOURCE, begin, claim_one, new_worker

URL = "https://Shop.example:8443/hook?token=secret"
FAILED = Fail("IMAGE_EMPTY", "the picture has 0 bytes")


def payloads(session: Session) -> list[dict[str, Any]]:
    return [
        json.loads(payload) for payload in session.scalars(select(Delivery.payload).order_by(Delivery.id))
    ]


def kinds(session: Session) -> list[str]:
    return list(session.scalars(select(Delivery.type).order_by(Delivery.id)))


def enqueue_one(session: Session, url: str | None = URL) -> uuid.UUID:
    return enqueue(session, NewJob(SOURCE, "SKU-1", webhook_url=url))


def settle_one(session: Session, outcome: Outcome) -> None:
    assert queue.settle(session, claim_one(session, new_worker(session)), outcome)


class TestAJobThatEnds:
    def test_is_announced_with_what_became_of_it(self, session: Session) -> None:
        """The message has type, time and data of a success, and not the address."""
        producer, _ = create_producer(session, "shop")
        job_id = enqueue(session, NewJob(SOURCE, "SKU-1", webhook_url=URL), producer_id=producer.id)
        claim = claim_one(session, new_worker(session))
        queue.end_attempt(session, begin(session, claim), Answer(AttemptOutcome.CHARGED))
        assert queue.settle(session, claim, DONE)
        (payload,) = payloads(session)
        (delivery,) = session.scalars(select(Delivery))
        job = session.get_one(Job, job_id)
        assert job.finished_at is not None
        times = (
            payload.pop("timestamp"),
            payload["data"].pop("created_at"),
            payload["data"].pop("finished_at"),
        )
        assert [datetime.fromisoformat(at) for at in times] == [
            job.finished_at,
            job.created_at,
            job.finished_at,
        ]
        assert payload == {
            "type": "job.succeeded",
            "data": {
                "id": str(job_id),
                "batch_id": None,
                "external_id": "SKU-1",
                "metadata": {},
                "return_form": "rgba",
                "state": "succeeded",
                "code": None,
                "message": None,
                "key": "cutouts/a.png",
                "sha256": "ab" * 32,
                "media_type": "image/png",
                "size_bytes": 12_345,
                "width": 10,
                "height": 20,
                "credits": 1,
            },
        }
        assert "token" not in delivery.payload
        assert (delivery.state, delivery.host) == (DeliveryState.WAITING, "shop.example:8443")
        assert (delivery.producer_id, delivery.type) == (producer.id, "job.succeeded")

    def test_is_not_announced_without_a_webhook(self, session: Session) -> None:
        """Nothing is written for a job without a webhook."""
        enqueue_one(session, None)
        settle_one(session, DONE)
        assert payloads(session) == []

    @pytest.mark.parametrize(
        ("outcome", "kind", "code"),
        [(FAILED, "job.failed", "IMAGE_EMPTY"), (Hold("NO_ANSWER", "none"), "job.held", "NO_ANSWER")],
    )
    def test_badly_says_why(self, session: Session, outcome: Outcome, kind: str, code: str) -> None:
        """A failed and a held job have their code and message."""
        enqueue_one(session)
        settle_one(session, outcome)
        (payload,) = payloads(session)
        assert (payload["type"], payload["data"]["code"]) == (kind, code)
        assert payload["data"]["message"]

    def test_by_cancelling_is_announced(self, session: Session) -> None:
        """Cancelled jobs are announced as well."""
        assert queue.cancel(session, enqueue_one(session))
        assert kinds(session) == ["job.cancelled"]

    def test_is_not_announced_while_it_is_only_delayed(self, session: Session) -> None:
        """A claim and an automatic retry are not announced."""
        enqueue_one(session)
        settle_one(session, Retry(Step.CALL, "NETWORK", "x"))
        assert payloads(session) == []

    def test_again_after_a_retry_is_announced_again(self, session: Session) -> None:
        """Each end has a message of its own, with an id of its own."""
        job_id = enqueue_one(session)
        settle_one(session, FAILED)
        assert queue.retry(session, job_id)
        settle_one(session, DONE)
        assert kinds(session) == ["job.failed", "job.succeeded"]

    def test_in_a_transaction_that_fails_is_not_announced(self, engine: Engine) -> None:
        """The message exists if and only if the state was committed."""
        with Session(engine) as session, session.begin():
            enqueue_one(session)
        with Session(engine) as session:
            settle_one(session, DONE)
            assert kinds(session) == ["job.succeeded"]
            session.rollback()
            assert kinds(session) == []
            assert session.scalars(select(Job.state)).one() == "queued"


class TestABatchThatEnds:
    def fill(self, engine: Engine, url: str | None) -> uuid.UUID:
        with Session(engine) as session, session.begin():
            batch = create_batch(session, "spring", webhook_url=url)
            for name, outcome in (("a", DONE), ("b", FAILED), ("c", DONE)):
                enqueue(session, NewJob(SOURCE, name), batch_id=batch.id)
                settle_one(session, outcome)
            return batch.id

    def test_is_announced_once_with_its_counts(self, engine: Engine, bucket: Bucket) -> None:
        """Results may be written several times."""
        batch_id = self.fill(engine, URL)
        for _ in range(2):
            assert keep_results(engine, bucket, batch_id)
        with Session(engine) as session:
            (payload,) = payloads(session)
        assert payload["type"] == "batch.finished"
        data = payload["data"]
        assert (data["id"], data["name"]) == (str(batch_id), "spring")
        assert data["counts"] == {"succeeded": 2, "failed": 1}
        assert (data["credits"], data["results_key"]) == (0, f"results/{batch_id}.csv")
        assert data["finished_at"]

    def test_again_is_announced_again(self, engine: Engine, bucket: Bucket) -> None:
        """A retried job makes the batch end a second time."""
        batch_id = self.fill(engine, URL)
        assert keep_results(engine, bucket, batch_id)
        with Session(engine) as session, session.begin():
            job_id = session.scalars(select(Job.id).where(Job.external_id == "b")).one()
            assert queue.retry(session, job_id)
            settle_one(session, DONE)
        assert keep_results(engine, bucket, batch_id)
        with Session(engine) as session:
            assert [payload["data"]["counts"] for payload in payloads(session)] == [
                {"succeeded": 2, "failed": 1},
                {"succeeded": 3},
            ]

    def test_is_not_announced_without_a_webhook(self, engine: Engine, bucket: Bucket) -> None:
        """A batch's webhook is only for the batch, not for its jobs."""
        assert keep_results(engine, bucket, self.fill(engine, None))
        with Session(engine) as session:
            assert payloads(session) == []


class TestAnIngestThatEnds:
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ("finished_at = now(), error = 'x', records = 3, pictures = 3, jobs = 2, rejects = 1", True),
            ("finished_at = now(), records = 1, pictures = 1, rejects = 1", True),
            ("finished_at = now(), records = 3, pictures = 3, jobs = 2, rejects = 1", False),
            ("records = 3, pictures = 3, jobs = 2, rejects = 1", False),
        ],
        ids=["with an error", "without a job", "well", "not yet"],
    )
    def test_is_announced_if_its_batch_may_never_end(
        self, session: Session, change: str, *, told: bool
    ) -> None:
        """An ingest that succeeded is reported by its batch."""
        batch = create_batch(session, "spring", webhook_url=URL)
        session.add(Ingest(batch_id=batch.id, fingerprint=b"x", kind="k"))
        session.flush()
        session.execute(text(f"UPDATE ingests SET {change}"))  # noqa: S608 - a test's own words
        assert kinds(session) == (["ingest.failed"] if told else [])
        for payload in payloads(session):
            assert (payload["data"]["batch_id"], payload["data"]["rejects"]) == (str(batch.id), 1)

    def test_is_not_announced_without_a_webhook(self, session: Session) -> None:
        """Nothing is written for an ingest without a webhook."""
        batch = create_batch(session, "spring")
        session.add(Ingest(batch_id=batch.id, fingerprint=b"x", kind="k"))
        session.flush()
        session.execute(text("UPDATE ingests SET finished_at = now(), error = 'x'"))
        assert kinds(session) == []


class TestAnnouncingOtherEvents:
    def test_makes_a_message_of_the_same_shape(self, session: Session) -> None:
        """Other events are announced by the function, which returns the message's id."""
        made = announce(session, url=URL, kind="schedule.report", data={"run": "é☃", "jobs": 3})
        (payload,) = payloads(session)
        assert payload.keys() == {"type", "timestamp", "data"}
        assert (payload["type"], payload["data"]) == ("schedule.report", {"run": "é☃", "jobs": 3})
        assert session.get_one(Delivery, made).producer_id is None

    @pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": object()}])
    def test_refuses_what_is_not_json(self, session: Session, data: dict[str, Any]) -> None:
        """The data is checked before anything is written."""
        with pytest.raises((TypeError, ValueError)):
            announce(session, url=URL, kind="x", data=data)
        assert payloads(session) == []


class TestAnAddressThatCanNeverWork:
    def test_is_refused_when_enqueued(self) -> None:
        """The error has the field's name, and not the address, which may contain a token."""
        with pytest.raises(InvalidJobError) as caught:
            NewJob(SOURCE, webhook_url="ftp://shop.example/hook?token=secret")
        assert caught.value.field == "webhook_url"
        assert "secret" not in str(caught.value)

    def test_is_refused_by_the_database(self, session: Session) -> None:
        """A trigger that cannot announce would keep the job from ending."""
        job = Job(source=SOURCE, virtual_start=0.0, queue_state="ready", webhook_url="nowhere")
        session.add(job)
        with pytest.raises(IntegrityError, match="webhook_url_has_a_host"):
            session.flush()


def test_a_job_without_a_webhook_costs_no_statement_more(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settling stays one statement."""
    with Session(engine) as session, session.begin():
        enqueue_one(session, None)
        claim = claim_one(session, new_worker(session))
    seen: list[Any] = []
    execute = psycopg.Cursor.execute

    def counted(cursor: Any, query: Any, *given: Any, **more: Any) -> Any:
        seen.append(query)
        return execute(cursor, query, *given, **more)

    with engine.begin() as connection:
        monkeypatch.setattr(psycopg.Cursor, "execute", counted)
        assert queue.settle(connection, claim, DONE)
    assert len(seen) == 1
