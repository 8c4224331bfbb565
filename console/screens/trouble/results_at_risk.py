"""Paid results that are stored nowhere but at the endpoint."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, union_all

from console.pages import Asked, screen
from console.screens.operators import require_operator
from console.screens.router import screen_router
from console.screens.trouble.troubled_jobs import A_PAGE, COLUMNS, TroubledJob, troubled_job
from console.screens.unsaved_results import unsaved_results
from console.viewer import Viewer
from console.views import View
from cutout.actions.held import WAITS_FOR_A_PERSON
from cutout.enums import QueueState, State, Step
from cutout.models import JOBS, constant
from cutout.monitoring.overview import AWAITED, Overview

router = screen_router()

# Paid, and stored nowhere.
AT_RISK = and_(JOBS.c.result_expires_at.is_not(None), JOBS.c.lifeboat_key.is_(None))
# Parts of the jobs that may have a paid result; each has an index.
UNSAVED = (
    and_(JOBS.c.queue_state == constant(QueueState.READY), JOBS.c.step == constant(Step.COPY)),
    JOBS.c.queue_state.in_([constant(each) for each in AWAITED]),
    JOBS.c.state == constant(State.RUNNING),
    WAITS_FOR_A_PERSON,
)


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Paid results that are stored nowhere but at the endpoint, and those that are in the lifeboat."""

    jobs: int
    expires_in_s: float | None
    in_lifeboat: int


def results_at_risk(overview: Overview, lifetime_s: float) -> AtRisk | None:
    """The results that are late, and those in the lifeboat; None without any."""
    late = unsaved_results(overview, lifetime_s).late
    in_lifeboat = sum(row.in_lifeboat for row in overview.jobs)
    return AtRisk(late, overview.next_expiry_s, in_lifeboat) if late or in_lifeboat else None


@screen(router, "/console/trouble/at-risk")
async def at_risk(asked: Asked) -> View:
    """Paid results that are stored nowhere yet, the first to expire first."""
    require_operator(asked.viewer)
    jobs = await asked.read(lambda connection: _unsaved(connection, asked.viewer))
    return View(
        "at_risk.html", "Results at risk", {"jobs": jobs[:A_PAGE], "more": len(jobs) > A_PAGE, "most": A_PAGE}
    )


def _unsaved(connection: Connection, viewer: Viewer) -> list[TroubledJob]:
    parts = [
        select(*COLUMNS).where(part, AT_RISK).order_by(JOBS.c.result_expires_at).limit(A_PAGE + 1).subquery()
        for part in UNSAVED
    ]
    both = union_all(*(select(part) for part in parts)).subquery()
    found = select(both).order_by(both.c.result_expires_at).limit(A_PAGE + 1)
    return [troubled_job(row, viewer) for row in connection.execute(found)]
