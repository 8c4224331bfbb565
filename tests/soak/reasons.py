"""Whether each job that waits says why: one of each kind is asked, as a person would ask it."""

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import State
from cutout.models import Job
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain

# One of each kind of waiting.
WAITING = text(
    "SELECT DISTINCT ON (batch_id, state, queue_state, step, code) id FROM jobs WHERE finished_at IS NULL"
    " ORDER BY batch_id, state, queue_state, step, code, id"
)


def silent_jobs(engine: Engine, installation: CallSettings) -> list[str]:
    """A line for each job that waits and of which nobody can see why."""
    with Session(engine) as session:
        lines = []
        for job_id in session.scalars(WAITING).all():
            job = session.get_one(Job, job_id, populate_existing=True)
            found = explain(session, job, installation)
            if not (found.why and found.text) or (job.state == State.HELD and found.remedy is None):
                lines.append(f"job {job_id} is {job.state} {job.queue_state or ''}: {found}")
    return lines
