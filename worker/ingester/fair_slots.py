"""Slots of an ingester for concurrent requests, shared fairly among producers."""

import threading
import uuid
from collections import Counter


class FairSlots:
    """A number of slots. No owner takes more than half of the free ones: with 4 slots, one producer holds at
    most 2, the next one 1, and one is left for a third.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._lock = threading.Lock()
        self._held: Counter[uuid.UUID] = Counter()

    @property
    def free(self) -> int:
        with self._lock:
            return self._total - self._held.total()

    def full(self) -> set[uuid.UUID]:
        """Return the owners that may take no further slot now."""
        with self._lock:
            free = self._total - self._held.total()
            return {owner for owner, held in self._held.items() if 2 * held >= free}

    def take(self, owner: uuid.UUID) -> None:
        with self._lock:
            self._held[owner] += 1

    def give_back(self, owner: uuid.UUID) -> None:
        with self._lock:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
