"""Holding work back: pauses and budgets."""

from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import find_batch, open_database, plain_errors
from jobs import pausing

BatchOption = Annotated[str | None, typer.Option(metavar="ID", help="Only this batch [default: everything].")]


def pause(batch: BatchOption = None) -> None:
    """Let no further call go out. What is out is finished and copied; a restart changes nothing."""
    with plain_errors(), Session(open_database()) as session, session.begin():
        found = find_batch(session, batch) if batch else None
        changed = pausing.pause(session, found.id if found else None)
    what = f"the batch {found.id}" if found else "everything"
    if not changed:
        fail(f"{what} is paused already", Exit.FAILED)
    out.print(f"{what} is paused; `cutout resume{f' --batch {found.id}' if found else ''}` lets it go on")


def resume(batch: BatchOption = None) -> None:
    """Let calls go out again."""
    with plain_errors(), Session(open_database()) as session, session.begin():
        found = find_batch(session, batch) if batch else None
        changed = pausing.resume(session, found.id if found else None)
    what = f"the batch {found.id}" if found else "everything"
    if not changed:
        fail(f"{what} is not paused", Exit.FAILED)
    out.print(f"{what} goes on")


def budget(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="A batch, or the beginning of its id.")],
    credits_: Annotated[
        int | None, typer.Argument(metavar="CREDITS", min=0, help="The most that its calls may cost.")
    ] = None,
    *,
    lift: Annotated[bool, typer.Option("--lift", help="Let it cost what it costs.")] = False,
) -> None:
    """Bound what a batch may cost. Jobs over it are held, not failed, and go on once it is raised."""
    if lift == (credits_ is not None):
        fail("give either CREDITS or --lift")
    with plain_errors(), Session(open_database()) as session, session.begin():
        found = find_batch(session, batch)
        pausing.set_budget(session, found.id, credits_)
        session.refresh(found)
    bound = "no bound" if credits_ is None else f"a budget of {credits_:,} credits"
    out.print(f"the batch {found.id} has {bound}; {found.spent:,} spent or out")
