"""Plan of a batch: its price before anything is bought, and the two answers to it, approve and discard."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from console.console import console_of
from console.faults import PageError, not_found
from console.pages import viewer_of
from console.screens.router import screen_router
from console.small_form import small_form
from console.viewer import Right, Viewer
from cutout.actions import RightMissingError
from cutout.actions.batches import approve_batch, cancel_batch
from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.models import BATCHES, INGESTS
from cutout.queue.batch_actions.locks import lock_actions
from cutout.queue.blocks.approval import APPROVED, PLAN, most_credits

router = screen_router()

Act = Callable[[Connection, Viewer, uuid.UUID, dict[str, str]], None]


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A batch made with a plan. `calls` and the other numbers are None until its source is read.

    `missing` of the pictures bought before are probably gone from the bucket, and are bought again.
    """

    awaits: bool
    is_read: bool
    jobs: int
    revision: int
    calls: int | None = None
    already_bought: int = 0
    same_picture: int = 0
    missing: int = 0
    outputs: int = 0
    budget: int | None = None

    @property
    def most(self) -> int:
        """The most credits that it may cost, at one for each picture to buy."""
        return most_credits({"calls": self.calls or 0, "missing": self.missing}, self.budget)

    @property
    def dollars(self) -> float:
        return self.most * DOLLARS_A_CREDIT


def read_plan(connection: Connection, batch_id: uuid.UUID) -> ShownPlan | None:
    """The plan of the batch; None if it was made without one."""
    columns = BATCHES.c.revision, BATCHES.c.budget, BATCHES.c.cancelled_at
    of_ingest = INGESTS.c.plan, INGESTS.c.options, INGESTS.c.jobs, INGESTS.c.finished_at
    row = connection.execute(
        select(*columns, *of_ingest)
        .join(INGESTS, INGESTS.c.batch_id == BATCHES.c.id)
        .where(BATCHES.c.id == batch_id)
    ).first()
    if row is None or PLAN not in row.options:
        return None
    numbers = {
        name: int((row.plan or {}).get(name, 0))
        for name in ("already_bought", "same_picture", "missing", "outputs")
    }
    return ShownPlan(
        awaits=APPROVED not in row.options and row.cancelled_at is None,
        is_read=row.finished_at is not None,
        jobs=row.jobs,
        revision=row.revision,
        calls=None if row.plan is None else int(row.plan["calls"]),
        budget=row.budget,
        **numbers,
    )


@router.post("/console/batches/{batch_id}/approve")
async def approve(batch_id: uuid.UUID, request: Request) -> Response:
    """Approve the plan at the price that the page showed."""
    return await _answer(request, batch_id, Right.SPEND, approve_shown)


@router.post("/console/batches/{batch_id}/discard")
async def discard(batch_id: uuid.UUID, request: Request) -> Response:
    """Cancel a batch that waits for approval: nothing of it was bought."""
    return await _answer(request, batch_id, Right.OPERATE, discard_shown)


@router.get("/console/batches/{batch_id}/rejects")
async def rejects(batch_id: uuid.UUID, request: Request) -> Response:
    """Redirect to the file of all rejects, by a link that is good for some minutes."""
    console, viewer = console_of(request), viewer_of(request)
    this = (
        select(INGESTS.c.rejects_key)
        .join(BATCHES, BATCHES.c.id == INGESTS.c.batch_id)
        .where(INGESTS.c.batch_id == batch_id, BATCHES.c.deleted_at.is_(None))
    )
    if not viewer.is_operator:
        this = this.where(BATCHES.c.producer_id == viewer.producer_id)
    key = await console.pool.read(lambda connection: connection.scalar(this), of=viewer.producer_id)
    if key is None:
        raise not_found("such file of rejects")
    return RedirectResponse(
        console.handed.link(key), status_code=HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"}
    )


def approve_shown(connection: Connection, viewer: Viewer, batch_id: uuid.UUID, shown: dict[str, str]) -> None:
    """Approve the plan if it is the one that was shown. Raises PageError."""
    plan = _lock_shown(connection, viewer, batch_id, shown)
    if plan.calls is None or str(plan.most) != shown.get("most"):
        raise _stale("Its price is another one than the page showed")
    with Session(connection, join_transaction_mode="rollback_only") as session:
        if approve_batch(session, viewer.asked(), batch_id) is None:
            raise _stale("It waits for no approval any more")


def discard_shown(connection: Connection, viewer: Viewer, batch_id: uuid.UUID, shown: dict[str, str]) -> None:
    """Cancel the batch if it still waits as the page showed. Raises PageError."""
    # Before the batch's row, as every request of an action takes it.
    lock_actions(connection, batch_id)
    _lock_shown(connection, viewer, batch_id, shown)
    with Session(connection, join_transaction_mode="rollback_only") as session:
        cancel_batch(session, viewer.asked(), batch_id)
        session.flush()


def _lock_shown(
    connection: Connection, viewer: Viewer, batch_id: uuid.UUID, shown: dict[str, str]
) -> ShownPlan:
    """The plan, with the batch locked until the transaction ends. Raises PageError, 404 or 409."""
    this = select(BATCHES.c.id).where(BATCHES.c.id == batch_id, BATCHES.c.delete_requested_at.is_(None))
    if not viewer.is_operator:
        this = this.where(BATCHES.c.producer_id == viewer.producer_id)
    # The lock of `approve`, which an ingest takes too.
    if connection.scalar(this.with_for_update(key_share=True)) is None:
        raise not_found("such batch")
    plan = read_plan(connection, batch_id)
    if plan is None or not plan.awaits:
        raise _stale("It waits for no approval any more")
    if str(plan.revision) != shown.get("revision"):
        raise _stale("It was changed meanwhile")
    return plan


async def _answer(request: Request, batch_id: uuid.UUID, right: Right, act: Act) -> Response:
    console, viewer = console_of(request), viewer_of(request)
    viewer.require(right)
    shown = await small_form(request)
    try:
        await console.pool.change(
            lambda connection: act(connection, viewer, batch_id, shown), of=viewer.producer_id
        )
    except RightMissingError as error:
        raise PageError(HTTPStatus.FORBIDDEN, str(error)) from None
    return RedirectResponse(f"/console/batches/{batch_id}", status_code=HTTPStatus.SEE_OTHER)


def _stale(text: str) -> PageError:
    return PageError(
        HTTPStatus.CONFLICT, f"{text}, and nothing was done.", "Go back and look at the batch as it is now."
    )
