"""Where a dispatcher begins to look in each line: beside an old snapshot, the index keeps what left it.

A line is marked once it takes long to find its first job there. Its mark is that job's place, looked for anew
every few seconds; meanwhile everything begins there. What this dispatcher itself puts back into a line before
its mark moves the mark back at once. Whatever else comes in before it (a worker gave a job back, a slow
transaction committed, another dispatcher leads too) is found at the next look: within 3 s, or if looking
takes long within 10.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sqlalchemy import ARRAY, Integer, Uuid, bindparam, column, func, select, true

from cutout.enums import Priority
from cutout.models import SHARES
from cutout.models.database import Database
from cutout.queue.queue_walk import Line, first_of, parameters_of

LOOK_EVERY_S = 3.0
LOOK_AT_LEAST_EVERY_S = 10.0
# To look takes no more than one part in so many of all time, unless that would be too seldom.
PART_OF_THE_TIME = 500
# Some hundred entries that lead nowhere. Where it takes less, a mark saves nothing.
WORTH_A_MARK_S = 100e-6
# Lines of producers that were served of late, which another leader may have left like that.
LOOK_AT_OTHERS_EVERY_S = 60.0
MOST_OTHERS = 300


class Stands(Protocol):
    """A job that came into a line, or left it."""

    @property
    def owner(self) -> Any: ...
    @property
    def priority(self) -> int: ...
    @property
    def place(self) -> float: ...


def _look() -> Any:
    owners, priorities = bindparam("owners", type_=ARRAY(Uuid)), bindparam("priorities", type_=ARRAY(Integer))
    asked = func.unnest(owners, priorities).table_valued(
        column("owner", Uuid), column("priority", Integer), with_ordinality="n"
    )
    lines = asked.render_derived(name="asked")
    first = first_of(lines.c.owner, lines.c.priority).lateral("first_of_line")
    clock = func.extract("epoch", func.clock_timestamp() - func.statement_timestamp())
    # Rows come as the lines are looked at, one after the other: between two times lies one look.
    return select(lines.c.n, first.c.place, clock.label("at_s")).join_from(lines, first, true(), isouter=True)


LOOK = _look()
SERVED_OF_LATE = (
    select(SHARES.c.owner, SHARES.c.present).order_by(SHARES.c.virtual_time.desc()).limit(MOST_OTHERS)
)


class LineMarks:
    """The marks of one dispatcher, and what left which line since it last looked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: dict[Line, float] = {}
        self._left: dict[Line, float] = {}
        self._parameters: dict[str, Any] | None = None
        self._look_at = self._look_at_others_at = clock()

    @property
    def are_set(self) -> bool:
        """Whether any line is marked."""
        return bool(self._marks)

    def as_parameters(self) -> dict[str, Any]:
        """The values that statements over marked lines wait for."""
        if self._parameters is None:
            self._parameters = parameters_of(self._marks) if self._marks else {}
        return self._parameters

    def left(self, jobs: Iterable[Stands]) -> None:
        """These are not in line any more."""
        for job in jobs:
            line = (job.owner, job.priority)
            self._left[line] = max(job.place, self._left.get(line, job.place))

    def entered(self, jobs: Iterable[Stands]) -> None:
        """These are in line again, in their old places."""
        if not self._marks:
            return
        for job in jobs:
            line = (job.owner, job.priority)
            if line in self._marks and job.place < self._marks[line]:
                self._marks[line] = job.place
                self._parameters = None

    def look(self, database: Database) -> None:
        """Look, once in a while, where each line begins that is marked or that jobs left."""
        now = self._clock()
        if now < self._look_at:
            return
        if now >= self._look_at_others_at:
            self._look_at_others_at = now + LOOK_AT_OTHERS_EVERY_S
            for owner, present in database.execute(SERVED_OF_LATE):
                for priority in Priority:
                    self._left.setdefault((owner, int(priority)), present)
        took = self._mark(database) if self._left or self._marks else 0.0
        self._look_at = now + min(max(LOOK_EVERY_S, took * PART_OF_THE_TIME), LOOK_AT_LEAST_EVERY_S)

    def _mark(self, database: Database) -> float:
        """Returns the seconds that it took."""
        gone = self._marks | self._left
        lines = [*gone]
        asked = {"owners": [owner for owner, _ in lines], "priorities": [priority for _, priority in lines]}
        marks, before_s = {}, 0.0
        for n, place, at_s in database.execute(LOOK, asked):
            line = lines[n - 1]
            if float(at_s) - before_s >= WORTH_A_MARK_S:
                # An empty line goes on behind what it had: whatever comes in stands there.
                marks[line] = gone[line] if place is None else place
            before_s = float(at_s)
        self._marks, self._left, self._parameters = marks, {}, None
        return before_s
