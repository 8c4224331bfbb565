"""The jobs that are held for one reason, in pages."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select

from console.changes.notice import read_notice
from console.pages import Asked, screen
from console.screens.router import screen_router
from console.screens.trouble.troubled_jobs import A_PAGE, COLUMNS, TroubledJob, own, troubled_job
from console.viewer import Viewer
from console.views import View
from cutout.actions.held import WAITS_FOR_A_PERSON
from cutout.models import JOBS

router = screen_router()


@screen(router, "/console/trouble/held")
async def held(asked: Asked) -> View:
    """The jobs that are held for one reason, in pages."""
    code = asked.text("code")
    which: list[ColumnElement[bool]] = [WAITS_FOR_A_PERSON]
    if code:
        which.append(JOBS.c.code == code)
    after = asked.after()
    if after is not None:
        which.append(JOBS.c.id > after)
    jobs = await asked.read(lambda connection: _read(connection, asked.viewer, which))
    values = {
        "jobs": jobs[:A_PAGE],
        "code": code,
        "after": after,
        "next": jobs[A_PAGE - 1].id if len(jobs) > A_PAGE else None,
        "notice": await read_notice(asked, "/console/trouble/held"),
    }
    return View("held.html", f"Held: {code}" if code else "Held", values)


def _read(connection: Connection, viewer: Viewer, which: Sequence[ColumnElement[bool]]) -> list[TroubledJob]:
    found = select(*COLUMNS).where(*which, *own(viewer)).order_by(JOBS.c.id).limit(A_PAGE + 1)
    return [troubled_job(row, viewer) for row in connection.execute(found)]
