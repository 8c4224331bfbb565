"""A sample of the cutouts that a plan relies on: whether the bucket still holds them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cutout.queue.reuse.identity import Making
from cutout.storage import Bucket

MOST_SAMPLED = 50

# Of the rows that a statement names `judged`; ordered so that any of them may come.
SAMPLE = f"""
    SELECT key, sha256, size_bytes FROM judged WHERE bought ORDER BY random() LIMIT {MOST_SAMPLED}
"""  # noqa: S608 - made of the constant above


@dataclass(frozen=True, slots=True)
class Sampled:
    """A cutout that was bought, as it was stored."""

    key: str
    sha256: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """How many cutouts the bucket was asked for, and how many it does not hold as they were stored."""

    asked: int = 0
    missing: int = 0

    def missing_of(self, bought: int) -> int:
        """About how many of so many are missing; at least as many as were seen."""
        return max(round(bought * self.missing / self.asked), self.missing) if self.asked else 0


def look(bucket: Bucket, sampled: Sequence[Sampled]) -> Sample:
    """Ask the bucket for each, without reading it. Raises StorageError."""
    missing = sum(
        not bucket.holds(each.key, sha256=each.sha256, size_bytes=each.size_bytes) for each in sampled
    )
    return Sample(len(sampled), missing)


def as_parameters(making: Making | None) -> dict[str, object]:
    """What a statement asks bought results for; None asks for none."""
    return asdict(making or Making("", 0, "")) | {"reuse": making is not None}
