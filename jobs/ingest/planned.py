"""What the jobs of a batch that waits for approval will cost."""

import uuid
from dataclasses import asdict

from sqlalchemy import Connection, text, update

from jobs.models import INGESTS
from jobs.store import Making

# A picture is known by its bytes, or by what its address held when it was last fetched.
COUNT = text("""
    WITH pictures AS (
        SELECT count(*) AS jobs, return_form, coalesce(source_sha256, content_sha256) AS content,
            CASE WHEN coalesce(source_sha256, content_sha256) IS NULL THEN jobs.source END AS unknown
        FROM jobs LEFT JOIN sources ON address_sha256 = sha256(convert_to(jobs.source, 'UTF8'))
        WHERE batch_id = :batch AND state <> 'cancelled'
        GROUP BY return_form, content, unknown
    ), judged AS (
        SELECT jobs, :reuse AND EXISTS (
            SELECT FROM results r
            WHERE r.source_sha256 = content AND r.return_form = pictures.return_form
            AND r.endpoint = :endpoint AND r.preparation = :preparation AND r.stored_at IS NOT NULL
        ) AS bought FROM pictures
    )
    SELECT coalesce(sum(jobs), 0)::bigint AS jobs,
        coalesce(sum(jobs) FILTER (WHERE bought), 0)::bigint AS bought,
        count(*) FILTER (WHERE NOT bought) AS pictures
    FROM judged
""")


def plan_batch(connection: Connection, batch_id: uuid.UUID, *, making: Making | None) -> None:
    """Write down what the batch would cost now, in the caller's transaction.

    `making` says which results would do, None that none may.
    """
    wanted = asdict(making) if making else {"endpoint": "", "preparation": 0}
    asked = wanted | {"batch": batch_id, "reuse": making is not None}
    jobs, bought, pictures = connection.execute(COUNT, asked).one()
    calls = pictures if making else jobs
    plan = {"already_bought": bought, "same_picture": jobs - bought - calls, "calls": calls}
    connection.execute(update(INGESTS).where(INGESTS.c.batch_id == batch_id).values(plan=plan))
