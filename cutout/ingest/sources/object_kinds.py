"""Kinds of objects whose names do not tell: each is opened once, several at a time."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cutout.ingest.sources.file_kinds import (
    EMPTY,
    ENOUGH_BYTES,
    NO_PICTURE,
    UNREADABLE,
    is_picture_name,
    is_surely_other,
    reason_by_bytes,
    reason_by_name,
)
from cutout.storage import Bucket, ListedObject, ObjectMissingError, StorageRefusedError
from cutout.storage.storage_errors import ObjectArchivedError

OPENED_AT_ONCE = 8
# Queued objects: those being opened, and those listed between them.
MOST_WAITING = 1000

SkipReason = str | None
"""Reason to skip an object; None for a picture."""


def classify(bucket: Bucket, objects: Iterable[ListedObject]) -> Iterator[tuple[ListedObject, SkipReason]]:
    """Yield each object with the reason to skip it, in order."""
    waiting: deque[tuple[ListedObject, SkipReason | Future[SkipReason]]] = deque()
    with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
        for found in objects:
            known = _by_name(found)
            if known is not None and not waiting:
                yield found, known[0]
                continue
            waiting.append((found, known[0] if known else pool.submit(_read_kind, bucket, found)))
            while waiting and (len(waiting) > MOST_WAITING or not isinstance(waiting[0][1], Future)):
                yield _resolved(*waiting.popleft())
        while waiting:
            yield _resolved(*waiting.popleft())


def _resolved(
    found: ListedObject, reason: "SkipReason | Future[SkipReason]"
) -> tuple[ListedObject, SkipReason]:
    return found, reason.result() if isinstance(reason, Future) else reason


def _read_kind(bucket: Bucket, found: ListedObject) -> SkipReason:
    try:
        return reason_by_bytes(bucket.begin(found.key, ENOUGH_BYTES))
    except (ObjectMissingError, ObjectArchivedError, StorageRefusedError):
        # The object may be gone meanwhile.
        return UNREADABLE


def _by_name(found: ListedObject) -> tuple[SkipReason] | None:
    """Classify by name and size, where that is enough."""
    if is_picture_name(found.key):
        return (None,)
    if not found.size:
        return (EMPTY,)
    if reason := reason_by_name(found.key):
        return (reason,)
    return (NO_PICTURE,) if is_surely_other(found.key) else None
