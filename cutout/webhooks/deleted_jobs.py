"""Messages that tell of a deleted job: those about it alone are deleted, of a digest it is taken out."""

import uuid
from datetime import datetime

from sqlalchemy import Text, TextClause, Uuid, bindparam, text

from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.webhooks.secrets import INSTALLATION

ID = bindparam("job", type_=Text)
SINCE = bindparam("since", type_=Uuid)
OF_PRODUCER, OF_NOBODY = "producer_id = :producer", "producer_id IS NULL"
# In the order of their index; the text is looked at before it is read as JSON.
OF_IT = "{owner} AND id >= :since AND position(:job IN payload) > 0"
FORGET = f"""
    DELETE FROM deliveries
    WHERE {OF_IT} AND type LIKE 'job.%' AND payload::json -> 'data' ->> 'id' = :job RETURNING id
"""  # noqa: S608 - made of the constant above
TAKE_OUT = f"""
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
    WHERE {OF_IT} AND type = 'jobs.digest' RETURNING id
"""  # noqa: S608 - made of the constant above
EMPTY = """
    DELETE FROM deliveries
    WHERE {owner} AND id >= :since AND type = 'jobs.digest'
        AND json_array_length(payload::json -> 'data' -> 'jobs') = 0
"""
PUT_ASIDE = text(
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
    """Forget what is told of a job that was enqueued at `since`; returns how many messages that changed.

    One that is being sent at this moment arrives all the same.
    """
    told = 0
    if batch_id is not None:
        # First: what is being announced at this moment is waited for, and found in its message below.
        aside = {"job": str(job_id), "owner": producer_id or INSTALLATION, "batch": batch_id}
        told += len(database.scalars(PUT_ASIDE, aside).all())
    its = {"job": str(job_id), "since": _first_id(since)}
    told += len(database.scalars(_of(producer_id, FORGET), its).all())
    taken_out = len(database.scalars(_of(producer_id, TAKE_OUT), its).all())
    if taken_out:
        database.execute(_of(producer_id, EMPTY), its)
    return told + taken_out


def _of(producer_id: uuid.UUID | None, statement: str) -> TextClause:
    """The statement about one producer's messages: no index is found by `IS NOT DISTINCT FROM`."""
    found = text(statement.format(owner=OF_NOBODY if producer_id is None else OF_PRODUCER))
    if producer_id is not None:
        found = found.bindparams(bindparam("producer", producer_id, type_=Uuid))
    return found.bindparams(*(each for each in (ID, SINCE) if f":{each.key}" in statement))


def _first_id(moment: datetime) -> uuid.UUID:
    """The least UUIDv7 of a moment."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)
