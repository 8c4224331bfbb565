"""Kinds of objects whose names do not tell: each is opened once, several at a time."""

import hashlib
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, cast

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
IN_MEMORY_BYTES = 1024 * 1024
DIGEST_BYTES = 8

SkipReason = str | None
"""Reason to skip an object; None for a picture."""


class ObjectKinds:
    """Classifier of listed objects. Results are kept in a file, 9 bytes per opened object, so that a second
    listing costs no request.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._results = cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES))  # noqa: SIM115 - closed by close()
        self._reasons: list[SkipReason] = [None]

    def classify(self, objects: Iterable[ListedObject]) -> Iterator[tuple[ListedObject, SkipReason]]:
        """Yield each object with the reason to skip it, in order. The first pass records the results."""
        self._results.seek(0)
        is_recorded = self._results.read(1) != b""
        self._results.seek(0)
        waiting: deque[tuple[ListedObject, SkipReason | Future[SkipReason]]] = deque()
        with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
            for found in objects:
                if (known_reason := _by_name(found)) is not None:
                    waiting.append((found, known_reason[0]))
                elif is_recorded and (entry := self._results.read(DIGEST_BYTES + 1))[
                    :DIGEST_BYTES
                ] == _digest(found):
                    waiting.append((found, self._reasons[entry[DIGEST_BYTES]]))
                else:
                    waiting.append((found, pool.submit(self._read_kind, found)))
                while waiting and (len(waiting) > MOST_WAITING or not isinstance(waiting[0][1], Future)):
                    yield self._resolved(*waiting.popleft(), record=not is_recorded)
            while waiting:
                yield self._resolved(*waiting.popleft(), record=not is_recorded)

    def close(self) -> None:
        self._results.close()

    def _resolved(
        self, found: ListedObject, reason: "SkipReason | Future[SkipReason]", *, record: bool
    ) -> tuple[ListedObject, SkipReason]:
        if not isinstance(reason, Future):
            return found, reason
        resolved = reason.result()
        if record:
            if resolved not in self._reasons:
                self._reasons.append(resolved)
            self._results.write(_digest(found) + bytes([self._reasons.index(resolved)]))
        return found, resolved

    def _read_kind(self, found: ListedObject) -> SkipReason:
        try:
            return reason_by_bytes(self._bucket.begin(found.key, ENOUGH_BYTES))
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


def _digest(found: ListedObject) -> bytes:
    return hashlib.blake2b(f"{found.key}\0{found.etag}".encode(), digest_size=DIGEST_BYTES).digest()
