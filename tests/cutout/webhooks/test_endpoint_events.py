"""Events of a producer become messages to its endpoints, in the transaction of the change."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import JobMessages
from cutout.models import Ingest
from cutout.producers.producers import create_producer
from cutout.queue.attempts.outcomes import Hold, Outcome
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.results import keep_results
from cutout.storage import Bucket
from cutout.webhooks import digests
from cutout.webhooks.deleted_jobs import forget_job, may_have_told_endpoints
from cutout.webhooks.digests import announce_digests
from cutout.webhooks.endpoints import (
    MOST_ENDPOINTS,
    NewEndpoint,
    TooManyEndpointsError,
    add_endpoint,
    change_endpoint,
    find_endpoint,
    remove_endpoint,
)
from cutout.webhooks.event_types import EventType
from cutout.webhooks.outbox import PORTION, take
from cutout.webhooks.receivers import Receiver
from tests.cutout.webhooks.test_announcements import FAILED
from tests.support.fates import DONE, make_batch
from tests.support.outputs import make_outputs, put_output, put_score
from tests.support.steps import SOURCE, claim_one, new_worker

URL = "https://shop.example/all?token=quirk"
JOBS = (EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_HELD, EventType.JOB_CANCELLED)


@pytest.fixture
def shop(engine: Engine) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return create_producer(session, "shop")[0].id


def add(engine: Engine, producer_id: uuid.UUID, *events: EventType, url: str = URL) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return add_endpoint(session, producer_id, NewEndpoint(url, events)).id


def end_one(
    engine: Engine,
    producer_id: uuid.UUID | None,
    outcome: Outcome = FAILED,
    *,
    batch_id: uuid.UUID | None = None,
    url: str | None = None,
) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        job = NewJob(SOURCE, str(uuid.uuid4()), webhook_url=url)
        job_id = enqueue(session, job, producer_id=producer_id, batch_id=batch_id)
        assert queue.settle(session, claim_one(session, new_worker(session)), outcome)
        return job_id


def batch_of(engine: Engine, producer_id: uuid.UUID, *, digest_to: str | None = None) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        tells = JobMessages.DIGEST if digest_to else JobMessages.NONE
        return create_batch(
            session, "b", producer_id=producer_id, webhook_url=digest_to, webhook_jobs=tells
        ).id


def change(engine: Engine, producer_id: uuid.UUID, endpoint_id: uuid.UUID, **changes: object) -> None:
    """Change an endpoint; without changes remove it."""
    with Session(engine) as session, session.begin():
        endpoint = find_endpoint(session, producer_id, endpoint_id, lock=True)
        assert endpoint is not None
        if changes:
            change_endpoint(session, endpoint, changes)
        else:
            remove_endpoint(session, endpoint)


def count_of(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        found: int = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - a test's
        return found


def told(engine: Engine) -> list[tuple[uuid.UUID | None, str, dict[str, Any]]]:
    """Endpoint, type and data of each message, once digests are due."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("UPDATE digests SET created_at = created_at - interval '1 h'"))
        announce_digests(connection)
        rows = connection.execute(text("SELECT endpoint_id, type, payload FROM deliveries ORDER BY id"))
        found = []
        for endpoint_id, kind, payload in rows:
            message = json.loads(payload)
            assert message["type"] == kind
            assert message["timestamp"]
            assert "quirk" not in payload
            found.append((endpoint_id, kind, message["data"]))
        return found


class TestAJobThatEnds:
    def test_is_told_to_endpoints_that_name_its_end(self, engine: Engine, shop: uuid.UUID) -> None:
        """Without a batch at once, to each of them; another producer's and a disabled one are not told."""
        wants = [add(engine, shop, EventType.JOB_FAILED, EventType.ALL) for _ in range(2)]
        add(engine, shop, EventType.JOB_SUCCEEDED)
        add(engine, shop, EventType.ALL)
        off = add(engine, shop, EventType.JOB_FAILED)
        with Session(engine) as session, session.begin():
            endpoint = find_endpoint(session, shop, off)
            assert endpoint is not None
            change_endpoint(session, endpoint, {"enabled": False})
            other = create_producer(session, "other")[0].id
        add(engine, other, EventType.JOB_FAILED)
        job_id = end_one(engine, shop)
        end_one(engine, None)
        messages = told(engine)
        assert sorted((one, kind) for one, kind, _ in messages) == sorted(
            (one, "job.failed") for one in wants
        )
        assert {data["id"] for _, _, data in messages} == {str(job_id)}

    def test_is_told_beside_its_own_webhook(self, engine: Engine, shop: uuid.UUID) -> None:
        """Both have the same data."""
        wants = add(engine, shop, EventType.JOB_FAILED)
        end_one(engine, shop, url="https://own.example/")
        own, its = sorted(told(engine), key=lambda message: message[0] is not None)
        assert (own[0], its[0]) == (None, wants)
        assert own[1:] == its[1:]

    def test_of_a_batch_is_told_in_a_digest(self, engine: Engine, shop: uuid.UUID) -> None:
        """Many jobs in one message to each endpoint, each with the type of its end."""
        both = add(engine, shop, *JOBS)
        held = add(engine, shop, EventType.JOB_HELD)
        batch_id = batch_of(engine, shop)
        for outcome in (FAILED, Hold("LOOK", "for a person"), FAILED):
            end_one(engine, shop, outcome, batch_id=batch_id)
        messages = {endpoint: (kind, data) for endpoint, kind, data in told(engine)}
        assert messages.keys() == {both, held}
        assert {kind for kind, _ in messages.values()} == {"jobs.digest"}
        assert {data["batch_id"] for _, data in messages.values()} == {str(batch_id)}
        types = {one: [job["type"] for job in data["jobs"]] for one, (_, data) in messages.items()}
        assert types == {both: ["job.failed", "job.held", "job.failed"], held: ["job.held"]}
        assert messages[held][1]["jobs"][0]["code"] == "LOOK"

    def test_writes_nothing_without_an_endpoint_that_names_it(self, engine: Engine, shop: uuid.UUID) -> None:
        """`*` is not enough: a batch of a million jobs would be a million rows."""
        add(engine, shop, EventType.ALL)
        end_one(engine, shop, batch_id=batch_of(engine, shop))
        end_one(engine, shop)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM digests")) == 0
        assert told(engine) == []

    def test_is_told_if_and_only_if_its_transaction_commits(self, engine: Engine, shop: uuid.UUID) -> None:
        """A rollback takes the message with it."""
        add(engine, shop, EventType.JOB_FAILED)
        with Session(engine) as session:
            enqueue(session, NewJob(SOURCE), producer_id=shop)
            assert queue.settle(session, claim_one(session, new_worker(session)), FAILED)
            assert session.scalar(text("SELECT count(*) FROM deliveries")) == 1
            session.rollback()
        assert told(engine) == []

    def test_that_is_deleted_leaves_the_messages_to_endpoints(self, engine: Engine, shop: uuid.UUID) -> None:
        """Those sent at once, collected and digested, even if the endpoint is deleted before."""
        own = add(engine, shop, EventType.JOB_FAILED)
        batch_id = batch_of(engine, shop)
        alone = end_one(engine, shop)
        digested, stays = (end_one(engine, shop, batch_id=batch_id) for _ in range(2))
        assert len(told(engine)) == 2
        collected = end_one(engine, shop, batch_id=batch_id)
        with Session(engine) as session, session.begin():
            endpoint = find_endpoint(session, shop, own)
            assert endpoint is not None
            remove_endpoint(session, endpoint)
        with Session(engine) as session, session.begin():
            for job_id, batch in ((alone, None), (digested, batch_id), (collected, batch_id)):
                created_at = text("SELECT created_at FROM jobs WHERE id = :id")
                since = session.execute(created_at, {"id": job_id}).scalar_one()
                assert may_have_told_endpoints(session, shop, batch, since)
                assert forget_job(session, job_id, producer_id=shop, batch_id=batch, since=since)
        ((_, kind, data),) = told(engine)
        assert (kind, [job["id"] for job in data["jobs"]]) == ("jobs.digest", [str(stays)])


class TestADigest:
    def test_is_collected_once_for_all_endpoints(self, engine: Engine, shop: uuid.UUID) -> None:
        """One row for each event, however many endpoints want it; one message to each of them."""
        wants = {add(engine, shop, EventType.JOB_FAILED) for _ in range(MOST_ENDPOINTS)}
        batch_id = batch_of(engine, shop)
        ids = [str(end_one(engine, shop, batch_id=batch_id)) for _ in range(3)]
        assert count_of(engine, "digests") == 3
        messages = told(engine)
        assert len(messages) == MOST_ENDPOINTS
        assert {endpoint for endpoint, _, _ in messages} == wants
        assert all([job["id"] for job in data["jobs"]] == ids for _, _, data in messages)
        assert count_of(engine, "digests") == 0

    def test_has_room_for_each_receiver(
        self, engine: Engine, shop: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The batch's webhook and two endpoints have a full one each, none a part of it."""
        for name in ("DUE", "ANNOUNCE_DIGEST"):
            monkeypatch.setattr(digests, name, getattr(digests, name).bindparams(full=2))
        both = {None, *(add(engine, shop, EventType.JOB_FAILED) for _ in range(2))}
        batch_id = batch_of(engine, shop, digest_to="https://own.example/")
        ids = [str(end_one(engine, shop, batch_id=batch_id)) for _ in range(3)]
        assert count_of(engine, "digests") == 3
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            assert announce_digests(connection) == 2
        messages = told(engine)
        assert len(messages) == 6
        for receiver in both:
            its = [
                [job["id"] for job in data["jobs"]] for endpoint, _, data in messages if endpoint == receiver
            ]
            assert its == [ids[:2], ids[2:]]

    def test_is_for_those_that_wanted_the_event(self, engine: Engine, shop: uuid.UUID) -> None:
        """A filter that changes and an endpoint that comes meanwhile hold for later events."""
        no_longer = add(engine, shop, EventType.JOB_FAILED)
        from_now_on = add(engine, shop, EventType.JOB_HELD)
        batch_id = batch_of(engine, shop)
        first = end_one(engine, shop, batch_id=batch_id)
        change(engine, shop, no_longer, events=[EventType.JOB_HELD])
        change(engine, shop, from_now_on, events=[EventType.JOB_FAILED])
        added = add(engine, shop, EventType.JOB_FAILED)
        second = end_one(engine, shop, batch_id=batch_id)
        messages = {endpoint: [job["id"] for job in data["jobs"]] for endpoint, _, data in told(engine)}
        assert messages == {no_longer: [str(first)], from_now_on: [str(second)], added: [str(second)]}

    def test_goes_to_the_address_of_now(self, engine: Engine, shop: uuid.UUID) -> None:
        """Not to a removed endpoint; that of a disabled one waits for a replay."""
        moved, off, removed = (add(engine, shop, EventType.JOB_FAILED) for _ in range(3))
        batch_id = batch_of(engine, shop)
        end_one(engine, shop, batch_id=batch_id)
        change(engine, shop, moved, url="https://new.example/")
        change(engine, shop, off, enabled=False)
        change(engine, shop, removed)
        assert {endpoint for endpoint, _, _ in told(engine)} == {moved, off}
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            taken = take(connection, Receiver(shop, "new.example"))
            assert taken is not None
            assert (taken.endpoint_id, taken.url) == (moved, "https://new.example/")
            assert take(connection, Receiver(shop, "shop.example")) is None
            state = connection.execute(
                text("SELECT state FROM deliveries WHERE endpoint_id = :off"), {"off": off}
            )
            assert state.scalar_one() == "given_up"

    def test_of_removed_endpoints_alone_is_forgotten(self, engine: Engine, shop: uuid.UUID) -> None:
        """It does not keep the batch's later jobs waiting."""
        removed = add(engine, shop, EventType.JOB_FAILED)
        batch_id = batch_of(engine, shop)
        end_one(engine, shop, batch_id=batch_id)
        change(engine, shop, removed)
        assert told(engine) == []
        assert count_of(engine, "digests") == 0

    def test_loses_a_deleted_job_for_all_receivers(self, engine: Engine, shop: uuid.UUID) -> None:
        """Whether it is announced or not."""
        add(engine, shop, EventType.JOB_FAILED)
        batch_id = batch_of(engine, shop, digest_to="https://own.example/")
        announced, stays = (end_one(engine, shop, batch_id=batch_id) for _ in range(2))
        assert len(told(engine)) == 2
        collected = end_one(engine, shop, batch_id=batch_id)
        with Session(engine) as session, session.begin():
            since = datetime.now(UTC) - timedelta(hours=1)
            for job_id in (announced, collected):
                assert forget_job(session, job_id, producer_id=shop, batch_id=batch_id, since=since)
        assert [[job["id"] for job in data["jobs"]] for _, _, data in told(engine)] == [[str(stays)]] * 2


class TestOutputs:
    def test_of_a_job_and_a_batch_are_told(self, engine: Engine, bucket: Bucket, shop: uuid.UUID) -> None:
        """`job.rendered` in the digest of the jobs, `batch.rendered` after `batch.finished`."""
        jobs = add(engine, shop, EventType.JOB_RENDERED)
        batches = add(engine, shop, EventType.ALL)
        batch_id = make_batch(engine, {"a": DONE}, producer_id=shop)
        put_output(engine, "a", "amazon")
        make_outputs(engine)
        put_score(engine, "a", 0.0)
        assert keep_results(engine, bucket, batch_id)
        messages = told(engine)
        assert [kind for endpoint, kind, _ in messages if endpoint == batches] == [
            "batch.finished",
            "batch.rendered",
        ]
        ((kind, data),) = [(kind, data) for endpoint, kind, data in messages if endpoint == jobs]
        assert kind == "jobs.digest"
        assert [job["type"] for job in data["jobs"]] == ["job.rendered"]
        assert [output["name"] for output in data["jobs"][0]["outputs"]]


class TestABatch:
    def test_that_cannot_be_read_is_told(self, engine: Engine, shop: uuid.UUID) -> None:
        """`ingest.failed`, to the endpoints of its producer alone."""
        own = add(engine, shop, EventType.INGEST_FAILED)
        batch_id = batch_of(engine, shop)
        with Session(engine) as session, session.begin():
            for name in (batch_id, create_batch(session, "nobody's").id):
                session.add(Ingest(batch_id=name, fingerprint=name.bytes, kind="k"))
            session.flush()
            session.execute(text("UPDATE ingests SET finished_at = now(), error = 'x'"))
        ((endpoint, kind, data),) = told(engine)
        assert (endpoint, kind, data["batch_id"]) == (own, "ingest.failed", str(batch_id))

    def test_of_no_endpoint_is_counted_for_nobody(
        self, engine: Engine, bucket: Bucket, shop: uuid.UUID
    ) -> None:
        """Nothing is written for a producer without one."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=shop)
        assert keep_results(engine, bucket, batch_id)
        assert told(engine) == []


SCHEDULE = text(
    "INSERT INTO schedules (producer_id, name, source, cron, zone, next_fire_at, next_due_at)"
    " VALUES (:producer, 'nightly', 's', '* * * * *', 'UTC', now(), now()) RETURNING id"
)
SKIPPED = text(
    "INSERT INTO runs (schedule_id, fire_at, due_at, state, note, finished_at)"
    " SELECT :schedule, at, at, 'skipped', 'missed', now()"
    " FROM generate_series(now() - interval '99 minutes', now(), interval '1 minute') at"
)
WAITING = text("INSERT INTO runs (schedule_id, fire_at, due_at) VALUES (:schedule, now(), now())")


class TestASchedule:
    @pytest.fixture
    def schedule(self, engine: Engine, shop: uuid.UUID) -> uuid.UUID:
        add(engine, shop, EventType.ALL)
        with engine.begin() as connection:
            found: uuid.UUID = connection.execute(SCHEDULE, {"producer": shop}).scalar_one()
        return found

    def test_whose_runs_are_skipped_is_told_of_once(self, engine: Engine, schedule: uuid.UUID) -> None:
        """A hundred runs that an outage skipped are one message."""
        with engine.begin() as connection:
            connection.execute(SKIPPED, {"schedule": schedule})
        ((_, kind, data),) = told(engine)
        assert (kind, data["schedule_id"], data["runs"]) == ("schedule.skipped", str(schedule), 100)
        assert (data["name"], data["note"]) == ("nightly", "missed")
        assert data["first_fire_at"] < data["last_fire_at"]

    def test_whose_waiting_run_is_skipped_is_told_of(self, engine: Engine, schedule: uuid.UUID) -> None:
        """A run that only waits, or changes later, is no event."""
        with engine.begin() as connection:
            connection.execute(WAITING, {"schedule": schedule})
        assert told(engine) == []
        with engine.begin() as connection:
            connection.execute(text("UPDATE runs SET state = 'skipped', note = 'x', finished_at = now()"))
        with engine.begin() as connection:
            connection.execute(text("UPDATE runs SET note = 'y'"))
        assert [(kind, data["runs"]) for _, kind, data in told(engine)] == [("schedule.skipped", 1)]

    @pytest.mark.parametrize("column", ["paused_at", "paused_by_operator_at"])
    def test_that_is_paused_is_told_of(self, engine: Engine, schedule: uuid.UUID, column: str) -> None:
        """By whoever did so, once."""
        with engine.begin() as connection:
            for _ in range(2):
                connection.execute(text(f"UPDATE schedules SET {column} = now()"))  # noqa: S608 - a test's
        ((_, kind, data),) = told(engine)
        assert (kind, data["schedule_id"], bool(data[column])) == ("schedule.paused", str(schedule), True)


MESSAGES = text(
    "INSERT INTO deliveries (producer_id, endpoint_id, url, type, payload)"
    " SELECT :producer, :endpoint, :url, 'x', '{}' FROM generate_series(1, :count)"
)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"url": "https://new.example/"}, ("new.example", "waiting")),
        ({"enabled": False}, ("shop.example", "given_up")),
    ],
)
def test_more_messages_than_a_portion_are_all_outdated(
    engine: Engine, shop: uuid.UUID, change: dict[str, Any], left: tuple[str, str]
) -> None:
    """The one that a sender took is among them, however many others are due."""
    own, count = add(engine, shop, EventType.ALL), 2 * PORTION + 100
    with Session(engine) as session, session.begin():
        session.execute(MESSAGES, {"producer": shop, "endpoint": own, "url": URL, "count": count})
        endpoint = find_endpoint(session, shop, own, lock=True)
        assert endpoint is not None
        change_endpoint(session, endpoint, change)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert take(connection, Receiver(shop, "shop.example")) is None
        ((host, state, tries, found),) = connection.execute(
            text("SELECT host, state, tries, count(*) FROM deliveries GROUP BY 1, 2, 3")
        )
        due = connection.scalar(text("SELECT count(*) FROM deliveries WHERE due_at <= now()"))
    assert (host, state, tries, found) == (*left, 0, count)
    assert due == count or state == "given_up"


def test_additions_at_the_same_time_do_not_pass_the_limit(engine: Engine, shop: uuid.UUID) -> None:
    """Of thirty at once exactly twenty are stored."""

    def is_added(_: int) -> bool:
        try:
            add(engine, shop, EventType.ALL)
        except TooManyEndpointsError:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        added = list(threads.map(is_added, range(30)))
    assert added.count(True) == MOST_ENDPOINTS
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM webhook_endpoints")) == MOST_ENDPOINTS
