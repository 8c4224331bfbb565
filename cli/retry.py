"""Moving jobs that stopped or should not go on."""

from collections.abc import Sequence
from typing import Annotated

import typer
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import find_one, open_database, plain_errors
from cutout import queue
from cutout.actions import Asked
from cutout.actions.at_once import cancel_now, retry_jobs_now, retry_now
from cutout.actions.jobs import cancel_job
from cutout.enums import State
from cutout.models import JOBS, Job
from cutout.queue.batch_actions.unfinished import BatchIsEndingError
from cutout.queue.bulk import count_unfinished

Identifier = Annotated[
    str, typer.Argument(metavar="ID", help="A batch's or job's id, or the beginning of it.")
]


def retry(
    identifier: Identifier,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only jobs that stopped with this code; may be repeated."),
    ] = None,
    external_id: Annotated[
        str | None, typer.Option("--external-id", metavar="ID", help="Only jobs with this external id.")
    ] = None,
    reason: ReasonOption = None,
) -> None:
    """Enqueue failed and held jobs again, with all their tries.

    A job for which a call is made again costs again.
    """
    only: list[ColumnElement[bool]] = [JOBS.c.code.in_(code)] if code else []
    also = f" with {' or '.join(code)}" if code else ""
    if external_id is not None:
        only.append(JOBS.c.external_id == external_id)
        also += f" under the id {external_id!r}"
    moved = _move(identifier, asked(reason), [JOBS.c.state.in_(queue.RETRIABLE), *only])
    _report(moved, "back in the queue", f"{' or '.join(queue.RETRIABLE)}{also}")


def cancel(identifier: Identifier, reason: ReasonOption = None) -> None:
    """Cancel jobs that have not ended.

    No further call is made for them. Results that are paid for are copied, and their jobs succeed.
    """
    engine = open_database()
    with plain_errors():
        with Session(engine, expire_on_commit=False) as session:
            found = find_one(session, identifier)
        if isinstance(found, Job):
            its = JOBS.c.id == found.id
            with engine.begin() as connection:
                cancel_job(connection, asked(reason), found.id)
                ended = select(JOBS.c.id).where(its, JOBS.c.state == State.CANCELLED)
                moved = int(found.state != State.CANCELLED and connection.scalar(ended) is not None)
        else:
            its = JOBS.c.batch_id == found.id
            moved = cancel_now(engine, asked(reason), found.id)
        with Session(engine) as session:
            left = count_unfinished(session, its)
    if not moved + left:
        fail("nothing of it is still to end", Exit.FAILED)
    out.print(f"{moved:,} cancelled")
    if left:
        out.print(f"{left:,} run or are paid for; they end by themselves, and no call of them begins")


def _move(identifier: str, by: Asked, only: Sequence[ColumnElement[bool]]) -> int:
    engine = open_database()
    with plain_errors():
        with Session(engine, expire_on_commit=False) as session:
            found = find_one(session, identifier)
        try:
            if isinstance(found, Job):
                return retry_now(engine, by, found.id, *only)
            return retry_jobs_now(engine, by, found.id, *only)
        except BatchIsEndingError as error:
            fail(str(error), Exit.FAILED)


def _report(moved: int, word: str, wanted: str) -> None:
    if not moved:
        fail(f"nothing of it is {wanted}", Exit.FAILED)
    out.print(f"{moved:,} {word}")
