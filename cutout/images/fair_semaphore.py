"""Fair semaphore: slots for costly work; an owner with much to do delays others by one task at most."""

import threading
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

# A producer's id; None is the operator.
Owner = uuid.UUID | None


class FairSemaphore:
    """Slots for threads, which wait for one.

    A free slot goes to the owner that holds the fewest; of several, to the one that has waited longest since
    its last slot. So an owner takes all slots only while nobody else waits.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._lock = threading.Lock()
        self._held: Counter[Owner] = Counter()
        # In the order of their turns; each owner with its waiting threads, oldest first.
        self._waiting: dict[Owner, deque[threading.Event]] = {}

    @contextmanager
    def held(self, owner: Owner) -> Iterator[None]:
        """Hold a slot while the context lasts."""
        granted = threading.Event()
        with self._lock:
            self._waiting.setdefault(owner, deque()).append(granted)
            self._grant()
        try:
            granted.wait()
            yield
        finally:
            self._leave(owner, granted)

    def waiting(self, owner: Owner) -> int:
        """Return the number of threads that wait for a slot of this owner."""
        with self._lock:
            return len(self._waiting.get(owner, ()))

    def _leave(self, owner: Owner, granted: threading.Event) -> None:
        with self._lock:
            if not granted.is_set():  # its thread was interrupted while it waited
                self._drop(owner, granted)
                return
            self._free += 1
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
            self._grant()

    def _grant(self) -> None:
        while self._free and self._waiting:
            # The first of several with equal counts: the dictionary is in the order of turns.
            owner = min(self._waiting, key=lambda each: self._held[each])
            granted = self._waiting[owner][0]
            self._drop(owner, granted)
            self._free -= 1
            self._held[owner] += 1
            granted.set()

    def _drop(self, owner: Owner, granted: threading.Event) -> None:
        """Remove a waiting thread; the owner's next turn is after all others'."""
        waiting = self._waiting.pop(owner)
        waiting.remove(granted)
        if waiting:
            self._waiting[owner] = waiting
