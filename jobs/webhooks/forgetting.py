"""Messages that tell of a deleted job: those about it alone are deleted, of a digest it is taken out."""

import uuid
from datetime import datetime

from sqlalchemy import Text, Uuid, bindparam, text

from jobs.database import Database

ID = bindparam("job", type_=Text)
ITS = (bindparam("producer", type_=Uuid), bindparam("since", type_=Uuid))
# In the order of their index; the text is looked at before it is read as JSON.
OF_IT = """
    producer_id IS NOT DISTINCT FROM :producer AND id >= :since AND position(:job IN payload) > 0
"""
FORGET = text(
    f"""
    DELETE FROM deliveries
    WHERE {OF_IT} AND type LIKE 'job.%' AND payload::json -> 'data' ->> 'id' = :job RETURNING id
    """  # noqa: S608 - made of the constant above
).bindparams(ID, *ITS)
TAKE_OUT = text(
    f"""
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
).bindparams(ID, *ITS)
EMPTY = text(
    """
    DELETE FROM deliveries
    WHERE producer_id IS NOT DISTINCT FROM :producer AND id >= :since AND type = 'jobs.digest'
        AND json_array_length(payload::json -> 'data' -> 'jobs') = 0
    """
).bindparams(*ITS)
PUT_ASIDE = text(
    "DELETE FROM digests WHERE batch_id = :batch AND job::json ->> 'id' = :job RETURNING id"
).bindparams(ID, bindparam("batch", type_=Uuid))


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
    its = {"job": str(job_id), "producer": producer_id, "since": _first_id(since)}
    told = len(database.scalars(FORGET, its).all())
    taken_out = len(database.scalars(TAKE_OUT, its).all())
    if taken_out:
        database.execute(EMPTY, its)
    if batch_id is not None:
        told += len(database.scalars(PUT_ASIDE, its | {"batch": batch_id}).all())
    return told + taken_out


def _first_id(moment: datetime) -> uuid.UUID:
    """The least UUIDv7 of a moment."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)
