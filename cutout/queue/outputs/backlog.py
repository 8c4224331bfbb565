"""The backlog of outputs: how many wait, who makes them, and how long that takes."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Double, case, cast, extract, func, select, true

from cutout.enums import OutputState
from cutout.models import OUTPUTS, RENDERERS, constant
from cutout.models.database import Database

HEARD_WITHIN = timedelta(seconds=30)
# Before any was made: a picture of 24 megapixels took 6 s of a core for its full size, a rendition 0.6 s.
USUAL_SECONDS = 2.0
USUAL_BYTES = 3_000_000
MOST_SAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Backlog:
    """Outputs that wait, the age of the oldest in seconds, and the pictures that renderers make at a time.

    `seconds_each` is what one output took a renderer lately.
    """

    waiting: int
    oldest_s: float
    processes: int
    seconds_each: float

    @property
    def busy_s(self) -> float:
        """Seconds of renderers' work that wait."""
        return self.waiting * self.seconds_each

    @property
    def seconds(self) -> float | None:
        """Seconds until all are made; None while no renderer runs."""
        return self.busy_s / self.processes if self.processes else None


@dataclass(frozen=True, slots=True)
class ExpectedOutputs:
    """Expected cost of a number of outputs: seconds of a core, and bytes in the bucket."""

    outputs: int
    cpu_seconds: float
    size_bytes: int


WAIT = (
    select(
        func.count().label("waiting"),
        func.coalesce(cast(extract("epoch", func.now() - func.min(OUTPUTS.c.created_at)), Double), 0.0).label(
            "oldest_s"
        ),
    )
    .where(OUTPUTS.c.state == constant(OutputState.WAITING))
    .subquery("outputs_that_wait")
)
RATE = select(
    func.coalesce(
        func.sum(case((RENDERERS.c.seen_at > func.now() - HEARD_WITHIN, RENDERERS.c.processes))), 0
    ).label("processes"),
    func.sum(RENDERERS.c.made).label("made"),
    func.sum(RENDERERS.c.busy_seconds).label("busy"),
).subquery("renderers_now")
BACKLOG = select(WAIT, RATE).join_from(WAIT, RATE, true())


def read_backlog(database: Database) -> Backlog:
    """The backlog of all producers."""
    found = database.execute(BACKLOG).one()
    each = seconds_each(found.made, found.busy)
    return Backlog(found.waiting, max(found.oldest_s, 0.0), found.processes, each)


def seconds_each(made: int | None, busy: float | None) -> float:
    """Seconds of a renderer for one output, by what renderers have made in these seconds."""
    return busy / made if made and busy else USUAL_SECONDS


def expect(database: Database, outputs: int) -> ExpectedOutputs:
    """Expect the cost of so many outputs by those that were made here, or by usual ones before that."""
    some = (
        select(OUTPUTS.c.cpu_seconds, OUTPUTS.c.size_bytes)
        .where(OUTPUTS.c.state == constant(OutputState.MADE), OUTPUTS.c.cpu_seconds > 0)
        .limit(MOST_SAMPLED)
        .subquery("some")
    )
    means = database.execute(select(func.avg(some.c.cpu_seconds), func.avg(some.c.size_bytes))).one()
    seconds, size = (float(mean) if mean is not None else None for mean in means)
    return ExpectedOutputs(
        outputs,
        outputs * (USUAL_SECONDS if seconds is None else seconds),
        round(outputs * (USUAL_BYTES if size is None else size)),
    )
