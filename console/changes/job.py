"""Buttons of a job: retry or release at its price, cancel, and accept what came unexpectedly."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import Request
from sqlalchemy import ColumnElement, Connection, Row, select

from console.changes.asked_first import asked_first
from console.changes.carry_out import Done, Sent, id_in, refused, stale
from console.changes.confirmation import Confirmation, price
from console.console import console_of
from console.faults import not_found
from console.pages import viewer_of
from console.screens.router import screen_router
from console.small_form import small_form
from console.templates import address_with
from console.viewer import Right, Viewer
from cutout.actions.jobs import accept_job, cancel_job, release_job, retry_job
from cutout.enums import FINAL_STATES, State
from cutout.models import JOBS
from cutout.models.database import Database
from cutout.producers.quotas import take_quota
from cutout.queue.actions import RESULT_IS_FETCHABLE, RETRIABLE
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.status.producer_texts import text_for_producer
from cutout.storage.unexpected_bytes import Unexpected

router = screen_router()

# The name of what came among the files of a job.
UNEXPECTED = "unexpected"
HELD_JOBS = "/console/trouble/held"
UNDER_WAY = (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True)
class JobNow:
    """A job as its buttons need it. `seen` is what a form sends back: the state that the page showed.

    A retry costs `credits`, 0 or 1.
    """

    state: State
    code: str
    name: str
    producer_id: uuid.UUID | None
    credits: int
    cancelled_at: datetime | None
    seen: str
    unexpected: Unexpected | None

    @property
    def may_be_retried(self) -> bool:
        return self.state in RETRIABLE and self.code not in ("", NEEDS_APPROVAL)

    @property
    def may_be_cancelled(self) -> bool:
        return self.state not in FINAL_STATES and self.cancelled_at is None

    @property
    def acceptable(self) -> Unexpected | None:
        """The unexpected result that a person may accept as the cutout."""
        return acceptable(self.state, self.unexpected)


def acceptable(state: State, found: Unexpected | None) -> Unexpected | None:
    """The unexpected result of a job in this state, if a person may accept it as the cutout."""
    return found if found is not None and found.is_picture and state is State.HELD else None


def read_job_now(
    database: Database, viewer: Viewer, job_id: uuid.UUID, *, lock: bool = False
) -> JobNow | None:
    """The job now, locked until the transaction ends if `lock`; None if there is none such for the viewer."""
    names = ("state", "code", "external_id", "producer_id", "released_at", "cancelled_at", "unexpected")
    columns = [*(JOBS.c[name] for name in names), RESULT_IS_FETCHABLE.label("free")]
    own: list[ColumnElement[bool]] = [JOBS.c.id == job_id, JOBS.c.deleted_at.is_(None)]
    if not viewer.is_operator:
        own.append(JOBS.c.producer_id == viewer.producer_id)
    this = select(*columns).where(*own)
    row = database.execute(this.with_for_update(key_share=True) if lock else this).first()
    if row is None:
        return None
    state, name = State(row.state), row.external_id or str(job_id)
    credits_ = 0 if row.free else 1
    return JobNow(
        state,
        row.code or "",
        name,
        row.producer_id,
        credits_,
        row.cancelled_at,
        _seen(row, state),
        Unexpected.of(row.unexpected),
    )


def retry(sent: Sent) -> Done:
    """Retry a failed job, or release a held one, at the price that was shown."""
    job_id, job = _locked(sent)
    if not job.may_be_retried:
        raise refused("It neither failed nor is held now, and nothing was done.")
    _require_shown(sent, job)
    if str(job.credits) != sent.text("credits"):
        raise stale("Its price is another one than the page showed")
    sent.viewer.require(Right.SPEND if job.credits else Right.OPERATE)
    is_held = job.state is State.HELD
    if not is_held and job.producer_id is not None and not sent.viewer.is_operator:
        take_quota(sent.session, job.producer_id, 1)
    if not (release_job if is_held else retry_job)(sent.session, sent.asked, job_id):
        raise stale("It neither failed nor is held any more")
    return Done(_page(job_id), subject_id=job_id)


def cancel(sent: Sent) -> Done:
    """Cancel a job that has not ended."""
    job_id, job = _locked(sent)
    if not job.may_be_cancelled:
        raise refused("It has ended, or is cancelled already, and nothing was done.")
    _require_shown(sent, job)
    if not cancel_job(sent.session, sent.asked, job_id):
        raise stale("It has ended meanwhile")
    return Done(_page(job_id), subject_id=job_id)


def accept(sent: Sent) -> Done:
    """Let the unexpected result that was shown be the job's cutout; no call is made for it."""
    job_id, job = _locked(sent)
    if job.acceptable is None:
        raise refused("It has no unexpected result to accept now, and nothing was done.")
    _require_shown(sent, job)
    if job.acceptable.sha256 != sent.text("result"):
        raise stale("Another result came for it than the page showed")
    if not accept_job(sent.session, sent.asked, job_id, job.acceptable):
        raise stale("It is not held any more")
    return Done(_after(sent.text("back"), job_id, job), subject_id=job_id)


async def ask_retry(request: Request) -> Confirmation:
    """Ask whether the job is to be retried at its price."""
    viewer, (job_id, job) = viewer_of(request), await _find(request)
    if not job.may_be_retried:
        raise refused("It neither failed nor is held now.")
    verb = "Release" if job.state is State.HELD else "Retry"
    needed = Right.SPEND if job.credits else Right.OPERATE
    lacks = None if viewer.may(needed) else needed
    paid = (
        "Its paid result is there or in the lifeboat: it continues with that, at no cost."
        if not job.credits
        else "It is called again, with all its tries; one credit is what a call costs."
    )
    lines = (f"It is {job.state}: {job.code}.", paid)
    page = _page(job_id)
    fields = {"seen": job.seen, "credits": str(job.credits)}
    button = f"{verb} it: {price(job.credits)}"
    return Confirmation(f"{verb} {job.name}?", lines, f"{page}/retry", button, page, fields, lacks=lacks)


async def ask_cancel(request: Request) -> Confirmation:
    """Ask whether the job is to be cancelled."""
    job_id, job = await _find(request)
    if not job.may_be_cancelled:
        raise refused("It has ended, or is cancelled already.")
    lines = (
        "No call of it begins any more. If it is paid for, its result is still stored, and it succeeds.",
        "A credit that it cost stays spent.",
    )
    page = _page(job_id)
    return Confirmation(
        f"Cancel {job.name}?", lines, f"{page}/cancel", "Cancel this job", page, {"seen": job.seen}
    )


async def ask_accept(request: Request) -> Confirmation:
    """Ask whether what came is to be the job's cutout."""
    job_id, job = await _find(request)
    found = job.acceptable
    if found is None:
        raise refused("It has no unexpected result to accept now.")
    reason = found.reason if viewer_of(request).is_operator else text_for_producer(found.reason)
    size = f"{found.width} by {found.height} pixels, {found.media_type}, {found.size_bytes:,} bytes"
    lines = (
        f"It is unexpected: {reason}.",
        f"{size}.",
        "It is paid for, and becomes the cutout of the job as it is: no call is made, and no credit spent.",
    )
    given = request.query_params if request.method == "GET" else await small_form(request)
    page, back = _page(job_id), given.get("back", "")
    fields = {"seen": job.seen, "result": found.sha256, "back": back if back == HELD_JOBS else ""}
    button = "Accept it: no credit"
    look = f"{page}/files/{UNEXPECTED}", "Look at it first"
    title, after = f"Accept what came for {job.name}?", _after(back, job_id, job)
    return Confirmation(title, lines, f"{page}/accept", button, after, fields, look=look)


async def _find(request: Request) -> tuple[uuid.UUID, JobNow]:
    viewer, job_id = viewer_of(request), id_in(request.path_params, "job_id")

    def look(connection: Connection) -> JobNow | None:
        return read_job_now(connection, viewer, job_id)

    found = await console_of(request).pool.read(look, of=viewer.producer_id)
    if found is None:
        raise not_found("such job")
    return job_id, found


def _locked(sent: Sent) -> tuple[uuid.UUID, JobNow]:
    job_id = id_in(sent.path, "job_id")
    found = read_job_now(sent.session, sent.viewer, job_id, lock=True)
    if found is None:
        raise not_found("such job")
    return job_id, found


def _require_shown(sent: Sent, job: JobNow) -> None:
    if sent.text("seen") != job.seen:
        raise stale("The job is not as the page showed it")


def _seen(row: Row[Any], state: State) -> str:
    # A job under way goes from one of these states to the other by itself.
    shown = ["under way"] if state in UNDER_WAY else [str(state), row.code or ""]
    return " ".join([*shown, row.released_at.isoformat() if row.released_at else "never released"])


def _page(job_id: uuid.UUID) -> str:
    return f"/console/jobs/{job_id}"


def _after(back: str, job_id: uuid.UUID, job: JobNow) -> str:
    """The page that a form leads to: that of the job, or the list of those held for the same reason."""
    return address_with(HELD_JOBS, code=job.code) if back == HELD_JOBS else _page(job_id)


OF_A_JOB = "/console/jobs/{job_id}"
asked_first(router, f"{OF_A_JOB}/retry", Right.OPERATE, ask=ask_retry, act=retry)
asked_first(router, f"{OF_A_JOB}/cancel", Right.OPERATE, ask=ask_cancel, act=cancel)
asked_first(router, f"{OF_A_JOB}/accept", Right.OPERATE, ask=ask_accept, act=accept)
