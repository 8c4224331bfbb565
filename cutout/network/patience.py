"""What a download is waited for beside its deadline: how slow it may be, and who may stop it."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

HEAD_WITHIN_S = 30.0
# A rate is reckoned over so many seconds of waiting.
WINDOW_S = 20.0


def never() -> bool:
    """Nobody stops it."""
    return False


@dataclass(frozen=True, slots=True)
class Patience:
    """A body must come with `least_rate` bytes a second, on average of `window_s` seconds, and its head
    within 30 s; a rate of zero bounds neither. `is_stopped` is asked twice a second while nothing comes.
    """

    least_rate: float = 0.0
    is_stopped: Callable[[], bool] = never
    window_s: float = WINDOW_S


class Wait:
    """One request under a Patience. Called before each read of the socket: why to wait no longer, or None."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._head_by = time.monotonic() + HEAD_WITHIN_S if patience.least_rate else None
        self._asked_at: float | None = None
        self._waited = 0.0
        self._came = 0

    def __call__(self) -> str | None:
        if self._patience.is_stopped():
            return "the download was stopped"
        if self._head_by is not None and time.monotonic() > self._head_by:
            return f"no head of an answer within {HEAD_WITHIN_S:.0f} s"
        return self._too_slow()

    def head_is_here(self) -> None:
        self._head_by = None

    def steady(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """The same parts of the body, counted. The time that their user takes is none of the server's."""
        iterator = iter(parts)
        while True:
            self._asked_at = time.monotonic()
            part = next(iterator, None)
            self._waited += time.monotonic() - self._asked_at
            self._asked_at = None
            if part is None:
                return
            self._came += len(part)
            yield part

    def _too_slow(self) -> str | None:
        if self._asked_at is None:
            return None
        waited = self._waited + time.monotonic() - self._asked_at
        if waited < self._patience.window_s:
            return None
        if self._came < self._patience.least_rate * waited:
            rate = self._came / waited
            return f"{rate:.0f} bytes a second came, and {self._patience.least_rate:.0f} are the least"
        self._waited, self._came, self._asked_at = 0.0, 0, time.monotonic()
        return None
