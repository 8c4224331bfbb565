"""Blocking: ready jobs of a blocked batch leave the queue, many by one statement."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Double,
    Integer,
    Row,
    Select,
    Uuid,
    bindparam,
    column,
    func,
    select,
    true,
    update,
)

from cutout.models import BATCHES, JOBS
from cutout.models.columns import BLOCKED, READY
from cutout.models.database import Database
from cutout.models.query_parts import is_among
from cutout.queue.blocks.conditions import BATCH_IS_BLOCKED, IS_BLOCKED
from cutout.queue.producer_shares import jobs_in_queues
from cutout.queue.queue_scan import JOB_OWNER, QueueKey

# Read by one statement: with the rounds of a dispatch, a paused batch is out of the queue within seconds.
MOST_BLOCKED = 2000


def _block() -> Select[uuid.UUID, int, float]:
    """Block more jobs of these queues, from these virtual starts on; returns the last start of each."""
    given = func.unnest(
        bindparam("owners", type_=ARRAY(Uuid)),
        bindparam("priorities", type_=ARRAY(Integer)),
        bindparam("virtual_starts", type_=ARRAY(Double)),
    ).table_valued(column("owner", Uuid), column("priority", Integer), column("virtual_start", Double))
    queues = given.render_derived(name="given")
    near = jobs_in_queues(queues).add_columns(JOBS.c.batch_id)
    jobs = near.limit(bindparam("each", type_=Integer)).lateral("near")
    head = select(jobs.c.id, jobs.c.batch_id).select_from(queues).join(jobs, true()).subquery()
    blocked = select(head.c.id).join(BATCHES, BATCHES.c.id == head.c.batch_id).where(IS_BLOCKED)
    # A cancellation locks some of them, in another order.
    unlocked = select(JOBS.c.id).where(is_among(JOBS.c.id, blocked)).with_for_update(skip_locked=True)
    now_blocked = (
        update(JOBS)
        .where(is_among(JOBS.c.id, unlocked), JOBS.c.queue_state == READY, BATCH_IS_BLOCKED)
        .values(queue_state=BLOCKED)
        .returning(JOB_OWNER.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
        .cte("now_blocked")
    )
    queue = (now_blocked.c.owner, now_blocked.c.priority)
    return select(*queue, func.max(now_blocked.c.virtual_start).label("virtual_start")).group_by(*queue)


BLOCK = _block()


def block_behind(database: Database, blocked: Sequence[Row[Any]]) -> Iterable[Row[Any]]:
    """Block more jobs in the queues of these jobs, which were just blocked.

    Returns for each queue its owner and priority, and the last virtual_start of a job that left it.
    """
    virtual_starts: dict[QueueKey, float] = {}
    for row in blocked:
        queue = (row.owner, row.priority)
        virtual_starts[queue] = min(row.virtual_start, virtual_starts.get(queue, row.virtual_start))
    if not virtual_starts:
        return []
    parameters = {
        "owners": [owner for owner, _ in virtual_starts],
        "priorities": [priority for _, priority in virtual_starts],
        "virtual_starts": list(virtual_starts.values()),
        "each": MOST_BLOCKED // len(virtual_starts),
    }
    return database.execute(BLOCK, parameters)
