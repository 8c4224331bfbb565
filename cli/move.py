"""Moving jobs that stopped or should not go on."""

from collections.abc import Sequence
from typing import Annotated

import typer
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import find_one, open_database, plain_errors
from jobs import store
from jobs.ingest.ledger import abandon
from jobs.models import JOBS, Batch, Job
from jobs.moving import Move, move

Identifier = Annotated[str, typer.Argument(metavar="ID", help="A batch or job.")]


def retry(
    identifier: Identifier,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only jobs that stopped for this reason; may be repeated."),
    ] = None,
    external_id: Annotated[
        str | None, typer.Option("--external-id", metavar="ID", help="Only the jobs for this picture.")
    ] = None,
) -> None:
    """Put failed and held jobs back in line, with all their tries; a job called again costs again."""
    only: list[ColumnElement[bool]] = [JOBS.c.code.in_(code)] if code else []
    also = f" with {' or '.join(code)}" if code else ""
    if external_id is not None:
        only.append(JOBS.c.external_id == external_id)
        also += f" under the id {external_id!r}"
    moved = _move(identifier, store.retry_all, [JOBS.c.state.in_(store.RETRIABLE), *only])
    _report(moved, "back in line", f"{' or '.join(store.RETRIABLE)}{also}")


def cancel(identifier: Identifier) -> None:
    """Withdraw jobs that wait. What runs at this moment ends by itself."""
    moved = _move(identifier, store.cancel_all, [JOBS.c.state.in_(store.CANCELLABLE)])
    _report(moved, "cancelled", " or ".join(store.CANCELLABLE))


def _move(identifier: str, change: Move, only: Sequence[ColumnElement[bool]]) -> int:
    engine = open_database()
    with plain_errors():
        with Session(engine, expire_on_commit=False) as session:
            found = find_one(session, identifier)
            if isinstance(found, Batch) and change is store.cancel_all:
                # Before its jobs are looked for: what is being ingested into it ends here.
                abandon(session, found.id)
                session.commit()
        its = JOBS.c.id == found.id if isinstance(found, Job) else JOBS.c.batch_id == found.id
        return move(engine, change, its, *only)


def _report(moved: int, word: str, wanted: str) -> None:
    if not moved:
        fail(f"nothing of it is {wanted}", Exit.FAILED)
    out.print(f"{moved:,} {word}")
