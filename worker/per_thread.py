"""One object per thread, made when the thread first asks, all closed together."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Whatever holds connections."""

    def close(self) -> None:
        """Give them back."""


T = TypeVar("T", bound=Closable)


class PerThread(Generic[T]):
    """For HTTP clients: httpx's pool costs quadratic time when many threads share it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._own = threading.local()
        self._all: list[T] = []

    def get(self) -> T:
        """This thread's object."""
        own: T | None = getattr(self._own, "object", None)
        if own is None:
            own = self._own.object = self._make()
            self._all.append(own)
        return own

    def close(self) -> None:
        """Close every thread's object; none may be in use any more."""
        while self._all:
            self._all.pop().close()
