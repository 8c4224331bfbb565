"""Held jobs by reason: since when, what they may have cost, and what their release may cost."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select, true

from console.remedies import remedy_of
from console.screens.trouble.troubled_jobs import own, shown
from console.viewer import Viewer
from cutout.actions.held import MOST_AT_ONCE, WAITS_FOR_A_PERSON
from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, JOBS, constant

# Held jobs that are read for the table.
MOST_HELD = 20_000


@dataclass(frozen=True, slots=True)
class HeldReason:
    """Held jobs of one code: since when the oldest exists, and the calls of them that may have been charged.

    `at_risk` of them have a paid result that is stored nowhere; the first expires at `expires_at`.
    """

    code: str
    jobs: int
    oldest_at: datetime
    message: str
    unknown: int
    at_risk: int
    expires_at: datetime | None
    remedy: str
    free: int

    @property
    def shown(self) -> int:
        """The number of jobs that a button takes at once."""
        return min(self.jobs, MOST_AT_ONCE)

    @property
    def credits(self) -> int:
        """The most credits that their release may cost."""
        return self.jobs - self.free


def held_reasons(connection: Connection, viewer: Viewer) -> list[HeldReason]:
    """The reasons of held jobs, those with the oldest job first."""
    names = ("id", "code", "message", "created_at", "result_expires_at", "lifeboat_key")
    read = (
        select(*(JOBS.c[name] for name in names))
        .where(WAITS_FOR_A_PERSON, *own(viewer))
        .limit(MOST_HELD)
        .subquery("read")
    )
    unknown = (
        select(func.count().label("calls"))
        .where(
            ATTEMPTS.c.job_id == read.c.id,
            ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
            ATTEMPTS.c.ended_at.is_not(None),
        )
        .lateral("unknown")
    )
    is_at_risk = and_(read.c.result_expires_at.is_not(None), read.c.lifeboat_key.is_(None))
    rows = connection.execute(
        select(
            read.c.code,
            func.count().label("jobs"),
            func.min(read.c.created_at).label("oldest_at"),
            func.min(read.c.message).label("message"),
            func.sum(unknown.c.calls).label("unknown"),
            func.count().filter(is_at_risk).label("at_risk"),
            func.count()
            .filter(or_(read.c.result_expires_at > func.now(), read.c.lifeboat_key.is_not(None)))
            .label("free"),
            func.min(read.c.result_expires_at).filter(is_at_risk).label("expires_at"),
        )
        .join_from(read, unknown, true())
        .group_by(read.c.code)
        .order_by(func.min(read.c.created_at))
    )
    return [
        HeldReason(
            row.code or "",
            row.jobs,
            row.oldest_at,
            shown(row.message, viewer),
            int(row.unknown),
            row.at_risk,
            row.expires_at,
            shown(remedy_of(row.code or ""), viewer),
            row.free,
        )
        for row in rows
    ]
