import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis

from sandbox.statistics import busiest_second
from tests.support.machine import scaled
from tests.support.system import wait_until
from tests.worker.limiting import MakeLimiter, end, hold, level, send_many, waiting
from worker.limiter import limiter as limiter_module
from worker.limiter.limiter import Ceilings, Learned, Limiter, LimiterAway, LimiterFeedback, LimitReached


class TestTheRate:
    @pytest.mark.long("calls for seconds at a rate")
    def test_is_kept_by_all_callers_together_and_used_whole(self, make_limiter: MakeLimiter) -> None:
        """Sixty slots at 30 a second take 2 s for several callers: no faster, and hardly slower."""
        limiters = [make_limiter(rate=30) for _ in range(4)]
        times = send_many(limiters, 61, threads=20)
        assert 2.0 <= times[-1] - times[0] < scaled(2.4)
        assert busiest_second(times) <= 30

    def test_makes_no_burst_after_a_pause(self, make_limiter: MakeLimiter) -> None:
        """Unused slots are lost: a pause allows no burst."""
        limiter = make_limiter(rate=20)
        time.sleep(0.3)
        began = time.monotonic()
        end(limiter, LimiterFeedback.OK, 4)
        assert time.monotonic() - began >= 3 / 20 - 0.02

    def test_refuses_a_caller_that_would_wait_too_long(self, make_limiter: MakeLimiter) -> None:
        """If the wait would be too long, the caller learns when to come back, and the turn stays free."""
        limiter = make_limiter(rate=0.2)
        with limiter.slot(longest_wait_s=0.1):
            for _ in range(2):
                with pytest.raises(LimitReached) as reached, limiter.slot(longest_wait_s=0.1):
                    pass
                assert 2.5 < reached.value.retry_in_s <= 5.1


class TestCallsInFlight:
    def test_are_never_more_than_allowed(self, make_limiter: MakeLimiter) -> None:
        """Twelve callers at three in flight: never four at once, and all get through."""
        limiter = make_limiter(in_flight=3)
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

    def test_are_given_in_the_order_of_the_requests(self, make_limiter: MakeLimiter) -> None:
        """The caller that has waited longest is first, in any process."""
        limiters = [make_limiter(in_flight=1) for _ in range(3)]
        order: list[int] = []

        def call(number: int) -> None:
            with limiters[number % 3].slot(longest_wait_s=10):
                order.append(number)
                time.sleep(0.05)

        with ThreadPoolExecutor(9) as pool, limiters[0].slot(longest_wait_s=1):
            for number in range(9):
                pool.submit(call, number)
                wait_until(lambda before=number: waiting(limiters[0]) > before, "its request")  # type: ignore[misc]
        assert order == list(range(9))

    def test_of_a_caller_that_died_come_back_with_their_lease(
        self, make_limiter: MakeLimiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A slot that is neither given back nor renewed is free again when its lease ends."""
        monkeypatch.setattr(limiter_module, "LEASE_S", scaled(0.5))
        monkeypatch.setattr(limiter_module, "RENEW_S", 60.0)
        limiter = make_limiter(in_flight=1)
        limiter._take(time.monotonic() + 1, -1.0)
        with pytest.raises(LimitReached), limiter.slot(longest_wait_s=0.1):
            pass
        end(limiter, LimiterFeedback.OK)

    def test_of_a_living_caller_outlast_their_lease(
        self, make_limiter: MakeLimiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A slow call keeps its slot: its worker renews it."""
        lease_s = scaled(0.5)
        monkeypatch.setattr(limiter_module, "LEASE_S", lease_s)
        monkeypatch.setattr(limiter_module, "RENEW_S", 0.1)
        limiter = make_limiter(in_flight=1)
        with limiter.slot(longest_wait_s=1):
            time.sleep(lease_s + 0.7)
            with pytest.raises(LimitReached), make_limiter(in_flight=1).slot(longest_wait_s=0.0):
                pass

    def test_are_given_back_when_a_call_ends_in_an_error(self, make_limiter: MakeLimiter) -> None:
        """The slot is free after any error."""
        limiter = make_limiter(in_flight=1)
        with pytest.raises(ZeroDivisionError), limiter.slot(longest_wait_s=1):
            raise ZeroDivisionError
        with limiter.slot(longest_wait_s=0.05):
            pass


class TestTheLearnedLevel:
    def test_begins_with_three_calls(self, make_limiter: MakeLimiter) -> None:
        """If the endpoint's limit is not known, three calls are made at once at first."""
        limiter = make_limiter(rate=None, in_flight=None)
        with ExitStack() as stack:
            hold(limiter, 3, stack)
            with pytest.raises(LimitReached), limiter.slot(longest_wait_s=0.0):
                pass

    def test_climbs_while_somebody_waits(self, make_limiter: MakeLimiter) -> None:
        """Before the first slow answer the level doubles in 3 s, but only while it holds callers back."""
        limiter = make_limiter(rate=None, in_flight=None)
        end(limiter, LimiterFeedback.OK)
        time.sleep(0.5)
        assert level(limiter) == 3.0
        with ExitStack() as stack:
            hold(limiter, 3, stack)
            began = time.monotonic()
            while (waited_s := time.monotonic() - began) < 1.5:
                with pytest.raises(LimitReached), limiter.slot(longest_wait_s=0.05):
                    raise LimitReached(0)
        assert 3.6 < level(limiter) < 1.14 * 3.0 * 2 ** (waited_s / 3)

    def test_is_halved_by_a_slow_answer_and_comes_back(self, make_limiter: MakeLimiter) -> None:
        """The level is halved at once, and the ceiling found is a little below the refused level."""
        limiter = make_limiter(in_flight=10)
        end(limiter, LimiterFeedback.SLOW)
        figures = limiter.read()
        assert figures is not None
        assert (figures.level, figures.top, figures.slow) == (5.0, 9.7, 1)

    def test_is_halved_once_by_answers_to_calls_that_were_out_together(
        self, make_limiter: MakeLimiter
    ) -> None:
        """Ten slow answers to one burst count once."""
        limiter = make_limiter(in_flight=10)
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(limiter.slot(longest_wait_s=1)).ended(LimiterFeedback.SLOW)
        assert level(limiter) == 5.0

    def test_is_never_above_the_ceiling(self, make_limiter: MakeLimiter) -> None:
        """A level learned under a larger ceiling does not count under a smaller one."""
        limiter = make_limiter(in_flight=4, learned=Learned(50.0, 60.0, open_calls=False))
        end(limiter, LimiterFeedback.OK)
        assert level(limiter) == 4.0

    def test_survives_the_loss_of_redis(self, make_limiter: MakeLimiter, client: redis.Redis) -> None:
        """A lost state is restored from Postgres."""
        limiter = make_limiter(rate=None, in_flight=None, learned=Learned(8.0, 12.0, open_calls=False))
        client.flushall()
        end(limiter, LimiterFeedback.OK)
        figures = limiter.read()
        assert figures is not None
        assert (figures.level, figures.top) == (8.0, 12.0)

    def test_ignores_a_flow_restriction_that_is_gone_in_a_second(self, make_limiter: MakeLimiter) -> None:
        """A refusal by a quota shared with other customers does not count, unless it lasts."""
        limiter = make_limiter(in_flight=10)
        end(limiter, LimiterFeedback.FLOW, 3)
        assert level(limiter) == 10.0
        time.sleep(1.1)
        end(limiter, LimiterFeedback.FLOW)
        assert level(limiter) == 5.0

    def test_pauses_for_as_long_as_the_endpoint_asks(self, make_limiter: MakeLimiter) -> None:
        """Retry-After holds for every caller of the account."""
        limiter = make_limiter()
        began = time.monotonic()
        end(limiter, LimiterFeedback.SLOW, rest_s=0.6)
        end(make_limiter(), LimiterFeedback.OK)
        assert 0.6 <= time.monotonic() - began < scaled(1.3)
        end(limiter, LimiterFeedback.SLOW, rest_s=30.0)
        with pytest.raises(LimitReached) as reached, limiter.slot(longest_wait_s=1):
            pass
        assert 25 < reached.value.retry_in_s <= 30


class TestTheCircuit:
    def test_opens_after_a_run_of_failures_across_jobs(self, make_limiter: MakeLimiter) -> None:
        """The endpoint fails for all jobs: one call at a time tests whether it still does."""
        limiter = make_limiter()
        end(limiter, LimiterFeedback.FAILED, 5)
        figures = limiter.read()
        assert figures is not None
        assert 0.5 < figures.circuit_s <= 1.0
        with limiter.slot(longest_wait_s=2), pytest.raises(LimitReached), limiter.slot(longest_wait_s=0.2):
            pass

    def test_stays_closed_when_one_job_fails_again_and_again(self, make_limiter: MakeLimiter) -> None:
        """One bad picture does not slow down the others."""
        limiter = make_limiter()
        end(limiter, LimiterFeedback.FAILED, 9, job="same")
        figures = limiter.read()
        assert figures is not None
        assert figures.circuit_s == 0

    def test_stays_closed_when_calls_succeed_in_between(self, make_limiter: MakeLimiter) -> None:
        """A success between the failures ends the run."""
        limiter = make_limiter()
        for n in range(4):
            end(limiter, LimiterFeedback.FAILED, 4, job=f"{n}")
            end(limiter, LimiterFeedback.OK)
        figures = limiter.read()
        assert figures is not None
        assert figures.circuit_s == 0

    def test_tries_more_and_more_seldom_and_closes_with_a_success(self, make_limiter: MakeLimiter) -> None:
        """A probe that fails doubles the wait for the next; one that succeeds closes the circuit."""
        limiter = make_limiter()
        end(limiter, LimiterFeedback.FAILED, 5)
        with limiter.slot(longest_wait_s=2) as slot:
            slot.ended(LimiterFeedback.FAILED, job="6")
        assert slot.circuit_is_open
        figures = limiter.read()
        assert figures is not None
        assert 1.5 < figures.circuit_s <= 2.0
        with limiter.slot(longest_wait_s=3) as slot:
            slot.ended(LimiterFeedback.OK)
        assert not slot.circuit_is_open
        with ExitStack() as stack:
            hold(limiter, 5, stack)


class TestRedisUnreachable:
    def test_stops_calls(self) -> None:
        """Without Redis no slot is given, since the limit is not known."""
        with redis.Redis(port=9, socket_connect_timeout=1) as nowhere:
            limiter = Limiter(nowhere, "x", Ceilings(), lambda: None)
            with pytest.raises(LimiterAway, match="Redis does not answer"), limiter.slot(longest_wait_s=1):
                pass

    def test_and_emptied_makes_no_burst(
        self, make_limiter: MakeLimiter, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Open calls are renewed in the new state before it permits another."""
        monkeypatch.setattr(limiter_module, "RENEW_S", 0.2)
        monkeypatch.setattr(limiter_module, "PAUSE_AFTER_LOSS_S", 1.0)
        busy, other = (
            make_limiter(in_flight=3, learned=Learned(None, None, open_calls=True)) for _ in range(2)
        )
        client.flushall()
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(busy.slot(longest_wait_s=3))
            client.flushall()
            with pytest.raises(LimitReached), other.slot(longest_wait_s=2):
                pass
            figures = other.read()
        assert figures is not None
        assert figures.open_calls == 3
