"""Slots of this process for long work: a fixed number, of which one producer has a quarter at most."""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from api import metrics
from api.problems import ProblemError

# At least this many producers are needed to take all slots.
PRODUCERS_TO_FILL = 4
AGAIN_AFTER_S = 5


def share_of(most: int) -> int:
    """The number of slots that one producer may take."""
    return max(most // PRODUCERS_TO_FILL, 1)


class ProducerSlots:
    """Taking a place counts and checks in one step; it is for the event loop alone, which makes it so.

    `kind` names the places in the metrics, `what` those who take them in the answers.
    """

    def __init__(self, kind: str, what: str, most: int) -> None:
        self.kind, self.what, self.most = kind, what, most
        self._of: Counter[uuid.UUID] = Counter()
        self._taken = 0
        metrics.PLACES.labels(kind).set(0)

    def __len__(self) -> int:
        return self._taken

    @property
    def full(self) -> bool:
        """Whether no producer gets a place."""
        return self._taken >= self.most

    @contextmanager
    def held(self, producer_id: uuid.UUID) -> Iterator[None]:
        """A place while the context lasts; a problem 429 past the producer's share, 503 if all are taken."""
        if self._of[producer_id] >= share_of(self.most):
            metrics.REFUSALS.labels(self.kind, "share").inc()
            raise too_many_at_once(share_of(self.most), self.what)
        if self.full:
            metrics.REFUSALS.labels(self.kind, "all").inc()
            raise busy(f"this process has {self.most} {self.what} under way, no more are taken")
        self._count(producer_id, 1)
        try:
            yield
        finally:
            self._count(producer_id, -1)

    def _count(self, producer_id: uuid.UUID, change: int) -> None:
        self._taken += change
        self._of[producer_id] += change
        if not self._of[producer_id]:
            del self._of[producer_id]
        metrics.PLACES.labels(self.kind).set(self._taken)


def too_many_at_once(share: int, what: str) -> ProblemError:
    """The problem of a producer that has taken its share."""
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-at-once",
        f"you have {share} {what} under way, the most that one producer may have; wait until one has ended",
        headers={"Retry-After": str(AGAIN_AFTER_S)},
    )


def busy(why: str) -> ProblemError:
    """The problem of anybody while producers together have taken everything."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "busy",
        f"{why}; try again in {AGAIN_AFTER_S} s",
        headers={"Retry-After": str(AGAIN_AFTER_S)},
    )
