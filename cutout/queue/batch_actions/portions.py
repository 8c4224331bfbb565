"""Portions of the actions that Postgres alone carries out: cancel, retry, and outputs.

Each is run in the transaction in which the action's row is locked and its next position is written.
"""

import uuid
from collections.abc import Mapping

from sqlalchemy import ARRAY, ColumnElement, Connection, Uuid, any_, literal, or_, select

from cutout.enums import ActionKind
from cutout.models import JOBS, PRODUCERS, constant
from cutout.queue.actions import CANCELLABLE, RESULT_IS_FETCHABLE, RETRIABLE, cancel_all
from cutout.queue.batch_actions.carry_out import HeldAction, Portion, TakePortion
from cutout.queue.batch_actions.job_pages import FIRST, JobPage, read_page
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.bulk import retry_within_quota
from cutout.queue.outputs.ask import IS_MADE_OF_RGBA, add_chunk
from cutout.queue.outputs.repeat import OUTPUTS_A_CHUNK, repeat_chunk

# A portion takes 0.2 s on a busy machine, for which the actions of other producers wait.
JOBS_A_PORTION = 2000
END = JobPage([], None)
AFTER = "after"
# Options of a retry whose price was accepted: the codes of its jobs, the most jobs and the most calls.
CODES, MOST_JOBS, MOST_CALLS = "codes", "most_jobs", "most_calls"
CALLS = "calls"
"""Member of the position of such a retry: the calls that its jobs may make so far."""

PRICE_REACHED = "PRICE_REACHED"
PRICE_MESSAGE = (
    "as many jobs as were accepted are back in the queue; others failed meanwhile and stay as they are:"
    " retry the batch again, at its price then"
)


def cancel_portion(connection: Connection, action: HeldAction) -> Portion:
    """Cancel the next jobs that are not paid for, and mark those that are, or that run."""
    which = [JOBS.c.state.in_([constant(state) for state in CANCELLABLE])]
    if action.producer_id is None:
        # Those that were marked.
        which.append(JOBS.c.cancelled_at.is_(None))
    page = _next_page(connection, action, JOBS_A_PORTION, *which)
    return Portion(cancel_all(connection, page.ids) if page.ids else 0, _behind(page))


def retry_portion(connection: Connection, action: HeldAction) -> Portion:
    """Put the next failed and held jobs back in the queue, up to the producer's quota.

    A job that was released since the action began is not released a second time: it has failed again. One
    whose price was accepted ends at that.
    """
    room = action.options.get(MOST_JOBS, action.changed + JOBS_A_PORTION) - action.changed
    page = _next_page(connection, action, min(JOBS_A_PORTION, room), *_retriable(action)) if room > 0 else END
    if not page.ids:
        return Portion(0, _behind(page, _calls(action)))
    ids, calls = _within_price(connection, action, page.ids)
    retried, refused = retry_within_quota(connection, ids, action.producer_id)
    if not refused:
        if len(ids) < len(page.ids):
            return Portion(retried, None, PRICE_REACHED, PRICE_MESSAGE)
        return Portion(retried, _behind(page, calls))
    quota = connection.scalar(select(PRODUCERS.c.job_quota).where(PRODUCERS.c.id == action.producer_id))
    message = (
        f"the quota is {quota} unfinished jobs; the failed jobs that are left stay as they are: retry the"
        " batch again once others have ended"
    )
    return Portion(retried, None, "QUOTA_REACHED", message)


def _retriable(action: HeldAction) -> list[ColumnElement[bool]]:
    which = [
        JOBS.c.state.in_([constant(state) for state in RETRIABLE]),
        JOBS.c.code != NEEDS_APPROVAL,
        JOBS.c.deleted_at.is_(None),
        or_(JOBS.c.released_at.is_(None), JOBS.c.released_at < action.started_at),
    ]
    if CODES in action.options:
        which.append(JOBS.c.code.in_(action.options[CODES]))
    return which


def _within_price(
    connection: Connection, action: HeldAction, ids: list[uuid.UUID]
) -> tuple[list[uuid.UUID], int]:
    """The jobs for which the accepted price has room, and the calls that it has had with them."""
    most = action.options.get(MOST_CALLS)
    if most is None:
        return ids, 0
    had = _calls(action)
    these = JOBS.c.id == any_(literal(ids, ARRAY(Uuid)))
    # Locked: a result that expires for this statement has expired for the retry.
    chosen = select(JOBS.c.id, RESULT_IS_FETCHABLE.label("free")).where(these).order_by(JOBS.c.id)
    rows = connection.execute(chosen.with_for_update()).all()
    called = [row.id for row in rows if not row.free][: max(most - had, 0)]
    granted = {row.id for row in rows if row.free} | set(called)
    return [job_id for job_id in ids if job_id in granted], had + len(called)


def add_outputs_portion(connection: Connection, action: HeldAction) -> Portion:
    """Add the batch's renditions to the next jobs that have succeeded."""
    page = read_page(connection, action.batch_id, _after(action), JOBS_A_PORTION, *IS_MADE_OF_RGBA)
    return Portion(add_chunk(connection, action.batch_id, page.ids) if page.ids else 0, _behind(page))


def retry_outputs_portion(connection: Connection, action: HeldAction) -> Portion:
    """Let the next failed outputs wait again; one that fails again meanwhile stays failed."""
    repeated = repeat_chunk(connection, action.batch_id, action.started_at)
    return Portion(repeated, None if repeated < OUTPUTS_A_CHUNK else {})


PORTIONS: Mapping[ActionKind, TakePortion] = {
    ActionKind.CANCEL: cancel_portion,
    ActionKind.RETRY: retry_portion,
    ActionKind.ADD_OUTPUTS: add_outputs_portion,
    ActionKind.RETRY_OUTPUTS: retry_outputs_portion,
}


def _next_page(
    connection: Connection, action: HeldAction, limit: int, *which: ColumnElement[bool]
) -> JobPage:
    """The next jobs of the batch to change, `limit` at most.

    Those of a batch without producer are in no index by their ids. They come in any order: none that was
    changed matches `which` any more.
    """
    if action.producer_id is not None:
        return read_page(connection, action.batch_id, _after(action), limit, *which)
    found = select(JOBS.c.id).where(JOBS.c.batch_id == action.batch_id, *which).limit(limit)
    ids = sorted(connection.scalars(found))
    return JobPage(ids, FIRST if len(ids) == limit else None)


def _after(action: HeldAction) -> uuid.UUID:
    return uuid.UUID(action.position[AFTER]) if action.position else FIRST


def _calls(action: HeldAction) -> int:
    return int((action.position or {}).get(CALLS, 0))


def _behind(page: JobPage, calls: int = 0) -> dict[str, str] | None:
    if page.next_after is None:
        return None
    return {AFTER: str(page.next_after)} | ({CALLS: str(calls)} if calls else {})
