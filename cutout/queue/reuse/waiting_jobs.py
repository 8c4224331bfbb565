"""Waiting jobs: each waits for its buyer, the job that buys the cutout of the same picture.

Nothing notifies them: the dispatcher scans an index of the buyers, some of them a tick, and reads each
buyer's own row. So no end of a buyer is missed, and no job that began to wait just after it.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    SmallInteger,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    func,
    not_,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)

from cutout.enums import QueueState, State
from cutout.models import JOBS, constant
from cutout.models.columns import (
    BLOCKED,
    CALL_STEP,
    COPY_STEP,
    QUEUED,
    READY,
    RUNNING,
    SOURCE_LIMIT,
    WAITING,
)
from cutout.models.database import Database
from cutout.models.query_parts import loose_index_scan
from cutout.producers.producers import PRODUCER_IS_SUSPENDED, is_suspended
from cutout.queue.blocks.conditions import BATCH_IS_BLOCKED
from cutout.queue.blocks.download_limit import is_on_the_web
from cutout.queue.queue_scan import JOB_OWNER
from cutout.queue.queue_watermarks import QueueWatermarks

# Buyers that one tick reads, jobs of one buyer that are moved at once, and jobs that one tick moves.
MOST_READ = 200
MOST_PROMOTED = 1000
MOST_MOVED = 5000
NIL = uuid.UUID(int=0)

IS_WAITING = JOBS.c.queue_state == WAITING
HAS_WAITING_JOBS = select(JOBS.c.id).where(IS_WAITING).exists()
BUYER = bindparam("buyer", type_=Uuid)


def is_buying(table: Any) -> ColumnElement[bool]:
    """Whether a job is on its way to buy its cutout; BUYER_DOES_NOT_BUY in acquire.py is the same rule.

    A job of a suspended producer is not, unless it is running or paid for.
    """
    is_kept_back = table.c.queue_state.in_([WAITING, BLOCKED, SOURCE_LIMIT])
    buys = or_(table.c.step == COPY_STEP, not_(is_suspended(table.c.producer_id)))
    return and_(
        table.c.state.in_([QUEUED, RUNNING]),
        or_(table.c.queue_state.is_(None), and_(not_(is_kept_back), buys)),
    )


_BUYER = JOBS.alias("buyer_job")
BUYER_IS_BUYING = select(_BUYER.c.id).where(_BUYER.c.id == BUYER, is_buying(_BUYER)).exists()
BUYER_SUCCEEDED = (
    select(_BUYER.c.id).where(_BUYER.c.id == BUYER, _BUYER.c.state == constant(State.SUCCEEDED)).exists()
)


def _scan() -> Select[*tuple[Any, ...]]:
    """The next buyers: whether each is buying, and the best position of a job that waits for it."""
    scan = loose_index_scan(JOBS.c.waits_for, IS_WAITING)
    buyers = JOBS.alias("buyers")
    best = (
        select(JOBS.c.producer_id, JOBS.c.priority, JOBS.c.virtual_start)
        .where(IS_WAITING, JOBS.c.waits_for == scan.c.waits_for)
        .order_by(JOBS.c.priority, JOBS.c.virtual_start)
        .limit(1)
        .lateral("best")
    )
    # Virtual starts of two producers cannot be compared: a job of another one passes on its priority only.
    is_own = best.c.producer_id.is_not_distinct_from(buyers.c.producer_id)
    virtual_start = case((is_own, best.c.virtual_start), else_=buyers.c.virtual_start)
    return (
        select(
            scan.c.waits_for,
            func.coalesce(is_buying(buyers), False).label("is_buying"),
            and_(
                buyers.c.step == CALL_STEP,
                tuple_(best.c.priority, virtual_start) < tuple_(buyers.c.priority, buyers.c.virtual_start),
            ).label("is_behind"),
            best.c.priority,
            virtual_start.label("virtual_start"),
        )
        .select_from(scan)
        .join(best, true())
        .outerjoin(buyers, buyers.c.id == scan.c.waits_for)
        .order_by(scan.c.waits_for)
    )


BUYER_IS_OVER_SOURCE_LIMIT = (
    select(_BUYER.c.id)
    .where(
        _BUYER.c.id == BUYER,
        _BUYER.c.queue_state == SOURCE_LIMIT,
        _BUYER.c.producer_id.is_not_distinct_from(JOBS.c.producer_id),
    )
    .correlate(JOBS)
    .exists()
)
# The queue state of a waiting job that could not buy either. If such jobs became the buyer one after the
# other, each change would move all of them.
KEPT_BACK_AS = case(
    (BATCH_IS_BLOCKED, BLOCKED),
    (PRODUCER_IS_SUSPENDED, READY),
    (and_(is_on_the_web(JOBS.c.source), BUYER_IS_OVER_SOURCE_LIMIT), SOURCE_LIMIT),
    else_=null(),
)


def _promote() -> Update:
    """Promote all waiting jobs of a buyer that succeeded; of one that does not buy, one for each picture.

    The others wait for that first one then: only one of them can buy, and each may fail in turn. Jobs that
    are kept back themselves do not wait any more.
    """
    some = (
        select(
            JOBS.c.id,
            JOBS.c.source_sha256,
            JOBS.c.bought_form,
            JOBS.c.priority,
            JOBS.c.virtual_start,
            cast(KEPT_BACK_AS, Text).label("kept_back_as"),
        )
        .where(IS_WAITING, JOBS.c.waits_for == BUYER, not_(BUYER_IS_BUYING))
        .order_by(JOBS.c.priority, JOBS.c.virtual_start)
        .limit(MOST_PROMOTED)
        # A cancellation locks some of them, in another order.
        .with_for_update(skip_locked=True, of=JOBS)
        .cte("some")
    )
    first = (
        func.first_value(some.c.id)
        .over(
            partition_by=[some.c.source_sha256, some.c.bought_form, some.c.kept_back_as.is_(None)],
            order_by=[some.c.priority, some.c.virtual_start, some.c.id],
        )
        .label("first")
    )
    ranked = select(some.c.id, some.c.kept_back_as, first).cte("ranked")
    waits_on = and_(ranked.c.kept_back_as.is_(None), ranked.c.id != ranked.c.first, not_(BUYER_SUCCEEDED))
    return (
        update(JOBS)
        .where(JOBS.c.id == ranked.c.id, IS_WAITING, JOBS.c.waits_for == BUYER)
        .values(
            queue_state=case(
                (waits_on, WAITING),
                (BUYER_SUCCEEDED, READY),
                else_=func.coalesce(ranked.c.kept_back_as, READY),
            ),
            waits_for=case((waits_on, ranked.c.first), else_=JOBS.c.waits_for),
            scheduled_at=func.now(),
        )
        .returning(JOBS.c.queue_state, JOB_OWNER.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
    )


SCAN = _scan()
PROMOTE = _promote()
# Priority inheritance: the buyer goes as early as the first job that waits for it.
INHERIT = (
    update(JOBS)
    .where(
        JOBS.c.id == BUYER,
        is_buying(JOBS),
        JOBS.c.step == CALL_STEP,
        tuple_(JOBS.c.priority, JOBS.c.virtual_start)
        > tuple_(bindparam("new_priority", type_=SmallInteger), bindparam("new_start", type_=Double)),
    )
    .values(
        priority=bindparam("new_priority", type_=SmallInteger),
        virtual_start=bindparam("new_start", type_=Double),
    )
    .returning(JOB_OWNER.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
)
IS_ABANDONED = and_(
    IS_WAITING,
    ~select(_BUYER.c.id).where(_BUYER.c.id == JOBS.c.waits_for, is_buying(_BUYER)).correlate(JOBS).exists(),
)


def promote_waiting_for(
    database: Database, buyer: uuid.UUID, watermarks: QueueWatermarks | None = None
) -> int:
    """Promote the jobs that wait for this one, unless it is buying; returns how many were moved."""
    rows = database.execute(PROMOTE, {"buyer": buyer}).all()
    if watermarks is not None:
        watermarks.added(row for row in rows if row.queue_state == QueueState.READY)
    return len(rows)


def abandoned_by_buyers(database: Database, most: int, job_id: uuid.UUID | None = None) -> Sequence[Any]:
    """Find at most `most` jobs whose buyer does not buy any more.

    Each has id and waits_for, and is_own: only a buyer of the same producer may be shown.
    """
    is_own = (
        select(_BUYER.c.id)
        .where(
            _BUYER.c.id == JOBS.c.waits_for,
            _BUYER.c.producer_id.is_not_distinct_from(JOBS.c.producer_id),
        )
        .correlate(JOBS)
        .exists()
    )
    found = select(JOBS.c.id, JOBS.c.waits_for, is_own.label("is_own")).where(IS_ABANDONED).limit(most)
    return database.execute(found if job_id is None else found.where(JOBS.c.id == job_id)).all()


class WaitingJobsPromoter:
    """The position of a dispatcher in its scan of the buyers; another dispatcher begins at the first."""

    def __init__(self) -> None:
        self._after = NIL

    def promote(self, database: Database, watermarks: QueueWatermarks | None = None) -> int:
        """Promote jobs whose buyer is done, and let buyers inherit priority; returns how many jobs moved."""
        rows = database.execute(SCAN, {"after": self._after, "most": MOST_READ}).all()
        self._after = rows[-1].waits_for if len(rows) == MOST_READ else NIL
        moved, before = 0, NIL
        for row in rows:
            if moved >= MOST_MOVED:
                self._after = before
                break
            before = row.waits_for
            if not row.is_buying:
                moved += promote_waiting_for(database, row.waits_for, watermarks)
            elif row.is_behind:
                inherited = {"new_priority": row.priority, "new_start": row.virtual_start}
                buyers = database.execute(INHERIT, {"buyer": row.waits_for} | inherited).all()
                if watermarks is not None:
                    watermarks.added(buyers)
        return moved
