"""Questions asked beside the dispatcher's tick, which must not wait for their answers."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

log = logging.getLogger(__name__)


class Question:
    """A question whose answer may take a while: asked in a thread, one at a time."""

    def __init__(self, threads: ThreadPoolExecutor, ask: Callable[[], bool]) -> None:
        self._threads = threads
        self._ask = ask
        self._asked: Future[bool] | None = None

    def ask(self) -> None:
        """Ask, unless an answer is awaited already."""
        if self._asked is None:
            self._asked = self._threads.submit(self._ask)

    def answered_yes(self) -> bool:
        """Whether the answer is there and is yes; given once."""
        if self._asked is None or not self._asked.done():
            return False
        asked, self._asked = self._asked, None
        try:
            return asked.result()
        except Exception:
            log.exception("a probe met an error that nobody expected")
            return False
