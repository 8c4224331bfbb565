"""The ceiling on the rate, with late callers, lost keys and clocks set back."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis

from cutout.settings import Settings
from sandbox.statistics import busiest_second
from tests.support.machine import scaled
from tests.worker.limiting import MakeLimiter, end, hold, send_many
from worker.limiter import limiter as limiter_module
from worker.limiter.limiter import Ceilings, Learned, Limiter, LimiterFeedback, LimitReached

TEN_MINUTES = 600_000_000
TIMES = (
    "at",
    "turn",
    "fell_at",
    "rest_until",
    "bound_until",
    "flow_at",
    "opened_at",
    "probe_at",
    "slow_at",
    "heard",
)


def state_key(settings: Settings) -> str:
    return f"{{{settings.redis_prefix}}}:state"


class TestALateSender:
    @pytest.mark.long("sends for seconds at a rate; the test of one sent call is short")
    def test_makes_no_second_with_more_than_the_ceiling(self, make_limiter: MakeLimiter) -> None:
        """Threads sleep between their turn and their first byte, for up to a third of a second."""
        lateness = random.Random(7)  # noqa: S311 - lateness, the same each time
        late = [lateness.choice([0.0, 0.0, 0.05, 0.35]) for _ in range(60)]
        limiters = [make_limiter(rate=20) for _ in range(4)]
        times = send_many(limiters, 60, threads=30, late=lambda number: time.sleep(late[number]))
        assert busiest_second(times) <= 20

    def test_counts_for_a_second_after_it_was_sent(self, make_limiter: MakeLimiter) -> None:
        """Of two calls permitted together, one is sent much later: a third waits for the first alone."""
        limiter = make_limiter(rate=2)
        with ExitStack() as stack:
            first, second, third = (stack.enter_context(limiter.slot(longest_wait_s=5)) for _ in range(3))
            first.await_permission()
            first.sent()
            second.await_permission()
            began = time.monotonic()
            third.await_permission()
            third.sent()
            assert time.monotonic() - began < scaled(1.3)
            late = time.monotonic()
            second.sent()
            fourth = stack.enter_context(make_limiter(rate=2).slot(longest_wait_s=5))
            fourth.await_permission()
            assert time.monotonic() - late > 0.9

    @pytest.mark.long("waits until a permission has run out")
    def test_that_dies_with_its_permission_costs_little(self, make_limiter: MakeLimiter) -> None:
        """A call that is not reported as sent counts for some seconds, and then no more."""
        limiter = make_limiter(rate=1)
        with limiter.slot(longest_wait_s=1) as slot:
            slot.await_permission()
            slot._permitted_at = None
        began = time.monotonic()
        with limiter.slot(longest_wait_s=3) as slot:
            slot.await_permission()
        assert 3 < time.monotonic() - began < scaled(4.5)

    @pytest.mark.long("waits for windows of two seconds")
    def test_of_a_rate_below_one_is_alone_in_its_window(self, make_limiter: MakeLimiter) -> None:
        """Two and a half a second are three in 1.2 s, so no second has more than three."""
        times = send_many([make_limiter(rate=2.5)], 7, threads=7)
        assert busiest_second(times) <= 3
        assert times[-1] - times[0] > 2.3


class TestAKeyThatIsLost:
    @pytest.mark.parametrize("part", ["open", "state"])
    def test_lets_no_call_out_beside_those_that_are_open(
        self,
        make_limiter: MakeLimiter,
        client: redis.Redis,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        part: str,
    ) -> None:
        """With the keys evicted three times under load, there are never more than five calls at once."""
        monkeypatch.setattr(limiter_module, "RENEW_S", 0.1)
        end(make_limiter(in_flight=5), LimiterFeedback.OK)
        limiter = make_limiter(in_flight=5, learned=Learned(None, None, open_calls=True))
        lock, open_now, most = threading.Lock(), 0, 0
        ended = threading.Event()

        def call(_: int) -> None:
            nonlocal open_now, most
            while not ended.is_set():
                try:
                    with limiter.slot(longest_wait_s=0.2):
                        with lock:
                            open_now += 1
                            most = max(most, open_now)
                        ended.wait(3.0)
                        with lock:
                            open_now -= 1
                except LimitReached:
                    ended.wait(0.05)

        with ThreadPoolExecutor(12) as pool:
            for number in range(12):
                pool.submit(call, number)
            for _ in range(3):
                time.sleep(0.5)
                client.delete(f"{{{settings.redis_prefix}}}:{part}")
            time.sleep(0.5)
            ended.set()
        assert most == 5

    @pytest.mark.long("waits out a second of each kind")
    def test_of_sent_calls_makes_no_full_second(
        self, make_limiter: MakeLimiter, client: redis.Redis, settings: Settings
    ) -> None:
        """With the key evicted once, calls wait until the calls sent before do not count any more."""
        limiter = make_limiter(rate=5)
        lost = threading.Event()

        def evict(number: int) -> None:
            if number >= 5 and not lost.is_set():
                lost.set()
                client.delete(f"{{{settings.redis_prefix}}}:sent")

        times = send_many([limiter], 12, threads=6, late=evict)
        assert lost.is_set()
        assert busiest_second(times) <= 5


class TestAClockThatIsSetBack:
    @pytest.mark.parametrize("names", [TIMES, ("turn", "rest_until", "probe_at")])
    def test_stops_no_call(
        self, make_limiter: MakeLimiter, client: redis.Redis, settings: Settings, names: tuple[str, ...]
    ) -> None:
        """The clock of a new master is ten minutes behind, so the state is that far ahead."""
        limiter = make_limiter(rate=20)
        end(limiter, LimiterFeedback.OK, 3)
        for name in names:
            client.hincrbyfloat(state_key(settings), name, TEN_MINUTES)
        for key in limiter._keys[1:2] + limiter._keys[4:]:
            for member in client.zrange(key, 0, -1):
                assert isinstance(member, bytes)
                client.zincrby(key, TEN_MINUTES, member.decode())
        with limiter.slot(longest_wait_s=1) as slot:
            slot.await_turn() if names is TIMES else None
            slot.await_permission()

    def test_still_hears_a_slow_answer(
        self, make_limiter: MakeLimiter, client: redis.Redis, settings: Settings
    ) -> None:
        """A fall in the future would hide all that follow."""
        limiter = make_limiter(in_flight=10)
        end(limiter, LimiterFeedback.SLOW)
        client.hincrbyfloat(state_key(settings), "fell_at", TEN_MINUTES)
        end(limiter, LimiterFeedback.OK)
        end(limiter, LimiterFeedback.SLOW)
        figures = limiter.read()
        assert figures is not None
        assert figures.slow == 2


class TestAnotherServer:
    def test_that_does_not_have_the_script_waits_for_the_open_calls(
        self, make_limiter: MakeLimiter, client: redis.Redis
    ) -> None:
        """A replica made master may have lost the last calls: no call goes out until all are renewed."""
        limiter = make_limiter(rate=20)
        end(limiter, LimiterFeedback.OK)
        client.script_flush()
        with pytest.raises(LimitReached) as reached, limiter.slot(longest_wait_s=1):
            pass
        assert 3 < reached.value.retry_in_s <= 4

    def test_is_noticed_by_each_account(
        self, make_limiter: MakeLimiter, client: redis.Redis, settings: Settings
    ) -> None:
        """One account's first call there does not hide the server from the others."""
        other = Limiter(client, f"{settings.redis_prefix}other", Ceilings(20, 5), lambda: None)
        for limiter in (make_limiter(rate=20), other):
            end(limiter, LimiterFeedback.OK)
        client.script_flush()
        for limiter in (make_limiter(rate=20), other):
            with pytest.raises(LimitReached), limiter.slot(longest_wait_s=1):
                pass
        other.close()

    def test_of_a_cluster_holds_all_keys_of_an_account_in_one_slot(
        self, make_limiter: MakeLimiter, client: redis.Redis
    ) -> None:
        """A script may use no keys of several slots."""
        limiter = make_limiter(rate=20)
        with ExitStack() as stack:
            hold(limiter, 3, stack)
            slots = {client.cluster("keyslot", key) for key in limiter._keys}
        assert len(slots) == 1
