"""Health checks of the machine that they run on; workers and ingesters may be on others."""

import tempfile

from cutout.images.kinds import HEIF_REMEDY, is_heif_decoded
from cutout.ingest.sources.temporary_space import free_bytes, needed_bytes
from cutout.monitoring.check import Check
from cutout.settings import Settings


def check_formats() -> Check:
    """Whether pictures of phones (HEIC) are decoded here; a worker's machine may have other packages."""
    found = "HEIC is decoded" if is_heif_decoded() else f"HEIC is not decoded; {HEIF_REMEDY}"
    return Check("formats", ok=True, found=found, needed=False)


def check_archives(settings: Settings) -> Check:
    """Whether an ingester on this machine has room for archives; another machine may have another disk."""
    free, needed = free_bytes(), needed_bytes(settings)
    found = f"{tempfile.gettempdir()} has {free:,} bytes free; an ingester here needs up to {needed:,}"
    see_to = "if one runs here: make room, set TMPDIR, or set a smaller CUTOUT_MAX_ARCHIVE_BYTES"
    remedy = "" if free >= needed else see_to
    return Check("archives", ok=True, found=found, remedy=remedy, needed=False)
