"""Messages for many jobs of a batch at once.

A trigger puts each job aside in the transaction that ends or holds it; here they are taken out and announced
in one statement, so that none is missed and none is told of twice.
"""

import time
import uuid
from datetime import timedelta

from sqlalchemy import Connection, Integer, Interval, Uuid, bindparam, text

# So many jobs a message, some 100 KB; fewer once the first of them has waited so long.
MOST_JOBS = 200
LATEST = timedelta(seconds=5)
# Looked at at a time, in the order in which they were put aside.
MOST_LOOKED_AT = 5000
# Whoever looks for digests finds receivers as well, for everybody.
LONGEST_S = 0.25

DUE = text(
    """
    SELECT batch_id FROM (
        SELECT batch_id, producer_id, created_at FROM digests ORDER BY id LIMIT :most
    ) AS first
    GROUP BY batch_id, producer_id
    HAVING count(*) >= :full OR min(created_at) <= now() - :latest
    ORDER BY row_number() OVER (PARTITION BY producer_id ORDER BY min(created_at)), min(created_at)
    """
).bindparams(
    bindparam("most", MOST_LOOKED_AT, type_=Integer),
    bindparam("full", MOST_JOBS, type_=Integer),
    bindparam("latest", LATEST, type_=Interval),
)
TELL = text(
    """
    WITH taken AS (
        DELETE FROM digests WHERE id = ANY(ARRAY(
            SELECT id FROM (SELECT id, batch_id FROM digests ORDER BY id LIMIT :most) AS first
            WHERE batch_id = :batch ORDER BY id LIMIT :full
        ))
        RETURNING id, batch_id, url, job, producer_id
    )
    SELECT
        announce(
            url, 'jobs.digest',
            json_build_object('batch_id', batch_id, 'jobs', json_agg(job::json ORDER BY id)),
            producer_id
        ),
        count(*) AS jobs
    FROM taken GROUP BY batch_id, url, producer_id
    """
).bindparams(
    bindparam("most", MOST_LOOKED_AT, type_=Integer),
    bindparam("full", MOST_JOBS, type_=Integer),
    bindparam("batch", type_=Uuid),
)


def tell_digests(connection: Connection) -> int:
    """Announce what was put aside long enough, or is enough for a message; returns of how many jobs.

    Each message commits by itself; one of each producer first, and no more than go within LONGEST_S.
    """
    batches: list[uuid.UUID] = list(connection.scalars(DUE))
    told, ends_at = 0, time.monotonic() + LONGEST_S
    for batch_id in batches:
        if told and time.monotonic() > ends_at:
            break
        told += sum(row.jobs for row in connection.execute(TELL, {"batch": batch_id}))
    return told
