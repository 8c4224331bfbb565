"""Loops of this process that must advance: the time since the last turn of each, and which are late."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """The last turn of a loop, in seconds: how long ago it began, and how long one may take."""

    name: str
    age_s: float
    limit_s: float | None

    @property
    def late(self) -> bool:
        """Whether the turn takes longer than any legal one."""
        return self.limit_s is not None and self.age_s > self.limit_s


class WatchedLoop:
    """One loop. `limit_s` is longer than its longest legal turn; without it the loop is only shown."""

    def __init__(self, name: str, limit_s: float | None = None) -> None:
        self.name, self._limit_s = name, limit_s
        self._turned_at = time.monotonic()

    def turn(self) -> None:
        """Begin the next turn."""
        self._turned_at = time.monotonic()

    def last(self) -> Turn:
        """The turn that is under way."""
        return Turn(self.name, time.monotonic() - self._turned_at, self._limit_s)


_loops: set[WatchedLoop] = set()
_lock = threading.Lock()


@contextmanager
def watched(loop: WatchedLoop) -> Iterator[WatchedLoop]:
    """Watch a loop while the context lasts. One that an error ended is watched on, and becomes late."""
    loop.turn()
    with _lock:
        _loops.add(loop)
    yield loop
    with _lock:
        _loops.discard(loop)


def turns() -> list[Turn]:
    """The last turn of each loop that is watched now."""
    return [loop.last() for loop in _all()]


def excuse_late() -> None:
    """Let every late loop begin its turn anew."""
    for loop in _all():
        if loop.last().late:
            loop.turn()


def _all() -> list[WatchedLoop]:
    with _lock:
        return list(_loops)
