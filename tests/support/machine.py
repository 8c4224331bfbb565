"""Speed of this machine at this moment. Time limits of tests hold on a slow or busy machine too."""

import time

# Seconds of `_work` on an idle machine of the kind that the limits were chosen on.
REFERENCE_S = 0.021
FRESH_FOR_S = 1.0


class _Measured:
    """The last two measurements: a limit often ends with the load that it suffered from."""

    def __init__(self) -> None:
        self._at = -FRESH_FOR_S
        self._last = self._before = 1.0

    def slowness(self) -> float:
        if time.monotonic() - self._at > FRESH_FOR_S:
            self._before, self._last = self._last, _work() / REFERENCE_S
            self._at = time.monotonic()
        return max(self._last, self._before, 1.0)


_MEASURED = _Measured()


def slowness() -> float:
    """Factor by which a piece of work takes longer now than on the idle reference machine; at least 1."""
    return _MEASURED.slowness()


def scaled(seconds: float) -> float:
    """An upper limit in seconds, chosen on the idle reference machine, for this machine at this moment."""
    return seconds * slowness()


def _work() -> float:
    """Seconds that a fixed computation takes by the wall clock; others' work counts."""
    began, total = time.perf_counter(), 0
    for number in range(400_000):
        total += number * number % 7
    return time.perf_counter() - began
