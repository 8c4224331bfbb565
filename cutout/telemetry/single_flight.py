"""Single flight: concurrent callers share one call of a function, which may never return."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST_FRESH_S = 60.0
# Callers see a fault until then, which may be over.
REST_AFTER_ERROR = 1.0


class SingleFlight(Generic[T]):
    """Calls a function in a thread, one call at a time; callers share its result while it is fresh.

    A result is fresh for `fresh_s` seconds, or for `rest` times the duration of the call, a minute at most,
    which bounds the share of the server's time; an error for as long as the call took at most. The thread is
    a daemon, so a hanging call does not keep the process from ending.
    """

    def __init__(self, name: str, call: Callable[[], T], *, fresh_s: float, rest: float = 0.0) -> None:
        self._name, self._call, self._fresh_s, self._rest = name, call, fresh_s, rest
        self._lock = threading.Lock()
        self._latest: Future[T] | None = None
        self._fresh_until = 0.0

    def get(self, within_s: float) -> T:
        """The result; raises TimeoutError if it takes too long, or the function's error."""
        return self.begin().result(within_s)

    async def get_soon(self, within_s: float) -> T:
        """The result, awaited; raises as `get` does."""
        return await asyncio.wait_for(asyncio.wrap_future(self.begin()), within_s)

    def begin(self) -> Future[T]:
        """The fresh result, or the call under way, which is begun if there is none."""
        with self._lock:
            latest = self._latest
            if latest is None or (latest.done() and time.monotonic() >= self._fresh_until):
                latest = self._latest = Future()
                # A caller whose time is over must not cancel it for the others.
                latest.set_running_or_notify_cancel()
                threading.Thread(target=self._run, args=(latest,), name=self._name, daemon=True).start()
            return latest

    def _run(self, future: Future[T]) -> None:
        began = time.monotonic()
        try:
            result = self._call()
        except Exception as error:  # noqa: BLE001 - the callers get it
            self._set_fresh(began, min(self._rest, REST_AFTER_ERROR))
            future.set_exception(error)
        else:
            self._set_fresh(began, self._rest)
            future.set_result(result)

    def _set_fresh(self, began: float, rest: float) -> None:
        now = time.monotonic()
        self._fresh_until = now + max(self._fresh_s, min(rest * (now - began), LONGEST_FRESH_S))
