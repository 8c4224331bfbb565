"""Messages for jobs that were handed out: their ids and fences, nothing else.

None expires: that would be judged by two hosts' clocks. The fence in Postgres says whether one still counts.
"""

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import redis
from kombu.exceptions import KombuError

from cutout.queue.reuse.serve_reused import HandedOut
from worker.app import app, process_job, serve_jobs
from worker.task_kinds import QUEUES, Errand

log = logging.getLogger(__name__)

# Few enough that a thread is free again within a second, many enough that Celery's work for each is small.
PARCEL = 25
# More messages than any window has, some 1 KB each: nobody takes them, and the limit needs the memory.
MOST_QUEUED = 20_000


def publish(errand: Errand, handed_out: HandedOut) -> int:
    """Send all these jobs' messages in one go; returns for how many jobs, which is all or none.

    What did not go out, or is lost on its way, is handed out again when its lease ends.
    """
    try:
        with app.producer_pool.acquire(block=True, timeout=5) as producer:
            queued = producer.channel.queue_declare(queue=QUEUES[errand]).message_count
            if queued + len(handed_out) > MOST_QUEUED:
                log.warning("%d messages in the queue %s: no worker takes them", queued, QUEUES[errand])
                return 0
            with producer.batch():
                for task, arguments in _tasks(errand, handed_out):
                    message = _message(task, arguments)
                    producer.publish(**message, routing_key=QUEUES[errand], serializer="json")
    except (KombuError, redis.RedisError, OSError) as error:
        kind = type(error).__name__
        log.warning("Redis is away (%s): the messages of %d jobs did not go out", kind, len(handed_out))
        return 0
    return len(handed_out)


def _tasks(errand: Errand, handed_out: HandedOut) -> Iterator[tuple[str, tuple[Any, ...]]]:
    named = [(str(job_id), fence) for job_id, fence in handed_out]
    if errand is Errand.SERVE:
        for start in range(0, len(named), PARCEL):
            yield serve_jobs.name, (named[start : start + PARCEL],)
    else:
        for job in named:
            yield process_job.name, job


def _message(task: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """What apply_async would send, without the rest of its work: a fifth of the CPU."""
    made = app.amqp.create_task_message(str(uuid.uuid4()), task, arguments, origin="dispatcher")
    return {"body": made.body, "headers": made.headers, **made.properties}
