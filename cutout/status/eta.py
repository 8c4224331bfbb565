"""How fast the line moves now, and so when a look at a job is worth while."""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from cutout.enums import FINAL_STATES, Standing, State, Step
from cutout.models import Limit, Line, Share
from cutout.models.database import Database
from cutout.status.explain import calls_a_second
from cutout.status.job_view import SeenJob

SOONEST_S = 1
LATEST_S = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """Where each producer's line is, the calls a second that the limits allow, and how long one takes (s).

    None is what nothing is known of yet. `now` is when it was looked at, by Postgres' clock.
    """

    presents: Mapping[uuid.UUID, float]
    paused: bool
    calls_a_second: float | None
    call_seconds: float | None
    now: datetime

    def seconds_for(self, job: SeenJob, producer_id: uuid.UUID) -> int | None:
        """In how many seconds, 1 to 60, the producer's job may have moved on; None once it is final.

        A guess from below where several batches share its line, or several producers the calls: a place
        counts its own batch's jobs.
        """
        if job.state in FINAL_STATES:
            return None
        return min(max(math.ceil(self._guess(job, producer_id)), SOONEST_S), LATEST_S)

    def seconds_for_many(self, jobs: int) -> float | None:
        """How long so many calls take at least."""
        return jobs / self.calls_a_second if self.calls_a_second else None

    def _guess(self, job: SeenJob, producer_id: uuid.UUID) -> float:
        if job.state == State.HELD or job.standing in (Standing.PARKED, Standing.SOURCE_LIMIT):
            return LATEST_S
        if job.state == State.RUNNING:
            return self.call_seconds or SOONEST_S if job.step == Step.CALL else SOONEST_S
        if job.standing == Standing.WAITING:
            return self.call_seconds or SOONEST_S
        if job.standing == Standing.RESTING:
            return (job.scheduled_at - self.now).total_seconds()
        if job.standing in (Standing.HANDED_OUT, Standing.SERVING) or job.step == Step.COPY:
            return SOONEST_S
        if self.paused:
            return LATEST_S
        ahead = job.place - self.presents.get(producer_id, 0.0)
        return (self.seconds_for_many(1) or 0) * max(ahead, 0)


def look_at_pace(database: Database, accounts: Sequence[str], ceiling: float | None) -> Pace:
    """How it stands now, for these accounts of the endpoint, or for all if none are named."""
    shares = database.execute(select(Share.owner, Share.present))
    line = database.execute(select(Line.paused_at, func.now().label("now"))).one()
    call_seconds = select(func.max(Limit.latency_seconds)).where(Limit.latency_seconds > 0)
    return Pace(
        presents={row.owner: row.present for row in shares},
        paused=line.paused_at is not None,
        calls_a_second=calls_a_second(database, accounts, ceiling),
        call_seconds=database.scalar(call_seconds),
        now=line.now,
    )
