"""A lock for the jobs of one process: many at a time, or one alone, which may kill the process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

CHECK_EVERY_S = 0.5


class Room:
    """A shared and exclusive lock. Each job holds it shared from before its claim until it is settled.

    While one job holds it alone, or waits to, no other job enters.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def shared(self, stopping: threading.Event) -> Iterator[None]:
        """Enter beside others, once no job is alone or waits to be; at once when this worker stops."""
        with self._changed:
            while self._closed and not stopping.is_set():
                self._changed.wait(CHECK_EVERY_S)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, stopping: threading.Event, *, within_s: float) -> Iterator[bool]:
        """Wait, inside, until the others have left; False after `within_s`, or if another job waits."""
        ends_at = time.monotonic() + within_s
        with self._changed:
            mine = not self._closed
            self._closed = True
        if not mine:
            yield False
            return
        try:
            yield self._wait_until_empty(stopping, ends_at)
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()

    def _wait_until_empty(self, stopping: threading.Event, ends_at: float) -> bool:
        with self._changed:
            while self._inside > 1:
                if stopping.is_set() or time.monotonic() >= ends_at:
                    return False
                self._changed.wait(CHECK_EVERY_S)
        return True
