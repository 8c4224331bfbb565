"""`cutout approve`."""

from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import find_batch, open_database, plain_errors
from cutout.actions.batches import approve_batch
from cutout.queue.blocks import approval


def approve(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="A batch's id, or the beginning of it.")],
    reason: ReasonOption = None,
) -> None:
    """Approve a batch that was ingested with --plan.

    Its jobs join the queue, within its budget.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        batch_id = find_batch(session, batch).id
        waiting = approval.awaiting(session, batch_id)
        approved = approve_batch(session, asked(reason), batch_id)
    if approved is None:
        fail(f"the batch {batch_id} waits for no approval", Exit.FAILED)
    out.print(f"the batch {batch_id} is approved: {waiting:,} jobs come into line")
