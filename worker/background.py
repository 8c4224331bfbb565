"""Background tasks beside the dispatcher's tick, which must not wait for them."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# The tick collects results five times a second; an older result belongs to an earlier outage and is dropped.
RESULT_KEPT_S = 5.0


class BackgroundTask:
    """A task that runs in a thread, one run at a time; its result is True for success.

    The thread is a daemon: a frozen server may keep it for minutes, and the process must be able to end.
    """

    def __init__(self, name: str, run: Callable[[], bool]) -> None:
        self._name = name
        self._task = run
        self._thread: threading.Thread | None = None
        self._succeeded_at: float | None = None
        self._failed_at: float | None = None

    def start(self) -> None:
        """Start a run, unless one is under way."""
        if not self.running:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._thread is not None and self._thread.is_alive()

    def take_success(self) -> bool:
        """Whether a run succeeded within the last 5 s; True once for each run."""
        succeeded_at, self._succeeded_at = self._succeeded_at, None
        return _is_fresh(succeeded_at)

    def take_failure(self) -> bool:
        """Whether a run failed within the last 5 s, also by an error; True once for each run."""
        failed_at, self._failed_at = self._failed_at, None
        return _is_fresh(failed_at)

    def _run(self) -> None:
        try:
            succeeded = self._task()
        except Exception:
            log.exception("unexpected error in %s", self._name)
            succeeded = False
        # The result replaces an older one.
        now = time.monotonic()
        self._succeeded_at, self._failed_at = (now, None) if succeeded else (None, now)


def _is_fresh(at: float | None) -> bool:
    return at is not None and time.monotonic() - at < RESULT_KEPT_S
