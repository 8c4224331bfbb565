"""Wait for a batch until every job is finished or held, and its outputs are made or failed."""

import time
import uuid

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.numbers import counted, in_words
from cli.output_summary import say_without_renderer
from cutout.enums import ReturnForm, State
from cutout.models import JOBS
from cutout.status.batch_credits import credits_of_batch
from cutout.status.batch_status import BatchStatus, batch_status
from cutout.status.render_rate import RenderRate, read_render_rate

LOOK_EVERY_S = 0.5
PLAIN_LINE_EVERY_S = 5.0
# Counting a large batch's credits is work for the database: it takes at most this share of its time.
CREDITS_SHARE = 0.05


def wait_for_batch(engine: Engine, batch_id: uuid.UUID, *, outputs: bool = True) -> BatchStatus:
    """Show progress until every job is final or held, and with `outputs` until none of them waits.

    A bar for each on a terminal, a line now and then elsewhere.
    """
    watched = _Watched(engine, batch_id, outputs=outputs)
    watched.say_without_renderer()
    try:
        return _with_bar(watched) if out.is_terminal else _in_lines(watched)
    except KeyboardInterrupt:
        fail(
            f"detached; the batch continues. Check it with `cutout status {batch_id} --watch`",
            Exit.UNFINISHED,
        )


class _Watched:
    """A batch as it is now, and how fast it has moved since it was first looked at."""

    def __init__(self, engine: Engine, batch_id: uuid.UUID, *, outputs: bool) -> None:
        self.with_outputs = outputs
        self._rate: RenderRate | None = None
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
            if self.with_outputs and batch.waiting_outputs:
                self._rate = read_render_rate(session)
            if time.monotonic() >= self._count_again_at or self.has_ended:
                self._count_credits(session)
        return batch

    @property
    def done(self) -> int:
        """Number of jobs that are finished or held."""
        return self.batch.done + self.batch.counts[State.HELD]

    @property
    def jobs_have_ended(self) -> bool:
        return self.done == self.batch.total

    @property
    def has_ended(self) -> bool:
        return self.jobs_have_ended and not (self.with_outputs and self.batch.waiting_outputs)

    @property
    def outputs_done(self) -> int:
        """Number of outputs, scores not among them, that are made or failed."""
        return self.batch.outputs.made + self.batch.outputs.failed

    def say_without_renderer(self) -> None:
        """Print that no renderer runs, if the batch waits for one or will."""
        if not self.with_outputs:
            return
        with Session(self._engine) as session:
            if self.batch.waiting_outputs or _will_have_outputs(session, self.batch):
                say_without_renderer(session, self.batch.waiting_outputs)

    def of_outputs(self) -> str:
        """The failed outputs, the scores that wait, and the time that is left."""
        waiting, scores = self.batch.waiting_outputs, self.batch.scores.waiting
        words = f"{self.batch.outputs.failed:,} failed"
        if scores:
            words += f", {scores:,} to score"
        if not waiting or self._rate is None:
            return words
        left = self._rate.seconds_for(waiting)
        return f"{words}, no renderer" if left is None else f"{words}, {in_words(left)} left"

    def others(self) -> str:
        counts = self.batch.counts
        words = f"{counts[State.FAILED]:,} failed, {counts[State.HELD]:,} held"
        words += f", {counted(self._credits, 'credit')}"
        moved, passed = self.done - self._done_before, time.monotonic() - self._began_at
        if moved <= 0 or self.jobs_have_ended:
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
        second = progress.add_task("outputs", total=None, others="", visible=False)
        while True:
            progress.update(bar, completed=watched.done, others=watched.others())
            if watched.with_outputs and watched.batch.outputs.total:
                progress.update(
                    second,
                    visible=True,
                    total=watched.batch.outputs.total,
                    completed=watched.outputs_done,
                    others=watched.of_outputs(),
                )
            if watched.has_ended:
                return watched.batch
            time.sleep(LOOK_EVERY_S)
            watched.look()


def _in_lines(watched: _Watched) -> BatchStatus:
    said_at = 0.0
    while True:
        if watched.has_ended or time.monotonic() - said_at > PLAIN_LINE_EVERY_S:
            out.print(f"{watched.done:,} of {watched.batch.total:,} done, {watched.others()}{_tail(watched)}")
            said_at = time.monotonic()
        if watched.has_ended:
            return watched.batch
        time.sleep(LOOK_EVERY_S)
        watched.look()


def _tail(watched: _Watched) -> str:
    counts = watched.batch.outputs
    if not watched.with_outputs or not counts.total:
        return ""
    return f"; outputs: {watched.outputs_done:,} of {counts.total:,} done, {watched.of_outputs()}"


def _will_have_outputs(session: Session, batch: BatchStatus) -> bool:
    """Whether jobs of the batch are still to succeed, and buy RGBA, of which outputs are made."""
    if batch.done == batch.total:
        return False
    first = select(JOBS.c.bought_form).where(JOBS.c.batch_id == batch.id).limit(1)
    return session.scalar(first) == ReturnForm.RGBA
