"""Places for what is costly, given in turn: an owner with much to do delays another by one piece."""

import threading
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

# A producer's id; None is the operator.
Owner = uuid.UUID | None


class FairPlaces:
    """So many places for threads, which wait for one.

    A free place goes to the owner that holds the fewest; of several, to the one that has waited longest since
    it was last given one. So an owner takes every place only while nobody else waits.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._lock = threading.Lock()
        self._held: Counter[Owner] = Counter()
        # In the order of their turns; each with those who wait, first come first.
        self._waiting: dict[Owner, deque[threading.Event]] = {}

    @contextmanager
    def held(self, owner: Owner) -> Iterator[None]:
        """A place while the context lasts."""
        given = threading.Event()
        with self._lock:
            self._waiting.setdefault(owner, deque()).append(given)
            self._serve()
        try:
            given.wait()
            yield
        finally:
            self._leave(owner, given)

    def waiting(self, owner: Owner) -> int:
        """The number of threads that wait for a place of the owner's."""
        with self._lock:
            return len(self._waiting.get(owner, ()))

    def _leave(self, owner: Owner, given: threading.Event) -> None:
        with self._lock:
            if not given.is_set():  # its thread was interrupted while it waited
                self._drop(owner, given)
                return
            self._free += 1
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
            self._serve()

    def _serve(self) -> None:
        while self._free and self._waiting:
            # The first of several with as few: the dictionary has the order of turns.
            owner = min(self._waiting, key=lambda each: self._held[each])
            given = self._waiting[owner][0]
            self._drop(owner, given)
            self._free -= 1
            self._held[owner] += 1
            given.set()

    def _drop(self, owner: Owner, given: threading.Event) -> None:
        """Take one out of those who wait; the owner's next turn is behind all others'."""
        waiting = self._waiting.pop(owner)
        waiting.remove(given)
        if waiting:
            self._waiting[owner] = waiting
