"""Whether anything is to be done about runs: asked each second, so it costs next to nothing."""

from sqlalchemy import func, or_, select

from jobs.database import Database
from jobs.models import BATCHES, RUNS, constant
from jobs.schedules.words import UNDER_WAY, RunState

RUNS_ARE_OPEN = select(
    or_(
        select(RUNS.c.id).where(RUNS.c.state == constant(RunState.WAITING)).exists(),
        select(RUNS.c.id).where(RUNS.c.state.in_([constant(state) for state in UNDER_WAY])).exists(),
        select(BATCHES.c.id).where(BATCHES.c.closes_at <= func.now()).exists(),
    )
)


def runs_are_open(database: Database) -> bool:
    """Whether a run waits or is under way, or a batch's window closed."""
    return bool(database.scalar(RUNS_ARE_OPEN))
