"""Places for large JSON bodies: each holds memory until its request is answered."""

import uuid
from collections import Counter
from http import HTTPStatus

from anyio import CapacityLimiter

from api.problems import ProblemError

# A body of more bytes needs a place. It is what routes but one take at most.
LARGE_BYTES = 64 * 1024
MOST_OF_A_PRODUCER = 2
MOST_OF_ALL = 16
# A list of 10,000 jobs takes some seconds.
AGAIN_AFTER_S = 2
# Validated off the event loop, and no more at once: they share one interpreter with it.
VALIDATED_AT_ONCE = 2


class LargeBodies:
    """Counts the large bodies that this process holds, by producer. Belongs to the event loop."""

    def __init__(self) -> None:
        self._held: Counter[uuid.UUID] = Counter()
        self.validations = CapacityLimiter(VALIDATED_AT_ONCE)

    def take(self, producer_id: uuid.UUID) -> None:
        """Take a place; raises a problem 429 beyond the producer's own, 503 beyond those of all."""
        again = {"Retry-After": str(AGAIN_AFTER_S)}
        if self._held[producer_id] >= MOST_OF_A_PRODUCER:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-large-bodies",
                f"{MOST_OF_A_PRODUCER} of your requests with more than {LARGE_BYTES} bytes are under way;"
                f" wait {AGAIN_AFTER_S} s, or send them one after another",
                headers=again,
            )
        if self._held.total() >= MOST_OF_ALL:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "large-bodies-full",
                f"{MOST_OF_ALL} requests with more than {LARGE_BYTES} bytes are under way here; wait"
                f" {AGAIN_AFTER_S} s",
                headers=again,
            )
        self._held[producer_id] += 1

    def give_back(self, producer_id: uuid.UUID) -> None:
        """Let the next have a place that was taken."""
        self._held[producer_id] -= 1
        if not self._held[producer_id]:
            del self._held[producer_id]
