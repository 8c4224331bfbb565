import time

import pytest

from worker.dispatcher.limit_poller import LimitPoller, LimitReading
from worker.limiter.limiter import Ceilings, Figures

IDLE = Figures(
    level=10.0,
    top=None,
    open_calls=0,
    waiting=0,
    latency_s=2.0,
    prepare_s=0.5,
    begun=0,
    slow=0,
    rest_s=0.0,
    circuit_s=0.0,
    slow_ago_s=None,
)


def poller(figures: Figures | None, *, rate: float | None = None) -> LimitPoller:
    """A poller that has just read these figures of the account `a`."""
    limits = LimitPoller({}, Ceilings(rate, None))
    if figures is not None:
        limits._readings["a"] = LimitReading(time.monotonic(), figures, 0.0)
    return limits


def changed(**what: float) -> Figures:
    return Figures(**{name: getattr(IDLE, name) for name in Figures.__slots__} | what)


class TestTheTarget:
    def test_covers_open_calls_and_jobs_on_their_way(self) -> None:
        """Ten calls of 2 s are 5 a second: with 0.5 s to prepare and 0.2 s spare, 13.5 jobs and two."""
        assert poller(IDLE).target_outstanding(["a"]) == 14 + 2

    def test_is_no_larger_than_the_rate_allows(self) -> None:
        """At one call a second, two open calls are enough."""
        assert poller(IDLE, rate=1.0).target_outstanding(["a"]) == 3 + 2

    def test_is_for_the_first_calls_without_a_reading(self) -> None:
        """It is enough for three calls of about 2 s."""
        assert poller(None).target_outstanding(["a"]) == 4 + 2

    @pytest.mark.parametrize("figures", [changed(circuit_s=30.0), changed(rest_s=30.0)])
    def test_is_small_while_no_call_goes_out(self, figures: Figures) -> None:
        """Jobs then wait in the queue, not in a worker's thread."""
        assert poller(figures).target_outstanding(["a"]) == 2

    def test_allows_a_probe_for_any_number_of_outstanding_jobs(self) -> None:
        """A probe is due once per interval, if no call is open or waiting."""
        assert not poller(IDLE).probe_is_due(["a"])
        assert not poller(changed(circuit_s=30.0)).probe_is_due(["a"])
        assert not poller(changed(circuit_s=0.000001, open_calls=1)).probe_is_due(["a"])
        assert not poller(changed(circuit_s=0.000001, waiting=1)).probe_is_due(["a"])
        limits = poller(changed(circuit_s=0.000001))
        assert limits.probe_is_due(["a"])
        assert not limits.probe_is_due(["a"])

    def test_adds_up_over_accounts(self) -> None:
        """Each account has its own limit."""
        limits = poller(IDLE)
        limits._readings["b"] = limits._readings["a"]
        assert limits.target_outstanding(["a", "b"]) == 2 * limits.target_outstanding(["a"])

    def test_grows_while_it_is_reached_and_no_call_is_open(self) -> None:
        """Jobs that reuse a cutout are not delayed by a limit that no call uses."""
        limits = poller(IDLE)
        targets = []
        for _ in range(20):
            targets.append(limits.target_outstanding(["a"]))
            limits.grow(["a"])
        assert targets == sorted(targets)
        assert targets[-1] > 20 * targets[0]

    def test_shrinks_once_calls_are_open(self) -> None:
        """Jobs wait for the limit then, and a new job must not wait behind hundreds."""
        limits = poller(IDLE)
        for _ in range(20):
            limits.grow(["a"])
        limits._readings["a"] = LimitReading(time.monotonic(), changed(open_calls=9.0), 0.0)
        for _ in range(10):
            limits.grow(["a"])
        assert limits.target_outstanding(["a"]) == 14 + 2
