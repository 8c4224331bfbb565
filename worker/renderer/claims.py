"""The outputs that this process holds: their leases are renewed together, and what was made is counted."""

import threading
import uuid
from collections.abc import Iterable

from cutout.queue.outputs import ClaimedOutput


class HeldOutputs:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[uuid.UUID, str], ClaimedOutput] = {}
        self._made = 0
        self._busy_s = 0.0

    def add(self, outputs: Iterable[ClaimedOutput]) -> None:
        with self._lock:
            self._held |= {(output.job_id, output.name): output for output in outputs}

    def drop(self, outputs: Iterable[ClaimedOutput]) -> None:
        with self._lock:
            for output in outputs:
                self._held.pop((output.job_id, output.name), None)

    def made(self, output: ClaimedOutput, seconds: float) -> None:
        """Drop an output that is finished, and count it."""
        self.drop([output])
        with self._lock:
            self._made += 1
            self._busy_s += seconds

    def now(self) -> list[ClaimedOutput]:
        with self._lock:
            return list(self._held.values())

    def count_again(self, made: int, busy_s: float) -> None:
        """Count what `take_counts` gave and could not be written."""
        with self._lock:
            self._made += made
            self._busy_s += busy_s

    def take_counts(self) -> tuple[int, float]:
        """The number of outputs made since the last time, and the seconds spent on them."""
        with self._lock:
            counts = self._made, self._busy_s
            self._made, self._busy_s = 0, 0.0
        return counts
