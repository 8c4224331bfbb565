"""The jobs that this process carries now."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


class InFlightJobs:
    """The set of jobs in flight, each with its fence: one thread at a time carries a job under a fence.

    The database cannot tell a repeated message from a claim that is repeated because its answer was lost. It
    rejects messages with another fence itself, so this check is only for exact duplicates.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[tuple[uuid.UUID, int]] = set()

    def __len__(self) -> int:
        return len(self._taken)

    def now(self) -> set[tuple[uuid.UUID, int]]:
        """List the jobs with their fences. A job is held before it is claimed, so none is missing."""
        with self._lock:
            return set(self._taken)

    @contextmanager
    def hold(self, job_id: uuid.UUID, fence: int) -> Iterator[bool]:
        """Hold the job for this thread while the context lasts; False if another thread holds it."""
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
