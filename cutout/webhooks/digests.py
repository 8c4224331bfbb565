"""Digests: messages that report many jobs of a batch at once.

A trigger collects each job once, for all its receivers, in the transaction that ends or holds it. Here one
statement removes the collected jobs and announces them to each receiver, so each job is reported exactly once
to each. A receiver is the batch's webhook, or an endpoint that wanted the event when it happened and still
exists; one that is disabled by now has its message too, which is given up when due and can be replayed.
"""

import time
from datetime import timedelta

from sqlalchemy import Connection, Integer, Interval, Uuid, bindparam, text

from cutout.models.columns import OWNER

# Jobs in a message, some 100 KB; fewer once the first of them has waited for LATEST. One statement takes so
# many jobs of a batch, however many receivers they have.
MOST_JOBS = 200
LATEST = timedelta(seconds=5)
# Limits of one round: producers, and batches of each.
MOST_OWNERS = 500
MOST_BATCHES = 20
# The calling thread also finds the receivers of all other messages.
LONGEST_S = 0.25

# A skip scan from producer to producer and from batch to batch, however many jobs are collected. The random
# order lets every batch come up when one round cannot announce them all.
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
ANNOUNCE_DIGEST = text(
    f"""
    WITH taken AS (
        DELETE FROM digests WHERE id = ANY(ARRAY(
            SELECT id FROM digests WHERE {OWNER} = :owner AND batch_id = :batch
            ORDER BY {OWNER}, batch_id, id LIMIT :full
        ))
        RETURNING id, batch_id, url, job::json AS job, producer_id, endpoint_ids
    ),
    entries AS (
        SELECT id, batch_id, producer_id, NULL::uuid AS endpoint_id, url, job
        FROM taken WHERE url IS NOT NULL
        UNION ALL
        SELECT taken.id, taken.batch_id, taken.producer_id, endpoint.id, endpoint.url, taken.job
        FROM taken JOIN webhook_endpoints endpoint ON endpoint.id = ANY(taken.endpoint_ids)
    ),
    announced AS (
        INSERT INTO deliveries (producer_id, endpoint_id, url, type, payload)
        SELECT producer_id, endpoint_id, url, 'jobs.digest',
            json_build_object(
                'type', 'jobs.digest',
                'timestamp', now(),
                'data', json_build_object('batch_id', batch_id, 'jobs', json_agg(job ORDER BY id))
            )::text
        FROM entries GROUP BY batch_id, url, producer_id, endpoint_id
    )
    SELECT count(*) FROM taken
    """  # noqa: S608 - constants
).bindparams(
    bindparam("owner", type_=Uuid),
    bindparam("batch", type_=Uuid),
    bindparam("full", MOST_JOBS, type_=Integer),
)


def announce_digests(connection: Connection) -> int:
    """Announce the digests that are full or have waited for LATEST; returns the number of jobs in them.

    The messages of each digest commit by themselves. Producers take turns, and no digest begins after
    LONGEST_S.
    """
    announced, ends_at = 0, time.monotonic() + LONGEST_S
    while True:
        before = announced
        for owner, batch_id in connection.execute(DUE).all():
            if announced and time.monotonic() > ends_at:
                return announced
            parameters = {"owner": owner, "batch": batch_id}
            announced += connection.execute(ANNOUNCE_DIGEST, parameters).scalar_one()
        if announced == before:
            return announced
