"""Room for the jobs of one process: many at a time, or one that may take the process with it, alone."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_EVERY_S = 0.5


class Room:
    """Each job is inside from before its claim until it is settled; while one is alone, or waits to be, none
    comes in.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def shared(self, stopping: threading.Event) -> Iterator[None]:
        """Come in beside others, once there is room; at once when this worker stops."""
        with self._changed:
            while self._closed and not stopping.is_set():
                self._changed.wait(LOOK_EVERY_S)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, stopping: threading.Event, *, within_s: float) -> Iterator[bool]:
        """Whether the others have left within that time; from inside. False at once if another waits so."""
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
                self._changed.wait(LOOK_EVERY_S)
        return True
