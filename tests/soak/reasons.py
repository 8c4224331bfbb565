"""Whether each job that waits says why: one of each kind is asked, as a person would ask it."""

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from jobs.explain import Installation, explain
from jobs.models import Job
from jobs.settings import Settings
from jobs.states import State

# One of each kind of waiting.
WAITING = text(
    "SELECT DISTINCT ON (batch_id, state, standing, step, code) id FROM jobs WHERE finished_at IS NULL"
    " ORDER BY batch_id, state, standing, step, code, id"
)
HELD_WITHOUT_REASON = text("SELECT id FROM jobs WHERE state = 'held' AND (code IS NULL OR message IS NULL)")


def silent_jobs(engine: Engine, known: Settings) -> list[str]:
    """A line for each job that waits and of which nobody can see why."""
    installation = Installation.of(known)
    with Session(engine) as session:
        lines = [
            f"job {job_id} is held without a reason" for job_id in session.scalars(HELD_WITHOUT_REASON).all()
        ]
        for job_id in session.scalars(WAITING).all():
            job = session.get_one(Job, job_id, populate_existing=True)
            found = explain(session, job, installation)
            if not (found.why and found.text) or (job.state == State.HELD and found.remedy is None):
                lines.append(f"job {job_id} is {job.state} {job.standing or ''}: {found}")
    return lines
