"""Stopping an ingest between two of its pieces: its process is to end, or its batch was cancelled."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cutout.ingest.sources.contents import Content, Keep, Stored

T = TypeVar("T")

Check = Callable[[], None]
"""Called before each piece that is read; raises StoppedError to end the ingest there."""


class StoppedError(Exception):
    """The ingest is to go no further in this process; another may go on from the last chunk."""


class Stop:
    """Told once, by any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it was told within so many seconds."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raises StoppedError once told."""
        if self._event.is_set():
            raise StoppedError


def never_stops() -> None:
    """The check of an ingest that nobody stops."""


def checked(items: Iterable[T], check: Check) -> Iterator[T]:
    """The same items, each after a look."""
    for item in items:
        check()
        yield item


@dataclass(frozen=True, slots=True)
class CheckedKeep:
    """Keeps pictures, each after a look."""

    keep: Keep
    check: Check

    def __call__(self, content: Content) -> Stored:
        self.check()
        return self.keep(content)
