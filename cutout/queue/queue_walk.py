"""The lines that have a job in them: one for each producer and priority, found by steps in their index.

Beside an old snapshot the index keeps what left a line, before what is there now. A statement is told by
marks where to begin in the lines that have much of that: see cutout/queue/index_marks.py.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    Double,
    FromClause,
    Integer,
    Select,
    Uuid,
    and_,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

from cutout.enums import QueueState, Step
from cutout.models import JOBS, constant
from cutout.models.columns import OWNER

QueueClock = tuple[uuid.UUID, int]
"""An owner and a priority."""

# Whose line a job stands in; the nil UUID stands for jobs without a producer.
OWNER_OF_JOB = literal_column(OWNER.replace("producer_id", "jobs.producer_id"), Uuid)
WAITS_FOR_A_CALL = and_(JOBS.c.queue_state == constant(QueueState.READY), JOBS.c.step == constant(Step.CALL))

# Before and behind any line that there can be.
BEFORE_ALL: QueueClock = (uuid.UUID(int=0), -1)
BEHIND_ALL: QueueClock = (uuid.UUID(int=2**128 - 1), 2**15 - 1)


def parameters_of(marks: Mapping[QueueClock, float]) -> dict[str, Any]:
    """The values that the statements below wait for: marked lines, and what lies between two of them."""
    lines = sorted(marks)
    begins, ends = [BEFORE_ALL, *lines], [*lines, BEHIND_ALL]
    return {
        "marked_owners": [owner for owner, _ in lines],
        "marked_priorities": [priority for _, priority in lines],
        "marked_starts": [marks[line] for line in lines],
        "after_owners": [owner for owner, _ in begins],
        "after_priorities": [priority for _, priority in begins],
        "before_owners": [owner for owner, _ in ends],
        "before_priorities": [priority for _, priority in ends],
    }


ARRAYS: dict[str, TypeEngine[Any]] = {"owners": Uuid(), "priorities": Integer(), "starts": Double()}


def _table(name: str, **columns: str) -> TableValuedAlias:
    """A table of the arrays in these parameters."""
    types = {each: ARRAYS[parameter.split("_")[1]] for each, parameter in columns.items()}
    arrays = [bindparam(columns[each], type_=ARRAY(kind)) for each, kind in types.items()]
    named = [column(each, kind) for each, kind in types.items()]
    return func.unnest(*arrays).table_valued(*named).render_derived(name=name)


def lines_in_line(*, marked: bool = False) -> CTE:
    """Each line that has a job, and the virtual start of its first one: its owner, priority and virtual_start.

    A step of the index for each, however many jobs stand there. If `marked`, it waits for the parameters_of
    marks.
    """
    walk = _walk_between_marks() if marked else _walk()
    walked = select(walk.c.owner, walk.c.priority, walk.c.virtual_start)
    if not marked:
        return walked.cte("lines")
    marks = _table(
        "marked", owner="marked_owners", priority="marked_priorities", virtual_start="marked_starts"
    )
    first = first_of(marks.c.owner, marks.c.priority, marks.c.virtual_start).lateral("first_of_marked")
    tails = select(marks.c.owner, marks.c.priority, first.c.virtual_start).join_from(marks, first, true())
    return union_all(tails, walked).cte("lines")


def first_of(
    owner: ColumnElement[Any], priority: ColumnElement[int], virtual_start: ColumnElement[float] | None = None
) -> Select[Any]:
    """The virtual_start of a line's first job, or of its first one from a virtual start on."""
    first = (
        select(JOBS.c.virtual_start)
        .where(WAITS_FOR_A_CALL, owner == OWNER_OF_JOB, JOBS.c.priority == priority)
        .order_by(JOBS.c.virtual_start)
        .limit(1)
        .correlate_except(JOBS)
    )
    return first if virtual_start is None else first.where(JOBS.c.virtual_start >= virtual_start)


LINE_OF_JOB = tuple_(OWNER_OF_JOB, JOBS.c.priority)
NEXT_LINE = (
    select(OWNER_OF_JOB.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
    .where(WAITS_FOR_A_CALL)
    .order_by(OWNER_OF_JOB, JOBS.c.priority, JOBS.c.virtual_start)
    .limit(1)
    .correlate_except(JOBS)
)


def _walk() -> CTE:
    walk = select(NEXT_LINE.subquery("first_line")).cte("walk", recursive=True)
    its_next = NEXT_LINE.where(tuple_(walk.c.owner, walk.c.priority) < LINE_OF_JOB).lateral("next_line")
    return walk.union_all(select(its_next).join_from(walk, its_next, true()))


def _walk_between_marks() -> CTE:
    gaps = _table(
        "gaps",
        after_owner="after_owners",
        after_priority="after_priorities",
        before_owner="before_owners",
        before_priority="before_priorities",
    )
    behind = tuple_(gaps.c.after_owner, gaps.c.after_priority) < LINE_OF_JOB
    first = _before_the_end(gaps).where(behind).lateral("first_line")
    walk = select(first, *_end(gaps)).join_from(gaps, first, true()).cte("walk", recursive=True)
    behind = tuple_(walk.c.owner, walk.c.priority) < LINE_OF_JOB
    its_next = _before_the_end(walk).where(behind).lateral("next_line")
    return walk.union_all(select(its_next, *_end(walk)).join_from(walk, its_next, true()))


def _end(gap: FromClause) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return gap.c.before_owner, gap.c.before_priority


def _before_the_end(gap: FromClause) -> Select[Any]:
    return NEXT_LINE.where(tuple_(*_end(gap)) > LINE_OF_JOB)
