"""Batch: its counts, plan, what failed by reason with a remedy, and its jobs by SKU."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from console.changes.action_text import ShownAction, shown_action
from console.changes.batch import BatchNow, read_now
from console.changes.notice import read_notice
from console.faults import not_found
from console.pages import Asked, screen
from console.remedies import remedy_of
from console.screens.downloads import Downloads, find_downloads
from console.screens.plan import ShownPlan, read_plan
from console.screens.router import screen_router
from console.viewer import Right
from console.views import View
from cutout.enums import State
from cutout.models import JOBS, PRODUCERS, constant
from cutout.queue.actions import RESULT_IS_FETCHABLE
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.status.action_log import ActionFilter, find_actions
from cutout.status.producer_texts import text_for_producer

router = screen_router()

A_PAGE = 50
# Reading more failed jobs takes longer than a page may.
MOST_REASONED = 100_000
MOST_ACTIONS = 10
MORE_THAN_ONE = 2
OVER_BUDGET = "OVER_BUDGET"
WAIT_FOR_THEIR_BATCH = frozenset({NEEDS_APPROVAL, OVER_BUDGET})
WITH_REASONS = (State.HELD, State.FAILED)
COLUMNS = [
    JOBS.c[name]
    for name in ("id", "external_id", "return_form", "state", "code", "message", "finished_at", "reused")
]


@dataclass(frozen=True, slots=True)
class Reason:
    """Jobs of the batch that ended, or wait, for the same reason."""

    state: State
    code: str
    jobs: int
    message: str
    remedy: str
    free: int

    @property
    def credits(self) -> int:
        """The most credits that a retry of them may cost."""
        return self.jobs - self.free

    @property
    def may_be_retried(self) -> bool:
        """Whether a retry takes them: not those that wait for an approval, or for a larger budget."""
        return bool(self.code) and self.code not in WAIT_FOR_THEIR_BATCH and self.jobs < MOST_REASONED


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as the list shows it."""

    id: uuid.UUID
    external_id: str | None
    return_form: str
    state: str
    code: str | None
    message: str | None
    finished_at: datetime | None
    reused: bool


@dataclass(frozen=True, slots=True)
class JobFilters:
    """Filters of the list, as the address has them; `sku` and `form` are behind which the page begins."""

    state: State | None
    code: str
    sku: str
    form: str
    after: uuid.UUID | None


Looked = tuple[
    list[Reason], list[ListedJob], str | None, ShownPlan | None, BatchNow | None, list[ShownAction], Downloads
]


@screen(router, "/console/batches/{batch_id}")
async def batch(asked: Asked) -> View:
    """Progress of a batch, what went wrong in it, and what can be done."""
    batch_id = asked.id("batch_id")
    console = asked.console
    # Whoever has just changed something waits for the next count.
    soon = not console.views.changed_lately(asked.viewer.producer_id)
    count = await console.counts.of(batch_id, asked.viewer.producer_id, soon=soon)
    if count is None or count.batch.status.delete_requested_at is not None:
        raise not_found("such batch")
    filters = JobFilters(
        asked.choice("state", State),
        asked.text("code"),
        asked.text("sku"),
        asked.text("form"),
        asked.after(),
    )
    status = count.batch.status

    def look(connection: Connection) -> Looked:
        owner = connection.scalar(select(PRODUCERS.c.name).where(PRODUCERS.c.id == status.producer_id))
        actions = find_actions(connection, ActionFilter(batch_id=batch_id), limit=MOST_ACTIONS)
        return (
            reasons(connection, batch_id, is_operator=asked.viewer.is_operator),
            list(list_jobs(connection, batch_id, status.producer_id, filters)),
            owner if asked.viewer.is_operator else None,
            read_plan(connection, batch_id),
            read_now(connection, asked.viewer, batch_id),
            [shown_action(each, asked.viewer, batch_id) for each in actions],
            find_downloads(connection, status),
        )

    why, jobs, producer, plan, buttons, actions, downloads = await asked.read(look)
    if buttons is None:
        raise not_found("such batch")
    rejects_key = status.ingest.rejects_key if status.ingest else None
    values: dict[str, Any] = {
        "batch": status,
        "count": count,
        "producer": producer,
        "now": buttons,
        "notice": await read_notice(asked, f"/console/batches/{batch_id}"),
        "actions": actions,
        "downloads": downloads,
        "may_spend": asked.viewer.may(Right.SPEND),
        "may_operate": asked.viewer.may(Right.OPERATE),
        "over_budget": OVER_BUDGET,
        "all": all_retriable(why),
        "plan": plan,
        "rejects": await asked.console.rejects.first_of(rejects_key) if rejects_key else [],
        "may_approve": asked.viewer.may(Right.SPEND),
        "may_discard": asked.viewer.may(Right.OPERATE),
        "sent_again": asked.text("sent") == "again",
        "reasons": why,
        "jobs": jobs[:A_PAGE],
        "last": jobs[A_PAGE - 1] if len(jobs) > A_PAGE else None,
        "filters": filters,
        "states": list(State),
        "base_url": asked.base_url,
    }
    return View("batch.html", status.name, values, as_of=count.at)


def all_retriable(found: Sequence[Reason]) -> Reason | None:
    """All that a retry of the batch takes, if they are of several reasons."""
    taken = [each for each in found if each.may_be_retried]
    if len(taken) < MORE_THAN_ONE:
        return None
    jobs, free = sum(each.jobs for each in taken), sum(each.free for each in taken)
    return Reason(State.FAILED, "", jobs, "", "", free)


def reasons(connection: Connection, batch_id: uuid.UUID, *, is_operator: bool) -> list[Reason]:
    """Failed and held jobs by code, of at most MOST_REASONED of each."""
    found = []
    for state in WITH_REASONS:
        # The index of batch and state: it reads these jobs alone.
        read = (
            select(JOBS.c.code, JOBS.c.message, RESULT_IS_FETCHABLE.label("free"))
            .where(JOBS.c.batch_id == batch_id, JOBS.c.state == constant(state))
            .limit(MOST_REASONED)
            .subquery("read")
        )
        counted = select(
            read.c.code,
            func.count().label("jobs"),
            func.min(read.c.message).label("message"),
            func.count().filter(read.c.free).label("free"),
        )
        for row in connection.execute(counted.group_by(read.c.code).order_by(func.count().desc())):
            code, message = row.code or "", row.message or ""
            if code == NEEDS_APPROVAL:
                # The plan is above, with its answers.
                continue
            remedy = remedy_of(code)
            if not is_operator:
                message, remedy = text_for_producer(message), text_for_producer(remedy)
            found.append(Reason(state, code, row.jobs, message, remedy, row.free))
    return found


def list_jobs(
    connection: Connection, batch_id: uuid.UUID, producer_id: uuid.UUID | None, filters: JobFilters
) -> Sequence[ListedJob]:
    """A page of jobs and one more: those with an id of the catalog by it, then the others by their own."""
    wanted = [JOBS.c.batch_id == batch_id]
    if filters.state is not None:
        wanted.append(JOBS.c.state == constant(filters.state))
    if filters.code:
        wanted.append(JOBS.c.code == filters.code)
        if filters.state is None:
            # Reasons are of these two; without a state it would read the whole batch.
            wanted.append(JOBS.c.state.in_([constant(state) for state in WITH_REASONS]))
    found: list[ListedJob] = []
    if filters.after is None:
        named = [*wanted, JOBS.c.external_id.is_not(None)]
        if filters.sku:
            begin = tuple_(JOBS.c.external_id, JOBS.c.return_form)
            named.append(begin > tuple_(filters.sku, filters.form))
        # The unique index of batch, external id and form.
        order = select(*COLUMNS).where(*named).order_by(JOBS.c.external_id, JOBS.c.return_form)
        found = [ListedJob(*row) for row in connection.execute(order.limit(A_PAGE + 1))]
    if len(found) <= A_PAGE:
        unnamed = [*wanted, JOBS.c.external_id.is_(None)]
        if producer_id is not None:
            # The index of a producer's batches by id.
            unnamed.append(JOBS.c.producer_id == producer_id)
        if filters.after is not None:
            unnamed.append(JOBS.c.id > filters.after)
        rest = select(*COLUMNS).where(*unnamed).order_by(JOBS.c.id).limit(A_PAGE + 1 - len(found))
        found += [ListedJob(*row) for row in connection.execute(rest)]
    return found
