"""Patience with a download beside its deadline: minimum rate, and a stop request."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

HEAD_WITHIN_S = 30.0
# Seconds of waiting over which the rate is measured.
WINDOW_S = 20.0


def never() -> bool:
    """Stop condition that is never met."""
    return False


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits on waiting: a body must come with `least_rate` bytes a second, averaged over `window_s` seconds,
    and its head within 30 s; a rate of 0 turns both limits off. `is_stopped` is called twice a second while
    nothing comes.
    """

    least_rate: float = 0.0
    is_stopped: Callable[[], bool] = never
    window_s: float = WINDOW_S


class Wait:
    """State of one request under a Patience. Calling it returns the reason to stop waiting, or None; it is
    called before each read of the socket.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._head_by = time.monotonic() + HEAD_WITHIN_S if patience.least_rate else None
        self._reading_since: float | None = None
        self._waited = 0.0
        self._received = 0

    def __call__(self) -> str | None:
        if self._patience.is_stopped():
            return "the download was stopped"
        if self._head_by is not None and time.monotonic() > self._head_by:
            return f"no head of a response within {HEAD_WITHIN_S:.0f} s"
        return self._too_slow()

    def head_received(self) -> None:
        self._head_by = None

    def steady(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the parts of the body and count them. The time the consumer takes is not counted."""
        iterator = iter(parts)
        while True:
            self._reading_since = time.monotonic()
            part = next(iterator, None)
            self._waited += time.monotonic() - self._reading_since
            self._reading_since = None
            if part is None:
                return
            self._received += len(part)
            yield part

    def _too_slow(self) -> str | None:
        if self._reading_since is None:
            return None
        waited = self._waited + time.monotonic() - self._reading_since
        if waited < self._patience.window_s:
            return None
        if self._received < self._patience.least_rate * waited:
            rate = self._received / waited
            return f"{rate:.0f} bytes a second came, below the minimum of {self._patience.least_rate:.0f}"
        self._waited, self._received, self._reading_since = 0.0, 0, time.monotonic()
        return None
