"""Wait for a batch until every job is finished or held."""

import time
import uuid

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.numbers import counted, in_words
from cutout.enums import State
from cutout.status.batch_status import BatchStatus, batch_status, credits_of_batch

LOOK_EVERY_S = 0.5
PLAIN_LINE_EVERY_S = 5.0
# Counting a large batch's credits is work for the database: it takes at most this share of its time.
CREDITS_SHARE = 0.05


def wait_for_batch(engine: Engine, batch_id: uuid.UUID) -> BatchStatus:
    """Show progress until every job is final or held: a bar on a terminal, a line now and then elsewhere."""
    watched = _Watched(engine, batch_id)
    try:
        return _with_bar(watched) if out.is_terminal else _in_lines(watched)
    except KeyboardInterrupt:
        fail(
            f"detached; the batch continues. Check it with `cutout status {batch_id} --watch`",
            Exit.UNFINISHED,
        )


class _Watched:
    """A batch as it is now, and how fast it has moved since it was first looked at."""

    def __init__(self, engine: Engine, batch_id: uuid.UUID) -> None:
        self._engine = engine
        self._id = batch_id
        self._began_at = time.monotonic()
        self._count_again_at = 0.0
        self._credits = 0
        self.batch = self.look()
        self._done_before = self.done

    def look(self) -> BatchStatus:
        with Session(self._engine) as session:
            batch = batch_status(session, self._id)
            if batch is None:
                fail(f"the batch {self._id} is gone")
            self.batch = batch
            if time.monotonic() >= self._count_again_at or self.has_ended:
                self._count_credits(session)
        return batch

    @property
    def done(self) -> int:
        """Number of jobs that are finished or held."""
        return self.batch.done + self.batch.counts[State.HELD]

    @property
    def has_ended(self) -> bool:
        return self.done == self.batch.total

    def others(self) -> str:
        counts = self.batch.counts
        words = f"{counts[State.FAILED]:,} failed, {counts[State.HELD]:,} held"
        words += f", {counted(self._credits, 'credit')}"
        moved, passed = self.done - self._done_before, time.monotonic() - self._began_at
        if moved <= 0 or self.has_ended:
            return words
        left = (self.batch.total - self.done) * passed / moved
        return f"{words}, {moved / passed:.1f}/s, {in_words(left)} left"

    def _count_credits(self, session: Session) -> None:
        began_at = time.monotonic()
        self._credits = credits_of_batch(session, self._id)
        ended_at = time.monotonic()
        self._count_again_at = ended_at + (ended_at - began_at) / CREDITS_SHARE


def _with_bar(watched: _Watched) -> BatchStatus:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[others]}"),
    )
    with Progress(*columns, console=out) as progress:
        bar = progress.add_task("batch", total=watched.batch.total, others="")
        while True:
            progress.update(bar, completed=watched.done, others=watched.others())
            if watched.has_ended:
                return watched.batch
            time.sleep(LOOK_EVERY_S)
            watched.look()


def _in_lines(watched: _Watched) -> BatchStatus:
    said_at = 0.0
    while True:
        if watched.has_ended or time.monotonic() - said_at > PLAIN_LINE_EVERY_S:
            out.print(f"{watched.done:,} of {watched.batch.total:,} done, {watched.others()}")
            said_at = time.monotonic()
        if watched.has_ended:
            return watched.batch
        time.sleep(LOOK_EVERY_S)
        watched.look()
