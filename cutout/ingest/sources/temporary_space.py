"""Disk space for zip archives, which are copied to the temporary directory before they are read."""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cutout.settings import Settings

ZIP_SIGNATURES = (b"PK\3\4", b"PK\5\6")
SIGNATURE_BYTES = 4
# Of the names of copies that have a name while they are written.
COPY_PREFIX = "cutout-"
LEFT_AFTER_S = 3600.0


def archives_within(pieces: Iterable[bytes], most: int, too_large: Exception) -> Iterator[bytes]:
    """Yield the pieces; raise `too_large` if they are a zip archive of more than `most` bytes."""
    begin, came, iterator = b"", 0, iter(pieces)
    for piece in iterator:
        begin += piece[: SIGNATURE_BYTES - len(begin)]
        came += len(piece)
        if came > most and begin.startswith(ZIP_SIGNATURES):
            raise too_large
        yield piece
        if len(begin) >= SIGNATURE_BYTES and not begin.startswith(ZIP_SIGNATURES):
            yield from iterator


# Pictures of one archive that are unpacked at the same time.
UNPACKED_AT_ONCE = 8


def unpacked_bytes(settings: Settings) -> int:
    """Bytes that the unpacked pictures of one archive may take at the same time."""
    return UNPACKED_AT_ONCE * settings.max_source_bytes


def needed_bytes(settings: Settings) -> int:
    """Bytes the disk should hold: one archive of each of two producers, and the unpacked pictures of one."""
    return 2 * settings.max_archive_bytes + unpacked_bytes(settings)


def remove_left_behind() -> int:
    """Remove what killed processes left in the directory for temporary files; returns the number of entries.

    What is being written is younger than LEFT_AFTER_S.
    """
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{COPY_PREFIX}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_AFTER_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed


def free_bytes() -> int:
    """Free bytes of the disk for temporary files."""
    return shutil.disk_usage(Path(tempfile.gettempdir())).free
