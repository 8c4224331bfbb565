"""The two limits of an account: calls per second and calls in flight."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sandbox.error_codes import CallRefusedError
from sandbox.settings import Settings


@dataclass
class Admission:
    """Lets calls in, or refuses them with EXCEEDING_LIMITS.

    The rate is a bucket of one second's worth of calls (at least one), filled evenly: a steady client at
    exactly the limit is never refused, whatever the network's jitter.
    """

    in_flight: int = 0
    _tokens: float | None = None
    _filled_at: float = field(default_factory=time.monotonic)

    @contextmanager
    def admitted(self, settings: Settings) -> Iterator[None]:
        """Hold a place in flight; raises EXCEEDING_LIMITS over either limit."""
        if settings.calls_in_flight is not None and self.in_flight >= settings.calls_in_flight:
            raise CallRefusedError("EXCEEDING_LIMITS")
        self._take_token(settings.calls_per_second)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def _take_token(self, calls_per_second: float | None) -> None:
        if calls_per_second is None:
            self._tokens = None
            return
        now = time.monotonic()
        capacity = max(1.0, calls_per_second)
        held = capacity if self._tokens is None else self._tokens
        held = min(capacity, held + (now - self._filled_at) * calls_per_second)
        self._filled_at = now
        if held < 1:
            self._tokens = held
            raise CallRefusedError("EXCEEDING_LIMITS")
        self._tokens = held - 1
