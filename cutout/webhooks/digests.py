"""Messages for many jobs of a batch at once.

A trigger puts each job aside in the transaction that ends or holds it; here they are taken out and announced
in one statement, so that none is missed and none is told of twice.
"""

import time
from datetime import timedelta

from sqlalchemy import Connection, Integer, Interval, Uuid, bindparam, text

from cutout.models.columns import OWNER

# So many jobs a message, some 100 KB; fewer once the first of them has waited so long.
MOST_JOBS = 200
LATEST = timedelta(seconds=5)
# Producers, and batches of one of them, that one look goes through: what is told makes room for the next.
MOST_OWNERS = 500
MOST_BATCHES = 20
# Whoever looks for digests finds receivers as well, for everybody.
LONGEST_S = 0.25

# From each producer to the next by the index, and from one batch of it to the next, however many jobs are
# put aside. Those that do not all have a turn in one look have it in any order: none stays the last.
DUE = text(
    f"""
    WITH RECURSIVE owners (owner, n) AS (
        (SELECT {OWNER}, 1 FROM digests ORDER BY {OWNER} LIMIT 1)
        UNION ALL
        SELECT following.owner, n + 1 FROM owners CROSS JOIN LATERAL (
            SELECT {OWNER} AS owner FROM digests WHERE {OWNER} > owners.owner ORDER BY {OWNER} LIMIT 1
        ) following
        WHERE n < :most_owners
    )
    SELECT owners.owner, found.batch_id
    FROM owners CROSS JOIN LATERAL (
        WITH RECURSIVE found (batch_id, since, n) AS (
            (
                SELECT batch_id, created_at, 1 FROM digests WHERE {OWNER} = owners.owner
                ORDER BY {OWNER}, batch_id, id LIMIT 1
            )
            UNION ALL
            SELECT following.batch_id, following.created_at, n + 1 FROM found CROSS JOIN LATERAL (
                SELECT batch_id, created_at FROM digests
                WHERE {OWNER} = owners.owner AND batch_id > found.batch_id
                ORDER BY {OWNER}, batch_id, id LIMIT 1
            ) following
            WHERE n < :most_batches
        )
        SELECT * FROM found
    ) found
    WHERE since <= now() - :latest OR EXISTS (
        SELECT FROM digests WHERE {OWNER} = owners.owner AND batch_id = found.batch_id
        OFFSET :full - 1 LIMIT 1
    )
    ORDER BY row_number() OVER (PARTITION BY owner ORDER BY since), random()
    """  # noqa: S608 - constants
).bindparams(
    bindparam("most_owners", MOST_OWNERS, type_=Integer),
    bindparam("most_batches", MOST_BATCHES, type_=Integer),
    bindparam("full", MOST_JOBS, type_=Integer),
    bindparam("latest", LATEST, type_=Interval),
)
TELL = text(
    f"""
    WITH taken AS (
        DELETE FROM digests WHERE id = ANY(ARRAY(
            SELECT id FROM digests WHERE {OWNER} = :owner AND batch_id = :batch
            ORDER BY {OWNER}, batch_id, id LIMIT :full
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
    """  # noqa: S608 - constants
).bindparams(
    bindparam("owner", type_=Uuid),
    bindparam("batch", type_=Uuid),
    bindparam("full", MOST_JOBS, type_=Integer),
)


def tell_digests(connection: Connection) -> int:
    """Announce what was put aside long enough, or is enough for a message; returns of how many jobs.

    Each message commits by itself; one of each producer first, and no more than go within LONGEST_S.
    """
    told, ends_at = 0, time.monotonic() + LONGEST_S
    while True:
        before = told
        for owner, batch_id in connection.execute(DUE).all():
            if told and time.monotonic() > ends_at:
                return told
            its = {"owner": owner, "batch": batch_id}
            told += sum(row.jobs for row in connection.execute(TELL, its))
        if told == before:
            return told
