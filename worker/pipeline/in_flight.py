"""The jobs in this process's hands."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


class Carried:
    """Lets one thread at a time carry a job under a fence: a repeated message finds it taken.

    The database cannot tell such a message from a claim that is asked for again because its answer was lost.
    Another fence it can tell, so a late message being refused stands in nobody's way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[tuple[uuid.UUID, int]] = set()

    def __len__(self) -> int:
        return len(self._taken)

    def now(self) -> set[tuple[uuid.UUID, int]]:
        """Each job in hand, with its fence. Whoever claims holds first, so that no claim is missing here."""
        with self._lock:
            return set(self._taken)

    @contextmanager
    def hold(self, job_id: uuid.UUID, fence: int) -> Iterator[bool]:
        """Whether the job was free under this fence; it is this thread's while the context lasts."""
        job = job_id, fence
        with self._lock:
            free = job not in self._taken
            self._taken.add(job)
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._taken.discard(job)
