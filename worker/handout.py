"""Messages for jobs that were handed out: the job's id and its fence, nothing else."""

import logging
import uuid
from datetime import timedelta

from kombu.exceptions import OperationalError

from jobs.states import Step
from worker.app import app, process_job

log = logging.getLogger(__name__)


def publish(step: Step, handed_out: list[tuple[uuid.UUID, int]], *, lease: timedelta) -> int:
    """Send a message for each job; returns how many went out.

    What did not go out, or is lost on its way, is handed out again when its lease ends.
    """
    sent = 0
    try:
        with app.producer_pool.acquire(block=True, timeout=5) as producer:
            for job_id, fence in handed_out:
                process_job.apply_async(
                    (str(job_id), fence), queue=step, expires=lease.total_seconds(), producer=producer
                )
                sent += 1
    except (OperationalError, OSError) as error:
        log.warning(
            "Redis is away (%s): %d of %d messages went out", type(error).__name__, sent, len(handed_out)
        )
    return sent
