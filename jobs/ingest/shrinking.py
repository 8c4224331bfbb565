"""A broken export must not look like a removed catalog."""

from collections.abc import Callable
from contextlib import closing

from jobs.ingest.errors import IngestError
from jobs.ingest.memory import Memory
from jobs.ingest.source import Source

COUNTED = ("files", "objects")


class ShrunkError(IngestError):
    """Too few pictures are left of those that the last run saw."""


def refuse_shrunk(open_: Callable[[], Source], memory: Memory, shrinks_to: float) -> None:
    """Raise ShrunkError if fewer than the share `shrinks_to` of the pictures are left; one with a new name
    counts as well. A manifest is read once for it, and nothing is stored.
    """
    before = memory.count() if shrinks_to else 0
    if not before:
        return
    with closing(open_()) as source:
        if source.extent.unit in COUNTED:
            now = source.extent.total
        else:
            now = sum(len(record.pictures) for record in source.records())
    if now < shrinks_to * before:
        raise ShrunkError(
            f"the source has {now:,} pictures and had {before:,} at the last run, of which at least"
            f" {shrinks_to:.0%} were to be left: nothing was enqueued or forgotten. If that is right, run the"
            " schedule with --even-if-shrunk"
        )
