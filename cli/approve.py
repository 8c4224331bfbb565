"""`cutout approve`."""

from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import find_batch, open_database, plain_errors
from cutout.queue.blocks import approval


def approve(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="A batch's id, or the beginning of it.")],
) -> None:
    """Approve a batch that was ingested with --plan.

    Its jobs join the queue, within its budget.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        batch_id = find_batch(session, batch).id
        waiting = approval.awaiting(session, batch_id)
        approved = approval.approve(session, batch_id)
    if not approved:
        fail(f"the batch {batch_id} waits for no approval", Exit.FAILED)
    out.print(f"the batch {batch_id} is approved: {waiting:,} jobs come into line")
