"""Job: why it is in its state, its life as one list, its files, and how to get it by a program."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from console.screens.job_life import Event, life_of_call, life_of_delivery, moments_of, own_life
from console.screens.router import screen_router
from console.viewer import Right, Viewer
from console.views import View
from cutout.enums import OutputState, State
from cutout.models import ATTEMPTS, BATCHES, Job
from cutout.network.shown_urls import without_secrets
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from cutout.status.explain_outputs import OutputExplanation, explain_outputs
from cutout.status.explanation import Explanation
from cutout.status.job_view import SNAPSHOT, JobSnapshot, job_snapshot
from cutout.status.producer_texts import for_producer, output_for_producer, text_for_producer
from cutout.storage.unexpected_bytes import Unexpected
from cutout.webhooks.job_deliveries import deliveries_of_job

router = screen_router()

MOST_CALLS = 100
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
        *(event for message in messages for event in life_of_delivery(message, viewer)),
    ]
    in_order = sorted((each for each in life if each.at >= found.created_at), key=lambda event: event.at)
    return Found(found, batch_name, why, outputs, in_order, now)


def shown_source(source: str, viewer: Viewer) -> str:
    """The source without what can hold a token; objects of the bucket are shown to operators alone."""
    if not source.startswith("s3://"):
        return without_secrets(source)
    return source if viewer.is_operator else "an uploaded picture"


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
