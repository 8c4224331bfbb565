"""Watching a batch until nothing moves any more."""

import time
import uuid

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from jobs.batches import BatchStatus, batch_status
from jobs.states import State

LOOK_EVERY_S = 0.5
PLAIN_LINE_EVERY_S = 5.0


def wait_for_batch(engine: Engine, batch_id: uuid.UUID) -> BatchStatus:
    """Show progress until every job is final or held: a bar on a terminal, a line now and then elsewhere."""
    try:
        return _with_bar(engine, batch_id) if out.is_terminal else _in_lines(engine, batch_id)
    except KeyboardInterrupt:
        fail(f"detached; the batch goes on. Look again with `cutout status {batch_id}`", Exit.UNFINISHED)


def _with_bar(engine: Engine, batch_id: uuid.UUID) -> BatchStatus:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[others]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out) as progress:
        batch = _look(engine, batch_id)
        bar = progress.add_task("batch", total=batch.total, others="")
        while True:
            progress.update(bar, completed=_still(batch), others=_others(batch))
            if _still(batch) == batch.total:
                return batch
            time.sleep(LOOK_EVERY_S)
            batch = _look(engine, batch_id)


def _in_lines(engine: Engine, batch_id: uuid.UUID) -> BatchStatus:
    said_at = 0.0
    while True:
        batch = _look(engine, batch_id)
        ended = _still(batch) == batch.total
        if ended or time.monotonic() - said_at > PLAIN_LINE_EVERY_S:
            out.print(f"{_still(batch):,} of {batch.total:,} done, {_others(batch)}")
            said_at = time.monotonic()
        if ended:
            return batch
        time.sleep(LOOK_EVERY_S)


def _look(engine: Engine, batch_id: uuid.UUID) -> BatchStatus:
    with Session(engine) as session:
        batch = batch_status(session, batch_id)
    if batch is None:
        fail(f"the batch {batch_id} is gone")
    return batch


def _still(batch: BatchStatus) -> int:
    return batch.done + batch.counts[State.HELD]


def _others(batch: BatchStatus) -> str:
    return f"{batch.counts[State.FAILED]:,} failed, {batch.counts[State.HELD]:,} held"
