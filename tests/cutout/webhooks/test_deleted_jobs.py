"""The cost of finding a deleted job's messages, and the removal from messages being announced."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import JobMessages
from cutout.producers.producers import create_producer
from cutout.webhooks import INSTALLATION, deleted_jobs
from cutout.webhooks.deleted_jobs import forget_job
from cutout.webhooks.digests import ANNOUNCE_DIGEST
from tests.cutout.webhooks.test_digests import ended
from tests.support.explained import plan_of, rows_looked_at
from tests.support.system import wait_until

MESSAGES = text(
    "INSERT INTO deliveries (producer_id, url, type, payload) SELECT :producer, 'https://a.example', :kind,"
    """ '{"data": {"id": "x", "jobs": [1]}}' FROM generate_series(1, :count)"""
)
WAITS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.mark.parametrize("is_operators", [False, True])
def test_no_message_of_another_producer_is_read(session: Session, *, is_operators: bool) -> None:
    """Messages of other producers since then are not read, however many."""
    own, other = (create_producer(session, name)[0].id for name in ("own", "other"))
    its = None if is_operators else own
    for producer, count in ((other, 3000), (its, 5)):
        for kind in ("job.succeeded", "jobs.digest"):
            session.execute(MESSAGES, {"producer": producer, "kind": kind, "count": count})
    asked = {"job": "x", "since": deleted_jobs.first_id_of(datetime.now(UTC) - timedelta(days=1))}
    for statement in (
        deleted_jobs.DELETE_MESSAGES,
        deleted_jobs.REMOVE_FROM_DIGESTS,
        deleted_jobs.DELETE_EMPTY_DIGESTS,
    ):
        found = plan_of(session, deleted_jobs._for_owner(its, statement), asked)
        assert max(rows_looked_at(found)) <= 10


TO_ENDPOINT = text(
    "INSERT INTO deliveries (producer_id, endpoint_id, url, type, payload)"
    " SELECT :producer, :endpoint, 'https://a.example', :kind, '{}' FROM generate_series(1, :count)"
)


def test_messages_about_jobs_are_searched_only_if_an_endpoint_has_some(session: Session) -> None:
    """That it has an endpoint is not enough, nor thousands of messages of other types or before the job; few
    rows are read to find that out.
    """
    shop = create_producer(session, "shop")[0].id
    its = {"producer": shop, "endpoint": uuid.uuid4()}
    now = session.scalars(text("SELECT now() - interval '1 second'")).one()
    session.execute(TO_ENDPOINT, {**its, "kind": "batch.finished", "count": 3000})
    assert not deleted_jobs.may_have_told_endpoints(session, shop, None, now)
    asked = {"owner": shop, "batch": None, "since": deleted_jobs.first_id_of(now)}
    assert max(rows_looked_at(plan_of(session, deleted_jobs.MAY_HAVE_TOLD, asked))) <= 10
    for kind in ("job.failed", "jobs.digest"):
        with session.begin_nested() as added:
            session.execute(TO_ENDPOINT, {**its, "kind": kind, "count": 1})
            assert deleted_jobs.may_have_told_endpoints(session, shop, None, now)
            assert not deleted_jobs.may_have_told_endpoints(session, shop, None, now + timedelta(hours=1))
            added.rollback()


def test_a_digest_that_is_announced_meanwhile_does_not_contain_it(engine: Engine) -> None:
    """The deletion waits for the digest and removes the job from it."""
    batch_id = ended(engine, 2, JobMessages.DIGEST)
    with engine.connect() as connection:
        job = connection.execute(text("SELECT id, created_at FROM jobs ORDER BY id LIMIT 1")).one()

    def forget() -> None:
        with Session(engine) as session, session.begin():
            forget_job(session, job.id, producer_id=None, batch_id=batch_id, since=job.created_at)

    forgetting_it = threading.Thread(target=forget)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        with engine.begin() as connection:
            connection.execute(ANNOUNCE_DIGEST, {"owner": INSTALLATION, "batch": batch_id}).all()
            forgetting_it.start()
            wait_until(lambda: bool(other.scalar(WAITS)), "the lock", within_s=20.0)
        forgetting_it.join(20.0)
        [payload] = other.scalars(text("SELECT payload FROM deliveries")).all()
    assert str(job.id) not in payload
