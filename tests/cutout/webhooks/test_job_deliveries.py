"""The cost of finding the messages about one job among many."""

import json
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.producers.producers import create_producer
from cutout.webhooks.deleted_jobs import first_id_of
from cutout.webhooks.deliveries import find_given_up
from cutout.webhooks.job_deliveries import ABOUT_IT, IN_DIGESTS, MOST_DIGESTS, deliveries_of_job
from tests.support.explained import plan_of, rows_looked_at

OTHERS = text("""
    INSERT INTO deliveries (producer_id, url, type, payload)
    SELECT :producer, 'https://a.example', kind, json_build_object(
        'type', kind, 'data', json_build_object('id', gen_random_uuid(), 'batch_id', gen_random_uuid())
    )::text
    FROM generate_series(1, 3000), (VALUES ('job.succeeded'), ('jobs.digest')) AS kinds (kind)
""")
OWN = text("""
    INSERT INTO deliveries (producer_id, url, type, payload) VALUES
    (:producer, 'https://a.example', 'job.held', :message),
    (:producer, 'https://a.example', 'jobs.digest', :digest)
""")


def insert(session: Session, producer_id: uuid.UUID, job: object, batch: object) -> None:
    """A message about the job, and a digest with it."""
    digest = {"data": {"batch_id": str(batch), "jobs": [{"id": str(job)}]}}
    message = {"data": {"id": str(job)}}
    values = {"producer": producer_id, "message": json.dumps(message), "digest": json.dumps(digest)}
    session.execute(OWN, values)


def test_others_messages_are_not_read(session: Session) -> None:
    """Each of a job and of a batch's digests is found by its index; the same moments find a digest once."""
    shop = create_producer(session, "shop")[0].id
    job, batch = uuid.uuid4(), uuid.uuid4()
    since = datetime.now(UTC) - timedelta(seconds=5)
    session.execute(OTHERS, {"producer": shop})
    insert(session, shop, job, batch)
    moments = {since, since + timedelta(seconds=1), datetime.now(UTC) + timedelta(hours=1)}
    found = deliveries_of_job(session, job, producer_id=shop, batch_id=batch, moments=moments)
    assert [each.type for each in found] == ["job.held", "jobs.digest"]
    assert deliveries_of_job(session, job, producer_id=None, batch_id=batch, moments=moments) == []
    asked = {"job": str(job), "producer": shop, "batch": str(batch), "since": [first_id_of(since)]}
    for statement in (ABOUT_IT, IN_DIGESTS):
        known = {name: value for name, value in asked.items() if f":{name}" in str(statement)}
        assert max(rows_looked_at(plan_of(session, statement, known))) <= MOST_DIGESTS


def test_given_up_messages_are_the_oldest_ones(session: Session) -> None:
    """Of a producer or of all, so many at most; others' and waiting ones are left out."""
    shop, other = (create_producer(session, name)[0].id for name in ("shop", "other"))
    for owner in (shop, other, shop):
        insert(session, owner, "a", "b")
    session.execute(
        text(
            "UPDATE deliveries SET state = 'given_up', last_error = 'x', finished_at = now()"
            " WHERE type = 'job.held'"
        )
    )
    of_all = find_given_up(session, None, limit=10)
    assert (len(of_all), sorted(of_all)) == (3, list(of_all))
    own = find_given_up(session, shop, limit=10)
    assert list(own) == [of_all[0], of_all[2]]
    assert find_given_up(session, shop, limit=1) == own[:1]
