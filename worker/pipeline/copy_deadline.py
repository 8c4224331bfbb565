"""How long a paid result still lives, and when its copy must be tried again."""

from functools import partial

from sqlalchemy import cast, extract, func, literal, select
from sqlalchemy.types import DateTime, Double

from cutout.models.database import Database
from cutout.queue.claims import Claim, PaidResult
from worker.pipeline.context import WorkerContext

SHORTEST_REST_S = 0.2


def seconds_left(context: WorkerContext, result: PaidResult) -> float:
    """Seconds until the result's URL dies, by Postgres' clock, which set the time; negative once it is over.

    A worker's own clock may be wrong, and a loss declared too early is a credit thrown away.
    """
    return context.patiently(partial(_seconds_left, result=result))


def next_try_within(context: WorkerContext, claim: Claim) -> float | None:
    """Seconds within which the copy must be tried again; None if that does not matter.

    Until the lifeboat is due, that is the moment when it is; from then on, a quarter of what remains. It does
    not matter for a result that is in the lifeboat, or whose time is over.
    """
    result = claim.result
    if result is None or result.lifeboat_key is not None:
        return None
    left = seconds_left(context, result)
    if left <= 0:
        return None
    until_due = left - context.settings.lifeboat_seconds
    return max(until_due if until_due > 0 else left / 4, SHORTEST_REST_S)


def _seconds_left(database: Database, result: PaidResult) -> float:
    expires_at = literal(result.expires_at, DateTime(timezone=True))
    left = cast(extract("epoch", expires_at - func.clock_timestamp()), Double)
    seconds: float = database.scalars(select(left)).one()
    return seconds
