"""What the jobs of a batch that waits for approval will cost."""

import uuid

from sqlalchemy import Connection, text, update

from jobs.ingest.sample import SAMPLE, Sampled, as_parameters, look
from jobs.models import INGESTS
from jobs.storage import Bucket
from jobs.store import Making

# A picture is known by its bytes, or by what its address held when it was last fetched.
JUDGED = """
    WITH pictures AS (
        SELECT count(*) AS jobs, return_form, coalesce(source_sha256, content_sha256) AS content,
            CASE WHEN coalesce(source_sha256, content_sha256) IS NULL THEN jobs.source END AS unknown
        FROM jobs LEFT JOIN sources ON address_sha256 = sha256(convert_to(jobs.source, 'UTF8'))
        WHERE batch_id = :batch AND state <> 'cancelled'
        GROUP BY return_form, content, unknown
    ), judged AS (
        SELECT jobs, r.key IS NOT NULL AS bought, r.key, r.sha256, r.size_bytes
        FROM pictures LEFT JOIN bought_results r
        ON :reuse AND r.source_sha256 = content AND r.return_form = pictures.return_form
            AND r.endpoint = :endpoint AND r.preparation = :preparation AND r.bucket = :bucket
            AND r.scope = :scope AND r.key IS NOT NULL
    )
"""
COUNT = text(f"""
    {JUDGED}
    SELECT coalesce(sum(jobs), 0)::bigint AS jobs,
        coalesce(sum(jobs) FILTER (WHERE bought), 0)::bigint AS bought,
        count(*) FILTER (WHERE NOT bought) AS pictures
    FROM judged
""")  # noqa: S608 - made of the constant above
CUTOUTS = text(f"{JUDGED} {SAMPLE}")


def plan_batch(connection: Connection, batch_id: uuid.UUID, *, making: Making | None, bucket: Bucket) -> None:
    """Write down what the batch would cost now, in a transaction that the caller ends.

    `making` says which results would do, None that none may. A sample of them is looked for in the bucket
    first, outside any transaction.
    """
    asked = as_parameters(making) | {"batch": batch_id}
    jobs, bought, pictures = connection.execute(COUNT, asked).one()
    sampled = [Sampled(*row) for row in connection.execute(CUTOUTS, asked)] if bought else []
    connection.commit()
    missing = look(bucket, sampled).missing_of(bought)
    calls = pictures if making else jobs
    plan = {
        "already_bought": bought,
        "same_picture": jobs - bought - calls,
        "calls": calls,
        "missing": missing,
    }
    connection.execute(update(INGESTS).where(INGESTS.c.batch_id == batch_id).values(plan=plan))
