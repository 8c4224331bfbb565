import time

import pytest

from worker.dispatcher.limit_poller import LimitWatch, Look
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


def watch(figures: Figures | None, *, rate: float | None = None) -> LimitWatch:
    """A watch that has just seen these figures of the account `a`."""
    watching = LimitWatch({}, Ceilings(rate, None))
    if figures is not None:
        watching._looks["a"] = Look(time.monotonic(), figures, 0.0)
    return watching


def changed(**what: float) -> Figures:
    return Figures(**{name: getattr(IDLE, name) for name in Figures.__slots__} | what)


class TestTheWindow:
    def test_holds_the_calls_that_may_be_open_and_those_on_their_way(self) -> None:
        """Ten open at 2 s are 5 a second: with 0.5 s to prepare and 0.2 s of spare 13.5, and two."""
        assert watch(IDLE).window(["a"]) == 14 + 2

    def test_is_no_larger_than_the_rate_can_use(self) -> None:
        """At one a second ten open calls would be eight too many."""
        assert watch(IDLE, rate=1.0).window(["a"]) == 3 + 2

    def test_is_for_the_first_calls_where_nothing_is_known(self) -> None:
        """Three calls of about 2 s."""
        assert watch(None).window(["a"]) == 4 + 2

    @pytest.mark.parametrize("figures", [changed(circuit_s=30.0), changed(rest_s=30.0)])
    def test_is_small_while_no_call_goes_out(self, figures: Figures) -> None:
        """Jobs are better off in line than waiting in a worker's thread."""
        assert watch(figures).window(["a"]) == 2

    def test_lets_a_probe_out_whatever_is_outstanding(self) -> None:
        """Due, with no call out and none waiting, it is said once in a while; else it is not."""
        assert not watch(IDLE).probe_is_due(["a"])
        assert not watch(changed(circuit_s=30.0)).probe_is_due(["a"])
        assert not watch(changed(circuit_s=0.000001, open_calls=1)).probe_is_due(["a"])
        assert not watch(changed(circuit_s=0.000001, waiting=1)).probe_is_due(["a"])
        watching = watch(changed(circuit_s=0.000001))
        assert watching.probe_is_due(["a"])
        assert not watching.probe_is_due(["a"])

    def test_adds_up_over_accounts(self) -> None:
        """Each has a limit of its own."""
        watching = watch(IDLE)
        watching._looks["b"] = watching._looks["a"]
        assert watching.window(["a", "b"]) == 2 * watching.window(["a"])

    def test_widens_while_it_is_full_and_no_call_is_out(self) -> None:
        """Jobs that are served without a call are not held up by a limit that nobody uses."""
        watching = watch(IDLE)
        widths = []
        for _ in range(20):
            widths.append(watching.window(["a"]))
            watching.widen(["a"])
        assert widths == sorted(widths)
        assert widths[-1] > 20 * widths[0]

    def test_narrows_again_once_calls_go_out(self) -> None:
        """The limit is what is waited for then, and whoever comes next must not wait behind hundreds."""
        watching = watch(IDLE)
        for _ in range(20):
            watching.widen(["a"])
        watching._looks["a"] = Look(time.monotonic(), changed(open_calls=9.0), 0.0)
        for _ in range(10):
            watching.widen(["a"])
        assert watching.window(["a"]) == 14 + 2
