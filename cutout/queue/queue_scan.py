"""The queues that have a ready job: one for each producer and priority, found by a loose scan of their index.

An old snapshot keeps dead index entries, and they lie before the first ready job of a queue. In queues with
many of them the scan begins at a watermark: see cutout/queue/queue_watermarks.py.
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

QueueKey = tuple[uuid.UUID, int]
"""A queue: its owner and its priority."""

# The owner of the queue that a job is in; the nil UUID stands for jobs without a producer.
JOB_OWNER = literal_column(OWNER.replace("producer_id", "jobs.producer_id"), Uuid)
IS_READY_FOR_CALL = and_(JOBS.c.queue_state == constant(QueueState.READY), JOBS.c.step == constant(Step.CALL))

# Before and behind every possible queue.
BEFORE_ALL: QueueKey = (uuid.UUID(int=0), -1)
BEHIND_ALL: QueueKey = (uuid.UUID(int=2**128 - 1), 2**15 - 1)


def watermark_parameters(watermarks: Mapping[QueueKey, float]) -> dict[str, Any]:
    """The parameters of the statements below: queues with a watermark, and the gaps between two of them."""
    queues = sorted(watermarks)
    begins, ends = [BEFORE_ALL, *queues], [*queues, BEHIND_ALL]
    return {
        "marked_owners": [owner for owner, _ in queues],
        "marked_priorities": [priority for _, priority in queues],
        "marked_starts": [watermarks[queue] for queue in queues],
        "after_owners": [owner for owner, _ in begins],
        "after_priorities": [priority for _, priority in begins],
        "before_owners": [owner for owner, _ in ends],
        "before_priorities": [priority for _, priority in ends],
    }


ARRAYS: dict[str, TypeEngine[Any]] = {"owners": Uuid(), "priorities": Integer(), "starts": Double()}


def _table(name: str, **columns: str) -> TableValuedAlias:
    """A table made of array parameters, one for each column."""
    types = {each: ARRAYS[parameter.split("_")[1]] for each, parameter in columns.items()}
    arrays = [bindparam(columns[each], type_=ARRAY(kind)) for each, kind in types.items()]
    named = [column(each, kind) for each, kind in types.items()]
    return func.unnest(*arrays).table_valued(*named).render_derived(name=name)


def nonempty_queues(*, marked: bool = False) -> CTE:
    """Each queue that has a ready job: owner, priority, and virtual_start of its first job.

    One step in the index for each queue, however many jobs it has. If `marked`, the statement needs the
    watermark_parameters.
    """
    scan = _scan_between_watermarks() if marked else _scan()
    found = select(scan.c.owner, scan.c.priority, scan.c.virtual_start)
    if not marked:
        return found.cte("queues")
    marks = _table(
        "marked", owner="marked_owners", priority="marked_priorities", virtual_start="marked_starts"
    )
    first = first_virtual_start(marks.c.owner, marks.c.priority, marks.c.virtual_start)
    tail = first.lateral("first_of_marked")
    tails = select(marks.c.owner, marks.c.priority, tail.c.virtual_start).join_from(marks, tail, true())
    return union_all(tails, found).cte("queues")


def first_virtual_start(
    owner: ColumnElement[Any], priority: ColumnElement[int], since: ColumnElement[float] | None = None
) -> Select[Any]:
    """The virtual_start of a queue's first job, or of its first one at or after `since`."""
    first = (
        select(JOBS.c.virtual_start)
        .where(IS_READY_FOR_CALL, owner == JOB_OWNER, JOBS.c.priority == priority)
        .order_by(JOBS.c.virtual_start)
        .limit(1)
        .correlate_except(JOBS)
    )
    return first if since is None else first.where(JOBS.c.virtual_start >= since)


JOB_QUEUE = tuple_(JOB_OWNER, JOBS.c.priority)
NEXT_QUEUE = (
    select(JOB_OWNER.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
    .where(IS_READY_FOR_CALL)
    .order_by(JOB_OWNER, JOBS.c.priority, JOBS.c.virtual_start)
    .limit(1)
    .correlate_except(JOBS)
)


def _scan() -> CTE:
    scan = select(NEXT_QUEUE.subquery("first_queue")).cte("scan", recursive=True)
    following = NEXT_QUEUE.where(tuple_(scan.c.owner, scan.c.priority) < JOB_QUEUE).lateral("next_queue")
    return scan.union_all(select(following).join_from(scan, following, true()))


def _scan_between_watermarks() -> CTE:
    gaps = _table(
        "gaps",
        after_owner="after_owners",
        after_priority="after_priorities",
        before_owner="before_owners",
        before_priority="before_priorities",
    )
    is_behind = tuple_(gaps.c.after_owner, gaps.c.after_priority) < JOB_QUEUE
    first = _before_gap_end(gaps).where(is_behind).lateral("first_queue")
    scan = select(first, *_gap_end(gaps)).join_from(gaps, first, true()).cte("scan", recursive=True)
    is_behind = tuple_(scan.c.owner, scan.c.priority) < JOB_QUEUE
    following = _before_gap_end(scan).where(is_behind).lateral("next_queue")
    return scan.union_all(select(following, *_gap_end(scan)).join_from(scan, following, true()))


def _gap_end(gap: FromClause) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return gap.c.before_owner, gap.c.before_priority


def _before_gap_end(gap: FromClause) -> Select[Any]:
    return NEXT_QUEUE.where(tuple_(*_gap_end(gap)) > JOB_QUEUE)
