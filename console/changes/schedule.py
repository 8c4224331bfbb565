"""Buttons of a schedule: pause, resume and skip at once, and a run now at its price."""

import uuid
from datetime import datetime

from fastapi import Request, Response
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from console.changes.asked_first import asked_first
from console.changes.carry_out import Done, Sent, back_to, carry_out, id_in, refused, stale
from console.changes.confirmation import Confirmation, price
from console.console import console_of
from console.faults import not_found
from console.pages import viewer_of
from console.screens.router import screen_router
from console.viewer import Right, Viewer
from cutout.actions.schedules import pause_schedule, restore_run, resume_schedule, run_schedule, skip_run
from cutout.models import Schedule
from cutout.queue.blocks.pauses import By
from cutout.schedules.manage import is_paused
from cutout.schedules.skips import is_next_skipped, may_restore

router = screen_router()


def pause_right(viewer: Viewer) -> Right:
    """The right to pause a schedule: a producer needs all, as in the API."""
    return Right.OPERATE if viewer.is_operator else Right.SPEND


def press_for(schedule: Schedule, viewer: Viewer) -> str:
    """The button for the viewer's side: `pause`, `resume`, or empty for none."""
    by_operator, by_producer = schedule.paused_by_operator_at, schedule.paused_at
    own, other = (by_operator, None) if viewer.is_operator else (by_producer, by_operator)
    if viewer.is_operator and schedule.producer_id is None:
        own = by_operator or by_producer
    if schedule.removed_at is not None or other is not None:
        return ""
    if own is not None:
        return "resume" if viewer.may(Right.SPEND) else ""
    return "pause" if viewer.may(pause_right(viewer)) else ""


def skip_press(schedule: Schedule, viewer: Viewer) -> str:
    """The button for the next run: `skip`, `restore`, or empty for none."""
    if schedule.removed_at is not None or is_paused(schedule):
        return ""
    if is_next_skipped(schedule):
        side = By.OPERATOR if viewer.is_operator else By.PRODUCER
        return "restore" if viewer.may(Right.SPEND) and may_restore(schedule, side) else ""
    return "skip" if viewer.may(pause_right(viewer)) else ""


@router.post("/console/schedules/{schedule_id}/pause")
async def pause(schedule_id: uuid.UUID, request: Request) -> Response:
    """Fire no run from now on."""

    def act(sent: Sent) -> Done:
        action_id = pause_schedule(sent.session, sent.asked, _locked(sent, schedule_id))
        if action_id is None:
            raise refused("It was paused already, and nothing was done.")
        return Done(_page(schedule_id), action_id)

    return await carry_out(request, pause_right(viewer_of(request)), act)


@router.post("/console/schedules/{schedule_id}/resume")
async def resume(schedule_id: uuid.UUID, request: Request) -> Response:
    """End the pause that the page showed."""

    def act(sent: Sent) -> Done:
        schedule = _shown(sent, schedule_id)
        action_id = resume_schedule(sent.session, sent.asked, schedule)
        if action_id is None:
            raise refused("It is not paused, and nothing was done.")
        return Done(_page(schedule_id), action_id)

    return await carry_out(request, Right.SPEND, act)


@router.post("/console/schedules/{schedule_id}/skip")
async def skip(schedule_id: uuid.UUID, request: Request) -> Response:
    """Skip the next run that the page showed, at once."""

    def act(sent: Sent) -> Done:
        schedule = _locked(sent, schedule_id)
        if is_paused(schedule):
            raise refused("It is paused: it has no next run, and nothing was done.")
        fire_at = _shown_run(sent, schedule)
        action_id = skip_run(sent.session, sent.asked, schedule, fire_at)
        if action_id is None:
            raise refused("This run is skipped already, and nothing was done.")
        return Done(_back(sent, schedule_id), action_id)

    return await carry_out(request, pause_right(viewer_of(request)), act)


@router.post("/console/schedules/{schedule_id}/restore")
async def restore(schedule_id: uuid.UUID, request: Request) -> Response:
    """Let the run start that was to be skipped."""

    def act(sent: Sent) -> Done:
        schedule = _locked(sent, schedule_id)
        action_id = restore_run(sent.session, sent.asked, schedule, _shown_run(sent, schedule))
        if action_id is None:
            raise refused("This run is not to be skipped, and nothing was done.")
        return Done(_back(sent, schedule_id), action_id)

    return await carry_out(request, Right.SPEND, act)


def run(sent: Sent) -> Done:
    """Fire a run now, as it was shown."""
    schedule_id = id_in(sent.path, "schedule_id")
    if run_schedule(sent.session, sent.asked, _shown(sent, schedule_id)) is None:
        raise refused("A run was fired at this very moment, and no second one.")
    return Done(_page(schedule_id), subject_id=schedule_id)


async def ask_run(request: Request) -> Confirmation:
    """Ask whether it is to run now, and say what that may cost."""
    viewer, schedule_id = viewer_of(request), id_in(request.path_params, "schedule_id")

    def look(connection: Connection) -> Schedule | None:
        with Session(connection, expire_on_commit=False) as session:
            found = _find(session, viewer, schedule_id)
            session.expunge_all()
            return found

    found = await console_of(request).pool.read(look, of=viewer.producer_id)
    if found is None:
        raise not_found("such schedule")
    lines = ["It reads its source now, besides its usual runs, and buys what is new or changed there."]
    if found.run_budget is None:
        lines.append("No budget limits a run: each such picture may cost a credit.")
        button = "Run it now, without a limit of credits"
    else:
        button = f"Run it now: {price(found.run_budget)}"
    if found.month_budget is not None:
        lines.append(f"Its budget of a month is {found.month_budget:,} credits.")
    if is_paused(found):
        lines.append("It is paused, and stays so: this one run is fired all the same.")
    page = _page(schedule_id)
    fields = {"revision": str(found.revision)}
    return Confirmation(f"Run “{found.name}” now?", lines, f"{page}/run", button, page, fields)


def _locked(sent: Sent, schedule_id: uuid.UUID) -> Schedule:
    found = _find(sent.session, sent.viewer, schedule_id, lock=True)
    if found is None:
        raise not_found("such schedule")
    return found


def _shown(sent: Sent, schedule_id: uuid.UUID) -> Schedule:
    found = _locked(sent, schedule_id)
    if str(found.revision) != sent.text("revision"):
        raise stale("The schedule was changed meanwhile")
    return found


def _shown_run(sent: Sent, schedule: Schedule) -> datetime:
    """The time of the next run. Raises PageError, 409, if the page showed another one."""
    if schedule.next_fire_at.isoformat() != sent.text("fire_at"):
        raise stale("The next run is another one than the page showed")
    return schedule.next_fire_at


def _find(session: Session, viewer: Viewer, schedule_id: uuid.UUID, *, lock: bool = False) -> Schedule | None:
    this = select(Schedule).where(Schedule.id == schedule_id, Schedule.removed_at.is_(None))
    if not viewer.is_operator:
        this = this.where(Schedule.producer_id == viewer.producer_id)
    return session.scalar(this.with_for_update() if lock else this)


def _page(schedule_id: uuid.UUID) -> str:
    return f"/console/schedules/{schedule_id}"


def _back(sent: Sent, schedule_id: uuid.UUID) -> str:
    return back_to(sent.text("back"), _page(schedule_id))


asked_first(router, "/console/schedules/{schedule_id}/run", Right.SPEND, ask=ask_run, act=run)
