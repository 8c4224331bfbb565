"""Moving jobs that stopped or should not go on."""

import uuid
from collections.abc import Callable
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import find_one, open_database, plain_errors
from jobs import store
from jobs.ingest.ledger import abandon
from jobs.models import Job
from jobs.states import State


def retry(identifier: Annotated[str, typer.Argument(metavar="ID", help="A batch or job.")]) -> None:
    """Put failed and held jobs back in line, with all their tries; a job called again costs again."""
    _move(identifier, store.retry, (State.FAILED, State.HELD), "back in line")


def cancel(identifier: Annotated[str, typer.Argument(metavar="ID", help="A batch or job.")]) -> None:
    """Withdraw jobs that wait. What runs at this moment ends by itself."""
    _move(identifier, store.cancel, (State.QUEUED, State.HELD), "cancelled")


def _move(
    identifier: str, move: Callable[[Session, uuid.UUID], bool], states: tuple[State, ...], word: str
) -> None:
    with plain_errors(), Session(open_database()) as session, session.begin():
        found = find_one(session, identifier)
        if isinstance(found, Job):
            ids = [found.id]
        else:
            if move is store.cancel:
                # Before its jobs are looked for: what is being ingested into it ends here.
                abandon(session, found.id)
            ids = list(session.scalars(select(Job.id).where(Job.batch_id == found.id, Job.state.in_(states))))
        moved = sum(move(session, job_id) for job_id in ids)
    if not moved:
        fail(f"nothing of it is {' or '.join(states)}", Exit.FAILED)
    out.print(f"{moved:,} {word}")
