"""Progress of an ingest, for display."""

from collections.abc import Callable
from dataclasses import dataclass

from cutout.ingest.sources.source import Extent


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of what was read and stored: pictures = jobs + rejects + duplicates + unchanged.

    A picture counts once for each of its forms.
    """

    records: int = 0
    pictures: int = 0
    jobs: int = 0
    rejects: int = 0
    duplicates: int = 0
    unchanged: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.records + other.records,
            self.pictures + other.pictures,
            self.jobs + other.jobs,
            self.rejects + other.rejects,
            self.duplicates + other.duplicates,
            self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress: `position` of `extent` was read, `counts` is stored, `skipped` files were not taken."""

    counts: Counts
    position: int
    extent: Extent
    skipped: int = 0


Watch = Callable[[Progress], None]
