"""Holding work back: pauses and budgets."""

import uuid
from collections.abc import Callable
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import find_batch, open_database, plain_errors
from cutout.actions import batches as actions
from cutout.models import Batch
from cutout.queue.blocks import pauses
from cutout.queue.blocks.pauses import By

NOT_PAUSED = "is not paused"
BatchOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Only this batch.", show_default="everything")
]


def pause(batch: BatchOption = None, reason: ReasonOption = None) -> None:
    """Stop making calls, for one batch or for everything.

    Calls in flight are finished, and their results copied. The pause outlasts restarts.
    """
    by = asked(reason)

    def change(session: Session, batch_id: uuid.UUID | None) -> bool:
        if batch_id is None:
            return actions.pause_all(session, by) is not None
        return actions.pause_batch(session, by, batch_id) is not None

    batch_id, what = _change(batch, change, "is paused already")
    out.print(f"{what} is paused; `cutout resume{f' --batch {batch_id}' if batch_id else ''}` lets it go on")


def resume(
    batch: BatchOption = None,
    *,
    as_producer: Annotated[
        bool, typer.Option("--as-producer", help="Lift the pause of the batch's producer, not an operator's.")
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Make calls again after a pause.

    A pause of a batch by its producer stays, unless --as-producer is given.
    """
    by, side = asked(reason), By.PRODUCER if as_producer else By.OPERATOR

    def change(session: Session, batch_id: uuid.UUID | None) -> bool:
        if batch_id is None:
            return actions.resume_all(session, by) is not None
        return actions.resume_batch(session, by, batch_id, side) is not None

    try:
        batch_id, what = _change(batch, change, NOT_PAUSED)
    except pauses.PausedByOperatorError as error:
        fail(str(error), Exit.FAILED)
    still = _producers_pause(batch_id) if batch_id else None
    out.print(f"{what} continues" if still is None else f"{what} is not paused by an operator; {still}")


def _producers_pause(batch_id: uuid.UUID) -> str | None:
    with plain_errors(), Session(open_database()) as session:
        paused_at = session.get_one(Batch, batch_id).paused_at
    if paused_at is None:
        return None
    return (
        f"its producer paused it at {paused_at:%Y-%m-%d %H:%M:%S} UTC, and lets it go on;"
        f" or `cutout resume --as-producer --batch {batch_id}`"
    )


def _change(
    batch: str | None, change: Callable[[Session, uuid.UUID | None], bool], otherwise: str
) -> tuple[uuid.UUID | None, str]:
    with plain_errors(), Session(open_database()) as session, session.begin():
        batch_id = find_batch(session, batch).id if batch else None
        changed = change(session, batch_id)
    what = f"the batch {batch_id}" if batch_id else "everything"
    if not changed:
        still = _producers_pause(batch_id) if batch_id and otherwise is NOT_PAUSED else None
        fail(f"{what} {otherwise}{f' by an operator; {still}' if still else ''}", Exit.FAILED)
    return batch_id, what


def budget(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="A batch's id, or the beginning of it.")],
    credits_: Annotated[
        int | None, typer.Argument(metavar="CREDITS", min=0, help="The most credits that the batch may cost.")
    ] = None,
    *,
    lift: Annotated[bool, typer.Option("--lift", help="Remove the limit.")] = False,
    reason: ReasonOption = None,
) -> None:
    """Limit how many credits a batch may cost.

    Jobs over the limit are held, not failed. They continue when it is raised.
    """
    if lift == (credits_ is not None):
        fail("give either CREDITS or --lift")
    with plain_errors(), Session(open_database()) as session, session.begin():
        found = find_batch(session, batch)
        actions.set_budget(session, asked(reason), found.id, credits_)
        session.refresh(found)
        bound = "no bound" if credits_ is None else f"a budget of {credits_:,} credits"
        said = f"the batch {found.id} has {bound}; {found.spent:,} spent or out"
    out.print(said)
