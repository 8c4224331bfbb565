import time

import pytest

from cutout.telemetry.single_flight import SingleFlight
from tests.support.machine import scaled

LONG_REST = 1000.0


class Flaky:
    """A call that takes so long and fails once."""

    def __init__(self, takes_s: float) -> None:
        self.calls = 0
        self.takes_s = takes_s

    def __call__(self) -> int:
        self.calls += 1
        time.sleep(self.takes_s)
        if self.calls == 1:
            raise ValueError("away")
        return self.calls


def test_an_error_is_given_out_no_longer_than_its_call_took() -> None:
    """A result that took as long rests the server; a fault may be over, and is asked for again."""
    call = Flaky(scaled(0.2))
    shared = SingleFlight("flaky", call, fresh_s=0.05, rest=LONG_REST)
    with pytest.raises(ValueError, match="away"):
        shared.get(10.0)
    with pytest.raises(ValueError, match="away"):
        shared.get(10.0)
    assert call.calls == 1
    time.sleep(2 * call.takes_s)
    assert [shared.get(10.0), shared.get(10.0)] == [2, 2]
    time.sleep(2 * call.takes_s)
    assert shared.get(10.0) == 2
