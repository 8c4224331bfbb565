"""Stop of an ingest between two records: its process ends, or its batch was cancelled."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cutout.ingest.sources.contents import Content, Keep, Stored

T = TypeVar("T")

Check = Callable[[], None]
"""Called before each record and picture that is read; raises StoppedError to stop the ingest there."""


class StoppedError(Exception):
    """The ingest stops in this process; another process may resume it from the last chunk."""


class Stop:
    """A stop request, set once by any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the stop request; return whether it came within `seconds`."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise StoppedError after the stop request."""
        if self._event.is_set():
            raise StoppedError


def never_stops() -> None:
    """Check of an ingest that cannot be stopped."""


def checked(items: Iterable[T], check: Check) -> Iterator[T]:
    """Yield the items, calling `check` before each."""
    for item in items:
        check()
        yield item


@dataclass(frozen=True, slots=True)
class CheckedKeep:
    """Keeps pictures, calling `check` before each."""

    keep: Keep
    check: Check

    def __call__(self, content: Content) -> Stored:
        self.check()
        return self.keep(content)
