"""Rate limit of a key's requests: a token bucket for each key, in this process alone.

Several processes each allow as many. That bounds what one producer takes of a process, which is what the
limit is for, and costs no question to another server at each request.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

# An idle producer may send this many seconds' worth of requests at once.
BURST_SECONDS = 10.0
# Tried keys make buckets: beyond this many the longest unused is dropped, and is full when it comes again.
MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RequestLimit:
    """At most `per_second` requests of each key, after a first burst of `burst`."""

    def __init__(self, per_second: float, *, most_buckets: int = MOST_BUCKETS) -> None:
        self.per_second = per_second
        self.burst = max(per_second * BURST_SECONDS, 1.0)
        self._most = most_buckets
        self._buckets: OrderedDict[bytes, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def wait_for(self, key: bytes) -> float:
        """Seconds to wait for the next request of the key, 0 if it may go on; then a token is taken."""
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(self.burst, now)
                if len(self._buckets) > self._most:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(key)
                bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) * self.per_second)
                bucket.at = now
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0.0
            return (1 - bucket.tokens) / self.per_second

    def left(self, key: bytes) -> float:
        """The number of requests of the key that would be taken at once now."""
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                return self.burst
            return min(self.burst, bucket.tokens + (now - bucket.at) * self.per_second)

    def give_back(self, key: bytes) -> None:
        """Give back the token that was taken last."""
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is not None:
                bucket.tokens = min(self.burst, bucket.tokens + 1)
