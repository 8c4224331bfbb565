"""Retry of a batch's failed and held jobs, all or of one reason, at a price that the server froze."""

import uuid
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, Row, select, text
from sqlalchemy.orm import Session

from console.changes.batch import find_batch, lock, name_of
from console.changes.carry_out import STATEMENT_S, Done, Sent, refused, unusable
from console.changes.confirmation import (
    Confirmation,
    carry_out_or_ask,
    confirmation_page,
    free_words,
    jobs,
    price,
)
from console.console import console_of
from console.pages import viewer_of
from console.screens.router import screen_router
from console.small_form import small_form
from console.templates import address_with
from console.viewer import Right, Viewer
from cutout.actions.quotes import QUOTE_SECONDS, RetryQuote, accept_retry, quote_retry
from cutout.models import QUOTES
from cutout.models.database import Database
from cutout.queue.batch_actions.locks import lock_actions
from cutout.queue.blocks.approval import NEEDS_APPROVAL

router = screen_router()

LONGEST_CODE = 200


@router.post("/console/batches/{batch_id}/retry/price")
async def freeze_price(batch_id: uuid.UUID, request: Request) -> Response:
    """Freeze count and price of a retry, and lead to the page that asks whether it is to be."""
    viewer_of(request).require(Right.OPERATE)
    code = (await small_form(request)).get("code", "")
    quote = await _quote(request, batch_id, _codes(code))
    address = address_with(f"/console/batches/{batch_id}/retry", quote=quote.id)
    return RedirectResponse(address, status_code=HTTPStatus.SEE_OTHER)


@router.get("/console/batches/{batch_id}/retry")
async def ask_retry(batch_id: uuid.UUID, request: Request) -> Response:
    """Show the frozen price."""
    viewer_of(request).require(Right.OPERATE)
    return confirmation_page(request, await _ask(request, batch_id, request.query_params.get("quote", "")))


@router.post("/console/batches/{batch_id}/retry")
async def retry(batch_id: uuid.UUID, request: Request) -> Response:
    """Retry at the accepted price; if something changed since, show the new one and change nothing."""
    viewer = viewer_of(request)
    given = (await small_form(request)).get("quote", "")

    def act(sent: Sent) -> Done:
        lock_actions(sent.session, batch_id)
        lock(sent.session, sent.viewer, batch_id)
        quote = _find(sent.session, sent.viewer, batch_id, given)
        if quote is None:
            raise refused("This price is no longer offered, and nothing was done.", "Ask for it again.")
        sent.viewer.require(Right.SPEND if quote.credits else Right.OPERATE)
        action_id = accept_retry(sent.session, sent.asked, quote.id)
        return Done(f"/console/batches/{batch_id}", action_id)

    async def again() -> Confirmation:
        old = await console_of(request).pool.read(
            lambda connection: _find(connection, viewer, batch_id, given), of=viewer.producer_id
        )
        if old is None:
            raise refused("This price is no longer offered.")
        quote = await _quote(request, batch_id, old.codes)
        return await _ask(request, batch_id, str(quote.id))

    return await carry_out_or_ask(request, Right.OPERATE, act, again)


async def _quote(request: Request, batch_id: uuid.UUID, codes: Sequence[str] | None) -> RetryQuote:
    viewer = viewer_of(request)

    def work(connection: Connection) -> RetryQuote | None:
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_S}s'"))
        with Session(connection, join_transaction_mode="rollback_only") as session:
            lock(session, viewer, batch_id)
            made = quote_retry(session, viewer.asked().by, batch_id, codes)
            session.flush()
            return made

    found = await console_of(request).pool.change(work, of=viewer.producer_id)
    if found is None:
        raise refused("No job of this batch can be retried for this reason any more.")
    return found


async def _ask(request: Request, batch_id: uuid.UUID, given: str) -> Confirmation:
    viewer, batch = viewer_of(request), await find_batch(request, batch_id)
    quote = await console_of(request).pool.read(
        lambda connection: _find(connection, viewer, batch_id, given), of=viewer.producer_id
    )
    page = f"/console/batches/{batch_id}"
    if quote is None:
        raise refused("This price is no longer offered.", "Go back to the batch and ask for it again.")
    which = "that failed or are held" if quote.codes is None else f"with {', '.join(quote.codes)}"
    lines = [
        f"Those of {name_of(batch)} {which}. No more jobs are retried, and no more is paid, than you accept.",
        f"This price holds for {QUOTE_SECONDS} seconds.",
    ]
    button = f"Retry {jobs(quote.jobs)}: {price(quote.credits)}{free_words(quote.free)}"
    needed = Right.SPEND if quote.credits else Right.OPERATE
    lacks = None if viewer.may(needed) else needed
    title = f"Retry {jobs(quote.jobs)}?"
    if lacks:
        lines.insert(0, f"{button}.")
    return Confirmation(title, lines, f"{page}/retry", button, page, {"quote": str(quote.id)}, lacks=lacks)


def _find(database: Database, viewer: Viewer, batch_id: uuid.UUID, given: str) -> Row[Any] | None:
    """The quote, if it was made for this viewer."""
    try:
        quote_id = uuid.UUID(given)
    except ValueError:
        return None
    names = ("id", "codes", "jobs", "free", "credits")
    return database.execute(
        select(*(QUOTES.c[name] for name in names)).where(
            QUOTES.c.id == quote_id,
            QUOTES.c.batch_id == batch_id,
            QUOTES.c.actor_key_id == viewer.key_id,
        )
    ).first()


def _codes(given: str) -> list[str] | None:
    if not given:
        return None
    if len(given) > LONGEST_CODE or not given.isprintable():
        raise unusable("This form is not complete")
    if given == NEEDS_APPROVAL:
        raise refused("These jobs wait for the approval of their batch, not for a retry.")
    return [given]
