"""Explanations of a job's outputs that are not made: what each waits for, or why it failed."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Uuid, func, literal_column, select, tuple_
from sqlalchemy.orm import Session

from cutout.enums import OutputState
from cutout.models import OUTPUTS, Job, constant
from cutout.models.columns import OWNER
from cutout.queue.outputs import MOST_TRIES
from cutout.status.explanation import database_now, duration_text, time_text
from cutout.status.render_rate import RenderRate, read_render_rate

# Counting further costs more than the figure is worth.
MOST_COUNTED = 100_000
NO_OWNER = uuid.UUID(int=0)
START_ONE = "start one: `cutout renderer`"
# The same cutout by the same recipe ends like this again.
LASTING = ("OUTPUT_SUBJECT_EMPTY", "OUTPUT_WITHOUT_ALPHA", "OUTPUT_TOO_LARGE", "OUTPUT_FORMAT_LIMIT")


OutputRow = Row[*tuple[Any, ...]]
"""A row of the outputs."""


@dataclass(frozen=True, slots=True)
class OutputExplanation:
    """Why an output is not made; `remedy` says what people can do, if anything."""

    name: str
    state: OutputState
    text: str
    remedy: str | None = None


def explain_outputs(session: Session, job: Job) -> list[OutputExplanation]:
    """Explain the job's outputs, and its score, that are waiting or failed."""
    found: Sequence[OutputRow] = session.execute(
        select(OUTPUTS)
        .where(OUTPUTS.c.job_id == job.id, OUTPUTS.c.state != constant(OutputState.MADE))
        .order_by(OUTPUTS.c.name)
    ).all()
    if not found:
        return []
    rate, now = read_render_rate(session), database_now(session)
    return [_explain(session, output, rate, now) for output in found]


def _explain(session: Session, output: OutputRow, rate: RenderRate, now: datetime) -> OutputExplanation:
    state = OutputState(output.state)
    if state is OutputState.FAILED:
        text = f"{output.code}: {output.message}"
        remedy = None if output.code in LASTING else again(f"cutout render {output.job_id} --again")
        return OutputExplanation(output.name, state, text, remedy)
    if not rate.processes:
        text = f"it waits: no renderer runs{_last_try(output)}"
        return OutputExplanation(output.name, state, text, START_ONE)
    text = _position(session, output, rate) if output.due_at <= now else _under_way(output)
    return OutputExplanation(output.name, state, f"{text}{_last_try(output)}")


def again(command: str) -> str:
    """The remedy for a failed output."""
    return f"remove the cause, then `{command}` makes it, for no credit"


def _last_try(output: OutputRow) -> str:
    if not output.code:
        return ""
    return f"; a try of at most {MOST_TRIES} failed with {output.code}: {output.message}"


def _under_way(output: OutputRow) -> str:
    """The text for an output that a renderer holds, or that is delayed after a try."""
    until = time_text(output.due_at)
    if output.code:
        return f"it is tried again now, or at {until}"
    if output.tries:
        return f"a renderer makes it, try {output.tries}; another one does if that has not ended at {until}"
    return f"it continues at {until}"


def _position(session: Session, output: OutputRow, rate: RenderRate) -> str:
    ahead = _count_ahead(session, output)
    count = f"{'at least ' if ahead == MOST_COUNTED else ''}{ahead:,}"
    text = f"it waits behind {count} other output{'' if ahead == 1 else 's'} of its producer"
    seconds = rate.seconds_for(ahead)
    return text if seconds is None else f"{text}, about {duration_text(timedelta(seconds=seconds))}"


def _count_ahead(session: Session, output: OutputRow) -> int:
    ahead = (
        select(OUTPUTS.c.name)
        .where(
            OUTPUTS.c.state == constant(OutputState.WAITING),
            literal_column(OWNER, Uuid) == (output.producer_id or NO_OWNER),
            tuple_(OUTPUTS.c.priority, OUTPUTS.c.due_at) < tuple_(output.priority, output.due_at),
        )
        .limit(MOST_COUNTED)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(ahead)) or 0
