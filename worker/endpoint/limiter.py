"""One limit for all workers of an account: calls per second and calls in flight, kept in Redis.

A slot reserves: the caller is told when its turn is and sleeps until then. All times are the Redis server's.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

# Keys: [1] the time from which the next call may go (microseconds), [2] open calls by the end of their lease.
# Arguments: microseconds between calls, most open calls, longest wait, lease, the caller's id.
# Answer: microseconds to wait; -1 if too many are open; -1 less the microseconds if the wait is too long.
TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return -1 end
local turn = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local wait = turn - now
if wait > tonumber(ARGV[3]) then return -1 - wait end
local lease = wait + tonumber(ARGV[4])
redis.call('SET', KEYS[1], string.format('%.0f', turn + ARGV[1]), 'PX', math.ceil(lease / 1000) + 60000)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), ARGV[5])
redis.call('PEXPIRE', KEYS[2], math.ceil(lease / 1000) + 60000)
return wait
"""
MICROSECONDS = 1_000_000
FIRST_LOOK_S = 0.01
LONGEST_LOOK_S = 0.2


class LimiterError(Exception):
    """No slot: the caller must not call now."""


class LimitReached(LimiterError):  # noqa: N818 - an answer, not a fault
    """The wait would be longer than the caller is willing; come back in `retry_in_s` seconds."""

    def __init__(self, retry_in_s: float) -> None:
        super().__init__(f"the limit is reached for another {retry_in_s:.1f} s")
        self.retry_in_s = retry_in_s


class LimiterAway(LimiterError):  # noqa: N818 - an answer, not a fault
    """Redis does not answer; calling without it could break the limit."""


class Limiter:
    """The limit of one account. Safe to share between threads."""

    def __init__(
        self,
        client: "redis.Redis",
        name: str,
        *,
        calls_per_second: float,
        calls_in_flight: int,
        lease_s: float,
    ) -> None:
        """`name` separates accounts; `lease_s` gives back the slot of a caller that died, in seconds."""
        self._client = client
        self._take = client.register_script(TAKE)
        self._keys = [f"{name}:turn", f"{name}:open"]
        self._interval = int(MICROSECONDS / calls_per_second)
        self._in_flight = calls_in_flight
        self._lease = int(lease_s * MICROSECONDS)
        self._ended: set[str] = set()

    @contextmanager
    def slot(self, *, longest_wait_s: float) -> Iterator[None]:
        """Wait for a slot and hold it while the context lasts.

        Raises LimitReached rather than wait longer than `longest_wait_s`, LimiterAway without Redis.
        """
        caller = uuid.uuid4().hex
        time.sleep(self._reserve(caller, time.monotonic() + longest_wait_s))
        try:
            yield
        finally:
            self._ended.add(caller)
            self._give_back()

    def _give_back(self) -> None:
        """Give back every slot whose call has ended, those too that Redis was away for."""
        ended = list(self._ended)
        if not ended:
            return
        with suppress(redis.RedisError):
            self._client.zrem(self._keys[1], *ended)
            self._ended.difference_update(ended)

    def _reserve(self, caller: str, deadline: float) -> float:
        self._give_back()
        look = FIRST_LOOK_S
        while True:
            patience = max(deadline - time.monotonic(), 0.0)
            wait = self._ask(caller, patience)
            if wait >= 0:
                return wait / MICROSECONDS
            if wait < -1:
                raise LimitReached(-wait / MICROSECONDS)
            if patience < look:
                raise LimitReached(LONGEST_LOOK_S)
            time.sleep(look)
            look = min(look * 2, LONGEST_LOOK_S)

    def _ask(self, caller: str, patience_s: float) -> int:
        longest_wait = int(patience_s * MICROSECONDS)
        arguments: list[int | str] = [self._interval, self._in_flight, longest_wait, self._lease, caller]
        try:
            return int(self._take(keys=self._keys, args=arguments))
        except redis.RedisError as error:
            raise LimiterAway(f"Redis does not answer ({type(error).__name__})") from error
