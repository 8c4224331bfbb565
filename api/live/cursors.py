"""Cursors of pages and streams, as clients send them back: opaque, checked, and no way to another's rows.

What a cursor names is only where to begin: every query is bounded by the producer that asks.
"""

import hashlib
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from api.problems import ProblemError
from cutout.status.finished import Position

ID_BYTES = 16
TIME_BYTES = 8
SEAL_BYTES = 4
BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def page_cursor(after: uuid.UUID, query: str) -> str:
    """For the page behind this id, of the same query."""
    return _written(after.bytes + _seal(query))


def read_page_cursor(given: str, query: str) -> uuid.UUID:
    """The id after which the page begins; a problem 422 for a cursor of another query."""
    read = _read(given, "cursor", "take `next_cursor` of the page before, with the same filters")
    if len(read) != ID_BYTES + SEAL_BYTES or read[ID_BYTES:] != _seal(query):
        raise _wrong("cursor", "take `next_cursor` of the page before, with the same filters")
    return uuid.UUID(bytes=read[:ID_BYTES])


def event_id(position: Position, *, last: bool = False) -> str:
    """For the events behind this job's end; `last` if none came after it."""
    microseconds = (position.finished_at - BEGIN) // timedelta(microseconds=1)
    return _written(microseconds.to_bytes(TIME_BYTES) + position.id.bytes + bytes([last]))


def read_event_id(given: str) -> tuple[Position, bool]:
    """The position, and whether the stream had ended with it; a problem 422 for what we did not give."""
    hint = "send the id of an event of this stream, or none"
    read = _read(given, "Last-Event-ID", hint)
    if len(read) != TIME_BYTES + ID_BYTES + 1:
        raise _wrong("Last-Event-ID", hint)
    try:
        at = BEGIN + timedelta(microseconds=int.from_bytes(read[:TIME_BYTES]))
    except OverflowError:
        raise _wrong("Last-Event-ID", hint) from None
    return Position(at, uuid.UUID(bytes=read[TIME_BYTES:-1])), bool(read[-1])


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
