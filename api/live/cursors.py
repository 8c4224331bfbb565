"""Cursors of pages and streams, as clients send them back: opaque, checked, and no way to another's rows.

What a cursor names is only where to begin: every query is bounded by the producer that asks.
"""

import hashlib
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import Query

from api.problems import ProblemError
from cutout.status.finished import Position
from cutout.status.pages import MOST_A_PAGE

ID_BYTES = 16
TIME_BYTES = 8
SEAL_BYTES = 4
CURSOR_LENGTH = 64
BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
# Of a run behind which a page begins: no calendar reaches to the end of times.
FARTHEST = timedelta(days=100 * 365)

Limit = Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="The most that a page holds")]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_LENGTH, description="`next_cursor` of the page before, same filters")
]


def page_cursor(after: uuid.UUID, query: str) -> str:
    """For the page behind this id, of the same query."""
    return _written(after.bytes + _seal(query))


def read_page_cursor(given: str, query: str) -> uuid.UUID:
    """The id after which the page begins; a problem 422 for a cursor of another query."""
    read = _read(given, "cursor", "take `next_cursor` of the page before, with the same filters")
    if len(read) != ID_BYTES + SEAL_BYTES or read[ID_BYTES:] != _seal(query):
        raise _wrong("cursor", "take `next_cursor` of the page before, with the same filters")
    return uuid.UUID(bytes=read[:ID_BYTES])


def moment_cursor(after: datetime, query: str) -> str:
    """For the page behind this time, of the same query."""
    return _written(_microseconds(after) + _seal(query))


def read_moment_cursor(given: str, query: str) -> datetime:
    """The time after which the page begins; a problem 422 for a cursor of another query."""
    hint = "take `next_cursor` of the page before"
    read = _read(given, "cursor", hint)
    if len(read) != TIME_BYTES + SEAL_BYTES or read[TIME_BYTES:] != _seal(query):
        raise _wrong("cursor", hint)
    try:
        moment = _moment(read[:TIME_BYTES])
    except OverflowError:
        raise _wrong("cursor", hint) from None
    if moment > datetime.now(UTC) + FARTHEST:
        raise _wrong("cursor", hint)
    return moment


class Sent(IntEnum):
    """Part of a stream that was sent up to an event: jobs, the batch's end, the end of its outputs."""

    JOBS = 0
    FINISHED = 1
    RENDERED = 2


def event_id(position: Position, sent: Sent = Sent.JOBS) -> str:
    """For the events behind this job's end."""
    return _written(_microseconds(position.finished_at) + position.id.bytes + bytes([sent]))


def read_event_id(given: str) -> tuple[Position, Sent]:
    """The position, and what was sent up to it; a problem 422 for what we did not give."""
    hint = "send the id of an event of this stream, or none"
    read = _read(given, "Last-Event-ID", hint)
    if len(read) != TIME_BYTES + ID_BYTES + 1:
        raise _wrong("Last-Event-ID", hint)
    try:
        at = _moment(read[:TIME_BYTES])
        sent = Sent(read[-1])
    except (OverflowError, ValueError):
        raise _wrong("Last-Event-ID", hint) from None
    return Position(at, uuid.UUID(bytes=read[TIME_BYTES:-1])), sent


def _microseconds(moment: datetime) -> bytes:
    return ((moment - BEGIN) // timedelta(microseconds=1)).to_bytes(TIME_BYTES)


def _moment(microseconds: bytes) -> datetime:
    return BEGIN + timedelta(microseconds=int.from_bytes(microseconds))


def _seal(query: str) -> bytes:
    return hashlib.blake2b(query.encode(), digest_size=SEAL_BYTES).digest()


def _written(what: bytes) -> str:
    return urlsafe_b64encode(what).rstrip(b"=").decode()


def _read(given: str, field: str, hint: str) -> bytes:
    try:
        return urlsafe_b64decode(given + "=" * (-len(given) % 4))
    except (Error, ValueError):
        raise _wrong(field, hint) from None


def _wrong(field: str, hint: str) -> ProblemError:
    detail = f"{field} is not one that was given out for this; {hint}"
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "wrong-cursor", detail, field=field)
