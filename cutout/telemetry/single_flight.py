"""A question that many may ask at once and a frozen server may never answer."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST_REST_S = 60.0


class SharedAnswer(Generic[T]):
    """Asks in a thread, one at a time; whoever asks meanwhile, or while the answer is fresh, shares it.

    An answer is fresh for `fresh_s` seconds, and for `rest` times as long as it took, a minute at most: so
    asking takes no more than that share of the server's time. The thread is a daemon: the process must end
    when asked.
    """

    def __init__(self, name: str, ask: Callable[[], T], *, fresh_s: float, rest: float = 0.0) -> None:
        self._name, self._ask, self._fresh_s, self._rest = name, ask, fresh_s, rest
        self._lock = threading.Lock()
        self._latest: Future[T] | None = None
        self._fresh_until = 0.0

    def get(self, within_s: float) -> T:
        """The answer; raises TimeoutError without one in time, or what asking raised."""
        return self._future().result(within_s)

    async def get_soon(self, within_s: float) -> T:
        """The same for a coroutine."""
        return await asyncio.wait_for(asyncio.wrap_future(self._future()), within_s)

    def _future(self) -> Future[T]:
        with self._lock:
            latest = self._latest
            if latest is None or (latest.done() and time.monotonic() >= self._fresh_until):
                latest = self._latest = Future()
                # Whoever loses patience must not cancel it for the others.
                latest.set_running_or_notify_cancel()
                threading.Thread(target=self._run, args=(latest,), name=self._name, daemon=True).start()
            return latest

    def _run(self, future: Future[T]) -> None:
        began = time.monotonic()
        try:
            answer = self._ask()
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            self._keep(began)
            future.set_exception(error)
        else:
            self._keep(began)
            future.set_result(answer)

    def _keep(self, began: float) -> None:
        now = time.monotonic()
        self._fresh_until = now + max(self._fresh_s, min(self._rest * (now - began), LONGEST_REST_S))
