import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from jobs.settings import Settings
from worker.endpoint.limiter import Limiter, LimiterAway, LimitReached

MakeLimiter = Callable[..., Limiter]


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    """A connection to the real Redis."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield client


@pytest.fixture
def make_limiter(client: redis.Redis, settings: Settings) -> MakeLimiter:
    """Limiters of one account, as several processes would make them."""

    def make(
        *, calls_per_second: float = 1000.0, calls_in_flight: int = 100, lease_s: float = 10.0
    ) -> Limiter:
        return Limiter(
            client,
            settings.redis_prefix,
            calls_per_second=calls_per_second,
            calls_in_flight=calls_in_flight,
            lease_s=lease_s,
        )

    return make


class TestTheRate:
    def test_is_kept_by_all_callers_together_and_used_whole(self, make_limiter: MakeLimiter) -> None:
        """Forty slots at 50 a second take 0.8 s, whoever asks: no faster, and hardly slower."""
        limiters = [make_limiter(calls_per_second=50) for _ in range(4)]
        times: list[float] = []

        def call(number: int) -> None:
            with limiters[number % 4].slot(longest_wait_s=5):
                times.append(time.monotonic())

        with ThreadPoolExecutor(40) as pool:
            list(pool.map(call, range(40)))
        took = max(times) - min(times)
        assert 39 / 50 - 0.05 < took < 39 / 50 + 0.4
        busiest = max(sum(start <= other < start + 0.5 for other in times) for start in times)
        assert busiest <= 25 + 3

    def test_makes_no_burst_after_a_pause(self, make_limiter: MakeLimiter) -> None:
        """Slots that nobody used are gone: a rest earns no burst."""
        limiter = make_limiter(calls_per_second=20)
        time.sleep(0.3)
        began = time.monotonic()
        for _ in range(4):
            with limiter.slot(longest_wait_s=5):
                pass
        assert time.monotonic() - began >= 3 / 20 - 0.02

    def test_sends_away_who_would_wait_too_long_and_keeps_no_place(self, make_limiter: MakeLimiter) -> None:
        """Past the longest wait the caller learns when to come back, and the turn stays free."""
        limiter = make_limiter(calls_per_second=1)
        with limiter.slot(longest_wait_s=0.1):
            for _ in range(2):
                with pytest.raises(LimitReached) as reached, limiter.slot(longest_wait_s=0.1):
                    pass
                assert 0.5 < reached.value.retry_in_s <= 1.0


class TestCallsInFlight:
    def test_are_never_more_than_allowed(self, make_limiter: MakeLimiter) -> None:
        """Twelve callers at three in flight: never four at once, and all get through."""
        limiter = make_limiter(calls_in_flight=3)
        lock, open_now, most = threading.Lock(), 0, 0

        def call(_: int) -> None:
            nonlocal open_now, most
            with limiter.slot(longest_wait_s=10):
                with lock:
                    open_now += 1
                    most = max(most, open_now)
                time.sleep(0.05)
                with lock:
                    open_now -= 1

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(call, range(12)))
        assert most == 3

    def test_of_a_caller_that_died_come_back_with_their_lease(
        self, make_limiter: MakeLimiter, client: redis.Redis, settings: Settings
    ) -> None:
        """A slot that nobody gives back is free again when its lease ends."""
        limiter = make_limiter(calls_in_flight=1, lease_s=0.3)
        limiter._reserve("dead", time.monotonic() + 1)
        assert client.zcard(f"{settings.redis_prefix}:open") == 1
        with pytest.raises(LimitReached), limiter.slot(longest_wait_s=0.0):
            pass
        with limiter.slot(longest_wait_s=2.0):
            pass

    def test_are_given_back_when_a_call_ends_in_an_error(self, make_limiter: MakeLimiter) -> None:
        """Whatever happens inside, the slot is free afterwards."""
        limiter = make_limiter(calls_in_flight=1)
        with pytest.raises(ZeroDivisionError), limiter.slot(longest_wait_s=1):
            raise ZeroDivisionError
        with limiter.slot(longest_wait_s=0.05):
            pass


class TestRedisAway:
    def test_stops_calls(self) -> None:
        """Without Redis there is no slot, rather than one without a limit."""
        with redis.Redis(port=9, socket_connect_timeout=1) as nowhere:
            limiter = Limiter(nowhere, "x", calls_per_second=1, calls_in_flight=1, lease_s=1)
            with pytest.raises(LimiterAway, match="Redis does not answer"), limiter.slot(longest_wait_s=1):
                pass
