"""Removal of a deleted job from messages: those about it alone are deleted, digests lose its entry."""

import uuid
from datetime import datetime

from sqlalchemy import Text, TextClause, Uuid, bindparam, text

from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.webhooks.secrets import INSTALLATION

ID = bindparam("job", type_=Text)
SINCE = bindparam("since", type_=Uuid)
HAS_PRODUCER, HAS_NO_PRODUCER = "producer_id = :producer", "producer_id IS NULL"
# In the order of their index; the text is searched before it is parsed as JSON.
MENTIONS_JOB = "{owner} AND id >= :since AND position(:job IN payload) > 0"
DELETE_MESSAGES = f"""
    DELETE FROM deliveries
    WHERE {MENTIONS_JOB} AND type LIKE 'job.%' AND payload::json -> 'data' ->> 'id' = :job RETURNING id
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
    WHERE {MENTIONS_JOB} AND type = 'jobs.digest' RETURNING id
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
    parameters = {"job": str(job_id), "since": _first_id(since)}
    changed += len(database.scalars(_for_owner(producer_id, DELETE_MESSAGES), parameters).all())
    digests = len(database.scalars(_for_owner(producer_id, REMOVE_FROM_DIGESTS), parameters).all())
    if digests:
        database.execute(_for_owner(producer_id, DELETE_EMPTY_DIGESTS), parameters)
    return changed + digests


def _for_owner(producer_id: uuid.UUID | None, statement: str) -> TextClause:
    """The statement for one producer's messages. `IS NOT DISTINCT FROM` would use no index."""
    found = text(statement.format(owner=HAS_NO_PRODUCER if producer_id is None else HAS_PRODUCER))
    if producer_id is not None:
        found = found.bindparams(bindparam("producer", producer_id, type_=Uuid))
    return found.bindparams(*(each for each in (ID, SINCE) if f":{each.key}" in statement))


def _first_id(moment: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of a moment."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)
