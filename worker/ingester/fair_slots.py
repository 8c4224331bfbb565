"""Places of an ingester for what it does at the same time, shared among those who ask."""

import threading
import uuid
from collections import Counter


class Places:
    """So many places. Nobody takes more than half of what is free: with 4, one producer holds 2 at most, the
    next one 1, and there is one left for a third.
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
        """Those who may take no other place now."""
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
