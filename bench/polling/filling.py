"""A producer with one batch of a million jobs under way, made in the database by itself."""

import uuid
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.producers.producers import create_producer
from cutout.queue.enqueue import create_batch

# Half of them have ended, one in fifty of these failed; the others wait.
FILL = (
    "INSERT INTO accounts (name) VALUES ('bench')",
    """
    INSERT INTO limits (account, level, open_calls, waiting, calls_per_second, latency_seconds)
    VALUES ('bench', 40, 40, 0, 20, 2)
    """,
    """
    INSERT INTO jobs (producer_id, batch_id, external_id, source, state, queue_state, virtual_start, key,
        sha256,
        media_type, size_bytes, width, height, code, message, finished_at)
    SELECT :producer, :batch, 'SKU-' || n, 'https://shop.example/pictures/' || n || '.jpg',
        CASE WHEN waits THEN 'queued' WHEN fails THEN 'failed' ELSE 'succeeded' END,
        CASE WHEN waits THEN 'ready' END, n,
        CASE WHEN done THEN 'cutouts/' || :batch || '/SKU-' || n || '.png' END,
        CASE WHEN done THEN sha256(n::text::bytea) END,
        CASE WHEN done THEN 'image/png' END, 123456, 1200, 1200,
        CASE WHEN fails THEN 'IMAGE_NOT_A_PICTURE' END,
        CASE WHEN fails THEN 'the file starts with b''not a pi'', which no picture does' END,
        CASE WHEN NOT waits THEN now() - (:rows - n) * interval '10 ms' END
    FROM generate_series(1, :rows) AS n,
        LATERAL (SELECT n > :rows / 2 AS waits) AS later,
        LATERAL (SELECT NOT waits AND n % 50 = 0 AS fails) AS bad,
        LATERAL (SELECT NOT waits AND NOT fails AS done) AS good
    """,
    """
    INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, outcome, ended_at)
    SELECT id, 1, 1, uuidv7(), 'bench', sha256('x'), 'charged', now() FROM jobs WHERE state = 'succeeded'
    """,
)


@dataclass(frozen=True)
class Filled:
    """A filled batch: its producer's key and some of its queued jobs."""

    key: str
    batch_id: uuid.UUID
    waiting: list[uuid.UUID]


def fill(engine: Engine, rows: int) -> Filled:
    """A batch of so many jobs with their calls."""
    with Session(engine) as session, session.begin():
        producer, key = create_producer(session, "bench")
        batch = create_batch(session, "bench", producer_id=producer.id)
        given = {":producer": f"uuid '{producer.id}'", ":batch": f"uuid '{batch.id}'", ":rows": str(rows)}
        for statement in FILL:
            for name, value in given.items():
                statement = statement.replace(name, value)  # noqa: PLW2901 - filled in step by step
            session.connection().exec_driver_sql(statement.replace("%", "%%"))
        batch_id = batch.id
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs, attempts"))
        waiting = connection.scalars(
            text("SELECT id FROM jobs WHERE queue_state = 'ready' ORDER BY id LIMIT 100000")
        )
        return Filled(key, batch_id, list(waiting))
