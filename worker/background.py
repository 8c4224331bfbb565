"""Questions asked beside the dispatcher's tick, which must not wait for their answers."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# The dispatcher looks for an answer five times a second: one that lay about belongs to an older trouble.
ANSWER_KEPT_S = 5.0


class BackgroundTask:
    """A question whose answer may take a while: asked in a thread, one at a time.

    The thread is a daemon, since a frozen server may keep it for minutes and the process must end when asked.
    """

    def __init__(self, name: str, ask: Callable[[], bool]) -> None:
        self._name = name
        self._ask = ask
        self._thread: threading.Thread | None = None
        self._yes_at: float | None = None
        self._no_at: float | None = None

    def start(self) -> None:
        """Ask, unless an answer is running already."""
        if not self.running:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it was asked and has no answer yet."""
        return self._thread is not None and self._thread.is_alive()

    def take_success(self) -> bool:
        """Whether the answer was yes within the last 5 s; said once."""
        yes_at, self._yes_at = self._yes_at, None
        return _is_fresh(yes_at)

    def answered_no(self) -> bool:
        """Whether the answer was no within the last 5 s, or an error; said once."""
        no_at, self._no_at = self._no_at, None
        return _is_fresh(no_at)

    def _run(self) -> None:
        try:
            yes = self._ask()
        except Exception:
            log.exception("%s met an error that nobody expected", self._name)
            yes = False
        # One answer at a time: an older one is about what was then.
        now = time.monotonic()
        self._yes_at, self._no_at = (now, None) if yes else (None, now)


def _is_fresh(said_at: float | None) -> bool:
    return said_at is not None and time.monotonic() - said_at < ANSWER_KEPT_S
