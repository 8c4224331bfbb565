"""How far an ingest has come, for those who watch."""

from collections.abc import Callable
from dataclasses import dataclass

from cutout.ingest.chunks import Counts
from cutout.ingest.sources.source import Extent


@dataclass(frozen=True, slots=True)
class Progress:
    """`position` of `extent` was read; `counts` is what is stored; `skipped` files are not taken."""

    counts: Counts
    position: int
    extent: Extent
    skipped: int = 0


Watch = Callable[[Progress], None]
