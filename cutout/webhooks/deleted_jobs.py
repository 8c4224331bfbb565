"""Removal of a deleted job from messages: those about it alone are deleted, digests lose its entry."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Text, TextClause, Uuid, bindparam, text

from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.webhooks.secrets import INSTALLATION

ID = bindparam("job", type_=Text)
SINCE = bindparam("since", type_=Uuid)
HAS_PRODUCER, HAS_NO_PRODUCER = "producer_id = :producer", "producer_id IS NULL"
# In the order of their index. Postgres keeps the order of conditions that cost the same: the type is compared
# before the text is searched, and that before it is parsed as JSON.
OF_OWNER, MENTIONS_JOB = "{owner} AND id >= :since", "position(:job IN payload) > 0"
DELETE_MESSAGES = f"""
    DELETE FROM deliveries
    WHERE {OF_OWNER} AND type LIKE 'job.%' AND {MENTIONS_JOB} AND payload::json -> 'data' ->> 'id' = :job
    RETURNING id
"""  # noqa: S608 - made of the constant above
REMOVE_FROM_DIGESTS = f"""
    UPDATE deliveries SET payload = json_build_object(
        'type', payload::json ->> 'type',
        'timestamp', payload::json -> 'timestamp',
        'data', json_build_object(
            'batch_id', payload::json -> 'data' ->> 'batch_id',
            'jobs', (
                SELECT coalesce(json_agg(job), '[]')
                FROM json_array_elements(payload::json -> 'data' -> 'jobs') job
                WHERE job ->> 'id' <> :job
            )
        )
    )::text
    WHERE {OF_OWNER} AND type = 'jobs.digest' AND {MENTIONS_JOB} RETURNING id
"""  # noqa: S608 - made of the constant above
DELETE_EMPTY_DIGESTS = """
    DELETE FROM deliveries
    WHERE {owner} AND id >= :since AND type = 'jobs.digest'
        AND json_array_length(payload::json -> 'data' -> 'jobs') = 0
"""
DELETE_COLLECTED = text(
    f"DELETE FROM digests WHERE {OWNER} = :owner AND batch_id = :batch AND job::json ->> 'id' = :job"  # noqa: S608
    " RETURNING id"
).bindparams(ID, bindparam("owner", type_=Uuid), bindparam("batch", type_=Uuid))
# To any endpoint, also one that is deleted by now; a digest of the batch may have the job and no message yet.
# Asked by the index of these messages alone: most producers have none, and many of other types.
MAY_HAVE_TOLD = text(
    f"""
    SELECT EXISTS (
            SELECT FROM deliveries
            WHERE producer_id = :owner AND id >= :since AND endpoint_id IS NOT NULL AND type LIKE 'job%'
        )
        OR EXISTS (
            SELECT FROM digests WHERE {OWNER} = :owner AND batch_id = :batch AND endpoint_ids IS NOT NULL
        )
    """  # noqa: S608 - a constant
).bindparams(bindparam("owner", type_=Uuid), SINCE, bindparam("batch", type_=Uuid))


def may_have_told_endpoints(
    database: Database, producer_id: uuid.UUID | None, batch_id: uuid.UUID | None, since: datetime
) -> bool:
    """Whether there may be messages to endpoints about a job of this producer, enqueued at `since`."""
    if producer_id is None:
        return False
    asked = {"owner": producer_id, "batch": batch_id, "since": first_id_of(since)}
    return bool(database.execute(MAY_HAVE_TOLD, asked).scalar_one())


def forget_job(
    database: Database,
    job_id: uuid.UUID,
    *,
    producer_id: uuid.UUID | None,
    batch_id: uuid.UUID | None,
    since: datetime,
) -> int:
    """Remove a job that was enqueued at `since` from all messages; returns the number of messages changed.

    A message that is being sent at this moment still arrives.
    """
    changed = 0
    if batch_id is not None:
        # First: this waits for a digest that is just being announced, whose message is then changed below.
        collected = {"job": str(job_id), "owner": producer_id or INSTALLATION, "batch": batch_id}
        changed += len(database.scalars(DELETE_COLLECTED, collected).all())
    parameters = {"job": str(job_id), "since": first_id_of(since)}
    changed += len(database.scalars(_for_owner(producer_id, DELETE_MESSAGES), parameters).all())
    if batch_id is None:
        return changed
    digests = len(database.scalars(_for_owner(producer_id, REMOVE_FROM_DIGESTS), parameters).all())
    if digests:
        database.execute(_for_owner(producer_id, DELETE_EMPTY_DIGESTS), parameters)
    return changed + digests


# The next messages of the owner; those that report about the batch or its jobs are deleted. A report of a run
# that still waits is sent.
FORGET_BATCH = """
    WITH examined AS MATERIALIZED (
        SELECT id, type, state, payload FROM deliveries WHERE {owner} AND id > :since ORDER BY id LIMIT :most
    ), about AS MATERIALIZED (
        SELECT id, payload::json -> 'data' AS data FROM examined
        WHERE position(:batch IN payload) > 0 AND (type <> 'schedule.report' OR state <> 'waiting')
    ), gone AS (
        DELETE FROM deliveries WHERE id IN (
            SELECT id FROM about WHERE data ->> 'batch_id' = :batch OR data ->> 'id' = :batch
        )
    )
    SELECT (SELECT id FROM examined ORDER BY id DESC LIMIT 1) AS last,
        (SELECT count(*) FROM examined) AS examined
"""
DELETE_DIGESTS = text(f"DELETE FROM digests WHERE {OWNER} = :owner AND batch_id = :batch").bindparams(  # noqa: S608
    bindparam("owner", type_=Uuid), bindparam("batch", type_=Uuid)
)
MOST_EXAMINED = 5000


def forget_batch(
    database: Database, batch_id: uuid.UUID, *, producer_id: uuid.UUID | None, after: uuid.UUID
) -> uuid.UUID | None:
    """Delete the messages about a batch and its jobs among the next MOST_EXAMINED of the owner.

    Returns the id behind which the next ones begin, None behind the last message.
    """
    # First: this waits for a digest that is just being announced, whose message is then deleted below.
    database.execute(DELETE_DIGESTS, {"owner": producer_id or INSTALLATION, "batch": batch_id})
    statement = _for_owner(producer_id, FORGET_BATCH).bindparams(bindparam("batch", type_=Text))
    parameters: dict[str, Any] = {"batch": str(batch_id), "since": after, "most": MOST_EXAMINED}
    row = database.execute(statement, parameters).one()
    last: uuid.UUID | None = row.last
    return last if row.examined == MOST_EXAMINED else None


def _for_owner(producer_id: uuid.UUID | None, statement: str) -> TextClause:
    """The statement for one producer's messages. `IS NOT DISTINCT FROM` would use no index."""
    found = text(statement.format(owner=HAS_NO_PRODUCER if producer_id is None else HAS_PRODUCER))
    if producer_id is not None:
        found = found.bindparams(bindparam("producer", producer_id, type_=Uuid))
    return found.bindparams(*(each for each in (ID, SINCE) if f":{each.key}" in statement))


def first_id_of(moment: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of a moment."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)
