"""Life of a job: what happened to it, its calls and the webhooks about it, each with its moment."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.viewer import Viewer
from cutout.enums import AttemptOutcome, DeliveryState, State
from cutout.status.action_log import LoggedAction
from cutout.status.job_view import JobSnapshot
from cutout.status.producer_texts import text_for_producer
from cutout.webhooks.job_deliveries import JobDelivery

# Each reads some digests, of up to 200 jobs.
MOST_MOMENTS = 8


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of the job's life."""

    at: datetime
    text: str
    state: str = ""
    took_s: float | None = None
    given_up: uuid.UUID | None = None
    """A message that was given up, and may be sent again."""


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


def life_of_delivery(message: JobDelivery, viewer: Viewer) -> Iterator[Event]:
    """A webhook message as it is now, and its earlier ends, after which it was sent again."""
    text, again_at = f"webhook {message.type} to {message.host}", message.created_at
    for end in message.past_ends:
        told = _end(text, end.state, end.tries, end.status, _shown(end.error, viewer))
        yield Event(end.at, told, "failed" if end.state is DeliveryState.GIVEN_UP else "")
        again_at = end.again_at
        yield Event(again_at, f"{text} sent again")
    error = _shown(message.last_error, viewer)
    if message.state is DeliveryState.WAITING:
        told = f"{text} waits after {_tries(message.tries)}" if message.tries else f"{text} is to be sent"
        yield Event(again_at, f"{told}: {error}" if error else told)
        return
    told = _end(text, message.state, message.tries, message.last_status, error)
    is_given_up = message.state is DeliveryState.GIVEN_UP
    given_up, state = (message.id, "failed") if is_given_up else (None, "")
    yield Event(message.finished_at or again_at, told, state, given_up=given_up)


def _end(text: str, state: DeliveryState, tries: int, status: int | None, error: str) -> str:
    if state is DeliveryState.DELIVERED:
        return f"{text}: {status}"
    return f"{text} given up after {_tries(tries)}: {error}"


def _tries(number: int) -> str:
    return "1 try" if number == 1 else f"{number} tries"


def _shown(error: str | None, viewer: Viewer) -> str:
    return (error or "") if viewer.is_operator else text_for_producer(error or "")
