"""The disk for temporary files, on which an ingester copies archives and unpacks their pictures."""

import shutil
import tempfile
from pathlib import Path

from jobs.settings import Settings

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
