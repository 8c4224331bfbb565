"""One object for each thread, made at first use, all closed together."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """An object that holds connections."""

    def close(self) -> None:
        """Close the connections."""


T = TypeVar("T", bound=Closable)


class PerThread(Generic[T]):
    """One object for each thread, for HTTP clients: httpx's pool takes quadratic time with many threads."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._local = threading.local()
        self._all: list[T] = []

    def get(self) -> T:
        """This thread's object."""
        made: T | None = getattr(self._local, "object", None)
        if made is None:
            made = self._local.object = self._make()
            self._all.append(made)
        return made

    def close(self) -> None:
        """Close every thread's object; none may be in use any more."""
        while self._all:
            self._all.pop().close()
