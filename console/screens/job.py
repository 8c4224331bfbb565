"""Job: why it is in its state, its life as one list, its files, and how to get it by a program."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from console.changes.action_text import action_words, actions_on
from console.changes.job import UNEXPECTED, JobNow, read_job_now
from console.changes.notice import read_notice
from console.console import console_of
from console.faults import not_found
from console.pages import Asked, screen, viewer_of
from console.screens.router import screen_router
from console.viewer import Right, Viewer
from console.views import View
from cutout.enums import AttemptOutcome, DeliveryState, OutputState, State
from cutout.models import ATTEMPTS, BATCHES, Job
from cutout.network.shown_urls import without_secrets
from cutout.status.action_log import LoggedAction
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from cutout.status.explain_outputs import OutputExplanation, explain_outputs
from cutout.status.explanation import Explanation
from cutout.status.job_view import SNAPSHOT, JobSnapshot, job_snapshot
from cutout.status.producer_texts import for_producer, output_for_producer, text_for_producer
from cutout.storage.unexpected_bytes import Unexpected
from cutout.webhooks.job_deliveries import JobDelivery, deliveries_of_job

router = screen_router()

MOST_CALLS = 100
# Each reads some digests, of up to 200 jobs.
MOST_MOMENTS = 8
# Of the job, and of its batch.
MOST_ACTIONS = 50
CALLS = (
    select(ATTEMPTS)
    .with_only_columns(
        *(
            ATTEMPTS.c[name]
            for name in (
                *("number", "account", "outcome", "begun_at", "ended_at", "unknown_at", "lost_at"),
                *("http_status", "code", "message"),
            )
        )
    )
    .order_by(ATTEMPTS.c.number)
    .limit(MOST_CALLS)
)


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of the job's life."""

    at: datetime
    text: str
    state: str = ""
    took_s: float | None = None
    given_up: uuid.UUID | None = None
    """A message that was given up, and may be sent again."""


@dataclass(frozen=True, slots=True)
class File:
    """A picture of the job in the bucket."""

    name: str
    key: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The job as its page shows it."""

    job: JobSnapshot
    batch_name: str | None
    why: Explanation
    outputs: Sequence[OutputExplanation]
    life: Sequence[Event]
    now: JobNow


@screen(router, "/console/jobs/{job_id}")
async def job(asked: Asked) -> View:
    """Why is this job as it is, and what happened to it?"""
    job_id, settings = asked.id("job_id"), CallSettings.of(asked.console.handed.settings)
    found = await asked.read(lambda connection: look_at(connection, job_id, asked.viewer, settings))
    if found is None:
        raise not_found("such job")
    values: dict[str, Any] = {
        "job": found.job,
        "found": found,
        "now": found.now,
        "notice": await read_notice(asked, f"/console/jobs/{job_id}"),
        "may_operate": asked.viewer.may(Right.OPERATE),
        "may_retry": asked.viewer.may(Right.SPEND if found.now.credits else Right.OPERATE),
        "source": shown_source(found.job.source, asked.viewer),
        "files": list(files_of(found.job)),
        "waiting": [each for each in found.job.outputs if each.state == OutputState.WAITING],
        "base_url": asked.base_url,
    }
    return View("job.html", found.job.external_id or f"Job {job_id}", values)


@router.get("/console/jobs/{job_id}/files/{name}")
async def open_file(job_id: uuid.UUID, name: str, request: Request) -> Response:
    """Redirect to a picture of the job, by a link that is good for some minutes."""
    console, viewer = console_of(request), viewer_of(request)
    found = await console.pool.read(
        lambda connection: snapshot(connection, job_id, viewer), of=viewer.producer_id
    )
    file = next((each for each in files_of(found) if each.name == name), None) if found else None
    if file is None:
        raise not_found("such picture")
    return RedirectResponse(
        console.handed.link(file.key), status_code=HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"}
    )


def snapshot(connection: Connection, job_id: uuid.UUID, viewer: Viewer) -> JobSnapshot | None:
    """The job, if the viewer may see it."""
    wanted = SNAPSHOT.where(Job.deleted_at.is_(None))
    if not viewer.is_operator:
        wanted = wanted.where(Job.producer_id == viewer.producer_id)
    row = connection.execute(wanted, {"ids": [job_id]}).first()
    return None if row is None else job_snapshot(row)


def look_at(
    connection: Connection, job_id: uuid.UUID, viewer: Viewer, settings: CallSettings
) -> Found | None:
    """Read the job, the reason for its state, and its calls."""
    found, now = snapshot(connection, job_id, viewer), read_job_now(connection, viewer, job_id)
    if found is None or now is None:
        return None
    with Session(connection) as session:
        row = session.get(Job, job_id)
        if row is None:
            return None
        why, outputs = explain(session, row, settings), explain_outputs(session, row)
        if not viewer.is_operator:
            why = for_producer(row, why)
            outputs = [output_for_producer(job_id, each) for each in outputs]
        released_at = row.released_at
    batch_name = connection.scalar(select(BATCHES.c.name).where(BATCHES.c.id == found.batch_id))
    calls = connection.execute(CALLS.where(ATTEMPTS.c.job_id == job_id)).all()
    actions = actions_on(connection, job_id, MOST_ACTIONS)
    if found.batch_id is not None:
        actions += actions_on(connection, found.batch_id, MOST_ACTIONS)
    messages = deliveries_of_job(
        connection,
        job_id,
        producer_id=now.producer_id,
        batch_id=found.batch_id,
        moments=moments_of(found, calls, actions),
    )
    life = [
        *own_life(found, released_at, viewer),
        *(event for call in calls for event in life_of_call(call, viewer)),
        *(Event(each.requested_at, action_words(each, viewer)) for each in actions),
        *(event_of_delivery(message, viewer) for message in messages),
    ]
    in_order = sorted((each for each in life if each.at >= found.created_at), key=lambda event: event.at)
    return Found(found, batch_name, why, outputs, in_order, now)


def shown_source(source: str, viewer: Viewer) -> str:
    """The source without what can hold a token; objects of the bucket are shown to operators alone."""
    if not source.startswith("s3://"):
        return without_secrets(source)
    return source if viewer.is_operator else "an uploaded picture"


def own_life(job: JobSnapshot, released_at: datetime | None, viewer: Viewer) -> Iterator[Event]:
    """Events of the job itself, without its calls."""
    yield Event(job.created_at, "enqueued")
    if released_at is not None:
        yield Event(released_at, "released by a person")
    if job.cancelled_at is not None:
        yield Event(job.cancelled_at, "cancelled: from here on no call begins")
    if job.finished_at is not None:
        reason = job.code or ""
        if job.message:
            reason += f": {job.message if viewer.is_operator else text_for_producer(job.message)}"
        text = f"ended as {job.state}"
        yield Event(job.finished_at, f"{text}, {reason}" if reason else text, job.state)


def life_of_call(call: Any, viewer: Viewer) -> Iterator[Event]:
    """The beginning of a paid call with its end, and what came of it later."""
    account = f", account {call.account}" if viewer.is_operator else ""
    took_s = (call.ended_at - call.begun_at).total_seconds() if call.ended_at else None
    outcome = str(call.outcome).replace("_", " ") if call.ended_at or call.unknown_at else "out"
    told = " ".join(str(part) for part in (call.http_status, call.code) if part)
    text = f"call {call.number}{account}: {outcome}{f' ({told})' if told else ''}"
    state = State.FAILED if call.outcome == AttemptOutcome.NOT_CHARGED else ""
    yield Event(call.begun_at, text, state, took_s)
    if call.unknown_at is not None:
        yield Event(
            call.unknown_at, f"call {call.number} given up as unknown: it may have cost a credit", "held"
        )
    if call.lost_at is not None:
        yield Event(call.lost_at, f"the result of call {call.number} expired before it was stored", "failed")


def moments_of(job: JobSnapshot, calls: Iterable[Any], actions: Iterable[LoggedAction]) -> set[datetime]:
    """The moments at which the job may have ended or been held, at most MOST_MOMENTS, the latest ones."""
    ends = {call.ended_at or call.begun_at for call in calls}
    ends |= {action.requested_at for action in actions if action.subject_id == job.id}
    ends |= {moment for moment in (job.created_at, job.finished_at) if moment is not None}
    return set(sorted(ends)[-MOST_MOMENTS:])


def event_of_delivery(message: JobDelivery, viewer: Viewer) -> Event:
    """A webhook message, at the time when its receiver took it, or when it was made."""
    text = f"webhook {message.type} to {message.host}"
    tries = "1 try" if message.tries == 1 else f"{message.tries} tries"
    error = message.last_error or ""
    if not viewer.is_operator:
        error = text_for_producer(error)
    match message.state:
        case DeliveryState.DELIVERED:
            return Event(message.finished_at or message.created_at, f"{text}: {message.last_status}")
        case DeliveryState.GIVEN_UP:
            told = f"{text} given up after {tries}: {error}"
            return Event(message.finished_at or message.created_at, told, "failed", given_up=message.id)
        case DeliveryState.WAITING:
            told = f"{text} waits after {tries}" if message.tries else f"{text} is to be sent"
            return Event(message.created_at, f"{told}: {error}" if error else told)


def files_of(job: JobSnapshot) -> Iterator[File]:
    """The pictures of the job that are in the bucket: the delivered one first, or what came unexpectedly."""
    came = Unexpected.of(job.unexpected)
    if came is not None and came.is_picture and job.state == State.HELD:
        yield _file(UNEXPECTED, came, [text_for_producer(came.reason)])
    made = [output for output in job.outputs if output.state == OutputState.MADE]
    names = {output.name for output in made}
    if job.key and job.return_form not in names:
        yield _file(job.return_form, job)
    for output in made:
        yield _file(output.name, output, output.problems or ())


def _file(name: str, of: Any, problems: Sequence[str] = ()) -> File:
    sizes = of.size_bytes or 0, of.width or 0, of.height or 0
    return File(name, of.key, of.media_type or "", *sizes, problems)
