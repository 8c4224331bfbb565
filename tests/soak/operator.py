"""The operator: orders, pauses, raises, approves and cancels by the real command and over real HTTP."""

import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import text

from tests.soak.desk import Desk
from tests.soak.nights import Nights
from tests.soak.pictures import picture
from tests.soak.plan import Act, Deed
from tests.soak.system import System

# Far from the numbers of the producer's own pictures.
FIRST_PICTURE = 1_000_000
PICTURES = 6
BUDGET = 3
# Producers' pictures in the form that is bought if none is named.
FORMS = 4
ENQUEUED = re.compile(r"batch (\S+): ([\d,]+) enqueued")
UNFINISHED_JOB = "SELECT id FROM jobs WHERE finished_at IS NULL ORDER BY md5(id::text || :which) LIMIT 1"
CLOCK = "SELECT clock_timestamp()"
PAUSED = "SELECT id FROM batches WHERE paused_at IS NOT NULL"
PAUSED_BY_OPERATOR = "SELECT id FROM batches WHERE paused_by_operator_at IS NOT NULL"


@dataclass
class Ordered:
    """A batch that the operator ordered: its jobs, what it may cost, whether it waits for approval."""

    batch_id: uuid.UUID
    jobs: int
    budget: int | None = None
    awaits_approval: bool = False


@dataclass(frozen=True)
class Quiet:
    """A span of time in which no call may have begun, of this batch or of any."""

    begins_at: datetime
    ends_at: datetime
    batch_id: uuid.UUID | None


@dataclass
class Held:
    """Jobs that were enqueued and jobs that were held back: the audit's measure."""

    ordered: list[Ordered] = field(default_factory=list)
    cancelled: set[uuid.UUID] = field(default_factory=set)
    quiet: list[Quiet] = field(default_factory=list)


class Operator:
    """Does one thing after the other. `done` has each that was carried out; `held` what follows from it."""

    def __init__(self, system: System, acts: Sequence[Act], batch_id: uuid.UUID, jobs: int) -> None:
        self._system = system
        self._acts = acts
        self._batch_id = batch_id
        self._jobs = jobs
        self._desk = Desk(system)
        self.nights = Nights(system, self._desk)
        self._next_picture = FIRST_PICTURE
        self.held = Held()
        self.done: list[tuple[float, Deed, str]] = []

    @property
    def wrong(self) -> list[str]:
        """Unknown charges that no outage explains."""
        return self._desk.wrong

    def run(self, stopping: threading.Event) -> None:
        """Do all of it, each at its time or when the one before is done."""
        began = time.monotonic()
        self.nights.begin()
        for act in self._acts:
            if stopping.wait(max(began + act.at_s - time.monotonic(), 0.0)):
                return
            said = DEEDS[act.kind](self, act)
            self.done.append((time.monotonic() - began, act.kind, said))

    def finish(self) -> None:
        """Let everything go on that may; what was never approved, or has spent its budget, stays."""
        self.nights.end()
        self._desk.command("resume")
        for batch_id in self._all(PAUSED_BY_OPERATOR):
            self._desk.command("resume", "--batch", str(batch_id))
        for batch_id in self._all(PAUSED):
            self._desk.post(f"/batches/{batch_id}/resume")

    def _all(self, query: str) -> Sequence[uuid.UUID]:
        return self._system.ask(lambda connection: connection.scalars(text(query)).all())

    def _pause_all(self, act: Act) -> str:
        self._desk.command("pause")
        self._keep_quiet(act, None)
        self._desk.command("resume")
        return "everything"

    def _pause_batch(self, act: Act) -> str:
        """By its producer or by the operator, each of whom lifts its own alone."""
        choices = [self._batch_id, *(order.batch_id for order in self.held.ordered)]
        batch_id = choices[int(act.which * len(choices))]
        if act.which * 1000 % 2 < 1:
            self._desk.post(f"/batches/{batch_id}/pause")
            self._keep_quiet(act, batch_id)
            self._desk.post(f"/batches/{batch_id}/resume")
        else:
            self._desk.command("pause", "--batch", str(batch_id))
            self._keep_quiet(act, batch_id)
            self._desk.command("resume", "--batch", str(batch_id))
        return str(batch_id)

    def _keep_quiet(self, act: Act, batch_id: uuid.UUID | None) -> None:
        begins_at = self._now()
        time.sleep(act.seconds)
        self.held.quiet.append(Quiet(begins_at, self._now(), batch_id))

    def _now(self) -> datetime:
        now: datetime = self._system.ask(lambda connection: connection.execute(text(CLOCK)).scalar_one())
        return now

    def _plan(self, _act: Act) -> str:
        order = self._order(self._new_pictures(), "--plan")
        order.awaits_approval = True
        return str(order.batch_id)

    def _approve(self, _act: Act) -> str:
        order = next((order for order in self.held.ordered if order.awaits_approval), None)
        if order is None:
            return "nothing to approve"
        order.awaits_approval = False
        self._desk.post(f"/batches/{order.batch_id}/approve")
        return str(order.batch_id)

    def _bound(self, _act: Act) -> str:
        order = self._order(self._new_pictures(), "--budget", str(BUDGET))
        order.budget = BUDGET
        return str(order.batch_id)

    def _raise(self, act: Act) -> str:
        bounded = [order for order in self.held.ordered if order.budget is not None]
        if not bounded:
            return "no budget to raise"
        order = bounded[int(act.which * len(bounded))]
        order.budget = (order.budget or 0) + 1
        self._desk.command("budget", str(order.batch_id), str(order.budget))
        return f"{order.batch_id} to {order.budget}"

    def _again(self, act: Act) -> str:
        """Pictures of the producer's, bought or not by then."""
        first = int(act.which * self._jobs) // FORMS * FORMS
        numbers = range(first, min(first + FORMS * PICTURES, self._jobs), FORMS)
        return str(self._order(numbers).batch_id) if numbers else "too few pictures"

    def _cancel_job(self, act: Act) -> str:
        job_id = self._system.ask(
            lambda connection: connection.scalar(text(UNFINISHED_JOB), {"which": str(act.which)})
        )
        if job_id is None:
            return "no job to cancel"
        self.held.cancelled.add(job_id)
        self._desk.post(f"/jobs/{job_id}/cancel")
        return str(job_id)

    def _cancel_batch(self, act: Act) -> str:
        order = self._order(self._new_pictures())
        time.sleep(act.seconds / 2)
        self.held.cancelled.add(order.batch_id)
        if act.which * 1000 % 2 < 1:
            self._desk.command("cancel", str(order.batch_id))
        else:
            self._desk.post(f"/batches/{order.batch_id}/cancel")
        return str(order.batch_id)

    def _retry(self, act: Act) -> str:
        if act.which * 1000 % 2 < 1:
            self._desk.command("retry", str(self._batch_id))
        else:
            self._desk.post(f"/batches/{self._batch_id}/retry")
        return str(self._batch_id)

    def _run_schedule(self, act: Act) -> str:
        return self.nights.run_by_hand(act.which)

    def _pause_schedule(self, act: Act) -> str:
        return self.nights.pause(act.which, act.seconds)

    def _new_pictures(self) -> range:
        first = self._next_picture
        self._next_picture += PICTURES
        return range(first, first + PICTURES)

    def _order(self, numbers: Sequence[int], *options: str) -> Ordered:
        """`cutout ingest` of a directory; broken off by an outage, the same command goes on."""
        directory = self._write(numbers)
        ran = self._desk.command("ingest", str(directory), "--rejects", f"{directory}.csv", *options)
        found = ENQUEUED.search(ran.stdout)
        if found is None:
            raise RuntimeError(f"cutout ingest says neither which batch nor how many: {ran}")
        order = Ordered(uuid.UUID(found[1]), int(found[2].replace(",", "")))
        if order.jobs != len(numbers):
            self.wrong.append(f"{len(numbers)} pictures were ordered, and enqueued were: {found[0]}")
        self.held.ordered.append(order)
        return order

    def _write(self, numbers: Sequence[int]) -> Path:
        directory = self._system.directory / "orders" / f"{len(self.held.ordered) + 1}"
        directory.mkdir(parents=True)
        for number in numbers:
            (directory / f"{number}.jpg").write_bytes(picture(number))
        return directory


DEEDS: dict[Deed, Callable[[Operator, Act], str]] = {
    Deed.PAUSE_ALL: Operator._pause_all,
    Deed.PAUSE_BATCH: Operator._pause_batch,
    Deed.PLAN: Operator._plan,
    Deed.APPROVE: Operator._approve,
    Deed.BOUND: Operator._bound,
    Deed.RAISE: Operator._raise,
    Deed.AGAIN: Operator._again,
    Deed.CANCEL_JOB: Operator._cancel_job,
    Deed.CANCEL_BATCH: Operator._cancel_batch,
    Deed.RETRY: Operator._retry,
    Deed.RUN_SCHEDULE: Operator._run_schedule,
    Deed.PAUSE_SCHEDULE: Operator._pause_schedule,
}
