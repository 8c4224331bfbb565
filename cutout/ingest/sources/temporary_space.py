"""The bound on zip archives, which are copied whole to the disk for temporary files before they are read."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cutout.settings import Settings

ZIP_BEGINS = (b"PK\3\4", b"PK\5\6")
BEGIN = 4


def archives_within(pieces: Iterable[bytes], most: int, too_large: Exception) -> Iterator[bytes]:
    """The same pieces; raises `too_large` once they are those of a zip archive of more than `most` bytes."""
    begin, came, iterator = b"", 0, iter(pieces)
    for piece in iterator:
        begin += piece[: BEGIN - len(begin)]
        came += len(piece)
        if came > most and begin.startswith(ZIP_BEGINS):
            raise too_large
        yield piece
        if len(begin) >= BEGIN and not begin.startswith(ZIP_BEGINS):
            yield from iterator


# Of an archive that is being read, so many pictures are unpacked at the same time.
UNPACKED_AT_ONCE = 8


def unpacked_bytes(known: Settings) -> int:
    """What the pictures of one archive may take at the same time."""
    return UNPACKED_AT_ONCE * known.max_source_bytes


def needed_bytes(known: Settings) -> int:
    """What the disk should hold: an archive of each of two producers, and what is unpacked of one."""
    return 2 * known.max_archive_bytes + unpacked_bytes(known)


def free_bytes() -> int:
    """What is free."""
    return shutil.disk_usage(Path(tempfile.gettempdir())).free
