"""Looking into objects whose names do not say what they are: once each, and by several requests at a time."""

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

LOOKS_AT_ONCE = 8
# Objects that wait for a look, with those between them.
MOST_WAITING = 1000
IN_MEMORY_BYTES = 1024 * 1024
MARK_BYTES = 8

Verdict = str | None
"""Why an object is not taken; None for a picture."""


class Looks:
    """What was seen is kept in a file, some 9 bytes an object, so that a second listing costs no request."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._seen = cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES))  # noqa: SIM115 - closed by close()
        self._reasons: list[Verdict] = [None]

    def judged(self, objects: Iterable[ListedObject]) -> Iterator[tuple[ListedObject, Verdict]]:
        """Each object with its verdict, in order; at the first time those that were looked into are noted."""
        self._seen.seek(0)
        known = self._seen.read(1) != b""
        self._seen.seek(0)
        waiting: deque[tuple[ListedObject, Verdict | Future[Verdict]]] = deque()
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
            for found in objects:
                if (name_says := _by_name(found)) is not None:
                    waiting.append((found, name_says[0]))
                elif known and (mark := self._seen.read(MARK_BYTES + 1))[:MARK_BYTES] == _mark(found):
                    waiting.append((found, self._reasons[mark[MARK_BYTES]]))
                else:
                    waiting.append((found, pool.submit(self._look, found)))
                while waiting and (len(waiting) > MOST_WAITING or not isinstance(waiting[0][1], Future)):
                    yield self._settled(*waiting.popleft(), note=not known)
            while waiting:
                yield self._settled(*waiting.popleft(), note=not known)

    def close(self) -> None:
        self._seen.close()

    def _settled(
        self, found: ListedObject, verdict: "Verdict | Future[Verdict]", *, note: bool
    ) -> tuple[ListedObject, Verdict]:
        if not isinstance(verdict, Future):
            return found, verdict
        said = verdict.result()
        if note:
            if said not in self._reasons:
                self._reasons.append(said)
            self._seen.write(_mark(found) + bytes([self._reasons.index(said)]))
        return found, said

    def _look(self, found: ListedObject) -> Verdict:
        try:
            return reason_by_bytes(self._bucket.begin(found.key, ENOUGH_BYTES))
        except (ObjectMissingError, ObjectArchivedError, StorageRefusedError):
            # Or gone meanwhile.
            return UNREADABLE


def _by_name(found: ListedObject) -> tuple[Verdict] | None:
    """The verdict where no look is needed."""
    if is_picture_name(found.key):
        return (None,)
    if not found.size:
        return (EMPTY,)
    if reason := reason_by_name(found.key):
        return (reason,)
    return (NO_PICTURE,) if is_surely_other(found.key) else None


def _mark(found: ListedObject) -> bytes:
    return hashlib.blake2b(f"{found.key}\0{found.etag}".encode(), digest_size=MARK_BYTES).digest()
