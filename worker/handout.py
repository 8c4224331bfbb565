"""Messages for jobs that were handed out: the job's id and its fence, nothing else."""

import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from kombu.exceptions import KombuError

from jobs.states import Step
from worker.app import app, process_job

log = logging.getLogger(__name__)


def publish(step: Step, handed_out: list[tuple[uuid.UUID, int]], *, lease: timedelta) -> int:
    """Send a message for each job, all in one go; returns how many went out, which is all or none.

    What did not go out, or is lost on its way, is handed out again when its lease ends.
    """
    expires = (datetime.now(UTC) + lease).isoformat()
    try:
        with app.producer_pool.acquire(block=True, timeout=5) as producer, producer.batch():
            for job_id, fence in handed_out:
                producer.publish(**_message(job_id, fence, expires), routing_key=step, serializer="json")
    except (KombuError, redis.RedisError, OSError) as error:
        log.warning("Redis is away (%s): %d messages did not go out", type(error).__name__, len(handed_out))
        return 0
    return len(handed_out)


def _message(job_id: uuid.UUID, fence: int, expires: str) -> dict[str, Any]:
    """What process_job.apply_async would send, without the rest of its work: a fifth of the CPU."""
    made = app.amqp.create_task_message(
        str(uuid.uuid4()), process_job.name, (str(job_id), fence), expires=expires, origin="dispatcher"
    )
    return {"body": made.body, "headers": made.headers, **made.properties}
