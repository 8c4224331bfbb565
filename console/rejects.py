"""Rejects of a batch as its page shows them: the first rows of the file in the bucket."""

import csv
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread

from cutout.storage import Bucket, StorageError

MOST_SHOWN = 20
BEGIN_BYTES = 64 * 1024
MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class ShownReject:
    """A row of the manifest, or a file, that no job could be made of."""

    line: str
    column: str
    value: str
    reason: str


class Rejects:
    """The beginnings of the files that were looked at last. A file never changes."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._kept: OrderedDict[str, Sequence[ShownReject]] = OrderedDict()

    async def first_of(self, key: str) -> Sequence[ShownReject]:
        """The first rejects; none while the bucket does not answer."""
        if key not in self._kept:
            try:
                begin = await to_thread.run_sync(self._bucket.begin, key, BEGIN_BYTES)
            except StorageError:
                return []
            self._kept[key] = _read(begin)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]


def _read(begin: bytes) -> list[ShownReject]:
    lines = begin.decode("utf-8-sig", "replace").splitlines(keepends=True)
    if len(begin) >= BEGIN_BYTES:
        # The last one is cut off.
        lines.pop()
    rows = [row for row in csv.reader(lines[: MOST_SHOWN + 1]) if len(row) == len(ShownReject.__slots__)]
    return [ShownReject(*row) for row in rows[1:]]
