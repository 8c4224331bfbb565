"""Buttons of a batch: pause and resume at once, budget by its price, cancel and delete by its count."""

import uuid
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from sqlalchemy import Connection, Row, select
from sqlalchemy.orm import Session

from console.changes.asked_first import asked_first
from console.changes.carry_out import (
    Done,
    Sent,
    back_to,
    carry_out,
    id_in,
    refused,
    stale,
    unusable,
    whole_number,
)
from console.changes.confirmation import Confirmation, Entry, jobs, price
from console.console import console_of
from console.faults import not_found
from console.pages import viewer_of
from console.screens.router import screen_router
from console.viewer import Right, Viewer
from cutout.actions.batches import pause_batch, resume_batch, set_budget
from cutout.actions.typed_counts import cancel_typed, delete_typed
from cutout.models import BATCHES
from cutout.models.database import Database
from cutout.queue.batch_actions.locks import lock_actions
from cutout.queue.batch_actions.request import has_more

router = screen_router()

BATCHES_LIST = "/console/batches"
LONGEST_BUDGET = 1_000_000_000
OF_BATCH = [
    BATCHES.c[name]
    for name in (
        *("id", "name", "producer_id", "revision", "budget", "spent", "cancelled_at", "delete_requested_at"),
        *("paused_at", "paused_by_operator_at"),
    )
]


@dataclass(frozen=True, slots=True)
class BatchNow:
    """A batch as its buttons need it, read anew for each page: counts may be older."""

    revision: int
    budget: int | None
    spent: int
    is_open: bool
    is_cancelled: bool
    is_paused: bool
    press: str
    paused_by: str


def read_now(database: Database, viewer: Viewer, batch_id: uuid.UUID) -> BatchNow | None:
    """The batch now; None if there is none such for the viewer."""
    row = database.execute(select(*OF_BATCH).where(*_own(viewer, batch_id))).first()
    if row is None:
        return None
    is_open = has_more(database, batch_id)
    is_paused = row.paused_at is not None or row.paused_by_operator_at is not None
    by = "an operator" if row.paused_by_operator_at is not None else "its producer"
    return BatchNow(
        row.revision,
        row.budget,
        row.spent,
        is_open,
        row.cancelled_at is not None,
        is_paused,
        press=press_for(row, viewer, is_open=is_open and row.cancelled_at is None),
        paused_by=by if is_paused else "",
    )


def press_for(batch: Row[*tuple[Any, ...]], viewer: Viewer, *, is_open: bool) -> str:
    """The button for the viewer's side: `pause`, `resume`, or empty for none."""
    if not viewer.is_operator:
        own, other = batch.paused_at, batch.paused_by_operator_at
    elif batch.producer_id is None:
        own, other = batch.paused_by_operator_at or batch.paused_at, None
    else:
        # An operator pauses beside the producer, who may lift its own.
        own, other = batch.paused_by_operator_at, None
    if not viewer.may(Right.OPERATE) or other is not None:
        return ""
    if own is not None:
        return "resume"
    return "pause" if is_open else ""


@router.post("/console/batches/{batch_id}/pause")
async def pause(batch_id: uuid.UUID, request: Request) -> Response:
    """Pause the batch at once."""

    def act(sent: Sent) -> Done:
        lock(sent.session, sent.viewer, batch_id)
        if not has_more(sent.session, batch_id):
            raise refused("The batch has ended, and was not paused.")
        action_id = pause_batch(sent.session, sent.asked, batch_id)
        if action_id is None:
            raise refused("It was paused already, and nothing was done.")
        return Done(_back(sent, batch_id), action_id)

    return await carry_out(request, Right.OPERATE, act)


@router.post("/console/batches/{batch_id}/resume")
async def resume(batch_id: uuid.UUID, request: Request) -> Response:
    """End the pause that the page showed at once."""

    def act(sent: Sent) -> Done:
        batch = lock(sent.session, sent.viewer, batch_id)
        # A pause that somebody made since is not the one that was shown.
        require_shown(sent, batch)
        action_id = resume_batch(sent.session, sent.asked, batch_id)
        if action_id is None:
            raise refused("It is not paused, and nothing was done.")
        return Done(_back(sent, batch_id), action_id)

    return await carry_out(request, Right.OPERATE, act)


def change_budget(sent: Sent) -> Done:
    """Set the budget as its price was shown."""
    batch_id = id_in(sent.path, "batch_id")
    batch = lock(sent.session, sent.viewer, batch_id)
    to = _budget(sent.text("to"))
    require_shown(sent, batch)
    if str(batch.budget) != sent.text("from"):
        raise stale("Its budget is another one than the page showed")
    return Done(_page(batch_id), set_budget(sent.session, sent.asked, batch_id, to))


def cancel(sent: Sent) -> Done:
    """Cancel the batch whose count was typed."""
    batch_id = id_in(sent.path, "batch_id")
    lock_actions(sent.session, batch_id)
    require_shown(sent, lock(sent.session, sent.viewer, batch_id))
    action_id = cancel_typed(sent.session, sent.asked, batch_id, sent.number("count"))
    if action_id is None:
        raise refused("It has ended, or is being cancelled already, and nothing was done.")
    return Done(_page(batch_id), action_id)


def delete(sent: Sent) -> Done:
    """Delete the batch whose count was typed."""
    batch_id = id_in(sent.path, "batch_id")
    lock_actions(sent.session, batch_id)
    # The lock that the deletion takes: a weaker one first could wait for it in a circle.
    require_shown(sent, lock(sent.session, sent.viewer, batch_id, weak=False))
    objects, typed = sent.text("objects") == "true", sent.number("count")
    action_id = delete_typed(sent.session, sent.asked, batch_id, typed, objects=objects)
    if action_id is None:
        raise refused("It is being deleted already, and nothing was done.")
    return Done(BATCHES_LIST, action_id)


def lock(session: Session, viewer: Viewer, batch_id: uuid.UUID, *, weak: bool = True) -> Row[Any]:
    """The viewer's batch, locked until the transaction ends. Raises PageError, 404."""
    this = select(*OF_BATCH).where(*_own(viewer, batch_id)).with_for_update(key_share=weak)
    found = session.execute(this).first()
    if found is None:
        raise not_found("such batch")
    return found


def require_shown(sent: Sent, batch: Row[Any]) -> None:
    """Raise PageError, 409, if somebody changed the batch since the page was made."""
    if str(batch.revision) != sent.text("revision"):
        raise stale("The batch was changed meanwhile")


async def find_batch(request: Request, batch_id: uuid.UUID) -> Row[Any]:
    """The viewer's batch. Raises PageError, 404."""
    viewer = viewer_of(request)

    def look(connection: Connection) -> Row[Any] | None:
        return connection.execute(select(*OF_BATCH).where(*_own(viewer, batch_id))).first()

    found = await console_of(request).pool.read(look, of=viewer.producer_id)
    if found is None:
        raise not_found("such batch")
    return found


def name_of(batch: Row[Any]) -> str:
    """The batch's name in a confirmation."""
    return f"“{batch.name}”" if batch.name else "this batch"


async def ask_budget(request: Request) -> Confirmation:
    """Ask for a budget, or, with one in the address, whether it is to be at what it may cost."""
    batch_id, to = id_in(request.path_params, "batch_id"), request.query_params.get("to")
    batch = await find_batch(request, batch_id)
    address = f"{_page(batch_id)}/budget"
    before = "It has no budget." if batch.budget is None else f"Its budget is {batch.budget:,} credits."
    spent = f"{before} {batch.spent:,} are spent." if batch.budget is not None else before
    if to is None:
        entry = Entry("to", "Budget in credits", "" if batch.budget is None else str(batch.budget))
        title = f"Another budget for {name_of(batch)}"
        lines = (spent, "Its price is shown next; nothing is changed yet.")
        return Confirmation(
            title, lines, address, "Show the price", _page(batch_id), {}, (entry,), method="get"
        )
    new = _budget(to)
    fields = {"to": str(new), "from": str(batch.budget), "revision": str(batch.revision)}
    more = new - max(batch.budget or 0, batch.spent)
    if batch.budget is None:
        lines = (spent, f"Calls beyond {new:,} credits are held.")
        button = f"Set the budget to {new:,} credits"
    elif more > 0:
        lines = (spent, "Jobs that are held for want of budget go on.")
        button = f"Raise the budget to {new:,}: {price(more)} more"
    else:
        lines = (spent, "Calls beyond it are held.")
        button = f"Set the budget to {new:,} credits"
    return Confirmation(f"Budget of {name_of(batch)}", lines, address, button, _page(batch_id), fields)


async def ask_cancel(request: Request) -> Confirmation:
    """Ask for the number of the batch's jobs, before it is cancelled."""
    batch, count = await _counted(request)
    lines = (
        "Its jobs that are not paid for end as cancelled, and no call of it begins any more.",
        f"What is paid for is still stored. It has {jobs(count)}.",
    )
    return _ask_for_count(batch, "cancel", lines)


async def ask_delete(request: Request) -> Confirmation:
    """Ask for the number of the batch's jobs, before it is deleted."""
    batch, count = await _counted(request)
    lines = (
        "The batch, its jobs and its results are gone then. Calls that were paid for stay in the bill.",
        f"It has {jobs(count)}.",
    )
    choice = "objects", "Delete its pictures in the bucket, too: they are bought again if they are asked for"
    return _ask_for_count(batch, "delete", lines, choice)


def _ask_for_count(
    batch: Row[Any], verb: str, lines: tuple[str, ...], choice: tuple[str, str] | None = None
) -> Confirmation:
    entry = Entry("count", f"To {verb} it, type the number of its jobs")
    fields = {"revision": str(batch.revision)}
    page, button = _page(batch.id), f"{verb.capitalize()} {name_of(batch)}"
    return Confirmation(f"{button}?", lines, f"{page}/{verb}", button, page, fields, (entry,), choice)


async def _counted(request: Request) -> tuple[Row[Any], int]:
    batch_id = id_in(request.path_params, "batch_id")
    batch, viewer = await find_batch(request, batch_id), viewer_of(request)
    count = await console_of(request).counts.of(batch_id, viewer.producer_id)
    if count is None:
        raise not_found("such batch")
    return batch, count.batch.status.total


def _budget(given: str) -> int:
    found = whole_number(given)
    if found > LONGEST_BUDGET:
        raise unusable(f"A budget has at most {LONGEST_BUDGET:,} credits")
    return found


def _own(viewer: Viewer, batch_id: uuid.UUID) -> list[Any]:
    found = [BATCHES.c.id == batch_id, BATCHES.c.deleted_at.is_(None)]
    found.append(BATCHES.c.delete_requested_at.is_(None))
    return found if viewer.is_operator else [*found, BATCHES.c.producer_id == viewer.producer_id]


def _page(batch_id: uuid.UUID) -> str:
    return f"{BATCHES_LIST}/{batch_id}"


def _back(sent: Sent, batch_id: uuid.UUID) -> str:
    return back_to(sent.text("back"), _page(batch_id))


OF_A_BATCH = "/console/batches/{batch_id}"
asked_first(router, f"{OF_A_BATCH}/budget", Right.SPEND, ask=ask_budget, act=change_budget)
asked_first(router, f"{OF_A_BATCH}/cancel", Right.OPERATE, ask=ask_cancel, act=cancel)
asked_first(router, f"{OF_A_BATCH}/delete", Right.SPEND, ask=ask_delete, act=delete)
