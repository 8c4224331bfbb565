"""The jobs in this process's hands."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


class Carried:
    """Lets one thread at a time carry a job: a message repeated to the same process finds it taken.

    The database cannot tell such a message from a claim that is asked for again because its answer was lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: set[uuid.UUID] = set()

    @contextmanager
    def hold(self, job_id: uuid.UUID) -> Iterator[bool]:
        """Whether the job was free; it is this thread's while the context lasts."""
        with self._lock:
            free = job_id not in self._jobs
            self._jobs.add(job_id)
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._jobs.discard(job_id)
