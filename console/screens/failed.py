"""Failed: the jobs that failed on one day, by reason, the last first."""

import uuid
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection

from console.failures import MOST_REASONED, FailedJob, count_reasons, list_failed, today
from console.pages import Asked, screen
from console.remedies import remedy_of
from console.screens.router import screen_router
from console.views import View
from cutout.status.producer_texts import text_for_producer

router = screen_router()

A_PAGE = 50
# No job is older.
EARLIEST = date(2020, 1, 1)


@screen(router, "/console/trouble/failed")
async def failed(asked: Asked) -> View:
    """The jobs that failed on a day, today without one, by reason."""
    viewer, code = asked.viewer, asked.text("code")
    now = today()
    day = max(min(_day(asked.text("day")) or now, now), EARLIEST)

    def look(connection: Connection) -> tuple[list[tuple[str, int]], list[FailedJob]]:
        return (
            count_reasons(connection, day, viewer.producer_id),
            list(
                list_failed(
                    connection, day, viewer.producer_id, code=code, after=_after(asked), limit=A_PAGE + 1
                )
            ),
        )

    reasons, jobs = await asked.read(look)
    number = await asked.console.failed.get((day, viewer.producer_id), soon=True)

    def shown(text: str) -> str:
        return text if viewer.is_operator else text_for_producer(text)

    values = {
        "day": day,
        "before": day - timedelta(days=1) if day > EARLIEST else None,
        "following": day + timedelta(days=1) if day < now else None,
        "is_today": day == now,
        "code": code,
        "reasons": [(each, number, shown(remedy_of(each))) for each, number in reasons],
        "number": number,
        "most": MOST_REASONED,
        "is_cut": sum(number for _, number in reasons) >= MOST_REASONED,
        "jobs": jobs[:A_PAGE],
        "messages": {job.id: shown(job.message or "") for job in jobs},
        "is_first": _after(asked) is None,
        "last": jobs[A_PAGE - 1] if len(jobs) > A_PAGE else None,
    }
    return View("failed.html", "Failed", values)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _after(asked: Asked) -> tuple[datetime, uuid.UUID] | None:
    """The end and the id of the job behind which the page begins."""
    job_id = asked.after()
    try:
        ended_at = datetime.fromisoformat(asked.text("at"))
    except ValueError:
        return None
    return None if job_id is None else (ended_at.replace(tzinfo=ended_at.tzinfo or UTC), job_id)
